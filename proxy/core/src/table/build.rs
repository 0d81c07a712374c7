//! From objects to a table, all at once or as they change.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

use crate::cluster::{Cluster, Touched};
use crate::names::{Family, Name, PortName, Protocol, ServiceName};
use crate::options::Options;
use crate::table::index::Looked;
use crate::table::overlap::{WithNodes, overlaps};
use crate::table::port::{Made, make};
use crate::table::{NodeView, Overlap, PortChange, PortKey, Report, ServiceTable, TableDelta};

impl ServiceTable {
    pub fn build(cluster: &Cluster, options: &Options) -> Self {
        let mut table = ServiceTable::default();
        let services = cluster.services().map(|service| service.name.clone()).collect();
        table.rebuild(cluster, options, &Touched { services, ..Touched::default() });
        table
    }

    /// Looks again at what was touched, at a cost that goes with it. Other options, or another Node that matters to
    /// every service, cost a look at everything.
    pub fn rebuild(&mut self, cluster: &Cluster, options: &Options, touched: &Touched) -> TableDelta {
        let Looked { mut again, cluster_ips } = self.index.look(cluster, &touched.services);
        let mut delta = TableDelta { cluster_ips, ..TableDelta::default() };
        let service_cidrs = self.service_cidrs(cluster, options, touched, &mut delta);
        let node = NodeView::new(cluster, options, &service_cidrs);
        if node != self.node {
            if !node.serves_alike(&self.node) {
                again.extend(self.index.services().cloned());
            }
            delta.node_before = Some(std::mem::replace(&mut self.node, node));
        }
        for name in again {
            let made = match self.index.seen(&name) {
                Some((service, slices)) => make(service, slices, &self.node, &self.index),
                None => Made::default(),
            };
            delta.looked += made.ports.len();
            self.put(&name, made, &mut delta);
        }
        delta.ports.sort_unstable_by(|one, other| one.key.cmp(&other.key));
        delta
    }

    /// The ranges of ClusterIPs that overlap with nothing. Says which of the others are new.
    fn service_cidrs(
        &mut self,
        cluster: &Cluster,
        options: &Options,
        touched: &Touched,
        delta: &mut TableDelta,
    ) -> Vec<IpNet> {
        let mut cidrs = cluster.service_cidrs();
        if touched.cidrs || !touched.nodes.is_empty() {
            self.with_nodes = None;
        }
        let nodes = self.with_nodes.get_or_insert_with(|| WithNodes::new(cluster, &cidrs));
        let overlaps = overlaps(&cidrs, options, nodes, &self.index);
        let known = |new: &&Overlap| self.overlaps.iter().any(|old| old.cidr == new.cidr);
        let new = overlaps.iter().filter(|new| !known(new));
        delta.reports.extend(new.cloned().map(Report::Overlap));
        cidrs.retain(|cidr| overlaps.iter().all(|overlap| overlap.cidr != *cidr));
        self.overlaps = overlaps;
        cidrs
    }

    /// Whether a service has this ClusterIP. Connections to other ports of it are refused.
    pub fn is_cluster_ip(&self, ip: IpAddr) -> bool {
        self.index.is_cluster_ip(ip)
    }

    /// All ClusterIPs, of both families.
    pub fn cluster_ips(&self) -> BTreeSet<IpAddr> {
        self.index.cluster_ips()
    }

    fn put(&mut self, name: &ServiceName, made: Made, delta: &mut TableDelta) {
        let mut gone: BTreeSet<PortKey> =
            Family::BOTH.into_iter().flat_map(|family| self.keys(family, name)).collect();
        for port in made.ports {
            let key = port.key();
            gone.remove(&key);
            if self.ports.get(&key).is_some_and(|old| **old == port) {
                continue;
            }
            let new = Arc::new(port);
            let old = self.ports.insert(key.clone(), new.clone());
            delta.ports.push(PortChange { key, old, new: Some(new) });
        }
        for key in gone {
            let old = self.ports.remove(&key);
            delta.ports.push(PortChange { key, old, new: None });
        }
        for family in Family::BOTH {
            let check = made.health.iter().find(|(of, _)| *of == family).map(|(_, check)| *check);
            let key = (family, name.clone());
            let old = match check {
                Some(check) => self.health.insert(key.clone(), check),
                None => self.health.remove(&key),
            };
            if old != check {
                delta.health.push(key);
            }
        }
        self.report(name, made.reports.into_iter().collect(), delta);
    }

    fn report(&mut self, name: &ServiceName, now: Vec<Report>, delta: &mut TableDelta) {
        let before = self.reports.remove(name).unwrap_or_default();
        delta.reports.extend(now.iter().filter(|report| !before.contains(report)).cloned());
        if !now.is_empty() {
            self.reports.insert(name.clone(), now);
        }
    }

    fn keys(&self, family: Family, name: &ServiceName) -> impl Iterator<Item = PortKey> {
        let first = PortName { service: name.clone(), port: Name::default(), protocol: Protocol::Tcp };
        let name = name.clone();
        let rest = self.ports.range((family, first)..).map(|(key, _)| key);
        rest.take_while(move |(of, port)| *of == family && port.service == name).cloned()
    }
}
