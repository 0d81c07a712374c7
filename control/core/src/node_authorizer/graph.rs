//! What leads to which node: pods, what they refer to, and volumes behind their claims.

use std::collections::{BTreeSet, HashMap};

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
pub(super) type Reference = (Thing, String, String);

/// Kept current by [`Graph::changed`].
#[derive(Debug, Default)]
pub struct Graph {
    /// From what a pod, an attachment or a slice refers to (and from itself) to nodes, with the number of ways.
    nodes: HashMap<Reference, HashMap<String, u32>>,
    /// What each of them contributed: its node, and what it refers to.
    sources: HashMap<Reference, (String, BTreeSet<Reference>)>,
    /// Volumes by name: the claim they are bound to, and the secrets that a node needs for them.
    volumes: HashMap<String, (Reference, BTreeSet<Reference>)>,
    /// From such a secret to the volumes.
    secrets: HashMap<Reference, BTreeSet<String>>,
}

impl Graph {
    /// Which resources it must be told of, as [`crate::kind::Kind::qualified`] has them.
    pub const FOLLOWS: [&str; 4] =
        ["pods", "persistentvolumes", "volumeattachments.storage.k8s.io", "resourceslices.resource.k8s.io"];

    /// Takes an object in, or out where there is none any more.
    pub fn changed(&mut self, resource: &str, namespace: &str, name: &str, object: Option<&Value>) {
        let of = |thing| (thing, namespace.to_owned(), name.to_owned());
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
        let new = new.map(|(node, mut referred)| {
            referred.insert(source.clone());
            (node.to_owned(), referred)
        });
        if self.sources.get(&source) == new.as_ref() {
            return;
        }
        if let Some((node, referred)) = self.sources.remove(&source) {
            for reference in referred {
                self.release(&reference, &node);
            }
        }
        let Some((node, referred)) = new else { return };
        for reference in &referred {
            *self.nodes.entry(reference.clone()).or_default().entry(node.clone()).or_default() += 1;
        }
        self.sources.insert(source, (node, referred));
    }

    fn release(&mut self, reference: &Reference, node: &str) {
        let Some(nodes) = self.nodes.get_mut(reference) else { return };
        match nodes.get_mut(node) {
            Some(ways) if *ways > 1 => *ways -= 1,
            _ => drop(nodes.remove(node)),
        }
        if nodes.is_empty() {
            self.nodes.remove(reference);
        }
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
        let reference = (thing, namespace.to_owned(), name.to_owned());
        let direct =
            |reference: &Reference| self.nodes.get(reference).is_some_and(|nodes| nodes.contains_key(node));
        let by_volume = |volume: &String| self.volumes.get(volume).is_some_and(|(claim, _)| direct(claim));
        direct(&reference)
            || thing == Thing::Volume && by_volume(&reference.2)
            || self.secrets.get(&reference).is_some_and(|volumes| volumes.iter().any(by_volume))
    }
}
