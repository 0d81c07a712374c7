//! The table of built-in kinds. Adding a kind is adding an entry to the list of its group.

use std::sync::Arc;

use control_schema::library::Library;

use crate::kind::Kind;

mod core;

/// Every built-in kind, described by the structs of `library`.
pub fn all(library: &Arc<Library>) -> Vec<Kind> {
    [core::kinds(library)].into_iter().flatten().collect()
}
