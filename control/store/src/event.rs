//! One change of one object, as watchers see it.

use crate::stored::Stored;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Added,
    Modified,
    Deleted,
}

/// One change. All watchers share one value, and so the forms of its object.
#[derive(Clone, Debug)]
pub struct Event {
    pub change: Change,
    /// What was written. Of a deletion: the bytes of the last version, at the revision of the deletion.
    pub object: Stored,
    /// The version before. None for what was added.
    pub previous: Option<Stored>,
}

impl Event {
    /// etcd's revision of this change.
    pub fn revision(&self) -> i64 {
        self.object.revision()
    }

    pub fn key(&self) -> &str {
        self.object.key()
    }
}
