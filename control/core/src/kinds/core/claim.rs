//! PersistentVolumeClaims, and the templates of claims that pods and StatefulSets hold.
//!
//! Begin at [`spec`], which both have.

use std::time::SystemTime;

use serde_json::{Value, json};

use super::volume::{CLASS, amount, basic, class_of, modes, old_class, or_unset, phase};
use super::{cells, resources};
use crate::at::{At, Errors};
use crate::edit::{at, child, default, default_text, existing, list, remove, restore, set, text};
use crate::field::{FieldError, Path};
use crate::kind::{Context, NameRule, Strategy};
use crate::kinds::status::is_status;
use crate::metadata::IMMUTABLE;
use crate::table::BuiltIn;
use crate::{ages, internal, metadata, names, selectors, unified};

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
            // The original shows the path where a value should be, and of a path nothing is shown.
            errors.push(FieldError::invalid_shown(&spec.path, "{}", detail));
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

#[derive(Debug)]
pub struct PersistentVolumeClaim;

impl Strategy for PersistentVolumeClaim {
    fn set_defaults(&self, object: &mut Value) {
        if let Some(status) = child(object, "status") {
            default_text(status, "phase", "Pending");
            resources::round_up(status, "capacity");
            resources::round_up(status, "allocatedResources");
        }
        if let Some(spec) = child(object, "spec") {
            default(spec, "volumeMode", "Filesystem");
            if let Some(asked) = existing(spec, "resources") {
                resources::round_up(asked, "limits");
                resources::round_up(asked, "requests");
            }
        }
    }

    fn prepare_create(&self, object: &mut Value, _context: &Context<'_>) {
        set(object, "status", json!({"phase": "Pending"}));
        if let Some(spec) = existing(object, "spec") {
            data_sources(spec);
        }
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if is_status(context) {
            restore(new, old, "spec");
            return;
        }
        restore(new, old, "status");
        if let Some(spec) = existing(new, "spec") {
            data_sources(spec);
        }
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        spec(&At::object(object).get("spec"))
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        if is_status(context) {
            return claim_status(&At::object(new));
        }
        let mut errors = metadata::again(new, true, NameRule::Subdomain);
        errors.extend(self.validate_create(new, context));
        errors.extend(changed(new, old));
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let mut all = old_class(object);
        for field in ["requests", "limits"] {
            let amount = resources::quantity(at(object, &["spec", "resources", field, "storage"]));
            if let Some(amount) = amount.filter(|amount| amount.milli_value() % 1000 != 0) {
                all.push(format!(
                    "spec.resources.{field}[storage]: fractional byte value \"{amount}\" is invalid, must be an integer"
                ));
            }
        }
        all
    }
}

/// `dataSource` takes claims and snapshots only and forgets anything else; `dataSourceRef` is the same in its newer form.
fn data_sources(spec: &mut Value) {
    let known = |source: &Value| {
        matches!(
            (text(source, &["apiGroup"]), text(source, &["kind"])),
            ("", "PersistentVolumeClaim") | ("snapshot.storage.k8s.io", "VolumeSnapshot")
        )
    };
    let (source, reference) = (at(spec, &["dataSource"]).clone(), at(spec, &["dataSourceRef"]).clone());
    if !source.is_null() && reference.is_null() {
        if known(&source) {
            set(spec, "dataSourceRef", source);
        } else {
            remove(spec, "dataSource");
        }
    } else if source.is_null() && !reference.is_null() && text(&reference, &["namespace"]).is_empty() {
        set(spec, "dataSource", reference);
    }
}

/// Of Kubernetes' own resources a claim has storage only.
fn claimed(name: &str, path: &Path) -> Errors {
    let wrong = names::qualified(name);
    if wrong.is_empty() && resources::is_native(name) && name != "storage" {
        return vec![FieldError::not_supported(path, &name.into(), &["storage"])];
    }
    wrong.iter().map(|detail| FieldError::invalid(path, &name.into(), detail)).collect()
}

/// What becomes of a larger size that was asked for.
const RESIZING: [&str; 5] = [
    "ControllerResizeInProgress",
    "ControllerResizeInfeasible",
    "NodeResizeInProgress",
    "NodeResizeInfeasible",
    "NodeResizePending",
];

fn claim_status(object: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if object.get("spec").get("accessModes").is_empty() {
        errors.push(FieldError::required(&Path::new("Spec").child("accessModes"), ""));
    }
    for (_, amount, path) in resources::amounts(&object.get("status").get("capacity")) {
        errors.extend(basic(amount, &path));
    }
    let resizing = object.get("status").get("allocatedResourceStatuses");
    for (name, state) in resizing.entries() {
        errors.extend(claimed(name, &resizing.path));
        if !RESIZING.contains(&state.text()) {
            // The resource is shown, and not its state.
            errors.push(FieldError::not_supported(&resizing.path, &name.into(), &RESIZING));
        }
    }
    let allocated = object.get("status").get("allocatedResources");
    for (name, amount, path) in resources::amounts(&allocated) {
        let unknown = claimed(name, &allocated.path);
        if unknown.is_empty() {
            errors.extend(basic(amount, &path));
            errors.extend(resources::amount("storage", amount, &path));
        }
        errors.extend(unknown);
    }
    errors
}

fn changed(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    let before = at(old, &["spec"]);
    let (mut masked, mut held_to) = (at(new, &["spec"]).clone(), before.clone());
    if text(before, &["volumeName"]).is_empty() {
        restore(&mut held_to, at(new, &["spec"]), "volumeName");
    }
    let class = |object: &Value| at(object, &["spec", "storageClassName"]).clone();
    let annotation = |object: &Value| at(object, &["metadata", "annotations", CLASS]).clone();
    let (old_note, new_note) = (annotation(old), annotation(new));
    let upgraded = !old_note.is_null()
        && class(old).is_null()
        && class(new) == old_note
        && (new_note.is_null() || new_note == old_note);
    if upgraded {
        remove(&mut masked, "storageClassName");
    } else {
        if new_note != old_note {
            let path = Path::new("metadata").child("annotations").child(CLASS);
            let shown = new_note.as_str().unwrap_or_default();
            errors.push(FieldError::invalid(&path, &shown.into(), IMMUTABLE));
        }
        if !class(new).is_null() && class(old).is_null() && (old_note.is_null() || class(new) == old_note) {
            restore(&mut masked, before, "storageClassName");
        }
    }
    if text(new, &["status", "phase"]) == "Bound" {
        restore(&mut masked, before, "volumeAttributesClassName");
        if let Some(resources) = existing(&mut masked, "resources")
            && let Some(requests) = existing(resources, "requests")
        {
            restore(requests, at(before, &["resources", "requests"]), "storage");
        }
    }
    if !super::pod::same_spec(&masked, &held_to) {
        let shown = |spec: &Value| internal::lines("core.PersistentVolumeClaimSpec", spec);
        let changed = unified::difference(&shown(&held_to), &shown(&masked));
        errors.push(FieldError::forbidden(
            &Path::new("spec"),
            &format!(
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims\n{changed}"
            ),
        ));
    }
    let size = |object: &Value| {
        resources::quantity(at(object, &["spec", "resources", "requests", "storage"])).unwrap_or_default()
    };
    let held = resources::quantity(at(old, &["status", "capacity", "storage"])).unwrap_or_default();
    if size(new) < size(old) && size(new) <= held {
        let path = Path::new("spec").child("resources").child("requests").child("storage");
        errors.push(FieldError::forbidden(&path, "field can not be less than status.capacity"));
    }
    let mode = at(new, &["spec", "volumeMode"]);
    if mode != at(old, &["spec", "volumeMode"]) {
        errors.push(FieldError::invalid(&Path::new("volumeMode"), mode, IMMUTABLE));
    }
    let attributes = "volumeAttributesClassName";
    let (after, was) = (at(new, &["spec", attributes]), at(before, &[attributes]));
    if after != was && !at(old, &["status", "currentVolumeAttributesClassName"]).is_null() {
        let what = match after.as_str() {
            None => "nil",
            Some("") => "empty string",
            Some(_) => return errors,
        };
        let detail =
            format!("update to {what} is forbidden when status.currentVolumeAttributesClassName is not nil");
        errors.push(FieldError::forbidden(&Path::new("spec").child(attributes), &detail));
    }
    errors
}

pub const PERSISTENT_VOLUME_CLAIM: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Status", "string", "Whether the claim has its volume."),
    BuiltIn::new("Volume", "string", "The volume that the claim is bound to."),
    BuiltIn::new("Capacity", "string", "How much the volume holds."),
    BuiltIn::new("Access Modes", "string", "How nodes and pods may use the volume."),
    BuiltIn::new("StorageClass", "string", "The class that the claim asks for."),
    BuiltIn::new("VolumeAttributesClass", "string", "The class of attributes that the claim asks for."),
    BuiltIn::age(),
    BuiltIn::new("VolumeMode", "string", "Whether the volume is a file system or a block device.").wide(),
];

pub fn persistent_volume_claim(object: &Value, now: SystemTime) -> Vec<Value> {
    let volume = text(object, &["spec", "volumeName"]);
    let (capacity, access) = if volume.is_empty() {
        ("".into(), "".into())
    } else {
        (
            amount(at(object, &["status", "capacity", "storage"])),
            modes(list(object, &["status", "accessModes"])),
        )
    };
    vec![
        cells::name(object),
        phase(object),
        volume.into(),
        capacity,
        access,
        class_of(object),
        or_unset(at(object, &["spec", "volumeAttributesClassName"])),
        ages::of(object, now).into(),
        or_unset(at(object, &["spec", "volumeMode"])),
    ]
}
