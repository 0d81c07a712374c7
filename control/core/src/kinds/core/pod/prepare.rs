//! What creating a pod changes in it: its first status, selectors that take labels from the pod, fields for old annotations.

use std::time::SystemTime;

use apiclient_core::time;
use serde_json::{Value, json};

use super::annotations::APP_ARMOR;
use super::{defaults, requests, security};
use crate::at::At;
use crate::edit::{at, child, existing, items, list, remove, semantic_eq, set, text};
use crate::field::Path;

pub fn create(pod: &mut Value, now: SystemTime) {
    // The only part of a status that who creates a pod may give, as in the original.
    let class = match text(pod, &["status", "qosClass"]) {
        "" => requests::qos_class(at(pod, &["spec"])),
        given => given,
    };
    let mut status = json!({"phase": "Pending", "qosClass": class});
    if !list(pod, &["spec", "schedulingGates"]).is_empty() {
        status["conditions"] = json!([{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "lastTransitionTime": time::seconds(now),
            "message": "Scheduling is blocked due to non-empty scheduling gates"}]);
    }
    set(pod, "status", status);
    if let Some(spec) = existing(pod, "spec") {
        drop_disabled(spec);
    }
    let labels = at(pod, &["metadata", "labels"]).clone();
    if let Some(spec) = existing(pod, "spec") {
        for constraint in items(spec, "topologySpreadConstraints") {
            add_label_keys(constraint, "matchLabelKeys", "In", &labels);
        }
        if let Some(affinity) = existing(spec, "affinity") {
            for kind in ["podAffinity", "podAntiAffinity"] {
                if let Some(affinity) = existing(affinity, kind) {
                    for preference in items(affinity, "preferredDuringSchedulingIgnoredDuringExecution") {
                        if let Some(term) = existing(preference, "podAffinityTerm") {
                            add_term_keys(term, &labels);
                        }
                    }
                    for term in items(affinity, "requiredDuringSchedulingIgnoredDuringExecution") {
                        add_term_keys(term, &labels);
                    }
                }
            }
        }
    }
    app_armor(pod);
}

fn add_term_keys(term: &mut Value, labels: &Value) {
    add_label_keys(term, "matchLabelKeys", "In", labels);
    add_label_keys(term, "mismatchLabelKeys", "NotIn", labels);
}

/// The pod's own labels of these keys join the selector. A selector that is absent selects nothing, and stays so.
fn add_label_keys(term: &mut Value, field: &str, operator: &str, labels: &Value) {
    let keys: Vec<String> =
        list(term, &[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect();
    let Some(selector) = existing(term, "labelSelector") else {
        return;
    };
    for key in keys {
        if let Some(value) = labels.get(&key)
            && let Some(Value::Array(expressions)) = list_child(selector, "matchExpressions")
        {
            expressions.push(json!({"key": key, "operator": operator, "values": [value]}));
        }
    }
}

fn list_child<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    crate::edit::default(object, name, Vec::<Value>::new());
    existing(object, name)
}

/// Fields that the original does not serve by default in 1.36 (alpha, or beta and off): it takes them away without a word.
pub fn drop_disabled(spec: &mut Value) {
    remove(spec, "schedulingGroup");
    for containers in defaults::CONTAINERS {
        for container in items(spec, containers) {
            if let Some(lifecycle) = existing(container, "lifecycle")
                && let Some(hooks) = lifecycle.as_object_mut()
                && hooks.remove("stopSignal").is_some()
                && hooks.is_empty()
            {
                remove(container, "lifecycle");
            }
        }
    }
    for volume in items(spec, "volumes") {
        if let Some(projected) = existing(volume, "projected") {
            for source in items(projected, "sources") {
                remove(source, "clusterTrustBundle");
                remove(source, "podCertificate");
            }
        }
    }
}

/// Containers whose AppArmor profile is in an annotation get it as a field.
fn app_armor(pod: &mut Value) {
    if text(pod, &["spec", "os", "name"]) == "windows" {
        return;
    }
    let annotations = at(pod, &["metadata", "annotations"]).clone();
    let whole = at(pod, &["spec", "securityContext", "appArmorProfile"]).clone();
    let Some(spec) = existing(pod, "spec") else {
        return;
    };
    for containers in defaults::CONTAINERS {
        for container in items(spec, containers) {
            let key = format!("{APP_ARMOR}{}", text(container, &["name"]));
            let given = !at(container, &["securityContext", "appArmorProfile"]).is_null();
            let Some(profile) = annotations.get(&key).and_then(Value::as_str).and_then(profile_of) else {
                continue;
            };
            if !given
                && !semantic_eq(&profile, &whole)
                && let Some(context) = child(container, "securityContext")
            {
                set(context, "appArmorProfile", profile);
            }
        }
    }
}

fn profile_of(annotation: &str) -> Option<Value> {
    let profile = match annotation {
        "unconfined" => json!({"type": "Unconfined"}),
        "runtime/default" => json!({"type": "RuntimeDefault"}),
        _ => match annotation.strip_prefix("localhost/")? {
            "" => return None,
            file => json!({"type": "Localhost", "localhostProfile": file}),
        },
    };
    let valid = security::app_armor(&At::new(&profile, Path::default())).is_empty();
    valid.then_some(profile)
}
