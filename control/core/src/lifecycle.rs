//! What happens to an object between admission and storage (`BeforeCreate` and `BeforeUpdate` of the original's registry).
//!
//! Owns: the order of strategy and common checks. Begin at [`before_create`] and [`before_update`].

use apiclient_core::wire::Status;
use serde_json::Value;

use crate::at::{At, Errors};
use crate::edit::{at, generation, restore, set, set_generation, text};
use crate::kind::{Context, Kind, NameRule, Subresource};
use crate::{metadata, refusal};

/// Prepares and validates an object that shall be created. It has its name, uid and creation time already.
/// Gives the lines for `Warning` headers.
///
/// # Errors
/// The answer to the client: 400 for another namespace than the request's, 422 for what is invalid.
pub fn before_create(kind: &Kind, object: &mut Value, context: &Context<'_>) -> Result<Vec<String>, Status> {
    fix_namespace(kind, object, context)?;
    kind.strategy.prepare_create(object, context);
    let name = text(object, &["metadata", "name"]).to_owned();
    let metadata = At::object(object).get("metadata");
    let mut errors = metadata::validate(&metadata, kind.namespaced, kind.strategy.name_rule());
    if kind.strategy.checks_legacy_finalizers() {
        errors.extend(metadata::legacy_finalizers(&metadata));
    }
    errors.extend(kind.strategy.validate_create(object, context));
    if errors.is_empty() {
        errors = metadata::validate(&metadata, kind.namespaced, NameRule::PathSegment);
    }
    refuse(kind, &name, &errors)?;
    let warnings = kind.strategy.warnings(object, None);
    kind.strategy.canonicalize(object);
    Ok(warnings)
}

/// Prepares and validates an object that shall take the place of `old`, or of a part of it with a subresource. Gives the
/// lines for `Warning` headers.
///
/// # Errors
/// As [`before_create`].
pub fn before_update(
    kind: &Kind,
    new: &mut Value,
    old: &Value,
    context: &Context<'_>,
) -> Result<Vec<String>, Status> {
    fix_namespace(kind, new, context)?;
    set_generation(new, generation(old));
    kind.strategy.prepare_update(new, old, context);
    keep_system_fields(new, old);
    let name = text(new, &["metadata", "name"]).to_owned();
    let metadata = At::object(new).get("metadata");
    let before = at(old, &["metadata"]);
    // The original checks the metadata here and again in each strategy: causes repeat, and the message does not.
    let mut errors = metadata::validate(&metadata, kind.namespaced, NameRule::PathSegment);
    errors.extend(metadata::validate_update(&metadata, before));
    errors.extend(metadata::validate_update(&metadata, before));
    if kind.strategy.checks_legacy_finalizers() {
        errors.extend(metadata::legacy_finalizers(&metadata));
    }
    errors.extend(kind.strategy.validate_update(new, old, context));
    refuse(kind, &name, &errors)?;
    // What is said of the spec is not said to those who only report.
    let warnings = match context.subresource {
        Some(Subresource::Status) => Vec::new(),
        _ => kind.strategy.warnings(new, Some(old)),
    };
    kind.strategy.canonicalize(new);
    Ok(warnings)
}

fn refuse(kind: &Kind, name: &str, errors: &Errors) -> Result<(), Status> {
    if errors.is_empty() { Ok(()) } else { Err(refusal::invalid(kind, name, errors)) }
}

/// The object is in the namespace of the request. For objects of the cluster that is the empty one.
fn fix_namespace(kind: &Kind, object: &mut Value, context: &Context<'_>) -> Result<(), Status> {
    let wanted = if kind.namespaced { context.namespace } else { "" };
    let found = text(object, &["metadata", "namespace"]);
    match (found, wanted) {
        (found, wanted) if found == wanted => Ok(()),
        ("", _) | (_, "") => {
            if let Some(metadata) = crate::edit::child(object, "metadata") {
                match wanted {
                    "" => crate::edit::remove(metadata, "namespace"),
                    wanted => set(metadata, "namespace", wanted),
                }
            }
            Ok(())
        }
        _ => Err(refusal::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        )),
    }
}

/// What an update can neither change nor take away.
fn keep_system_fields(new: &mut Value, old: &Value) {
    let before = at(old, &["metadata"]);
    let Some(metadata) = crate::edit::child(new, "metadata") else {
        return;
    };
    if text(metadata, &["uid"]).is_empty() {
        restore(metadata, before, "uid");
    }
    for field in ["creationTimestamp", "deletionTimestamp"] {
        if !at(before, &[field]).is_null() {
            restore(metadata, before, field);
        }
    }
    if at(metadata, &["deletionGracePeriodSeconds"]).is_null() {
        restore(metadata, before, "deletionGracePeriodSeconds");
    }
}
