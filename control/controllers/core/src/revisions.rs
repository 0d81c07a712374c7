//! ControllerRevisions: templates of the past, numbered, of a DaemonSet or a StatefulSet.
//!
//! Owns: which revision is the present one, its number, and which of the past are forgotten. What a revision holds is a
//! patch that brings its template back, which kubectl applies. Facts: `pkg/controller/history` and `daemon/update.go` of 1.36.

use std::cmp::Ordering;
use std::sync::Arc;

use control_core::edit;
use serde_json::{Value, json};

use crate::hash::Hash;
use crate::kinds::REVISIONS;
use crate::{Act, Kind, object};

/// Longest name of an owner in that of its revision.
const PREFIX: usize = 223;

/// The patch that brings the present template of an owner back. What the original writes even where it is empty stands in it,
/// because its DaemonSet controller compares byte by byte, and would replace all pods after ours.
pub fn patch(owner: &Value) -> Value {
    let mut template = owner["spec"]["template"].clone();
    edit::default(&mut template, "metadata", json!({}));
    if let Some(spec) = edit::child(&mut template, "spec") {
        for field in ["initContainers", "containers"] {
            edit::items(spec, field).for_each(|container| edit::default(container, "resources", json!({})));
        }
        for volume in edit::items(spec, "volumes") {
            let claim = edit::existing(volume, "ephemeral")
                .and_then(|ephemeral| edit::existing(ephemeral, "volumeClaimTemplate"));
            if let Some(claim) = claim {
                edit::default(claim, "metadata", json!({}));
                if let Some(spec) = edit::child(claim, "spec") {
                    edit::default(spec, "resources", json!({}));
                }
            }
        }
    }
    edit::set(&mut template, "$patch", "replace");
    json!({"spec": {"template": template}})
}

pub fn number(revision: &Value) -> i64 {
    object::int(revision, &["revision"])
}

/// From the oldest to the newest.
pub fn by_number(a: &Value, b: &Value) -> Ordering {
    let created = |revision| object::moment(revision, &["metadata", "creationTimestamp"]);
    number(a)
        .cmp(&number(b))
        .then_with(|| created(a).cmp(&created(b)))
        .then_with(|| object::name(a).cmp(object::name(b)))
}

/// An owner's revisions, told apart by what they hold.
#[derive(Debug)]
pub struct History {
    /// Those of the present template, the one with the highest number last.
    pub current: Vec<Arc<Value>>,
    /// The others, from the oldest to the newest.
    pub old: Vec<Arc<Value>>,
}

impl History {
    pub fn of(owner: &Value, mut revisions: Vec<Arc<Value>>) -> Self {
        revisions.sort_by(|a, b| by_number(a, b));
        let patch = patch(owner);
        let (current, old) =
            revisions.into_iter().partition(|found| edit::semantic_eq(&found["data"], &patch));
        Self { current, old }
    }

    /// The number that the present revision is to have at least.
    pub fn next(&self) -> i64 {
        self.old.iter().map(|revision| number(revision)).max().unwrap_or_default() + 1
    }

    /// Old revisions beyond `limit`, the oldest first, but none that is in use.
    pub fn forgotten(&self, limit: &Value, is_used: impl Fn(&Value) -> bool) -> Vec<Act> {
        let limit = limit.as_u64().and_then(|limit| usize::try_from(limit).ok()).unwrap_or(usize::MAX);
        let beyond = self.old.len().saturating_sub(limit);
        let unused = self.old.iter().filter(|revision| !is_used(revision));
        unused.take(beyond).map(|revision| Act::delete(REVISIONS, revision)).collect()
    }
}

/// A revision of the owner's present template. `label`: where its hash stands; `annotated`: whether it has its owner's annotations.
pub fn create(kind: Kind, owner: &Value, number: i64, label: &str, annotated: bool) -> Value {
    let data = patch(owner);
    let collisions = owner["status"]["collisionCount"].as_i64();
    let hash = Hash::default().value(&data).collisions(collisions).label();
    let mut labels = object::texts(&owner["spec"]["template"]["metadata"]["labels"]);
    labels.insert(label.to_owned(), hash.clone());
    let name = object::name(owner);
    let mut revision = json!({
        "apiVersion": "apps/v1", "kind": "ControllerRevision",
        "metadata": {
            "name": format!("{}-{hash}", &name[..name.floor_char_boundary(PREFIX)]),
            "namespace": object::namespace(owner),
            "labels": labels,
            "ownerReferences": [object::controller_reference(&kind, owner)],
        },
        "data": data, "revision": number,
    });
    let annotations = object::texts(&owner["metadata"]["annotations"]);
    if annotated && !annotations.is_empty() {
        revision["metadata"]["annotations"] = json!(annotations);
    }
    revision
}

/// A revision with another number.
pub fn renumber(revision: &Value, number: i64) -> Act {
    let mut revision = revision.clone();
    revision["revision"] = number.into();
    Act::update(REVISIONS, revision)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_holds_what_the_original_writes_and_is_found_without_it_too() {
        let spec = json!({
            "containers": [{"name": "c"}],
            "volumes": [{"name": "v", "ephemeral": {"volumeClaimTemplate": {"spec": {"accessModes": []}}}}],
        });
        let owner = json!({"metadata": {"name": "o"}, "spec": {"template": {"spec": spec}}});
        let patch = patch(&owner);
        let text = concat!(
            r#"{"spec":{"template":{"$patch":"replace","metadata":{},"spec":{"containers":[{"name":"c","resources":{}}],"#,
            r#""volumes":[{"ephemeral":{"volumeClaimTemplate":{"metadata":{},"spec":{"accessModes":[],"resources":{}}}},"#,
            r#""name":"v"}]}}}}"#,
        );
        assert_eq!(patch.to_string(), text);
        let mut template = owner["spec"]["template"].clone();
        edit::set(&mut template, "$patch", "replace");
        let bare = Arc::new(json!({"data": {"spec": {"template": template}}, "revision": 3}));
        let history = History::of(&owner, vec![bare]);
        assert_eq!((history.current.len(), history.next()), (1, 1));
    }
}
