//! Server-side apply, and the bookkeeping of who set which fields, as structured-merge-diff does both.
//!
//! Owns: `metadata.managedFields`, sets of fields, the merge of an applied object into the live one, conflicts.
//! Never: decodes, defaults or validates what comes out, and knows nothing of resource versions. Time comes in.
//! Begin at [`update`], which every write but an apply calls, and [`apply`].

mod check;
mod compare;
mod fields_v1;
mod last_applied;
mod managed;
mod merge;
mod own;
mod path;
mod set;
mod typed;

use std::collections::BTreeMap;
use std::time::SystemTime;

use apiclient_core::time;
use apiclient_core::wire::Cause;
use serde_json::{Map, Value};

pub use self::managed::MAX_UPDATERS;
pub use self::set::Set;

use self::compare::{Difference, compare};
use self::managed::{Managed, Manager, Owned};
use self::path::Element;
use crate::library::Schema;

/// Brings an object into the version of another entry: `apps/v1`. `None`: there is no such version (any more).
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

/// What becomes of the entries when the object changes from `live` to `new` otherwise than by an apply.
fn track<'a>(
    write: &Write<'a>,
    live: &'a Value,
    new: &'a Value,
    managed: Managed<'a>,
) -> Result<Managed<'a>, String> {
    let mut managed = reconciled(write, live, managed);
    let difference = compare(write.schema, live, new, true)?.without(write.reset);
    take_from_others(write, live, new, &difference, &mut managed, None)?;
    let mine = difference.modified.union(difference.added).recursive_difference(write.reset);
    let mine = mine.difference(&stripped());
    if !mine.is_empty() {
        let manager = Manager::new(write.manager, false, write.api_version, write.subresource);
        let owned = Owned {
            set: mine,
            version: write.api_version.into(),
            time: Some(time::seconds(write.now).into()),
        };
        match managed.remove(&manager) {
            Some(before) => {
                let set = owned.set.union(before.set);
                managed.insert(manager, Owned { set, ..owned });
            }
            None => {
                managed.insert(manager, owned);
            }
        }
    }
    managed::cap(&mut managed);
    Ok(managed)
}

/// What nobody owns, whoever writes it.
fn stripped() -> Set<'static> {
    Set::of_fields(&[
        &["apiVersion"],
        &["kind"],
        &["metadata"],
        &["metadata", "name"],
        &["metadata", "namespace"],
        &["metadata", "creationTimestamp"],
        &["metadata", "selfLink"],
        &["metadata", "uid"],
        &["metadata", "clusterName"],
        &["metadata", "generation"],
        &["metadata", "managedFields"],
        &["metadata", "resourceVersion"],
    ])
}

/// The entries, with sets that fit the schemas of today, and without those of versions that are gone.
fn reconciled<'a>(write: &Write<'_>, live: &Value, mut managed: Managed<'a>) -> Managed<'a> {
    managed.retain(|_, owned| {
        if owned.version == write.api_version {
            own::reconcile(write.schema, &mut owned.set);
            return true;
        }
        match (write.convert)(live, &owned.version) {
            Some((_, schema)) => {
                own::reconcile(&schema, &mut owned.set);
                true
            }
            None => false,
        }
    });
    managed
}

/// Takes fields that change from all entries but that of `applier`. With an applier, gives what the others own of the
/// fields that change; without one, takes those too.
fn take_from_others<'a>(
    write: &Write<'_>,
    live: &Value,
    new: &Value,
    difference: &Difference<'_>,
    managed: &mut Managed<'a>,
    applier: Option<(&Manager<'_>, bool)>,
) -> Result<Vec<(Manager<'a>, Set<'a>)>, String> {
    let mut elsewhere: BTreeMap<String, Difference<'static>> = BTreeMap::new();
    let mut conflicts = Vec::new();
    let mut gone = Vec::new();
    let mut taken = Vec::new();
    for (manager, owned) in managed.iter() {
        if applier.is_some_and(|(applier, _)| applier == manager) {
            continue;
        }
        let difference = if owned.version == write.api_version {
            difference
        } else {
            if !elsewhere.contains_key(&*owned.version) {
                let Some((old, schema)) = (write.convert)(live, &owned.version) else {
                    gone.push(manager.clone());
                    continue;
                };
                let Some((new, _)) = (write.convert)(new, &owned.version) else {
                    gone.push(manager.clone());
                    continue;
                };
                let found = compare(&schema, &old, &new, applier.is_none())?.without(write.reset);
                elsewhere.insert(owned.version.to_string(), found.into_owned());
            }
            &elsewhere[&*owned.version]
        };
        let modified = owned.set.intersection(&difference.modified);
        let conflict = modified.union(owned.set.intersection(&difference.added));
        taken.push((manager.clone(), owned.set.difference(&conflict).difference(&difference.removed)));
        if !conflict.is_empty() {
            conflicts.push((manager.clone(), conflict));
        }
    }
    if !conflicts.is_empty() && applier.is_some_and(|(_, force)| !force) {
        return Ok(conflicts);
    }
    for manager in gone {
        managed.remove(&manager);
    }
    for (manager, left) in taken {
        if let Some(owned) = managed.get_mut(&manager) {
            owned.set = left;
        }
    }
    managed.retain(|_, owned| !owned.set.is_empty());
    Ok(Vec::new())
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
    let empty = Value::Object(Map::new());
    let live = if live.is_object() { live } else { &empty };
    let managed = if managed.is_empty() {
        let before = Write { manager: "before-first-apply", convert: write.convert, ..*write };
        track(&before, &Value::Null, live, managed)
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
        owned.set = owned.set.difference(&stripped());
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
fn object_name(object: &Value) -> String {
    let text = |object: Option<&Value>, name: &str| {
        object.and_then(|object| object.get(name)).and_then(Value::as_str).unwrap_or_default().to_owned()
    };
    let metadata = object.get("metadata");
    let api_version = text(Some(object), "apiVersion");
    let (group, version) = api_version.split_once('/').unwrap_or(("", &api_version));
    let (namespace, name) = (text(metadata, "namespace"), text(metadata, "name"));
    format!("{namespace}/{name}; {group}/{version}, Kind={}", text(Some(object), "kind"))
}

type Conflicts<'a> = Vec<(Manager<'a>, Set<'a>)>;

/// The merged object without what the manager applied before and nobody applies any more, and the entries for it.
#[expect(clippy::type_complexity, reason = "said once, here")]
fn merge_and_track<'a>(
    write: &Write<'a>,
    live: &Value,
    patch: &'a Value,
    managed: Managed<'a>,
    force: bool,
) -> Result<Result<(Value, Managed<'a>), Conflicts<'a>>, ApplyError> {
    let mut managed = reconciled(write, live, managed);
    let failed = |what: &str, error: String| ApplyError::Internal(format!("failed to {what}: {error}"));
    let merged = merge::merge(write.schema, live, patch).map_err(|error| failed("merge config", error))?;
    let set = own::set(write.schema, patch).map_err(|error| failed("get field set", error))?;
    let set = set.recursive_difference(write.reset);
    let manager = Manager::new(write.manager, true, write.api_version, write.subresource);
    let time = managed.get(&manager).and_then(|before| before.time.clone());
    let before = managed.insert(manager.clone(), Owned { set, version: write.api_version.into(), time });
    let merged = match before {
        Some(before) => {
            prune(write, merged, &managed, &before).map_err(|error| failed("prune fields", error))?
        }
        None => merged,
    };
    let difference = compare(write.schema, live, &merged, false)
        .map_err(|error| failed("compare objects", error))?
        .without(write.reset);
    let conflicts =
        take_from_others(write, live, &merged, &difference, &mut managed, Some((&manager, force)))
            .map_err(|error| failed("compare objects", error))?;
    drop(difference);
    Ok(if conflicts.is_empty() { Ok((merged, managed)) } else { Err(conflicts) })
}

/// The merged object without the fields that were in the manager's last set and that nobody owns now.
fn prune(write: &Write<'_>, merged: Value, managed: &Managed<'_>, last: &Owned<'_>) -> Result<Value, String> {
    if last.set.is_empty() {
        return Ok(merged);
    }
    let here = |object: &Value, version: &str| match version == write.api_version {
        true => Some((object.clone(), write.schema.clone())),
        false => (write.convert)(object, version),
    };
    let Some((in_last, schema)) = here(&merged, &last.version) else {
        return Ok(merged);
    };
    let mut pruned = own::without(&schema, &in_last, &own::with_named(&schema, &last.set));
    let mut owned: BTreeMap<&str, Set<'_>> = BTreeMap::new();
    for entry in managed.values() {
        let set = owned.entry(&*entry.version).or_default();
        *set = std::mem::take(set).union(entry.set.clone());
    }
    // The last version first: a conversion may need fields that would be missing.
    let first = owned.remove_entry(&*last.version);
    for (version, owned) in first.into_iter().chain(owned) {
        let (Some((merged, schema)), Some((without, _))) = (here(&merged, version), here(&pruned, version))
        else {
            continue;
        };
        let keep =
            own::with_named(&schema, &own::set(&schema, &without)?).union(own::with_named(&schema, &owned));
        let gone = own::with_named(&schema, &own::set(&schema, &merged)?).difference(&keep);
        pruned = own::without(&schema, &merged, &gone);
    }
    let Some((pruned, _)) = here(&pruned, &last.version) else {
        return Ok(merged);
    };
    let kept = own::with_named(&schema, &own::set(&schema, &pruned)?);
    let had = own::with_named(&schema, &own::set(&schema, &in_last)?);
    let gone = had.difference(&kept).intersection(&own::with_named(&schema, &last.set));
    let result = own::without(&schema, &in_last, &gone);
    match here(&result, write.api_version) {
        Some((result, _)) => Ok(result),
        None => Err(format!("failed to convert to {}", write.api_version)),
    }
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
