//! Labels of nodes that rules about other pods name, with a small number for each of their values.
//!
//! Owns: [`Topology`]. A label is followed from the first rule that names it. Never: counts pods.

use std::collections::HashMap;

use super::NodeId;
use crate::Labels;

/// A label that some rule names.
pub type KeyId = usize;

/// A value of such a label. Nodes with the same value are beside each other.
pub type Domain = u32;

/// The node does not have the label.
pub const NOWHERE: Domain = u32::MAX;

#[derive(Debug, Default)]
pub struct Topology {
    ids: HashMap<String, KeyId>,
    keys: Vec<Key>,
}

#[derive(Debug)]
struct Key {
    name: String,
    values: HashMap<String, Domain>,
    /// By the node's number.
    of_node: Vec<Domain>,
}

impl Topology {
    /// Its number, and whether it is followed from now on; then every node has to be placed.
    pub fn key(&mut self, name: &str) -> (KeyId, bool) {
        if let Some(id) = self.ids.get(name) {
            return (*id, false);
        }
        let id = self.keys.len();
        self.keys.push(Key { name: name.to_owned(), values: HashMap::new(), of_node: Vec::new() });
        self.ids.insert(name.to_owned(), id);
        (id, true)
    }

    /// Labels that are followed.
    pub fn keys(&self) -> usize {
        self.keys.len()
    }

    pub fn name(&self, key: KeyId) -> &str {
        &self.keys[key].name
    }

    /// Where a node is now; without labels it is nowhere.
    pub fn place(&mut self, key: KeyId, node: NodeId, labels: Option<&Labels>) {
        let key = &mut self.keys[key];
        if key.of_node.len() <= node {
            key.of_node.resize(node + 1, NOWHERE);
        }
        let value = labels.and_then(|labels| labels.get(&key.name));
        key.of_node[node] = match value {
            None => NOWHERE,
            Some(value) => match key.values.get(value) {
                Some(domain) => *domain,
                None => {
                    let domain = Domain::try_from(key.values.len()).unwrap_or(NOWHERE);
                    key.values.insert(value.clone(), domain);
                    domain
                }
            },
        };
    }

    pub fn domain(&self, key: KeyId, node: NodeId) -> Domain {
        self.keys[key].of_node.get(node).copied().unwrap_or(NOWHERE)
    }

    /// Values that were seen of a label.
    pub fn domains(&self, key: KeyId) -> usize {
        self.keys[key].values.len()
    }
}
