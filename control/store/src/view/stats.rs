//! How much the view holds.

use std::collections::BTreeMap;

/// How much a store holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// By the prefix of the kind; those of no kind under the empty one.
    pub kinds: BTreeMap<Box<str>, KindStats>,
    /// Bytes of all other encodings that are kept.
    pub form_bytes: usize,
}

/// How much a store holds of a kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindStats {
    pub objects: usize,
    /// Changes from which watches can begin.
    pub events: usize,
    /// Bytes of versions that are kept for these changes alone.
    pub event_bytes: usize,
}
