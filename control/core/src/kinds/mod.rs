//! The table of built-in kinds. Adding a kind is adding an entry to the list of its group.
//!
//! Begin at [`entry::Group`]; a kind's strategy, columns and validation are in the folder of its group, those that several
//! groups share (templates of pods) in `core`.

use std::sync::Arc;

use control_schema::library::Library;

use crate::kind::Kind;

pub mod core;
pub mod entry;
pub mod status;

/// Every built-in kind, described by the structs of `library`.
pub fn all(library: &Arc<Library>) -> Vec<Kind> {
    [core::kinds(library)].into_iter().flatten().collect()
}
