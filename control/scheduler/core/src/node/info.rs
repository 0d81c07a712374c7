//! What is on a node, in sums.

use std::sync::Arc;

use apiclient_core::names::Name;

use super::Node;
use crate::pod::Pod;
use crate::pod::uses::{Port, Volume};
use crate::resources::Resources;

/// A node and its pods. Pods may be known before their node is.
#[derive(Clone, Debug, Default)]
pub struct NodeInfo {
    pub name: Name,
    /// `None`: there are pods that say they are here, and no such node.
    pub node: Option<Arc<Node>>,
    pub pods: Vec<Arc<Pod>>,
    pub requested: Resources,
    /// CPU and memory where containers without requests count as some.
    pub nonzero: (i64, i64),
    pub ports: Vec<Port>,
    /// Volumes that other pods may not have beside them.
    pub disks: Vec<Volume>,
}

impl NodeInfo {
    pub fn new(name: Name) -> Self {
        Self { name, ..Self::default() }
    }

    pub fn add(&mut self, pod: Arc<Pod>) {
        let spec = &pod.spec;
        self.requested.add(&spec.requests);
        self.nonzero.0 = self.nonzero.0.saturating_add(spec.nonzero.0);
        self.nonzero.1 = self.nonzero.1.saturating_add(spec.nonzero.1);
        self.ports.extend(spec.ports.iter().cloned());
        self.disks.extend(disks(&spec.volumes).cloned());
        self.pods.push(pod);
    }

    /// Takes it out again; false where it was not there.
    pub fn remove(&mut self, uid: &str) -> bool {
        let Some(at) = self.pods.iter().position(|pod| &*pod.uid == uid) else { return false };
        let pod = self.pods.swap_remove(at);
        let spec = &pod.spec;
        self.requested.subtract(&spec.requests);
        self.nonzero.0 = self.nonzero.0.saturating_sub(spec.nonzero.0);
        self.nonzero.1 = self.nonzero.1.saturating_sub(spec.nonzero.1);
        for port in &spec.ports {
            forget(&mut self.ports, port);
        }
        for disk in disks(&spec.volumes) {
            forget(&mut self.disks, disk);
        }
        true
    }
}

fn disks(volumes: &[Volume]) -> impl Iterator<Item = &Volume> {
    volumes.iter().filter(|volume| matches!(volume, Volume::Disk { .. }))
}

fn forget<T: PartialEq>(all: &mut Vec<T>, one: &T) {
    if let Some(at) = all.iter().position(|known| known == one) {
        all.swap_remove(at);
    }
}
