//! The counts of a ReplicaSet's status.

use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::time;
use control_core::edit::{self, list, text};
use serde_json::{Value, json};

use super::{failure, has_labels_of};
use crate::kinds::REPLICA_SETS;
use crate::{Act, Kind, object, pods};

/// `problem`: why pods could not be made or lost.
pub fn of(
    kind: Kind,
    set: &Value,
    active: &[Arc<Value>],
    terminating: usize,
    now: SystemTime,
    problem: Option<&str>,
) -> Value {
    let template = &set["spec"]["template"];
    let least = object::int(set, &["spec", "minReadySeconds"]);
    let count = |holds: &dyn Fn(&Value) -> bool| active.iter().filter(|pod| holds(pod)).count();
    let mut status = json!({
        "replicas": active.len(),
        "fullyLabeledReplicas": count(&|pod| has_labels_of(pod, template)),
        "readyReplicas": count(&pods::is_ready),
        "availableReplicas": count(&|pod| pods::is_available(pod, least, now)),
        "observedGeneration": edit::generation(set),
    });
    if kind == REPLICA_SETS {
        status["terminatingReplicas"] = terminating.into();
    }
    let mut conditions = list(set, &["status", "conditions"]).to_vec();
    let failed = conditions.iter().position(|condition| text(condition, &["type"]) == "ReplicaFailure");
    match (problem, failed) {
        (Some(problem), None) => {
            let wanted = object::int(set, &["spec", "replicas"]);
            let missing = i64::try_from(active.len()).unwrap_or(i64::MAX) < wanted;
            let reason = if missing { "FailedCreate" } else { "FailedDelete" };
            conditions.push(failure(reason, problem, &time::seconds(now)));
        }
        (None, Some(place)) => _ = conditions.remove(place),
        (Some(_), Some(_)) | (None, None) => {}
    }
    if !conditions.is_empty() {
        status["conditions"] = conditions.into();
    }
    status
}

/// Writes a status that differs from what is known.
pub fn update(kind: Kind, set: &Value, status: Value) -> Option<Act> {
    // A count of zero is absent.
    let shown = |status: &Value| {
        let mut shown = status.clone();
        if let Some(fields) = shown.as_object_mut() {
            fields.retain(|name, value| name == "terminatingReplicas" || value.as_i64() != Some(0));
        }
        shown
    };
    if edit::semantic_eq(&shown(&set["status"]), &shown(&status)) {
        return None;
    }
    let mut set = set.clone();
    set["status"] = status;
    Some(Act::status(kind, set))
}
