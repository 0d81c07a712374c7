//! The objects that there are, and what a change to them touches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ipnet::IpNet;

use crate::names::{Interner, Name, ObjectName, ServiceName};
use crate::objects::{EndpointSlice, Kind, NodeInfo, Object, Service, ServiceCidr};

/// Services that are no proxy's business are left out at once, and so are such slices.
#[derive(Clone, Debug, Default)]
pub struct Cluster {
    services: BTreeMap<ServiceName, Arc<Service>>,
    /// By service, then slice: the slices of one service are neighbours.
    slices: BTreeMap<(ServiceName, Name), Arc<EndpointSlice>>,
    /// Which service a slice belongs to.
    owners: BTreeMap<ObjectName, ServiceName>,
    nodes: BTreeMap<Name, NodeInfo>,
    cidrs: BTreeMap<Name, ServiceCidr>,
    names: Interner,
}

/// One thing that happened to the objects.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    Put(Object),
    Delete(Kind, ObjectName),
    /// All objects of a kind: what is not among them is gone.
    Replace(Kind, Vec<Object>),
}

/// What has to be looked at again.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Touched {
    pub services: BTreeSet<ServiceName>,
    pub nodes: BTreeSet<Name>,
    pub cidrs: bool,
}

impl Touched {
    pub fn is_empty(&self) -> bool {
        self.services.is_empty() && self.nodes.is_empty() && !self.cidrs
    }

    /// Several changes can be served by one look.
    pub fn merge(&mut self, other: Touched) {
        self.services.extend(other.services);
        self.nodes.extend(other.nodes);
        self.cidrs |= other.cidrs;
    }
}

impl Cluster {
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values()
    }

    pub fn service(&self, name: &ServiceName) -> Option<&Arc<Service>> {
        self.services.get(name)
    }

    /// In the order of their names.
    pub fn slices<'a>(&'a self, service: &'a ServiceName) -> impl Iterator<Item = &'a Arc<EndpointSlice>> {
        let from = (service.clone(), Name::default());
        self.slices.range(from..).take_while(move |((owner, _), _)| owner == service).map(|(_, slice)| slice)
    }

    pub fn node(&self, name: &str) -> Option<&NodeInfo> {
        self.nodes.get(name)
    }

    pub fn nodes(&self) -> impl Iterator<Item = &NodeInfo> {
        self.nodes.values()
    }

    /// Sorted, unique.
    pub fn service_cidrs(&self) -> Vec<IpNet> {
        let nets: BTreeSet<IpNet> = self.cidrs.values().flat_map(|cidr| cidr.cidrs.iter().copied()).collect();
        nets.into_iter().collect()
    }

    /// Says what is touched; nothing, where the change changed nothing that a proxy looks at.
    pub fn apply(&mut self, change: Change) -> Touched {
        let mut touched = Touched::default();
        match change {
            Change::Put(object) => self.put(object, &mut touched),
            Change::Delete(kind, name) => self.delete(kind, &name, &mut touched),
            Change::Replace(kind, objects) => {
                let kept: BTreeSet<ObjectName> = objects.iter().map(Object::name).collect();
                for name in self.known(kind).filter(|name| !kept.contains(name)).collect::<Vec<_>>() {
                    self.delete(kind, &name, &mut touched);
                }
                objects.into_iter().for_each(|object| self.put(object, &mut touched));
                self.names.sweep();
            }
        }
        touched
    }

    fn known(&self, kind: Kind) -> Box<dyn Iterator<Item = ObjectName> + '_> {
        let global = |name: &Name| ObjectName::new("", name.clone());
        match kind {
            Kind::Service => Box::new(self.services.keys().cloned()),
            Kind::EndpointSlice => Box::new(self.owners.keys().cloned()),
            Kind::Node => Box::new(self.nodes.keys().map(global)),
            Kind::ServiceCidr => Box::new(self.cidrs.keys().map(global)),
        }
    }

    fn put(&mut self, object: Object, touched: &mut Touched) {
        match object {
            Object::Service(service) => self.put_service(service, touched),
            Object::EndpointSlice(slice) => self.put_slice(slice, touched),
            Object::Node(node) => {
                if self.nodes.get(&node.name) != Some(&node) {
                    touched.nodes.insert(node.name.clone());
                    self.nodes.insert(node.name.clone(), node);
                }
            }
            Object::ServiceCidr(cidr) => {
                if self.cidrs.get(&cidr.name) != Some(&cidr) {
                    touched.cidrs = true;
                    self.cidrs.insert(cidr.name.clone(), cidr);
                }
            }
        }
    }

    fn put_service(&mut self, mut service: Service, touched: &mut Touched) {
        if !service.proxied {
            return self.delete(Kind::Service, &service.name, touched);
        }
        self.names.share(&mut service.name.namespace);
        self.names.share(&mut service.name.name);
        service.ports.iter_mut().for_each(|port| self.names.share(&mut port.name));
        if self.services.get(&service.name).is_none_or(|before| **before != service) {
            touched.services.insert(service.name.clone());
            self.services.insert(service.name.clone(), Arc::new(service));
        }
    }

    fn put_slice(&mut self, mut slice: EndpointSlice, touched: &mut Touched) {
        let Some(owner) = &mut slice.service else {
            return self.delete(Kind::EndpointSlice, &slice.name, touched);
        };
        self.names.share(&mut owner.namespace);
        self.names.share(&mut owner.name);
        let owner = owner.clone();
        if self.owners.get(&slice.name).is_some_and(|before| *before != owner) {
            self.delete(Kind::EndpointSlice, &slice.name, touched);
        }
        share_names(&mut slice, &mut self.names);
        let key = (owner.clone(), slice.name.name.clone());
        if self.slices.get(&key).is_none_or(|before| **before != slice) {
            self.owners.insert(slice.name.clone(), owner.clone());
            self.slices.insert(key, Arc::new(slice));
            touched.services.insert(owner);
        }
    }

    fn delete(&mut self, kind: Kind, name: &ObjectName, touched: &mut Touched) {
        self.names.release();
        match kind {
            Kind::Service => {
                if self.services.remove(name).is_some() {
                    touched.services.insert(name.clone());
                }
            }
            Kind::EndpointSlice => {
                if let Some(owner) = self.owners.remove(name) {
                    self.slices.remove(&(owner.clone(), name.name.clone()));
                    touched.services.insert(owner);
                }
            }
            Kind::Node => {
                if self.nodes.remove(&name.name).is_some() {
                    touched.nodes.insert(name.name.clone());
                }
            }
            Kind::ServiceCidr => touched.cidrs |= self.cidrs.remove(&name.name).is_some(),
        }
    }
}

fn share_names(slice: &mut EndpointSlice, names: &mut Interner) {
    names.share(&mut slice.name.namespace);
    slice.ports.iter_mut().for_each(|port| names.share(&mut port.name));
    for endpoint in &mut slice.endpoints {
        endpoint.node.iter_mut().for_each(|node| names.share(node));
        if let Some(hints) = &mut endpoint.hints {
            hints.zones.iter_mut().chain(&mut hints.nodes).for_each(|name| names.share(name));
        }
    }
}
