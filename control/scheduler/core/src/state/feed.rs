//! What the server says, and what it means for pods that wait.

use std::collections::HashSet;
use std::sync::Arc;

use apiclient_core::names::{Name, ObjectName};
use serde_json::Value;

use super::{Kind, State};
use crate::Labels;
use crate::node::Node;
use crate::pod::Pod;
use crate::queue::Moment;
use crate::queue::change::{Change, Storage};
use crate::read::{self, BadObject};
use crate::selectors;
use crate::volumes::objects::{Capacity, Claim, Class, Volume};

/// Kinds whose selectors say which pods are alike.
fn owner(kind: Kind) -> Option<selectors::Kind> {
    match kind {
        Kind::Service => Some(selectors::Kind::Service),
        Kind::ReplicationController => Some(selectors::Kind::ReplicationController),
        Kind::ReplicaSet => Some(selectors::Kind::ReplicaSet),
        Kind::StatefulSet => Some(selectors::Kind::StatefulSet),
        _ => None,
    }
}

fn storage(kind: Kind) -> Option<Storage> {
    match kind {
        Kind::Claim => Some(Storage::Claim),
        Kind::Volume => Some(Storage::Volume),
        Kind::Class => Some(Storage::Class),
        Kind::NodeDrivers => Some(Storage::NodeDrivers),
        Kind::Driver => Some(Storage::Driver),
        Kind::Capacity => Some(Storage::Capacity),
        Kind::Attachment => Some(Storage::Attachment),
        _ => None,
    }
}

fn name_of(object: &Value) -> ObjectName {
    let metadata = &object["metadata"];
    ObjectName::new(read::text(metadata, "namespace"), read::text(metadata, "name"))
}

impl State {
    /// These are all objects of a kind; gives what cannot be used of them.
    pub fn replace(
        &mut self,
        kind: Kind,
        objects: &[Arc<Value>],
        now: Moment,
    ) -> Vec<(ObjectName, BadObject)> {
        let names: HashSet<ObjectName> = objects.iter().map(|object| name_of(object)).collect();
        for name in self.names(kind).into_iter().filter(|name| !names.contains(name)) {
            self.gone(kind, &name, now);
        }
        let put = |object: &Arc<Value>| Some((name_of(object), self.put(kind, object, now).err()?));
        objects.iter().filter_map(put).collect()
    }

    /// What is known of a kind.
    fn names(&self, kind: Kind) -> Vec<ObjectName> {
        let plain = |name: &Name| ObjectName::new("", name.clone());
        let storage = &self.world.storage;
        match kind {
            Kind::Pod => self.pods.keys().cloned().collect(),
            Kind::Node => self.world.cluster.order_names().map(plain).collect(),
            Kind::Claim => storage.claims.keys().cloned().collect(),
            Kind::Volume => storage.volumes.keys().map(plain).collect(),
            Kind::Class => storage.classes.keys().map(|name| ObjectName::new("", name.as_str())).collect(),
            Kind::NodeDrivers => storage.limits.keys().map(plain).collect(),
            Kind::Driver => {
                storage.counting_drivers.iter().map(|name| ObjectName::new("", name.as_str())).collect()
            }
            Kind::Capacity => storage.capacities.keys().cloned().collect(),
            Kind::Attachment => storage.attachments.keys().map(plain).collect(),
            Kind::Namespace => {
                let names = self.world.cluster.index().namespaces();
                names.map(|name| ObjectName::new("", name.as_str())).collect()
            }
            Kind::Budget => self.world.budgets.names().cloned().collect(),
            Kind::Service | Kind::ReplicationController | Kind::ReplicaSet | Kind::StatefulSet => {
                let kind = owner(kind).unwrap_or(selectors::Kind::Service);
                self.world.selectors.names(kind)
            }
        }
    }

    /// An object is there, or is another now.
    ///
    /// # Errors
    /// It cannot be used; what was known of it is gone.
    pub fn put(&mut self, kind: Kind, object: &Value, now: Moment) -> Result<(), BadObject> {
        if let Some(owner) = owner(kind) {
            return self.world.selectors.set(owner, object);
        }
        let name = name_of(object);
        match kind {
            Kind::Pod => match Pod::read(object, &mut self.specs) {
                Ok(pod) => self.pod(pod, now),
                Err(error) => {
                    self.gone(kind, &name, now);
                    return Err(error);
                }
            },
            Kind::Node => match Node::read(object) {
                Ok(node) => self.node(node, now),
                Err(error) => {
                    self.gone(kind, &name, now);
                    return Err(error);
                }
            },
            Kind::Namespace => {
                let labels: Labels = read::labels(&object["metadata"]["labels"]);
                self.world.cluster.set_namespace(&name.name, Some(labels));
            }
            Kind::Budget => self.world.budgets.set(object)?,
            _ => self.set_storage(kind, &name, object)?,
        }
        if let Some(storage) = storage(kind) {
            self.happened(Change::Storage(storage), now);
        }
        Ok(())
    }

    /// An object is gone.
    pub fn gone(&mut self, kind: Kind, name: &ObjectName, now: Moment) {
        if let Some(owner) = owner(kind) {
            self.world.selectors.remove(owner, &name.namespace, &name.name);
            return;
        }
        let known = &mut self.world.storage;
        match kind {
            Kind::Pod => self.pod_gone(name, now),
            Kind::Node => {
                if let Some(node) = self.world.cluster.remove_node(&name.name) {
                    self.happened(Change::NodeGone(node), now);
                }
            }
            Kind::Namespace => self.world.cluster.set_namespace(&name.name, None),
            Kind::Budget => self.world.budgets.remove(name),
            Kind::Claim => known.remove_claim(name),
            Kind::Volume => known.remove_volume(&name.name),
            Kind::Class => _ = known.classes.remove(&*name.name),
            Kind::NodeDrivers => _ = known.limits.remove(&name.name),
            Kind::Driver => _ = known.counting_drivers.remove(&*name.name),
            Kind::Capacity => _ = known.capacities.remove(name),
            Kind::Attachment => _ = known.attachments.remove(&name.name),
            _ => {}
        }
        if let Some(storage) = storage(kind) {
            self.happened(Change::Storage(storage), now);
        }
    }

    fn set_storage(&mut self, kind: Kind, name: &ObjectName, object: &Value) -> Result<(), BadObject> {
        let (known, spec) = (&mut self.world.storage, &object["spec"]);
        match kind {
            Kind::Claim => known.set_claim(Claim::read(object)?),
            Kind::Volume => known.set_volume(Volume::read(object)?),
            Kind::Class => _ = known.classes.insert(name.name.to_string(), Class::read(object)),
            Kind::NodeDrivers => {
                let limit = |driver: &Value| {
                    let count = driver["allocatable"]["count"].as_i64()?;
                    Some((read::text(driver, "name").to_owned(), count))
                };
                let limits = read::list(&spec["drivers"]).iter().filter_map(limit).collect();
                known.limits.insert(name.name.clone(), limits);
            }
            Kind::Driver => match spec["storageCapacity"].as_bool() {
                Some(true) => _ = known.counting_drivers.insert(name.name.to_string()),
                _ => _ = known.counting_drivers.remove(&*name.name),
            },
            Kind::Capacity => _ = known.capacities.insert(name.clone(), Capacity::read(object)?),
            Kind::Attachment => {
                let volume = read::name(&spec["source"], "persistentVolumeName");
                known.attachments.insert(name.name.clone(), (read::name(spec, "nodeName"), volume));
            }
            _ => {}
        }
        Ok(())
    }

    fn node(&mut self, node: Node, now: Moment) {
        let name = node.name.clone();
        let old = self.world.cluster.set_node(node);
        let new = self.world.cluster.id(&name).and_then(|id| self.world.cluster.node(id).node.clone());
        let (old, new) = match (old, new) {
            (None, Some(new)) => return self.happened(Change::NodeAdded(new), now),
            (Some(old), Some(new)) => (old, new),
            _ => return,
        };
        let same = old.labels == new.labels
            && old.taints == new.taints
            && old.unschedulable == new.unschedulable
            && old.allocatable == new.allocatable
            && old.pods == new.pods;
        if !same {
            self.happened(Change::NodeChanged { old, new }, now);
        }
    }

    fn pod(&mut self, pod: Pod, now: Moment) {
        let known = self.pods.get(&pod.name);
        if known.is_some_and(|uid| *uid != pod.uid) || pod.ended {
            self.pod_gone(&pod.name.clone(), now);
        }
        if pod.ended {
            return;
        }
        self.pods.insert(pod.name.clone(), pod.uid.clone());
        match pod.node {
            Some(_) => self.there(Arc::new(pod), now),
            None => self.waiting(Arc::new(pod), now),
        }
    }

    /// A pod is on a node.
    fn there(&mut self, pod: Arc<Pod>, now: Moment) {
        self.queue.remove(&pod.uid);
        self.nominated.remove(&pod.uid);
        if let Some(plan) = self.assumed.remove(&pod.uid) {
            self.world.storage.forget(&plan);
        }
        let old = self.world.cluster.pod(&pod.uid).cloned();
        if old.as_ref().is_some_and(|old| **old == *pod) {
            return;
        }
        self.world.cluster.add_pod(pod.clone());
        match old {
            Some(old) if old.node == pod.node => {
                if old.spec != pod.spec || old.deleting != pod.deleting {
                    self.happened(Change::PodChanged { old, new: pod }, now);
                }
            }
            Some(elsewhere) => {
                self.happened(Change::PodGone(elsewhere), now);
                self.happened(Change::PodPlaced(pod), now);
            }
            None => self.happened(Change::PodPlaced(pod), now),
        }
    }

    /// A pod has no node.
    fn waiting(&mut self, pod: Arc<Pod>, now: Moment) {
        let profile = self.profile_of(&pod);
        let Some(profile) = profile.filter(|_| !pod.deleting) else {
            if let Some(old) = self.queue.remove(&pod.uid) {
                self.unnominate(&old, now);
            }
            return;
        };
        if self.assumed.contains_key(&pod.uid) {
            // Its binding is under way; what changed comes again with its node, or is read when it fails.
            return;
        }
        match (&pod.nominated, self.queue.get(&pod.uid).is_some_and(|old| old.nominated.is_some())) {
            (Some(node), _) => self.nominated.set(&pod, &node.clone()),
            (None, true) => self.nominated.remove(&pod.uid),
            // Room was made a moment ago, and the pod does not say so yet.
            (None, false) => {}
        }
        self.queue.set(pod, &self.profiles[profile], now);
    }

    fn pod_gone(&mut self, name: &ObjectName, now: Moment) {
        let Some(uid) = self.pods.remove(name) else { return };
        self.doomed.remove(&uid);
        if let Some(plan) = self.assumed.remove(&uid) {
            self.world.storage.forget(&plan);
        }
        if let Some(pod) = self.queue.remove(&uid) {
            self.unnominate(&pod, now);
        }
        if let Some(pod) = self.world.cluster.remove_pod(&uid) {
            self.happened(Change::PodGone(pod), now);
        }
    }

    /// Room that was made for a pod is others' now.
    fn unnominate(&mut self, pod: &Arc<Pod>, now: Moment) {
        let Some(node) = self.nominated.node_of(&pod.uid).cloned() else { return };
        self.nominated.remove(&pod.uid);
        let pod = Pod { nominated: Some(node), ..Pod::clone(pod) };
        self.happened(Change::PodGone(Arc::new(pod)), now);
    }
}
