//! PersistentVolumeClaims, and the templates of claims that pods and StatefulSets hold.
//!
//! Begin at [`spec`].

use serde_json::Value;

use super::resources;
use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::{metadata, names, selectors};

pub const ACCESS_MODES: [&str; 4] = ["ReadOnlyMany", "ReadWriteMany", "ReadWriteOnce", "ReadWriteOncePod"];

/// A template in an ephemeral volume: labels, annotations and a spec, and nothing else.
pub fn template(template: &At<'_>) -> Errors {
    let own = template.get("metadata");
    let mut errors = metadata::annotations(&own.get("annotations"));
    errors.extend(metadata::labels(&own.get("labels")));
    for field in [
        "name",
        "generateName",
        "namespace",
        "selfLink",
        "uid",
        "resourceVersion",
        "generation",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "ownerReferences",
        "finalizers",
        "managedFields",
    ] {
        let field = own.get(field);
        if !field.is_absent() && field.text().is_empty() == field.value.is_string() {
            continue;
        }
        if !field.is_absent() {
            errors.push(field.forbidden("cannot be set"));
        }
    }
    errors.extend(spec(&template.get("spec")));
    errors
}

/// What a claim asks for (`ValidatePersistentVolumeClaimSpec`).
pub fn spec(spec: &At<'_>) -> Errors {
    let modes = spec.get("accessModes");
    let mut errors = Errors::new();
    if modes.is_empty() {
        errors.push(modes.required("at least 1 access mode is required"));
    }
    errors.extend(selectors::validate(&spec.get("selector"), false));
    errors.extend(access_modes(&modes));
    let path = spec.path.child("resources").key("storage");
    match spec.get("resources").get("requests").value.get("storage").and_then(resources::quantity) {
        None => errors.push(FieldError::required(&path, "")),
        Some(amount) => match resources::positive(amount, &path) {
            Some(error) => errors.push(error),
            None => errors.extend(resources::amount("storage", amount, &path)),
        },
    }
    errors.extend(class(&spec.get("storageClassName")));
    let mode = spec.get("volumeMode");
    if !mode.is_absent() && !matches!(mode.text(), "Block" | "Filesystem") {
        errors.push(mode.not_supported(&["Block", "Filesystem"]));
    }
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    for from in [&source, &reference] {
        if !from.is_absent() {
            errors.extend(data_source(from));
        }
    }
    if !source.is_absent() && !reference.is_absent() {
        let same = |field: &str| source.get(field).value == reference.get(field).value;
        let detail = if !reference.get("namespace").text().is_empty() {
            Some("may not be specified when dataSourceRef.namespace is specified")
        } else if !(same("apiGroup") && same("kind") && same("name")) {
            Some("must match dataSourceRef")
        } else {
            None
        };
        if let Some(detail) = detail {
            // The original shows the path where a value should be.
            errors.push(FieldError::invalid_shown(&spec.path, &source.path.to_string(), detail));
        }
    }
    errors.extend(class(&spec.get("volumeAttributesClassName")));
    errors
}

/// The name of a class; the empty one is none.
fn class(name: &At<'_>) -> Errors {
    match name.text() {
        "" => Errors::new(),
        text => name.invalid_each(names::dns1123_subdomain(text)).collect(),
    }
}

/// The modes of a claim or a volume; one that is for a single pod stands alone.
pub fn access_modes(modes: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (mut single, mut other) = (false, false);
    for mode in modes.items().map(|mode| mode.text()) {
        if !ACCESS_MODES.contains(&mode) {
            errors.push(FieldError::not_supported(&modes.path, &Value::from(mode), &ACCESS_MODES));
        } else if mode == "ReadWriteOncePod" {
            single = true;
        } else {
            other = true;
        }
    }
    if single && other {
        errors.push(modes.forbidden("may not use ReadWriteOncePod with other access modes"));
    }
    errors
}

fn data_source(source: &At<'_>) -> Errors {
    let (group, kind, namespace) = (source.get("apiGroup"), source.get("kind"), source.get("namespace"));
    let mut errors = Errors::new();
    for field in ["name", "kind"].map(|field| source.get(field)) {
        if field.text().is_empty() {
            errors.push(field.required(""));
        }
    }
    if group.text().is_empty() {
        if kind.text() != "PersistentVolumeClaim" {
            let detail = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(FieldError::invalid(&source.path, &Value::from(kind.text()), detail));
        }
    } else {
        errors.extend(group.invalid_each(names::dns1123_subdomain(group.text())));
    }
    if !namespace.text().is_empty() {
        errors.extend(namespace.invalid_each(names::dns1123_label(namespace.text())));
    }
    errors
}
