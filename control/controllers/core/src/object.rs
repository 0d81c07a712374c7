//! What every object has, read from its JSON.

use std::collections::BTreeMap;
use std::time::SystemTime;

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use control_core::edit::{at, list, text};
use serde_json::{Value, json};

use crate::Kind;

pub fn name(object: &Value) -> &str {
    text(object, &["metadata", "name"])
}

/// Empty for what has none.
pub fn namespace(object: &Value) -> &str {
    text(object, &["metadata", "namespace"])
}

pub fn key(object: &Value) -> ObjectName {
    ObjectName::new(namespace(object), name(object))
}

pub fn uid(object: &Value) -> &str {
    text(object, &["metadata", "uid"])
}

/// 0 where it is absent, or no number (KEP-5504 has it be one).
pub fn version(object: &Value) -> u64 {
    text(object, &["metadata", "resourceVersion"]).parse().unwrap_or_default()
}

pub fn labels(object: &Value) -> &Value {
    at(object, &["metadata", "labels"])
}

pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "labels", key]).as_str()
}

pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "annotations", key]).as_str()
}

pub fn texts(map: &Value) -> BTreeMap<String, String> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect()
}

/// The whole number at `path`, 0 where there is none.
pub fn int(object: &Value, path: &[&str]) -> i64 {
    at(object, path).as_i64().unwrap_or_default()
}

/// The time at `path`.
pub fn moment(object: &Value, path: &[&str]) -> Option<SystemTime> {
    time::parse(text(object, path))
}

pub fn is_deleting(object: &Value) -> bool {
    !text(object, &["metadata", "deletionTimestamp"]).is_empty()
}

/// The owner that manages an object, an `OwnerReference`.
pub fn controller(object: &Value) -> Option<&Value> {
    list(object, &["metadata", "ownerReferences"]).iter().find(|owner| owner["controller"] == true)
}

/// The uid of the owner that manages an object, where it has one.
pub fn controller_uid(object: &Value) -> Option<&str> {
    controller(object).map(|owner| text(owner, &["uid"]))
}

/// A reference to an owner that manages the object which has it.
pub fn controller_reference(kind: &Kind, owner: &Value) -> Value {
    json!({
        "apiVersion": kind.api_version(), "kind": kind.name, "name": name(owner), "uid": uid(owner),
        "controller": true, "blockOwnerDeletion": true,
    })
}

/// The status of a condition, and the condition.
pub fn condition<'a>(object: &'a Value, of: &str) -> Option<&'a Value> {
    list(object, &["status", "conditions"]).iter().find(|condition| text(condition, &["type"]) == of)
}

pub fn condition_is(object: &Value, of: &str, status: &str) -> bool {
    condition(object, of).is_some_and(|condition| text(condition, &["status"]) == status)
}
