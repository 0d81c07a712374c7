//! What goes over the wire around objects: kinds, lists, lines of a watch, refusals.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::fields::{object, or_default};
use crate::metadata::ObjectMeta;

/// JSON, one object or one list.
pub const JSON: &str = "application/json";
/// The binary encoding: four bytes [`PROTOBUF_MAGIC`], then a `runtime.Unknown`.
pub const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";
pub const PROTOBUF_MAGIC: [u8; 4] = *b"k8s\0";
/// Asks for [`PartialObjectMeta`] in the place of whole objects, one or a list.
pub const METADATA_ONLY: &str = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1";
pub const METADATA_ONLY_LIST: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";

/// Group, version and kind. The group is empty for the core kinds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct GroupVersionKind {
    pub group: String,
    pub version: String,
    pub kind: String,
}

impl GroupVersionKind {
    /// From the `apiVersion` and `kind` of an object; `None` where one is empty or has too many parts.
    pub fn new(api_version: &str, kind: &str) -> Option<Self> {
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let legal = !version.is_empty()
            && !version.contains('/')
            && !kind.is_empty()
            && (!group.is_empty() || !api_version.contains('/'));
        legal.then(|| Self { group: group.to_owned(), version: version.to_owned(), kind: kind.to_owned() })
    }

    /// `apps/v1`, or `v1`.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl fmt::Display for GroupVersionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.api_version(), self.kind)
    }
}

/// The `apiVersion` and `kind` of an object, whatever else it holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TypeMeta {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub api_version: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub kind: String,
}

/// An object without all but its metadata.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct PartialObjectMeta {
    #[serde(flatten)]
    pub type_meta: TypeMeta,
    #[serde(deserialize_with = "object")]
    pub metadata: ObjectMeta,
}

/// A list without its items, which are decoded one by one.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub struct Page {
    #[serde(deserialize_with = "object")]
    pub metadata: ListMeta,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct ListMeta {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Where the next page begins; empty on the last.
    #[serde(rename = "continue", deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub next: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remaining_item_count: Option<i64>,
}

/// One line of a watch.
#[derive(Debug, Deserialize, Serialize)]
pub struct WatchEvent<'a> {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    #[serde(rename = "type", borrow)]
    pub what: Cow<'a, str>,
    #[serde(borrow)]
    pub object: &'a RawValue,
}

/// A refusal (`metav1.Status`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Status {
    /// Its `continue` is where a list may go on that cannot go on where it should.
    #[serde(deserialize_with = "object")]
    pub metadata: ListMeta,
    /// `Success` or `Failure`.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub status: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "no_code")]
    pub code: u16,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct Details {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Empty for the core kinds.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub group: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Of the object that was deleted.
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub uid: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "is_zero")]
    pub retry_after_seconds: u64,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
pub struct Cause {
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub reason: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub message: String,
    #[serde(deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub field: String,
}

// serde hands out references.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

// serde hands out references.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn no_code(code: &u16) -> bool {
    *code == 0
}

impl Status {
    /// It as an object of the API.
    pub fn document(&self) -> Value {
        #[derive(Serialize)]
        #[serde(rename_all = "camelCase")]
        struct Document<'a> {
            kind: &'static str,
            api_version: &'static str,
            #[serde(flatten)]
            status: &'a Status,
        }
        serde_json::to_value(Document { kind: "Status", api_version: "v1", status: self }).unwrap_or_default()
    }

    /// The version is one that the server has forgotten.
    pub fn is_expired(&self) -> bool {
        self.code == 410 || matches!(self.reason.as_str(), "Expired" | "Gone")
    }

    /// The version is one that the server has not reached: its storage is another one, or an older state of it.
    pub fn is_from_the_future(&self) -> bool {
        let causes = self.details.iter().flat_map(|details| &details.causes);
        self.message.contains("Too large resource version")
            || causes.into_iter().any(|cause| cause.reason == "ResourceVersionTooLarge")
    }

    /// Somebody else has changed the object meanwhile: read it again.
    pub fn is_conflict(&self) -> bool {
        self.code == 409 && self.reason != "AlreadyExists"
    }

    pub fn already_exists(&self) -> bool {
        self.code == 409 && self.reason == "AlreadyExists"
    }

    pub fn is_not_found(&self) -> bool {
        self.code == 404
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn kinds_are_taken_apart_and_put_together() {
        let of = |version: &str, kind: &str| GroupVersionKind::new(version, kind);
        let found = of("apps/v1", "Deployment").expect("a kind");
        assert_eq!((found.group.as_str(), found.to_string().as_str()), ("apps", "apps/v1 Deployment"));
        assert_eq!(of("v1", "Pod").map(|kind| kind.api_version()), Some("v1".to_owned()));
        for (version, kind) in [("", "Pod"), ("v1", ""), ("a/b/c", "X"), ("/v1", "X"), ("a/", "X")] {
            assert_eq!(of(version, kind), None, "{version} {kind}");
        }
    }

    #[test]
    fn refusals_are_told_apart() {
        let of = |value| serde_json::from_value::<Status>(value).expect("a status");
        let old =
            of(json!({"kind": "Status", "metadata": {}, "status": "Failure", "code": 410, "details": null}));
        assert!(old.is_expired() && !old.is_conflict());
        let ahead = of(json!({"code": 504, "details": {"causes": [{"reason": "ResourceVersionTooLarge"}]}}));
        assert!(ahead.is_from_the_future());
        assert!(of(json!({"code": 409, "reason": "Conflict"})).is_conflict());
        assert!(of(json!({"code": 409, "reason": "AlreadyExists"})).already_exists());
    }

    #[test]
    fn metadata_alone_is_read_and_written() {
        let written =
            json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a", "labels": {"b": "c"}}});
        let found: PartialObjectMeta = serde_json::from_value(written.clone()).expect("an object");
        assert_eq!(serde_json::to_value(&found).expect("JSON"), written);
        let line: WatchEvent<'_> =
            serde_json::from_str(r#"{"type":"ADDED","object":{"a": 1}}"#).expect("a line");
        assert_eq!((line.what.as_ref(), line.object.get()), ("ADDED", r#"{"a": 1}"#));
    }
}
