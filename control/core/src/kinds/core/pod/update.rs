//! What may change in the spec of a pod that is there: little, and ephemeral containers by a way of their own.

use serde_json::Value;

use super::{annotations, scheduling, spec};
use crate::at::{At, Errors};
use crate::edit::{at, items, list, remove, restore, semantic_eq, set, text};
use crate::field::{FieldError, Path, quote};
use crate::kinds::core::resources::quantity;
use crate::{internal, names, unified};

const UPDATABLE: &str = "`spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)";

/// An update of the pod itself. The checks of the whole come before, in [`super::whole`].
pub fn validate(new: &Value, old: &Value) -> Errors {
    let new_spec = At::object(new).get("spec");
    let old_spec = At::object(old).get("spec");
    let mut errors = Errors::new();
    for containers in ["containers", "initContainers"] {
        let (after, before) = (new_spec.get(containers), old_spec.get(containers));
        if after.len() != before.len() {
            errors.push(after.forbidden("pod updates may not add or remove containers"));
            return errors;
        }
        for container in after.items() {
            let image = container.get("image");
            if image.text().is_empty() {
                errors.push(image.required(""));
            }
            if image.text().trim() != image.text() {
                errors.push(image.invalid("must not have leading or trailing whitespace"));
            }
        }
    }
    let (deadline, before) =
        (new_spec.get("activeDeadlineSeconds"), old_spec.get("activeDeadlineSeconds").int());
    match (deadline.int(), before) {
        (Some(seconds), _) if !(0..=i64::from(i32::MAX)).contains(&seconds) => {
            let wrong = names::in_range(seconds, 0, i64::from(i32::MAX));
            errors.extend(wrong.iter().map(|detail| deadline.invalid(detail)));
            return errors;
        }
        (Some(seconds), Some(before)) if before < seconds => {
            errors.push(deadline.invalid("must be less than or equal to previous value"));
            return errors;
        }
        (None, Some(_)) => {
            errors.push(deadline.invalid("must not update from a positive integer to nil value"));
        }
        _ => {}
    }
    errors.extend(scheduling::only_added_tolerations(
        &new_spec.get("tolerations"),
        &old_spec.get("tolerations"),
    ));
    errors.extend(scheduling::only_deleted_gates(
        &new_spec.get("schedulingGates"),
        &old_spec.get("schedulingGates"),
    ));
    let mut masked = new_spec.value.clone();
    mask(&mut masked, old_spec.value);
    if !old_spec.get("schedulingGates").is_empty() {
        errors.extend(gated(&mut masked, &new_spec, &old_spec));
    }
    if !equal(&masked, old_spec.value) {
        let changed = difference(&masked, old_spec.value);
        errors.push(
            new_spec
                .forbidden(&format!("pod updates may not change fields other than {UPDATABLE}\n{changed}")),
        );
    }
    errors
}

/// Equal, with quantities by their amounts.
pub fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(left), Value::Object(right)) => {
            let all = left.keys().chain(right.keys().filter(|key| !left.contains_key(*key)));
            let get =
                |side: &serde_json::Map<String, Value>, key: &str| side.get(key).cloned().unwrap_or_default();
            all.into_iter().all(|key| {
                let (a, b) = (get(left, key), get(right, key));
                match key.as_str() {
                    "limits" | "requests" | "overhead" => same_amounts(&a, &b),
                    _ => equal(&a, &b),
                }
            })
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(a, b)| equal(a, b))
        }
        _ => semantic_eq(a, b),
    }
}

fn same_amounts(a: &Value, b: &Value) -> bool {
    match (a.as_object(), b.as_object()) {
        (Some(left), Some(right)) => {
            left.len() == right.len()
                && left.iter().all(|(name, amount)| {
                    right.get(name).is_some_and(|other| quantity(amount) == quantity(other))
                })
        }
        _ => semantic_eq(a, b),
    }
}

/// Puts back what may change.
fn mask(new: &mut Value, old: &Value) {
    for containers in ["containers", "initContainers"] {
        for (container, before) in items(new, containers).zip(list(old, &[containers])) {
            restore(container, before, "image");
        }
    }
    for field in ["activeDeadlineSeconds", "schedulingGates", "tolerations"] {
        restore(new, old, field);
    }
    let grace = |spec: &Value| at(spec, &["terminationGracePeriodSeconds"]).as_i64();
    if grace(old).is_some_and(|seconds| seconds < 0) && grace(new) == Some(1) {
        restore(new, old, "terminationGracePeriodSeconds");
    }
}

/// As long as a pod waits for its gates, where it may run can be narrowed.
fn gated(masked: &mut Value, new: &At<'_>, old: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (selector, before) = (new.get("nodeSelector"), old.get("nodeSelector"));
    if !semantic_eq(selector.value, before.value) {
        let kept = before.entries().all(|(key, value)| selector.value.get(key) == Some(value.value));
        if !kept {
            errors.push(
                selector
                    .invalid("only additions to spec.nodeSelector are allowed (no mutations or deletions)"),
            );
        }
        restore(masked, old.value, "nodeSelector");
    }
    let (node, before) = (new.get("affinity").get("nodeAffinity"), old.get("affinity").get("nodeAffinity"));
    if !semantic_eq(node.value, before.value) {
        errors.extend(narrowed(&node, &before));
        let mut affinity = at(masked, &["affinity"]).clone();
        if affinity.is_null() {
            affinity = Value::Object(Default::default());
        }
        if before.is_absent() {
            remove(&mut affinity, "nodeAffinity");
        } else {
            set(&mut affinity, "nodeAffinity", before.value.clone());
        }
        set(masked, "affinity", affinity);
    }
    errors
}

fn narrowed(new: &At<'_>, old: &At<'_>) -> Errors {
    let terms = |affinity: &At<'_>| {
        let required = affinity.path.child("requiredDuringSchedulingIgnoredDuringExecution");
        let path = ["requiredDuringSchedulingIgnoredDuringExecution", "nodeSelectorTerms"];
        (list(affinity.value, &path).to_vec(), required.child("nodeSelectorTerms"))
    };
    let ((after, path), (before, _)) = (terms(new), terms(old));
    if before.is_empty() {
        return Errors::new();
    }
    if before.len() != after.len() {
        let detail = "no additions/deletions to non-empty NodeSelectorTerms list are allowed";
        return vec![FieldError::invalid(&path, &Value::Array(after), detail)];
    }
    let extends = |after: &Value, before: &Value| {
        let part = |term: &Value, field: &str| list(term, &[field]).to_vec();
        let empty = part(before, "matchExpressions").is_empty() && part(before, "matchFields").is_empty();
        if empty {
            return part(after, "matchExpressions").is_empty() && part(after, "matchFields").is_empty();
        }
        ["matchExpressions", "matchFields"].iter().all(|field| {
            let (after, before) = (part(after, field), part(before, field));
            after.len() >= before.len() && after.iter().zip(&before).all(|(a, b)| semantic_eq(a, b))
        })
    };
    let mut errors = Errors::new();
    for (n, (after, before)) in after.iter().zip(&before).enumerate() {
        if !extends(after, before) {
            let detail = "only additions are allowed (no mutations or deletions)";
            errors.push(FieldError::invalid(&path.index(n), after, detail));
        }
    }
    errors
}

/// How two specs differ, as the original's structs.
fn difference(new: &Value, old: &Value) -> String {
    let shown = |spec| internal::lines("core.PodSpec", spec);
    unified::difference(&shown(old), &shown(new))
}

/// An update of the ephemeral containers: they may be added.
pub fn ephemeral(new: &Value, old: &Value) -> Errors {
    let path = Path::new("spec").child("ephemeralContainers");
    if !at(old, &["metadata", "annotations", annotations::MIRROR]).is_null() {
        let detail = "static pods do not support ephemeral containers";
        return vec![FieldError::forbidden(&Path::new("[]"), detail)];
    }
    let named = |name: &str| {
        list(new, &["spec", "ephemeralContainers"])
            .iter()
            .find(|container| text(container, &["name"]) == name)
    };
    let mut errors = Errors::new();
    for container in list(old, &["spec", "ephemeralContainers"]) {
        let name = text(container, &["name"]);
        let shown = |container| internal::lines("core.EphemeralContainer", container);
        let how = match named(name) {
            None => "removed\n".to_owned(),
            Some(found) if !equal(found, container) => {
                format!("changed\n{}", unified::difference(&shown(container), &shown(found)))
            }
            Some(_) => continue,
        };
        let detail = format!("existing ephemeral containers {} may not be {how}", quote(name));
        errors.push(FieldError::forbidden(&path, &detail));
    }
    errors
}

/// Everything that a pod must be, which an update checks again.
pub fn whole(new: &Value) -> Errors {
    let object = At::object(new);
    let (metadata, spec) = (object.get("metadata"), object.get("spec"));
    let mut errors = annotations::validate(&metadata.get("annotations"), &spec);
    errors.extend(spec::validate(&spec, Some(&metadata)));
    errors.extend(spec::only_of_pods(&spec));
    errors
}
