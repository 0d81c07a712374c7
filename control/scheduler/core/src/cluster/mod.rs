//! All nodes and the pods on them, kept up to date by each change.
//!
//! Owns: [`Cluster`]: nodes by number, the order in which they are asked, the pods that are placed or assumed to be, and the
//! [`index::Index`] of counts. A pod that was placed is taken out as it was put in, so that the sums stay right whatever
//! became of it meanwhile. Never: decides where a pod goes.

pub mod index;
mod order;
mod slots;
pub mod topology;

use std::collections::HashMap;
use std::sync::Arc;

use apiclient_core::names::Name;

use crate::Labels;
use crate::node::{Node, NodeInfo};
use crate::pod::Pod;
use crate::pod::affinity::Rule;
use index::{GroupId, GroupKey, Index, Kind, MatcherId, MatcherKey, RuleId, RuleKey};
use order::Order;
use topology::{Domain, KeyId, Topology};

/// A node's number, for as long as the cluster lives.
pub type NodeId = usize;

/// The label that tells nodes apart.
pub const HOSTNAME: &str = "kubernetes.io/hostname";
/// The label that tells zones apart.
pub const ZONE: &str = "topology.kubernetes.io/zone";

#[derive(Debug, Default)]
pub struct Cluster {
    nodes: Vec<NodeInfo>,
    by_name: HashMap<Name, NodeId>,
    order: Order,
    topology: Topology,
    index: Index,
    placed: HashMap<Name, Placed>,
    /// Of an image: the size that the first node says, and how many nodes have it.
    images: HashMap<Name, (i64, u32)>,
    /// Placed pods that use a claim, by namespace and name.
    claims: HashMap<(String, Name), u32>,
}

#[derive(Clone, Debug)]
struct Placed {
    pod: Arc<Pod>,
    node: NodeId,
    group: GroupId,
    rules: Vec<(RuleId, i64)>,
}

impl Cluster {
    /// A node is there, or is another now; gives what it was.
    pub fn set_node(&mut self, node: Node) -> Option<Arc<Node>> {
        let id = self.number(&node.name.clone());
        if let Some(old) = self.nodes[id].node.as_ref().filter(|old| ***old == node) {
            return Some(old.clone());
        }
        let node = Arc::new(node);
        let old = self.nodes[id].node.clone();
        let moved = old.as_ref().is_none_or(|old| old.labels != node.labels);
        if moved {
            self.count_node(id, -1);
        }
        if old.as_ref().is_none_or(|old| old.images != node.images) {
            self.count_images(old.as_deref(), -1);
            self.count_images(Some(&node), 1);
        }
        let zone = |node: &Node| node.zone();
        if old.as_deref().map(zone) != Some(zone(&node)) {
            if let Some(old) = &old {
                self.order.remove(id, &old.zone());
            }
            self.order.add(id, &node.zone());
        }
        self.nodes[id].node = Some(node);
        if moved {
            self.place(id);
            self.count_node(id, 1);
        }
        old
    }

    /// A node is gone; its pods stay known, and count again when it comes back.
    pub fn remove_node(&mut self, name: &str) -> Option<Arc<Node>> {
        let id = *self.by_name.get(name)?;
        let old = self.nodes[id].node.clone()?;
        self.count_node(id, -1);
        self.count_images(Some(&old), -1);
        self.order.remove(id, &old.zone());
        self.nodes[id].node = None;
        self.place(id);
        Some(old)
    }

    /// A pod is on a node, or assumed to be. One of the same UID is replaced.
    pub fn add_pod(&mut self, pod: Arc<Pod>) {
        let Some(node) = pod.node.clone() else { return };
        self.remove_pod(&pod.uid);
        let id = self.number(&node);
        let group = self.group(&pod);
        let rules = self.rules(&pod);
        for claim in claims(&pod) {
            *self.claims.entry((pod.spec.namespace.clone(), claim.clone())).or_default() += 1;
        }
        let placed = Placed { pod: pod.clone(), node: id, group, rules };
        self.nodes[id].add(pod.clone());
        if self.nodes[id].node.is_some() {
            self.count(&placed, 1);
        }
        self.placed.insert(pod.uid.clone(), placed);
    }

    /// A pod is not on its node any more.
    pub fn remove_pod(&mut self, uid: &str) -> Option<Arc<Pod>> {
        let placed = self.placed.remove(uid)?;
        if self.nodes[placed.node].node.is_some() {
            self.count(&placed, -1);
        }
        self.nodes[placed.node].remove(uid);
        for claim in claims(&placed.pod) {
            let key = (placed.pod.spec.namespace.clone(), claim.clone());
            if let Some(count) = self.claims.get_mut(&key) {
                *count -= 1;
                if *count == 0 {
                    self.claims.remove(&key);
                }
            }
        }
        Some(placed.pod)
    }

    /// The pod of that UID, if it is placed.
    pub fn pod(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.placed.get(uid).map(|placed| &placed.pod)
    }

    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.placed.values().map(|placed| &placed.pod)
    }

    pub fn set_namespace(&mut self, name: &str, labels: Option<Labels>) {
        self.index.namespace(name, labels, &self.topology);
    }

    pub fn node(&self, id: NodeId) -> &NodeInfo {
        &self.nodes[id]
    }

    pub fn id(&self, name: &str) -> Option<NodeId> {
        self.by_name.get(name).copied().filter(|id| self.nodes[*id].node.is_some())
    }

    /// The nodes that are there, in the order in which they are asked. Before an attempt only: forgets what is not used.
    pub fn settle(&mut self) {
        self.order.settle();
        self.index.sweep();
    }

    /// As of the last [`Cluster::settle`].
    pub fn order(&self) -> &[NodeId] {
        self.order.list()
    }

    /// The nodes that are there.
    pub fn order_names(&self) -> impl Iterator<Item = &Name> {
        self.nodes.iter().filter(|info| info.node.is_some()).map(|info| &info.name)
    }

    pub fn index(&self) -> &Index {
        &self.index
    }

    pub fn domain(&self, key: KeyId, node: NodeId) -> Domain {
        self.topology.domain(key, node)
    }

    pub fn topology(&self) -> &Topology {
        &self.topology
    }

    /// The group of pods that rules cannot tell from this one.
    pub fn group(&mut self, pod: &Pod) -> GroupId {
        self.index.group(&GroupKey {
            namespace: pod.spec.namespace.clone(),
            labels: pod.spec.labels.clone(),
            deleting: pod.deleting,
        })
    }

    /// The number of a label; its values are followed from now on.
    pub fn key(&mut self, label: &str) -> KeyId {
        let (key, new) = self.topology.key(label);
        if new {
            for id in 0..self.nodes.len() {
                let labels = self.nodes[id].node.as_ref().map(|node| &node.labels);
                self.topology.place(key, id, labels);
            }
        }
        key
    }

    pub fn matcher(&mut self, key: &MatcherKey, label: Option<KeyId>) -> MatcherId {
        self.index.matcher(key, label, &self.topology)
    }

    /// An image's size, and how many nodes have it.
    pub fn image(&self, name: &str) -> Option<(i64, u32)> {
        self.images.get(name).copied()
    }

    /// Some placed pod uses this claim.
    pub fn uses_claim(&self, namespace: &str, claim: &Name) -> u32 {
        self.claims.get(&(namespace.to_owned(), claim.clone())).copied().unwrap_or_default()
    }

    fn number(&mut self, name: &Name) -> NodeId {
        if let Some(id) = self.by_name.get(name) {
            return *id;
        }
        let id = self.nodes.len();
        self.nodes.push(NodeInfo::new(name.clone()));
        self.by_name.insert(name.clone(), id);
        id
    }

    fn place(&mut self, id: NodeId) {
        let labels = self.nodes[id].node.as_ref().map(|node| &node.labels);
        for key in 0..self.topology.keys() {
            self.topology.place(key, id, labels);
        }
    }

    fn count_node(&mut self, id: NodeId, sign: i64) {
        if self.nodes[id].node.is_none() {
            return;
        }
        for pod in self.nodes[id].pods.clone() {
            let Some(mut placed) = self.placed.get(&pod.uid).cloned() else { continue };
            if sign > 0 {
                // While they did not count, their numbers may have been given to others.
                (placed.group, placed.rules) = (self.group(&pod), self.rules(&pod));
                self.placed.insert(pod.uid.clone(), placed.clone());
            }
            self.count(&placed, sign);
        }
    }

    fn count(&mut self, placed: &Placed, sign: i64) {
        self.index.count(placed.group, placed.node, sign, &self.topology);
        for (rule, weight) in &placed.rules {
            self.index.count_owner(*rule, placed.node, sign, *weight, &self.topology);
        }
    }

    fn rules(&mut self, pod: &Pod) -> Vec<(RuleId, i64)> {
        if pod.spec.affinity.is_empty() {
            return Vec::new();
        }
        let affinity = &pod.spec.affinity;
        let plain = |rules: &'_ [Rule], kind| -> Vec<(Rule, Kind, i64)> {
            rules.iter().map(|rule| (rule.clone(), kind, 1)).collect()
        };
        let mut all = plain(&affinity.anti_required, Kind::Anti);
        all.extend(plain(&affinity.required, Kind::Near));
        let liked = affinity.preferred.iter();
        all.extend(liked.map(|(weight, rule)| (rule.clone(), Kind::Likes, i64::from(*weight))));
        all.into_iter()
            .map(|(rule, kind, weight)| {
                let key = self.key(&rule.topology_key);
                (self.index.rule(&RuleKey { term: rule.term, key, kind }), weight)
            })
            .collect()
    }

    fn count_images(&mut self, node: Option<&Node>, sign: i64) {
        for (name, size) in node.iter().flat_map(|node| &node.images) {
            let (_, count) = self.images.entry(name.clone()).or_insert((*size, 0));
            *count = if sign > 0 { *count + 1 } else { count.saturating_sub(1) };
            if *count == 0 {
                self.images.remove(name);
            }
        }
    }
}

fn claims(pod: &Pod) -> impl Iterator<Item = &Name> {
    pod.spec.volumes.iter().filter_map(|volume| match volume {
        crate::pod::uses::Volume::Claim { name, .. } => Some(name),
        _ => None,
    })
}
