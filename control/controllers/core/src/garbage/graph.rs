//! Who depends on whom.
//!
//! By uid, and whatever the order in which objects become known: a dependent may be known before its owner.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use control_core::edit::{list, text};
use serde_json::{Value, json};

use super::{FOREGROUND, Identity, ORPHAN, Uid};
use crate::discovery::Resource;
use crate::object;

/// Owners that are remembered as gone; of others the server is asked.
const REMEMBERED: usize = 20_000;

/// All that is known. Every change returns the uids of the objects that have to be looked at.
#[derive(Debug, Default)]
pub struct Graph {
    pub(super) nodes: HashMap<Uid, Node>,
    /// Objects that refer to an owner, whether that is known or not.
    pub(super) dependents: HashMap<Uid, BTreeSet<Uid>>,
    of_kind: HashMap<Arc<Resource>, HashSet<Uid>>,
    /// By group and name of the kind.
    pub(super) kinds: HashMap<(String, String), Arc<Resource>>,
    gone: HashSet<Uid>,
    /// In the order in which they went.
    gone_first: VecDeque<Uid>,
}

/// An object.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub identity: Identity,
    pub version: u64,
    pub owners: Vec<Owner>,
    pub deleting: bool,
    pub finalizers: Vec<Box<str>>,
}

/// A reference to an owner.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub api_version: Box<str>,
    pub kind: Box<str>,
    pub name: Box<str>,
    pub uid: Uid,
    pub controller: Option<bool>,
    pub block: Option<bool>,
}

impl Owner {
    fn of(reference: &Value) -> Self {
        let field = |name| Box::from(text(reference, &[name]));
        Self {
            api_version: field("apiVersion"),
            kind: field("kind"),
            name: field("name"),
            uid: Arc::from(text(reference, &["uid"])),
            controller: reference["controller"].as_bool(),
            block: reference["blockOwnerDeletion"].as_bool(),
        }
    }

    pub fn group(&self) -> &str {
        self.api_version.split_once('/').map_or("", |(group, _)| group)
    }

    pub fn blocks(&self) -> bool {
        self.block == Some(true)
    }

    pub fn reference(&self) -> Value {
        let mut reference =
            json!({"apiVersion": self.api_version, "kind": self.kind, "name": self.name, "uid": &*self.uid});
        for (field, value) in [("controller", self.controller), ("blockOwnerDeletion", self.block)] {
            if let Some(value) = value {
                reference[field] = value.into();
            }
        }
        reference
    }
}

impl Node {
    fn of(kind: &Arc<Resource>, object: &Value) -> Self {
        let finalizers = list(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str);
        Self {
            identity: Identity {
                kind: Arc::clone(kind),
                name: object::key(object),
                uid: Arc::from(object::uid(object)),
            },
            version: object::version(object),
            owners: list(object, &["metadata", "ownerReferences"]).iter().map(Owner::of).collect(),
            deleting: object::is_deleting(object),
            finalizers: finalizers.map(Box::from).collect(),
        }
    }

    pub fn has(&self, finalizer: &str) -> bool {
        self.finalizers.iter().any(|own| &**own == finalizer)
    }

    /// It is going, and waits for its dependents.
    pub fn is_waiting(&self) -> bool {
        self.deleting && self.has(FOREGROUND)
    }

    /// An owner that a reference of `dependent` means.
    pub fn is_meant(&self, reference: &Owner, dependent: &Identity) -> bool {
        let Identity { kind, name, .. } = &self.identity;
        *kind.kind == *reference.kind
            && kind.group == reference.group()
            && *name.name == *reference.name
            && (name.namespace.is_empty() || name.namespace == dependent.name.namespace)
    }
}

impl Graph {
    /// The kinds that a server has: references name them.
    pub fn discovered(&mut self, resources: &[Resource]) {
        let whole = resources.iter().filter(|resource| resource.can("get"));
        self.kinds =
            whole.map(|found| ((found.group.clone(), found.kind.clone()), Arc::new(found.clone()))).collect();
    }

    /// News: all objects of a kind.
    pub fn listed(&mut self, kind: &Arc<Resource>, objects: &[Arc<Value>]) -> Vec<Uid> {
        let listed: HashSet<&str> = objects.iter().map(|object| object::uid(object)).collect();
        let known = self.of_kind.get(kind).into_iter().flatten();
        let vanished: Vec<Uid> = known.filter(|uid| !listed.contains(&***uid)).cloned().collect();
        let mut look: Vec<Uid> = vanished.iter().flat_map(|uid| self.remove(uid)).collect();
        look.extend(objects.iter().flat_map(|object| self.put(kind, object)));
        look
    }

    /// News: an object is new or has changed.
    pub fn put(&mut self, kind: &Arc<Resource>, object: &Value) -> Vec<Uid> {
        let node = Node::of(kind, object);
        let uid = Arc::clone(&node.identity.uid);
        let old = self.nodes.get(&uid);
        if uid.is_empty() || old.is_some_and(|old| old.version >= node.version) || self.gone.contains(&uid) {
            return Vec::new();
        }
        let old = self.nodes.insert(Arc::clone(&uid), node.clone());
        self.of_kind.entry(Arc::clone(kind)).or_default().insert(Arc::clone(&uid));
        let before: &[Owner] = old.as_ref().map_or(&[], |old| &old.owners);
        self.link(&uid, before, &node.owners);
        let mut look = Vec::new();
        if old.as_ref().is_none_or(|old| old.owners != node.owners) && !self.is_kept(&node)
            || node.deleting && (node.has(FOREGROUND) || node.has(ORPHAN))
        {
            look.push(Arc::clone(&uid));
        }
        // An owner may wait for this reference to go.
        let left = before.iter().filter(|owner| {
            let same = node.owners.iter().find(|now| now.uid == owner.uid);
            owner.blocks() && same.is_none_or(|now| !now.blocks())
        });
        look.extend(left.map(|owner| Arc::clone(&owner.uid)));
        let starts_waiting = node.is_waiting() && old.as_ref().is_none_or(|old| !old.is_waiting());
        let of_it = self.dependents.get(&uid).into_iter().flatten();
        let meant = |dependent: &&Uid| {
            let known = self.nodes.get(*dependent);
            known.is_some_and(|known| {
                let mut owners = known.owners.iter().filter(|owner| owner.uid == uid);
                owners.all(|owner| node.is_meant(owner, &known.identity))
            })
        };
        let of_it = of_it.filter(|dependent| starts_waiting || old.is_none() && !meant(dependent));
        look.extend(of_it.cloned());
        look
    }

    /// What a server answered to a write; an object that has gone meanwhile stays so.
    pub fn wrote(&mut self, kind: &Arc<Resource>, object: &Value) -> Vec<Uid> {
        if self.nodes.contains_key(object::uid(object)) { self.put(kind, object) } else { Vec::new() }
    }

    /// News: an object is gone.
    pub fn gone(&mut self, object: &Value) -> Vec<Uid> {
        self.remove(object::uid(object))
    }

    /// A kind is not served any more, nor are its objects.
    pub fn forget(&mut self, kind: &Arc<Resource>) -> Vec<Uid> {
        self.listed(kind, &[])
    }

    /// How many objects are known.
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The owner was there, and has gone.
    pub(super) fn has_gone(&self, uid: &str) -> bool {
        self.gone.contains(uid)
    }

    fn remove(&mut self, uid: &str) -> Vec<Uid> {
        let Some((uid, node)) = self.nodes.remove_entry(uid) else { return Vec::new() };
        if let Some(of_kind) = self.of_kind.get_mut(&node.identity.kind) {
            of_kind.remove(&uid);
        }
        self.link(&uid, &node.owners, &[]);
        let mut look: Vec<Uid> = self.dependents.get(&uid).into_iter().flatten().cloned().collect();
        let waiting = |owner: &&Owner| self.nodes.get(&owner.uid).is_some_and(Node::is_waiting);
        look.extend(node.owners.iter().filter(waiting).map(|owner| Arc::clone(&owner.uid)));
        if self.gone.insert(Arc::clone(&uid)) {
            self.gone_first.push_back(uid);
        }
        if self.gone_first.len() > REMEMBERED
            && let Some(first) = self.gone_first.pop_front()
        {
            self.gone.remove(&first);
        }
        look
    }

    fn link(&mut self, uid: &Uid, before: &[Owner], now: &[Owner]) {
        for owner in before.iter().filter(|owner| !now.iter().any(|now| now.uid == owner.uid)) {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(uid);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        for owner in now {
            self.dependents.entry(Arc::clone(&owner.uid)).or_default().insert(Arc::clone(uid));
        }
    }

    /// All its owners are there to stay, or it has none.
    fn is_kept(&self, node: &Node) -> bool {
        node.owners.iter().all(|owner| {
            let known = self.nodes.get(&owner.uid);
            known.is_some_and(|known| !known.is_waiting() && known.is_meant(owner, &node.identity))
        })
    }
}
