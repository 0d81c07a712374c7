//! Validation of the metadata that all objects have, in the original's words and order (`ValidateObjectMeta`).

use serde_json::Value;

use crate::at::{At, Errors};
use crate::edit::semantic_eq;
use crate::field::{FieldError, Path, quote};
use crate::kind::NameRule;
use crate::names;

/// Bytes of all keys and values of the annotations together.
pub const ANNOTATIONS: usize = 256 * 1024;

/// Bytes of the name of a field manager.
pub const MANAGER: usize = 128;

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What an object must be when it is created. `metadata` is the field of an object, or of a template.
pub fn validate(metadata: &At<'_>, namespaced: bool, rule: NameRule) -> Errors {
    let mut errors = Errors::new();
    let generate = metadata.get("generateName");
    if !generate.text().is_empty() {
        errors.extend(generate.invalid_each(rule.check(generate.text(), true)));
    }
    let name = metadata.get("name");
    if name.text().is_empty() {
        errors.push(name.required("name or generateName is required"));
    } else {
        errors.extend(name.invalid_each(rule.check(name.text(), false)));
    }
    let namespace = metadata.get("namespace");
    match (namespaced, namespace.text()) {
        (true, "") => errors.push(namespace.required("")),
        (true, text) => errors.extend(namespace.invalid_each(names::dns1123_label(text))),
        (false, "") => {}
        (false, _) => errors.push(namespace.forbidden("not allowed on this type")),
    }
    errors.extend(not_negative(&metadata.get("generation")));
    errors.extend(labels(&metadata.get("labels")));
    errors.extend(annotations(&metadata.get("annotations")));
    errors.extend(owners(&metadata.get("ownerReferences")));
    errors.extend(finalizers(&metadata.get("finalizers")));
    errors.extend(managed_fields(&metadata.get("managedFields")));
    errors
}

/// What may not change when an object is updated.
pub fn validate_update(new: &At<'_>, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let before = At::new(old, new.path.clone());
    if before.has("deletionTimestamp") {
        errors.extend(no_new_finalizers(&new.get("finalizers"), &before.get("finalizers")));
    }
    if new.get("resourceVersion").text().is_empty() {
        errors.push(new.get("resourceVersion").invalid_text("must be specified for an update"));
    }
    let generation = new.get("generation");
    if generation.int().unwrap_or_default() < before.get("generation").int().unwrap_or_default() {
        errors.push(generation.invalid_int("must not be decremented"));
    }
    for field in ["name", "namespace", "uid"] {
        if new.get(field).text() != before.get(field).text() {
            errors.push(new.get(field).invalid_text(IMMUTABLE));
        }
    }
    for field in ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds"] {
        errors.extend(immutable(&new.get(field), before.get(field).value));
    }
    errors.extend(labels(&new.get("labels")));
    errors.extend(annotations(&new.get("annotations")));
    errors.extend(owners(&new.get("ownerReferences")));
    errors.extend(managed_fields(&new.get("managedFields")));
    errors
}

/// All of the metadata once more, as the strategies of most kinds do on an update.
pub fn again(object: &Value, namespaced: bool, rule: NameRule) -> Errors {
    let metadata = At::object(object).get("metadata");
    let mut errors = validate(&metadata, namespaced, rule);
    errors.extend(legacy_finalizers(&metadata));
    errors
}

/// Finalizers without a domain must be ones that the system knows.
pub fn legacy_finalizers(metadata: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for finalizer in metadata.get("finalizers").items() {
        errors.extend(legacy_finalizer(finalizer.text(), &finalizer.path));
    }
    errors
}

pub fn legacy_finalizer(name: &str, path: &Path) -> Option<FieldError> {
    let known = name.contains('/') || matches!(name, "kubernetes" | ORPHAN | FOREGROUND);
    let rule = "name is neither a standard finalizer name nor is it fully qualified";
    (!known).then(|| FieldError::invalid(path, &Value::from(name), rule))
}

pub const IMMUTABLE: &str = "field is immutable";

/// A field must be what it was (`ValidateImmutableField`).
pub fn immutable(new: &At<'_>, old: &Value) -> Option<FieldError> {
    (!semantic_eq(new.value, old)).then(|| new.invalid(IMMUTABLE))
}

/// As [`immutable`], for a field that is no pointer: an absent text shows as `""`.
pub fn immutable_text(new: &At<'_>, old: &Value) -> Option<FieldError> {
    match new.is_absent() && old.is_string() {
        true => (!semantic_eq(new.value, old)).then(|| new.invalid_text(IMMUTABLE)),
        false => immutable(new, old),
    }
}

pub fn not_negative(number: &At<'_>) -> Option<FieldError> {
    number.int().is_some_and(|number| number < 0).then(|| number.invalid(NEGATIVE))
}

pub const NEGATIVE: &str = "must be greater than or equal to 0";

/// All errors of labels name the map and not the key.
pub fn labels(labels: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for (key, value) in labels.entries() {
        errors.extend(named(labels, key, names::qualified(key)));
        errors.extend(named(labels, value.text(), names::label_value(value.text())));
    }
    errors
}

/// A key of a label, as a field has it.
pub fn label_name(key: &At<'_>) -> Errors {
    key.invalid_each(names::qualified(key.text())).collect()
}

pub fn annotations(annotations: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut size = 0;
    for (key, value) in annotations.entries() {
        errors.extend(named(annotations, key, names::qualified(&key.to_lowercase())));
        size += key.len() + value.text().len();
    }
    if size > ANNOTATIONS {
        errors.push(FieldError::too_long(&annotations.path, ANNOTATIONS));
    }
    errors
}

fn owners(owners: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut controller: Option<String> = None;
    for owner in owners.items() {
        // The original's path here is that of the list.
        let owner = At::new(owner.value, owners.path.clone());
        let version = owner.get("apiVersion");
        if version.text().is_empty() || version.text().ends_with('/') {
            errors.push(version.invalid_text("version must not be empty"));
        }
        for field in ["kind", "name", "uid"] {
            if owner.get(field).text().is_empty() {
                errors.push(owner.get(field).invalid_text("must not be empty"));
            }
        }
        if (version.text(), owner.get("kind").text()) == ("v1", "Event") {
            let detail = "/v1, Kind=Event is disallowed from being an owner";
            let list = Value::Array(vec![owner.value.clone()]);
            let one = shown(&At::new(&list, owner.path.clone()));
            let one = one.trim_start_matches('[').trim_end_matches(']');
            errors.push(FieldError::invalid_shown(&owner.path, one, detail));
        }
        if owner.get("controller").is_true() {
            let this = format!("{}/{}", owner.get("kind").text(), owner.get("name").text());
            match &controller {
                None => controller = Some(this),
                Some(first) => errors.push(FieldError::invalid_shown(&owners.path, &shown(owners), &format!(
                    "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                ))),
            }
        }
    }
    errors
}

/// Owners as the original shows them, their fields in the order of its struct.
fn shown(owners: &At<'_>) -> String {
    let one = |owner: At<'_>| {
        let fields = ["apiVersion", "kind", "name", "uid", "controller", "blockOwnerDeletion"];
        let mut members: Vec<(&str, String)> = Vec::new();
        for field in fields {
            let value = owner.get(field);
            if !value.is_absent() {
                members.push((field, value.value.to_string()));
            } else if !matches!(field, "controller" | "blockOwnerDeletion") {
                members.push((field, crate::shown::text(&value)));
            }
        }
        crate::shown::fields(&members)
    };
    crate::shown::list(&owners.items().map(one).collect::<Vec<_>>())
}

fn finalizers(finalizers: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for finalizer in finalizers.items() {
        errors.extend(named(finalizers, finalizer.text(), names::qualified(finalizer.text())));
    }
    let has = |name: &str| finalizers.items().any(|finalizer| finalizer.text() == name);
    if has(ORPHAN) && has(FOREGROUND) {
        errors.push(finalizers.invalid(&format!("finalizer {ORPHAN} and {FOREGROUND} cannot be both set")));
    }
    errors
}

fn no_new_finalizers(new: &At<'_>, old: &At<'_>) -> Option<FieldError> {
    let old: Vec<&str> = old.items().map(|finalizer| finalizer.text()).collect();
    let mut extra: Vec<&str> =
        new.items().map(|finalizer| finalizer.text()).filter(|name| !old.contains(name)).collect();
    extra.sort_unstable();
    extra.dedup();
    (!extra.is_empty()).then(|| {
        let extra: Vec<String> = extra.into_iter().map(quote).collect();
        new.forbidden(&format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            extra.join(", ")
        ))
    })
}

fn managed_fields(entries: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for entry in entries.items() {
        if !matches!(entry.get("operation").text(), "Apply" | "Update") {
            errors.push(entry.get("operation").invalid_text("must be `Apply` or `Update`"));
        }
        if !matches!(entry.get("fieldsType").text(), "" | "FieldsV1") {
            errors.push(entry.get("fieldsType").invalid_text("must be `FieldsV1`"));
        }
        errors.extend(field_manager(&entry.get("manager")));
        if entry.get("subresource").text().len() > 256 {
            errors.push(FieldError::too_long(&entry.get("subresource").path, 256));
        }
    }
    errors
}

/// The name of who writes: at most [`MANAGER`] bytes, all of them printable.
pub fn field_manager(manager: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let name = manager.text();
    if name.len() > MANAGER {
        errors.push(FieldError::too_long(&manager.path, MANAGER));
    }
    for (position, found) in name.char_indices().filter(|(_, found)| found.is_control()) {
        let code = u32::from(found);
        errors.push(manager.invalid(&format!("invalid character U+{code:04X} (at position {position})")));
    }
    errors
}

/// Errors about a text that is a part of the field.
fn named<'a>(
    field: &'a At<'_>,
    text: &'a str,
    details: Vec<String>,
) -> impl Iterator<Item = FieldError> + use<'a> {
    let of = move |detail: String| FieldError::invalid(&field.path, &Value::from(text), &detail);
    details.into_iter().map(of)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(metadata: &Value) -> Vec<String> {
        let at = At::new(metadata, Path::new("metadata"));
        validate(&at, true, NameRule::Subdomain).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn metadata_needs_a_name_and_a_namespace() {
        assert_eq!(
            check(&json!({})),
            [
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Required value"
            ]
        );
        assert!(check(&json!({"name": "a", "namespace": "b"})).is_empty());
        let cluster = json!({"name": "a", "namespace": "b"});
        let errors = validate(&At::new(&cluster, Path::new("metadata")), false, NameRule::Label);
        assert_eq!(errors[0].to_string(), "metadata.namespace: Forbidden: not allowed on this type");
    }

    #[test]
    fn owners_have_one_controller_at_most() {
        let owner = |name: &str| json!({"apiVersion": "v1", "kind": "Pod", "name": name, "uid": "u", "controller": true});
        let errors =
            check(&json!({"name": "a", "namespace": "b", "ownerReferences": [owner("x"), owner("y")]}));
        assert_eq!(errors.len(), 1);
        assert!(errors[0].ends_with(
            "Only one reference can have Controller set to true. Found \"true\" in references for Pod/x and Pod/y"
        ));
    }

    #[test]
    fn annotations_together_may_not_be_too_long() {
        let annotations = json!({"a": "x".repeat(ANNOTATIONS - 1)});
        assert!(check(&json!({"name": "a", "namespace": "b", "annotations": annotations})).is_empty());
        let annotations = json!({"a": "x".repeat(ANNOTATIONS)});
        assert_eq!(
            check(&json!({"name": "a", "namespace": "b", "annotations": annotations})),
            ["metadata.annotations: Too long: may not be more than 262144 bytes"]
        );
    }

    #[test]
    fn what_identifies_an_object_never_changes() {
        let old = json!({"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "1",
            "creationTimestamp": "2026-01-01T00:00:00Z", "deletionTimestamp": "2026-01-01T00:00:01Z"});
        let new = json!({"name": "a", "namespace": "b", "uid": "v", "finalizers": ["x/y"]});
        let errors = validate_update(&At::new(&new, Path::new("metadata")), &old);
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            errors,
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"x/y\"}",
                "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
                "metadata.uid: Invalid value: \"v\": field is immutable",
                "metadata.creationTimestamp: Invalid value: null: field is immutable",
                "metadata.deletionTimestamp: Invalid value: null: field is immutable",
            ]
        );
    }
}
