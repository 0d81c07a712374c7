//! Objects whose owners are gone.
//!
//! Owns: who depends on whom ([`Graph`]), and what becomes of an object when its owners go ([`Graph::decide`]): in the
//! background, in the foreground, or not at all. Facts: kube-controller-manager 1.36, `pkg/controller/garbagecollector`.
//! Never: asks a server. What the graph does not know the shell looks up ([`Question`]), and the decision is made again.

mod decide;
mod graph;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::Arc;

use apiclient_core::names::ObjectName;
use serde_json::Value;

use crate::discovery::Resource;

pub use graph::Graph;

/// As `--controllers` names it, and its account.
pub const NAME: &str = "garbage-collector-controller";
pub const ACCOUNT: &str = "generic-garbage-collector";

/// A uid. Users write what they like into references.
pub type Uid = Arc<str>;

/// Finalizers of an object that waits for its dependents, or for them to be orphaned.
const FOREGROUND: &str = "foregroundDeletion";
const ORPHAN: &str = "orphan";

/// An object, as requests about it need it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub kind: Arc<Resource>,
    pub name: ObjectName,
    pub uid: Uid,
}

/// Is there an object of this kind, name and uid?
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question(pub Identity);

/// What a server said about owners, by uid and kind and name.
pub type Answers = HashMap<(Uid, String, ObjectName), Answer>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Not this one, at least.
    Absent,
    Present,
    /// It is going, and waits for its dependents.
    Waiting,
}

/// A write.
#[derive(Clone, Debug, PartialEq)]
pub enum Task {
    /// With the uid and the version that were decided about.
    Delete { object: Identity, options: Value },
    /// A merge patch, of the version that was decided about.
    Patch { object: Identity, patch: Value },
}

/// What is to be done about an object.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    Nothing,
    /// To be looked up; then the decision is made again.
    Ask(Question),
    /// It has an owner of a kind that is not known, now: it is looked at again later.
    Unresolved,
    /// Others have to be looked at.
    Look(Vec<Uid>),
    /// Writes, one after the other.
    Do(Vec<Task>),
    /// Many writes that do not wait for each other, and one after them.
    Orphan {
        dependents: Vec<Task>,
        then: Task,
    },
}

impl Answer {
    /// Of a live owner.
    pub fn of(owner: &Value) -> Self {
        let finalizers = control_core::edit::list(owner, &["metadata", "finalizers"]);
        let waiting =
            crate::object::is_deleting(owner) && finalizers.iter().any(|finalizer| finalizer == FOREGROUND);
        if waiting { Answer::Waiting } else { Answer::Present }
    }
}

impl Identity {
    /// For [`Answers`].
    pub fn answer_key(&self) -> (Uid, String, ObjectName) {
        (Arc::clone(&self.uid), self.kind.group_resource(), self.name.clone())
    }
}

/// The kinds whose objects are followed: all that can be deleted, but for Events, which nobody owns.
pub fn followed(resources: &[Resource]) -> impl Iterator<Item = &Resource> {
    let events =
        |resource: &Resource| resource.plural == "events" && matches!(&*resource.group, "" | "events.k8s.io");
    resources.iter().filter(move |resource| {
        ["list", "watch", "delete"].into_iter().all(|verb| resource.can(verb)) && !events(resource)
    })
}
