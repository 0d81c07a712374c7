//! What is asked of lists, and how they are answered in parts.

use crate::stored::Stored;

/// How old an answer may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Freshness {
    /// Everything that was written before the question, through whichever server, is in it. No resourceVersion.
    Latest,
    /// As of this revision or any later one. `resourceVersion=N`, `resourceVersionMatch=NotOlderThan`.
    NotOlderThan(i64),
    /// As of this revision. `resourceVersionMatch=Exact`, and what `continue` stands for.
    Exactly(i64),
    /// Whatever is at hand; what was written through this store is in it unless etcd is away. `resourceVersion=0`.
    Any,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct Page {
    /// The list's resourceVersion. The rest is to be asked for at exactly this.
    pub revision: i64,
    pub objects: Vec<Stored>,
    /// How many there are behind the last one.
    pub remaining: usize,
}
