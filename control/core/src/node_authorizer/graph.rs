//! What leads to which node: pods, what they refer to, and volumes behind their claims.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use serde_json::Value;

use super::references;

/// A kind of object that a node may reach.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Thing {
    Pod,
    Secret,
    ConfigMap,
    ServiceAccount,
    Claim,
    ResourceClaim,
    Volume,
    Attachment,
    ResourceSlice,
}

/// Kind, namespace and name.
pub(super) type Reference = (Thing, Arc<str>, Arc<str>);

/// Kept current by [`Graph::changed`].
///
/// There is one source for every pod of the cluster: names are shared, and lists have the room that they need.
#[derive(Debug, Default)]
pub struct Graph {
    /// From what a pod, an attachment or a slice refers to (and from itself) to nodes, with the number of ways.
    nodes: HashMap<Reference, Ways>,
    /// What each of them contributed: its node, and what it refers to, in order.
    sources: HashMap<Reference, Source>,
    /// Volumes by name: the claim they are bound to, and the secrets that a node needs for them.
    volumes: HashMap<String, (Reference, BTreeSet<Reference>)>,
    /// From such a secret to the volumes.
    secrets: HashMap<Reference, BTreeSet<String>>,
}

type Source = (Arc<str>, Box<[Reference]>);

/// Nodes from which something is reached, and by how many sources.
#[derive(Debug)]
enum Ways {
    /// As most things are: pods all, and the secrets and maps of one pod.
    One(Arc<str>, u32),
    Many(HashMap<Arc<str>, u32>),
}

impl Ways {
    fn from(&self, node: &str) -> bool {
        match self {
            Self::One(only, _) => &**only == node,
            Self::Many(nodes) => nodes.contains_key(node),
        }
    }

    fn add(&mut self, node: &Arc<str>) {
        match self {
            Self::One(only, count) if only == node => *count += 1,
            Self::One(only, count) => {
                *self = Self::Many(HashMap::from([(only.clone(), *count), (node.clone(), 1)]));
            }
            Self::Many(nodes) => *nodes.entry(node.clone()).or_default() += 1,
        }
    }

    /// Whether any is left.
    fn take(&mut self, node: &str) -> bool {
        match self {
            Self::One(only, count) => {
                *count -= u32::from(&**only == node);
                *count > 0
            }
            Self::Many(nodes) => {
                if let Some(count) = nodes.get_mut(node) {
                    *count -= 1;
                    if *count == 0 {
                        nodes.remove(node);
                    }
                }
                !nodes.is_empty()
            }
        }
    }
}

impl Graph {
    /// Which resources it must be told of, as [`crate::kind::Kind::qualified`] has them.
    pub const FOLLOWS: [&str; 4] =
        ["pods", "persistentvolumes", "volumeattachments.storage.k8s.io", "resourceslices.resource.k8s.io"];

    /// Takes an object in, or out where there is none any more.
    pub fn changed(&mut self, resource: &str, namespace: &str, name: &str, object: Option<&Value>) {
        let of = |thing| (thing, namespace.into(), name.into());
        let node =
            object.and_then(|object| object["spec"]["nodeName"].as_str()).filter(|node| !node.is_empty());
        match resource {
            "pods" => {
                let referred = node.and(object).map(|pod| references::of_pod(pod, namespace, name));
                self.put(of(Thing::Pod), node.zip(referred));
            }
            "volumeattachments.storage.k8s.io" => {
                self.put(of(Thing::Attachment), node.map(|node| (node, BTreeSet::new())))
            }
            "resourceslices.resource.k8s.io" => {
                self.put(of(Thing::ResourceSlice), node.map(|node| (node, BTreeSet::new())));
            }
            "persistentvolumes" => self.put_volume(name, object.and_then(references::of_volume)),
            _ => {}
        }
    }

    fn put(&mut self, source: Reference, new: Option<(&str, BTreeSet<Reference>)>) {
        let known = self.sources.get(&source);
        let new = new.map(|(node, mut referred)| {
            referred.insert(source.clone());
            (node, referred)
        });
        if let (Some((node, referred)), Some((now, refers))) = (known, &new)
            && **node == **now
            && referred.iter().eq(refers)
        {
            return;
        }
        if let Some((node, referred)) = self.sources.remove(&source) {
            for reference in &referred {
                if self.nodes.get_mut(reference).is_some_and(|ways| !ways.take(&node)) {
                    self.nodes.remove(reference);
                }
            }
        }
        let Some((node, referred)) = new else { return };
        let node: Arc<str> = node.into();
        let mut shared = Vec::with_capacity(referred.len());
        for reference in referred {
            // The name that is there already, for all who refer to it.
            let reference = match self.nodes.get_key_value(&reference) {
                Some((known, _)) => known.clone(),
                None => reference,
            };
            match self.nodes.get_mut(&reference) {
                Some(ways) => ways.add(&node),
                None => drop(self.nodes.insert(reference.clone(), Ways::One(node.clone(), 1))),
            }
            shared.push(reference);
        }
        self.sources.insert(source, (node, shared.into()));
    }

    fn put_volume(&mut self, name: &str, new: Option<(Reference, BTreeSet<Reference>)>) {
        if let Some((_, secrets)) = self.volumes.remove(name) {
            for secret in secrets {
                if let Some(volumes) = self.secrets.get_mut(&secret) {
                    volumes.remove(name);
                    if volumes.is_empty() {
                        self.secrets.remove(&secret);
                    }
                }
            }
        }
        let Some((claim, secrets)) = new else { return };
        for secret in &secrets {
            self.secrets.entry(secret.clone()).or_default().insert(name.to_owned());
        }
        self.volumes.insert(name.to_owned(), (claim, secrets));
    }

    /// The node has a pod that needs the object, or the object is of the node itself.
    pub fn leads_to(&self, thing: Thing, namespace: &str, name: &str, node: &str) -> bool {
        let reference: Reference = (thing, namespace.into(), name.into());
        let direct = |reference: &Reference| self.nodes.get(reference).is_some_and(|ways| ways.from(node));
        let by_volume = |volume: &str| self.volumes.get(volume).is_some_and(|(claim, _)| direct(claim));
        direct(&reference)
            || thing == Thing::Volume && by_volume(name)
            || self
                .secrets
                .get(&reference)
                .is_some_and(|volumes| volumes.iter().any(|volume| by_volume(volume)))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_stays_open_to_a_node_until_the_last_pod_that_needs_it_has_gone() {
        let mut graph = Graph::default();
        let put = |graph: &mut Graph, name: &str, node: &str| {
            let pod = json!({"spec": {"nodeName": node, "volumes": [{"secret": {"secretName": "s"}}]}});
            graph.changed("pods", "a", name, Some(&pod));
        };
        let open = |graph: &Graph| ["n1", "n2"].map(|node| graph.leads_to(Thing::Secret, "a", "s", node));
        put(&mut graph, "1", "n1");
        put(&mut graph, "2", "n1");
        assert_eq!(open(&graph), [true, false]);
        put(&mut graph, "3", "n2");
        put(&mut graph, "3", "n2");
        assert_eq!(open(&graph), [true, true]);
        graph.changed("pods", "a", "1", None);
        assert_eq!(open(&graph), [true, true]);
        put(&mut graph, "2", "n2");
        assert_eq!(open(&graph), [false, true], "it has moved");
        graph.changed("pods", "a", "3", None);
        graph.changed("pods", "a", "2", None);
        assert_eq!(open(&graph), [false, false]);
        assert!(graph.nodes.is_empty() && graph.sources.is_empty());
    }
}
