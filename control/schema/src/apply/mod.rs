//! Server-side apply, and the bookkeeping of who set which fields, as structured-merge-diff does both.
//!
//! Owns: `metadata.managedFields`, sets of fields, the merge of an applied object into the live one, conflicts.
//! Never: decodes, defaults or validates what comes out, and knows nothing of resource versions. Time comes in.
//! Begin at [`update`], which every write but an apply calls, and [`apply`].

mod check;
mod compare;
mod fields_v1;
mod fill;
mod last_applied;
mod managed;
mod merge;
mod own;
mod ownership;
mod path;
mod prune;
mod set;
mod typed;

use std::time::SystemTime;

use apiclient_core::time;
use apiclient_core::wire::Cause;
use serde_json::{Map, Value};

pub use self::managed::MAX_UPDATERS;
pub use self::set::Set;

use self::managed::{Managed, Manager};
use self::ownership::{STRIPPED, track};
use self::path::Element;
use self::prune::merge_and_track;
use crate::library::Schema;

/// Brings an object, whose `apiVersion` says what it is, into a version: `apps/v1`. `None`: there is no such version (any
/// more).
pub type Convert<'a> = dyn Fn(&Value, &str) -> Option<(Value, Schema)> + 'a;

/// A write: what it is to, and by whom.
pub struct Write<'a> {
    /// Of the version of the request, as all objects here are.
    pub schema: &'a Schema,
    /// `apps/v1`, of the request.
    pub api_version: &'a str,
    /// `Deployment`.
    pub kind: &'a str,
    /// Empty for the object itself.
    pub subresource: &'a str,
    /// Who writes: the parameter `fieldManager`, or what the user agent says before its first `/`.
    pub manager: &'a str,
    /// Fields that the kind's strategy sets back on such a write, so that nobody owns them: `status` on a write to the
    /// object itself of a kind with the subresource `status`.
    pub reset: &'a Set<'static>,
    pub now: SystemTime,
    pub convert: &'a Convert<'a>,
}

/// An object as an apply makes it. Its fields are as they were applied: it is still to be decoded and defaulted.
#[derive(Debug)]
pub struct Applied {
    pub object: Value,
    /// Nothing but `managedFields` may be different.
    pub unchanged: bool,
}

/// Why an apply is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// 400, reason `BadRequest`.
    #[error("{0}")]
    BadRequest(String),
    /// 409, reason `Conflict`, with these causes in the details and nothing else.
    #[error("{message}")]
    Conflict { message: String, causes: Vec<Cause> },
    /// 500 with this message.
    #[error("{0}")]
    Internal(String),
}

/// Gives `new` its `managedFields`, for a write that is no apply. `live` is null at creation.
///
/// As the original, an object whose `managedFields` cannot be kept is left without.
pub fn update(write: &Write<'_>, live: &Value, mut new: Value) -> Value {
    let given =
        new.get_mut("metadata").and_then(Value::as_object_mut).and_then(|meta| meta.remove("managedFields"));
    let entries = updated_entries(write, live, &new, given.as_ref());
    put_entries(&mut new, entries);
    new
}

fn put_entries(object: &mut Value, entries: Option<Value>) {
    let Some(object) = object.as_object_mut() else { return };
    let metadata = object.entry("metadata").or_insert_with(|| Value::Object(Map::new()));
    if let (Some(metadata), Some(entries)) = (metadata.as_object_mut(), entries) {
        metadata.insert("managedFields".to_owned(), entries);
    }
}

fn entries_of(object: &Value) -> Option<&Value> {
    object.get("metadata")?.get("managedFields")
}

/// A list without entries, or with one empty one: the client wants to begin again.
fn is_reset(entries: &Value) -> bool {
    match entries.as_array().map(Vec::as_slice) {
        Some([]) => true,
        Some([only]) => only.as_object().is_some_and(Map::is_empty),
        _ => false,
    }
}

fn updated_entries(write: &Write<'_>, live: &Value, new: &Value, given: Option<&Value>) -> Option<Value> {
    let of_live = || managed::read(entries_of(live)).unwrap_or_default();
    let managed = match given {
        Some(given) if write.subresource.is_empty() && is_reset(given) => Managed::new(),
        Some(given) if write.subresource.is_empty() => match managed::read(Some(given)) {
            Ok(managed) if !managed.is_empty() => managed,
            _ => of_live(),
        },
        _ => of_live(),
    };
    let exists = live.get("metadata").and_then(|meta| meta.get("uid")).is_some();
    if managed.is_empty() && exists {
        return None;
    }
    let empty = Value::Object(Map::new());
    let live = if live.is_object() { live } else { &empty };
    let managed = track(write, live, new, managed).ok()?;
    (!managed.is_empty()).then(|| managed::write(&managed))
}

/// Applies `patch`, as the client wrote it, to `live`, which is null where there is no object yet.
///
/// # Errors
/// The patch is of another kind or not of the schema's types, or changes what others own and `force` is not set.
pub fn apply(write: &Write<'_>, live: &Value, patch: &Value, force: bool) -> Result<Applied, ApplyError> {
    let internal = |message: String| ApplyError::Internal(message);
    let managed = managed::read(entries_of(live))
        .map_err(|error| internal(format!("failed to decode managed fields: {error}")))?;
    check_kind(write, patch)?;
    let filled = if live.is_object() { fill::fill(write.schema, live) } else { Value::Object(Map::new()) };
    let (live, empty) = (&filled, Value::Object(Map::new()));
    let managed = if managed.is_empty() {
        let before = Write { manager: "before-first-apply", convert: write.convert, ..*write };
        track(&before, &empty, live, managed)
            .map_err(|error| internal(format!("failed to create manager for existing fields: {error}")))?
    } else {
        managed
    };
    if entries_of(patch).is_some_and(|entries| !entries.is_null()) {
        return Err(ApplyError::BadRequest("metadata.managedFields must be nil".to_owned()));
    }
    check::check(write.schema, patch).map_err(|error| {
        internal(format!("failed to create typed patch object ({}): {error}", object_name(patch)))
    })?;
    let mut force = force;
    let (merged, managed) = loop {
        match merge_and_track(write, live, patch, managed.clone(), force)? {
            Ok(done) => break done,
            Err(conflicts) => {
                let left = last_applied::disallowed(write, live, conflicts);
                if !left.is_empty() {
                    return Err(conflict(&left));
                }
                force = true;
            }
        }
    };
    let unchanged = own::equal(write.schema, live, &merged);
    let mut managed = managed;
    let manager = Manager::new(write.manager, true, write.api_version, write.subresource);
    if let Some(owned) = managed.get_mut(&manager) {
        owned.set = std::mem::take(&mut owned.set).less(&STRIPPED, false);
        if !unchanged {
            owned.time = Some(time::seconds(write.now).into());
        }
        if owned.set.is_empty() {
            managed.remove(&manager);
        }
    }
    let entries = (!managed.is_empty()).then(|| managed::write(&managed));
    let mut object = if unchanged { live.clone() } else { merged };
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
    last_applied::refresh(write, &mut object, patch);
    put_entries(&mut object, entries);
    Ok(Applied { object, unchanged })
}

fn check_kind(write: &Write<'_>, patch: &Value) -> Result<(), ApplyError> {
    let text = |name: &str| patch.get(name).and_then(Value::as_str).unwrap_or_default();
    if (text("apiVersion"), text("kind")) == (write.api_version, write.kind) {
        return Ok(());
    }
    let (group, version) = text("apiVersion").split_once('/').unwrap_or(("", text("apiVersion")));
    Err(ApplyError::BadRequest(format!("invalid object type: {group}/{version}, Kind={}", text("kind"))))
}

/// `default/a; apps/v1, Kind=Deployment`, as the original's errors name an object.
/// An object as errors about applies name it: `default/a; /v1, Kind=ConfigMap`.
pub fn object_name(object: &Value) -> String {
    let text = |object: Option<&Value>, name: &str| {
        object.and_then(|object| object.get(name)).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let metadata = object.get("metadata");
    let api_version = text(Some(object), "apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let (namespace, name) = (text(metadata, "namespace"), text(metadata, "name"));
    format!("{namespace}/{name}; {group}/{version}, Kind={}", text(Some(object), "kind"))
}

fn conflict(conflicts: &[(Manager<'_>, Vec<String>)]) -> ApplyError {
    let of_manager = |manager: &Manager<'_>| manager.shown();
    let causes: Vec<Cause> = conflicts
        .iter()
        .flat_map(|(manager, paths)| {
            paths.iter().map(|path| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: format!("conflict with {}", of_manager(manager)),
                field: path.clone(),
            })
        })
        .collect();
    let message = match &causes[..] {
        [only] => format!("Apply failed with 1 conflict: {}: {}", only.message, only.field),
        several => {
            let mut lines = Vec::new();
            for (manager, paths) in conflicts {
                lines.push(format!("conflicts with {}:", of_manager(manager)));
                lines.extend(paths.iter().map(|path| format!("- {path}")));
            }
            format!("Apply failed with {} conflicts: {}", several.len(), lines.join("\n"))
        }
    };
    ApplyError::Conflict { message, causes }
}

/// As messages show a path: `.spec.containers[name="a"].image`.
fn shown(path: &[Element<'_>]) -> String {
    path.iter().map(ToString::to_string).collect()
}

/// No conversion: for kinds of one version.
pub fn one_version(_: &Value, _: &str) -> Option<(Value, Schema)> {
    None
}

/// A set of no fields, for kinds whose strategies set nothing back.
pub static NOTHING_RESET: Set<'static> = Set { nodes: Vec::new() };

#[cfg(test)]
mod tests;
