//! How the resources of a pod that is there may change (the subresource `resize`).

use serde_json::Value;

use super::update::equal;
use super::{annotations, requests};
use crate::at::Errors;
use crate::edit::{at, items, list, remove, restore, set, text};
use crate::field::{FieldError, Path};

/// An update of resources: of CPU and memory, of containers that stay, within the class of service.
pub fn validate(new: &Value, old: &Value) -> Errors {
    let path = spec_path();
    let whole = |detail: &str| vec![FieldError::forbidden(&Path::new("[]"), detail)];
    if !at(old, &["metadata", "annotations", annotations::MIRROR]).is_null() {
        return whole("static pods cannot be resized");
    }
    if text(old, &["spec", "os", "name"]) == "windows" {
        return whole("windows pods cannot be resized");
    }
    let mut errors = Errors::new();
    let class = match text(old, &["status", "qosClass"]) {
        "" => requests::qos_class(at(old, &["spec"])),
        class => class,
    };
    if class != requests::qos_class(at(new, &["spec"])) {
        let shown = at(new, &["status", "qosClass"]).as_str().unwrap_or_default();
        let detail = "Pod QOS Class may not change as a result of resizing";
        errors.push(FieldError::invalid(&path, &shown.into(), detail));
    }
    let statuses = list(old, &["status", "containerStatuses"]);
    let running = statuses.iter().find(|status| !at(status, &["state", "running"]).is_null());
    if running.is_some_and(|status| at(status, &["resources"]).is_null()) {
        errors.push(FieldError::forbidden(&path, "Pod running on node without support for resize"));
    }
    let mut masked = at(new, &["spec"]).clone();
    errors.extend(pod_level(&mut masked, old));
    let moved = order(new, old);
    if !moved.is_empty() {
        errors.extend(moved);
        return errors;
    }
    for containers in ["initContainers", "containers"] {
        let all = list(new, &["spec", containers]).iter().zip(list(old, &["spec", containers])).enumerate();
        for (n, (after, before)) in all {
            let at_container = path.child(containers).index(n).child("resources");
            errors.extend(none_removed(after, before, &at_container, "resource"));
        }
    }
    for containers in ["containers", "initContainers"] {
        for (n, (container, before)) in
            items(&mut masked, containers).zip(list(old, &["spec", containers])).enumerate()
        {
            keep_computes(container, before);
            if !equal(container, before) {
                errors.push(match containers {
                    "containers" => FieldError::forbidden(&path, ONLY_COMPUTES),
                    _ => FieldError::forbidden(
                        &path.child(containers).index(n),
                        "only cpu and memory resources for init or sidecar containers are mutable",
                    ),
                });
            }
        }
    }
    if errors.is_empty() && !equal(&masked, at(old, &["spec"])) {
        errors.push(FieldError::forbidden(&path, ONLY_COMPUTES));
    }
    errors
}

const ONLY_COMPUTES: &str = "only cpu and memory resources are mutable";

fn spec_path() -> Path {
    Path::new("spec")
}

fn pod_level(masked: &mut Value, old: &Value) -> Errors {
    let path = spec_path();
    let (before, after) = (at(old, &["spec", "resources"]).clone(), at(masked, &["resources"]).clone());
    let mut errors = Errors::new();
    if before.is_null() && after.is_null() {
        return errors;
    }
    if !before.is_null() && after.is_null() {
        errors.push(FieldError::forbidden(&path.child("resources"), "pod-level resources cannot be removed"));
        return errors;
    }
    let as_container = |resources: &Value| serde_json::json!({"resources": resources});
    errors.extend(none_removed(
        &as_container(&after),
        &as_container(&before),
        &path.child("resources"),
        "pod-level resource",
    ));
    let mut whole = as_container(&after);
    keep_computes(&mut whole, &as_container(&before));
    restore(masked, &whole, "resources");
    if !equal(at(masked, &["resources"]), &before) {
        errors.push(FieldError::forbidden(&path, "only cpu and memory resources are mutable at pod-level"));
    }
    errors
}

fn order(new: &Value, old: &Value) -> Errors {
    let mut errors = Errors::new();
    for containers in ["containers", "initContainers"] {
        let path = spec_path().child(containers);
        let (after, before) = (list(new, &["spec", containers]), list(old, &["spec", containers]));
        if after.len() != before.len() {
            let detail = format!("{containers} may not be added or removed on resize");
            errors.push(FieldError::forbidden(&path, &detail));
            continue;
        }
        for (n, _) in after
            .iter()
            .zip(before)
            .enumerate()
            .filter(|(_, (a, b))| text(a, &["name"]) != text(b, &["name"]))
        {
            let detail = format!("{containers} may not be renamed or reordered on resize");
            errors.push(FieldError::forbidden(&path.index(n).child("name"), &detail));
        }
    }
    errors
}

fn none_removed(new: &Value, old: &Value, path: &Path, what: &str) -> Errors {
    let mut errors = Errors::new();
    for field in ["requests", "limits"] {
        let before = at(old, &["resources", field]).as_object();
        let after = at(new, &["resources", field]);
        let gone = before.into_iter().flatten().any(|(name, _)| after.get(name).is_none());
        if gone {
            let detail = format!("{what} {field} cannot be removed");
            errors.push(FieldError::forbidden(&path.child(field), &detail));
        }
    }
    errors
}

/// CPU and memory become what they were.
fn keep_computes(container: &mut Value, old: &Value) {
    let before = at(old, &["resources"]).clone();
    let mut after = at(container, &["resources"]).clone();
    if after.is_null() && before.is_null() {
        return;
    }
    if after.is_null() {
        after = Value::Object(Default::default());
    }
    for field in ["limits", "requests"] {
        let mut amounts = at(&after, &[field]).as_object().cloned().unwrap_or_default();
        for name in ["cpu", "memory"] {
            match at(&before, &[field, name]) {
                Value::Null => _ = amounts.remove(name),
                amount => _ = amounts.insert(name.to_owned(), amount.clone()),
            }
        }
        if amounts.is_empty() {
            remove(&mut after, field);
        } else {
            set(&mut after, field, amounts);
        }
    }
    set(container, "resources", after);
}

/// Keeps of an update by the subresource only the resources of containers, as long as these are the same ones.
pub fn only_resources(new: &mut Value, old: &Value) {
    let names = |object: &Value, containers: &str| -> Vec<String> {
        list(object, &["spec", containers])
            .iter()
            .map(|container| text(container, &["name"]).to_owned())
            .collect()
    };
    if ["containers", "initContainers"].iter().any(|list| names(new, list).len() != names(old, list).len()) {
        return;
    }
    let given = at(new, &["spec"]).clone();
    let mut kept = at(old, &["spec"]).clone();
    restore(&mut kept, &given, "resources");
    for containers in ["containers", "initContainers"] {
        if names(new, containers) != names(old, containers) {
            restore(&mut kept, &given, containers);
            continue;
        }
        for (container, given) in items(&mut kept, containers).zip(list(&given, &[containers])) {
            restore(container, given, "resources");
            restore(container, given, "resizePolicy");
        }
    }
    set(new, "spec", kept);
    super::keep_metadata(new, old);
    restore(new, old, "status");
}
