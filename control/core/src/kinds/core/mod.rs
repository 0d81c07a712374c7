//! The kinds of the core group.

use std::sync::Arc;

use control_schema::library::Library;

use crate::kind::Kind;

pub mod pod;

pub fn kinds(_library: &Arc<Library>) -> Vec<Kind> {
    Vec::new()
}
