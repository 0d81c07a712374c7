//! What creating and updating does to the many kinds with a spec, a status and a generation: a client of the object may
//! not touch its status, and a client of the status nothing else.

use serde_json::Value;

use crate::edit::{at, child, generation, remove, restore, semantic_eq, set_generation};
use crate::kind::{Context, Subresource};

/// The object begins at generation 1 and without a status.
pub fn prepare_create(object: &mut Value) {
    remove(object, "status");
    set_generation(object, 1);
}

/// Takes back the status, or with the status subresource the spec; counts the generation on where the spec changed.
pub fn prepare_update(new: &mut Value, old: &Value, context: &Context<'_>) {
    if is_status(context) {
        restore(new, old, "spec");
        return;
    }
    restore(new, old, "status");
    count_generation(new, old, &["spec"]);
}

/// One of the fields of the object changed: it is another generation.
pub fn count_generation(new: &mut Value, old: &Value, fields: &[&str]) {
    if fields.iter().any(|field| !semantic_eq(at(new, &[field]), at(old, &[field]))) {
        set_generation(new, generation(old) + 1);
    }
}

/// As [`count_generation`], where an empty object (`namespaceSelector: {}`) says something and its absence something else.
pub fn count_exact_generation(new: &mut Value, old: &Value, fields: &[&str]) {
    if fields.iter().any(|field| at(new, &[field]) != at(old, &[field])) {
        set_generation(new, generation(old) + 1);
    }
}

pub fn is_status(context: &Context<'_>) -> bool {
    context.subresource == Some(Subresource::Status)
}

/// For the kinds whose status subresource leaves the metadata alone too, managed fields apart.
pub fn keep_metadata(new: &mut Value, old: &Value) {
    let before = at(old, &["metadata"]);
    if let Some(metadata) = child(new, "metadata") {
        for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
            restore(metadata, before, field);
        }
    }
}
