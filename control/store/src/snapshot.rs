//! What a list answers from: one kind's objects at one revision, for as long as somebody holds it.

use std::sync::Arc;

use crate::stored::Stored;
use crate::view::kind::{Kind, State, under};

/// The objects under a prefix at one revision, in the order of their keys. Cheap to make, to clone and to hold: it shares
/// all objects with the view.
#[derive(Clone, Debug)]
pub struct Snapshot {
    prefix: Box<str>,
    state: State,
    /// None for what is kept out of the view.
    origin: Option<Origin>,
}

/// Where in the kind's ring the changes after a snapshot begin.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) kind: Arc<Kind>,
    /// None where the snapshot is of an earlier revision: then the ring is asked by that.
    pub(crate) place: Option<u64>,
}

impl Snapshot {
    pub(crate) fn new(prefix: &str, state: State, origin: Option<Origin>) -> Self {
        Self { prefix: prefix.into(), state, origin }
    }

    /// Of objects that were read from etcd itself.
    pub(crate) fn of_list(prefix: &str, revision: i64, objects: Vec<Stored>) -> Self {
        Self::new(prefix, State { revision, tree: objects.into_iter().collect() }, None)
    }

    /// The list's resourceVersion: every change under the prefix up to this revision is in it, and none after.
    pub fn revision(&self) -> i64 {
        self.state.revision
    }

    /// What all its keys begin with.
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// All objects in order.
    pub fn iter(&self) -> impl Iterator<Item = &Stored> {
        self.iter_from("")
    }

    /// The objects from a key on (with it, if there is one), in order. For the rest of a list behind the key `last`, ask
    /// from `last` with a NUL appended.
    pub fn iter_from<'a>(&'a self, start: &'a str) -> impl Iterator<Item = &'a Stored> {
        under(&self.state.tree, &self.prefix, start)
    }

    /// One object of it, by its whole key.
    pub fn get(&self, key: &str) -> Option<&Stored> {
        key.starts_with(&*self.prefix).then(|| self.state.tree.get(key)).flatten()
    }

    /// How many there are. Counts them, unless it is a whole kind's.
    pub fn count(&self) -> usize {
        let whole = match &self.origin {
            Some(origin) => origin.kind.prefix() == &*self.prefix,
            None => true,
        };
        if whole { self.state.tree.len() } else { self.iter().count() }
    }

    /// Has the view keep this state for a while (90 s after it was last asked for, some tens for each kind), so that the
    /// rest of a list can be read at the same revision.
    pub fn keep(&self) {
        if let Some(origin) = &self.origin {
            origin.kind.keep(self.state.clone());
        }
    }

    pub(crate) fn into_state(self) -> State {
        self.state
    }

    pub(crate) fn origin(&self) -> Option<&Origin> {
        self.origin.as_ref()
    }
}
