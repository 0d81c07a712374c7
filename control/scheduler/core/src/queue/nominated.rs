//! Pods for which room was made on a node, and that are not there yet.

use std::collections::HashMap;
use std::sync::Arc;

use apiclient_core::names::Name;

use crate::pod::Pod;

#[derive(Debug, Default)]
pub struct Nominated {
    by_node: HashMap<Name, Vec<Arc<Pod>>>,
    node_of: HashMap<Name, Name>,
}

impl Nominated {
    /// Room is made for a pod there; before, it may have been elsewhere.
    pub fn set(&mut self, pod: &Arc<Pod>, node: &Name) {
        self.remove(&pod.uid);
        self.by_node.entry(node.clone()).or_default().push(pod.clone());
        self.node_of.insert(pod.uid.clone(), node.clone());
    }

    pub fn remove(&mut self, uid: &str) {
        let Some(node) = self.node_of.remove(uid) else { return };
        if let Some(pods) = self.by_node.get_mut(&node) {
            pods.retain(|pod| &*pod.uid != uid);
            if pods.is_empty() {
                self.by_node.remove(&node);
            }
        }
    }

    pub fn node_of(&self, uid: &str) -> Option<&Name> {
        self.node_of.get(uid)
    }

    pub fn on(&self, node: &str) -> impl Iterator<Item = &Arc<Pod>> {
        self.by_node.get(node).into_iter().flatten()
    }

    pub fn is_empty(&self) -> bool {
        self.by_node.is_empty()
    }
}
