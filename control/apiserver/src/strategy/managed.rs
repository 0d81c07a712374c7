//! Who wrote which field: `metadata.managedFields` of every write.
//!
//! Owns: what the server knows and `control_schema::apply` does not: versions, and what a kind's subresources set back.

use std::sync::LazyLock;

use apiclient_core::wire::Status;
use control_core::kind::Subresource;
use control_core::{edit, refusal};
use control_schema::apply::{self, ApplyError, NOTHING_RESET, Set};
use control_schema::library::Schema;
use serde_json::{Map, Value};

use crate::call::Call;
use crate::encoding::object::served_value;
use crate::registry::Served;

static STATUS: LazyLock<Set<'static>> = LazyLock::new(|| Set::of_fields(&[&["status"]]));
static SPEC: LazyLock<Set<'static>> = LazyLock::new(|| Set::of_fields(&[&["spec"]]));
static SPEC_AND_METADATA: LazyLock<Set<'static>> =
    LazyLock::new(|| Set::of_fields(&[&["spec"], &["metadata"]]));
static SPEC_AND_LABELS: LazyLock<Set<'static>> =
    LazyLock::new(|| Set::of_fields(&[&["spec"], &["metadata", "labels"]]));
static SPEC_AND_OWNERS: LazyLock<Set<'static>> = LazyLock::new(|| {
    Set::of_fields(&[&["spec"], &["metadata", "deletionTimestamp"], &["metadata", "ownerReferences"]])
});
static SPEC_AND_STATUS: LazyLock<Set<'static>> = LazyLock::new(|| Set::of_fields(&[&["spec"], &["status"]]));
static SPEC_AND_CONDITIONS: LazyLock<Set<'static>> =
    LazyLock::new(|| Set::of_fields(&[&["spec"], &["status", "conditions"]]));
static SPEC_AND_CERTIFICATE: LazyLock<Set<'static>> =
    LazyLock::new(|| Set::of_fields(&[&["spec"], &["status", "certificate"]]));

/// Fields that a write cannot change, whatever it says, so that nobody owns them (`GetResetFields` of the original's
/// strategies).
fn reset(served: &Served, subresource: Option<Subresource>) -> &'static Set<'static> {
    // Of built-in kinds; those of definitions hold back all metadata.
    let of_status = || match &*served.kind.kind {
        _ if !served.is_built_in() => &SPEC_AND_METADATA,
        "Deployment" => &SPEC_AND_LABELS,
        "Pod" => &SPEC_AND_OWNERS,
        "CertificateSigningRequest" => &SPEC_AND_CONDITIONS,
        "APIService"
        | "FlowSchema"
        | "PriorityLevelConfiguration"
        | "ResourceClaim"
        | "ServiceCIDR"
        | "VolumeAttachment" => &SPEC_AND_METADATA,
        _ => &SPEC,
    };
    match subresource {
        None if served.kind.kind == "CertificateSigningRequest" => &SPEC_AND_STATUS,
        None | Some(Subresource::Finalize) if served.kind.has(Subresource::Status) => &STATUS,
        Some(Subresource::Status) => of_status(),
        Some(Subresource::Approval) => &SPEC_AND_CERTIFICATE,
        _ => &NOTHING_RESET,
    }
}

/// Runs with all that `apply` wants to know of the write.
fn with<T>(
    call: &Call,
    manager: &str,
    subresource: Option<Subresource>,
    run: impl FnOnce(&apply::Write<'_>) -> T,
) -> T {
    let served = &*call.served;
    let kind = &*served.kind;
    let convert = |object: &Value, api_version: &str| -> Option<(Value, Schema)> {
        let (group, name) = api_version.split_once('/').unwrap_or(("", api_version));
        let version = kind.version(name).filter(|_| group == kind.group.as_ref())?;
        let from = edit::text(object, &["apiVersion"]).rsplit('/').next().filter(|from| !from.is_empty());
        let from = from.unwrap_or(&served.of().name);
        let mut object = if *from == *version.name {
            object.clone()
        } else {
            kind.strategy.convert(object.clone(), from, name)
        };
        edit::set(&mut object, "apiVersion", api_version);
        Some((object, version.schema.clone()))
    };
    run(&apply::Write {
        schema: &served.of().schema,
        api_version: &served.api_version,
        kind: &kind.kind,
        subresource: subresource.map_or("", Subresource::name),
        manager,
        reset: reset(served, subresource),
        now: call.now,
        convert: &convert,
    })
}

/// Notes in `new` who wrote it. `live` is what is there, null at creation; both are in the version of storage.
pub fn track(call: &Call, live: &Value, new: &mut Value, manager: &str, subresource: Option<Subresource>) {
    let served = &*call.served;
    let taken = std::mem::take(new);
    *new = with(call, manager, subresource, |write| {
        if served.is_stored() {
            return apply::update(write, live, taken);
        }
        // The entries are about the version of the request; the object stays in that of storage.
        let live = if live.is_null() { Value::Null } else { served_value(served, live.clone()) };
        let tracked = apply::update(write, &live, served_value(served, taken.clone()));
        let mut kept = taken;
        if let Some(metadata) = edit::child(&mut kept, "metadata") {
            edit::restore(metadata, edit::at(&tracked, &["metadata"]), "managedFields");
        }
        kept
    });
}

/// Notes who wrote a question to a subresource, which has a schema of its own and is kept nowhere.
pub fn question(
    call: &Call,
    (api_version, schema): (&str, &Schema),
    question: Value,
    manager: &str,
) -> Value {
    let kind = edit::text(&question, &["kind"]).to_owned();
    let write = apply::Write {
        schema,
        api_version,
        kind: &kind,
        subresource: &call.resource.subresource,
        manager: &call.manager(manager),
        reset: &NOTHING_RESET,
        now: call.now,
        convert: &|_, _| None,
    };
    apply::update(&write, &Value::Null, question)
}

/// Applies what a client wants to have, in the version of the request, to `live`, which is in that of storage and null
/// where there is nothing yet. The outcome is in the version of the request, and still to be decoded.
///
/// # Errors
/// 400 for another kind, 409 where others own what it would change.
pub fn apply(
    call: &Call,
    live: &Value,
    wanted: &Value,
    manager: &str,
    subresource: Option<Subresource>,
    force: bool,
) -> Result<Value, Status> {
    let live = if live.is_null() { Value::Null } else { served_value(&call.served, live.clone()) };
    let applied = with(call, manager, subresource, |write| apply::apply(write, &live, wanted, force));
    applied.map(|applied| applied.object).map_err(|error| match error {
        ApplyError::BadRequest(message) => refusal::bad_request(message),
        ApplyError::Conflict { message, causes } => refusal::apply_conflict(message, causes),
        ApplyError::Internal(message) => refusal::unknown(message),
    })
}

/// Where nothing but the times of entries is new, the old ones stay, so that nothing is written.
pub fn keep_times(new: &mut Value, old: &Value) {
    let field = ["metadata", "managedFields"];
    let (after, before) = (edit::list(new, &field), edit::list(old, &field));
    let same_entry = |a: &Value, b: &Value| same_but(a, b, "time");
    let same_entries = after.len() == before.len() && after.iter().zip(before).all(|(a, b)| same_entry(a, b));
    let same_metadata = same_but(edit::at(new, &["metadata"]), edit::at(old, &["metadata"]), "managedFields");
    if same_entries
        && same_metadata
        && same_but(new, old, "metadata")
        && let Some(metadata) = edit::child(new, "metadata")
    {
        edit::restore(metadata, edit::at(old, &["metadata"]), "managedFields");
    }
}

/// Two objects are equal but for one field.
fn same_but(a: &Value, b: &Value, except: &str) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    let rest = |of: &Map<String, Value>| of.len() - usize::from(of.contains_key(except));
    rest(a) == rest(b)
        && a.iter().filter(|(name, _)| *name != except).all(|(name, value)| b.get(name) == Some(value))
}

/// One empty entry, which means the same as none at all and survives decoding: to begin the account again.
pub fn reset_entries() -> Value {
    Value::Array(vec![Value::Object(Map::new())])
}

/// Takes the entries away, from an object that is too large with them.
pub fn forget(object: &mut Value) {
    if let Some(metadata) = edit::existing(object, "metadata") {
        edit::remove(metadata, "managedFields");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn times_alone_are_no_change() {
        let at = |time: &str, value: &str| json!({"data": {"a": value}, "metadata": {"managedFields": [{"manager": "m", "time": time}]}});
        let mut new = at("2", "x");
        keep_times(&mut new, &at("1", "x"));
        assert_eq!(new, at("1", "x"));
        let mut new = at("2", "y");
        keep_times(&mut new, &at("1", "x"));
        assert_eq!(new, at("2", "y"));
        let mut new = json!({"data": {}, "metadata": {"labels": {"a": "b"}}});
        keep_times(&mut new, &json!({"data": {}, "metadata": {}}));
        assert_eq!(new, json!({"data": {}, "metadata": {"labels": {"a": "b"}}}));
    }
}
