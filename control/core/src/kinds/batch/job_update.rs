//! What of a job's spec an update may change.

use serde_json::{Map, Value};

use super::job_spec::is_indexed;
use crate::at::{At, Errors};
use crate::edit::{at, child, existing, items, list, remove, restore, semantic_eq, set, text};
use crate::field::FieldError;
use crate::internal;
use crate::metadata::{IMMUTABLE, immutable};
use crate::selectors;

pub fn validate(spec: &At<'_>, old: &Value) -> Errors {
    let mut errors = Errors::new();
    errors.extend(completions(spec, old));
    let selector = spec.get("selector");
    if !semantic_eq(selector.value, at(old, &["spec", "selector"])) {
        errors.push(FieldError::invalid_shown(&selector.path, &selectors::json(selector.value), IMMUTABLE));
    }
    errors.extend(template(spec, old));
    let before = |field: &str| at(old, &["spec", field]);
    let plain = |field: &str| immutable(&spec.get(field), before(field));
    let policy = |field: &str, of: &str| internal::immutable(&spec.get(field), before(field), of, true);
    errors.extend(plain("completionMode"));
    errors.extend(policy("podFailurePolicy", "batch.PodFailurePolicy"));
    errors.extend(plain("backoffLimitPerIndex"));
    errors.extend(plain("managedBy"));
    errors.extend(policy("successPolicy", "batch.SuccessPolicy"));
    errors
}

/// Those of an indexed job may change together with the parallelism.
fn completions(spec: &At<'_>, old: &Value) -> Option<FieldError> {
    let completions = spec.get("completions");
    let before = at(old, &["spec", "completions"]);
    if !is_indexed(spec) {
        return immutable(&completions, before);
    }
    let tandem = completions.is_absent()
        || semantic_eq(completions.value, before)
        || completions.int() == spec.get("parallelism").int();
    (!tandem).then(|| completions.invalid("can only be modified in tandem with spec.parallelism"))
}

/// Where a suspended job has no pods, its template may say where they run and what they may use.
fn template(spec: &At<'_>, old: &Value) -> Option<FieldError> {
    let template = spec.get("template");
    let suspended = at(old, &["spec", "suspend"]).as_bool().unwrap_or_default();
    let mut before = at(old, &["spec", "template"]).clone();
    if !suspended || !has_no_pods(old) {
        return internal::immutable(&template, &before, "core.PodTemplateSpec", false);
    }
    take_scheduling(&mut before, template.value);
    let pod = At::new(at(template.value, &["spec"]), spec.path.child("template.spec"));
    take_resources(&mut before, template.value);
    internal::immutable(&pod, at(&before, &["spec"]), "core.PodSpec", false)
}

fn has_no_pods(job: &Value) -> bool {
    let suspended = list(job, &["status", "conditions"])
        .iter()
        .any(|condition| (text(condition, &["type"]), text(condition, &["status"])) == ("Suspended", "True"));
    let started = !at(job, &["status", "startTime"]).is_null();
    (!started || suspended) && at(job, &["status", "active"]).as_i64().unwrap_or_default() == 0
}

fn take_scheduling(template: &mut Value, from: &Value) {
    if let Some(metadata) = child(template, "metadata") {
        for field in ["annotations", "labels"] {
            restore(metadata, at(from, &["metadata"]), field);
        }
    }
    let Some(pod) = child(template, "spec") else {
        return;
    };
    for field in ["nodeSelector", "tolerations", "schedulingGates"] {
        restore(pod, at(from, &["spec"]), field);
    }
    let affinity = at(from, &["spec", "affinity"]);
    if affinity.is_null() {
        if let Some(own) = existing(pod, "affinity") {
            remove(own, "nodeAffinity");
        }
        if at(pod, &["affinity"]).as_object().is_some_and(Map::is_empty) {
            remove(pod, "affinity");
        }
    } else if let Some(own) = child(pod, "affinity") {
        restore(own, affinity, "nodeAffinity");
    }
}

/// Containers of the same name and place get the resources of the new ones.
fn take_resources(template: &mut Value, from: &Value) {
    let Some(pod) = child(template, "spec") else {
        return;
    };
    for containers in ["containers", "initContainers"] {
        let new = list(from, &["spec", containers]);
        if new.len() != list(pod, &[containers]).len() {
            continue;
        }
        for (own, new) in items(pod, containers).zip(new) {
            if text(own, &["name"]) == text(new, &["name"]) {
                set(own, "resources", at(new, &["resources"]).clone());
            }
        }
    }
}
