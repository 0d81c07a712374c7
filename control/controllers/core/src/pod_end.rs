//! Ends of pods that no kubelet brings about.

use std::time::SystemTime;

use apiclient_core::time;
use control_core::edit::{self, list, text};
use serde_json::{Value, json};

use crate::kinds::PODS;
use crate::{Act, Write, object};

const DISRUPTION: &str = "DisruptionTarget";

/// A pod's conditions with one of them set; `None` where it is so already.
pub fn with_condition(pod: &Value, wanted: &Value, now: SystemTime) -> Option<Value> {
    let mut conditions = list(pod, &["status", "conditions"]).to_vec();
    let of = text(wanted, &["type"]);
    let mut condition = wanted.clone();
    condition["lastTransitionTime"] = time::seconds(now).into();
    if of == DISRUPTION {
        condition["observedGeneration"] = edit::generation(pod).into();
    }
    let place = conditions.iter().position(|known| text(known, &["type"]) == of);
    match place {
        Some(place) => {
            let known = &conditions[place];
            let same = ["status", "reason", "message"].iter().all(|field| known[field] == condition[field]);
            if same {
                return None;
            }
            if known["status"] == condition["status"] {
                edit::restore(&mut condition, known, "lastTransitionTime");
            }
            conditions[place] = condition;
        }
        None => conditions.push(condition),
    }
    Some(conditions.into())
}

/// `DisruptionTarget`: why a pod is about to go, for the controller that manages it.
pub fn disruption(reason: &str, message: &str) -> Value {
    json!({"type": DISRUPTION, "status": "True", "reason": reason, "message": message})
}

/// Writes some fields of a pod's status.
pub fn status(pod: &Value, status: &Value) -> Act {
    let patch = json!({"metadata": {"uid": object::uid(pod)}, "status": status});
    Act::new(PODS, Write::Strategic { name: object::key(pod), part: "status", patch })
}

/// Deletes a pod without waiting for its kubelet.
pub fn force(pod: &Value) -> Act {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0, "preconditions": {"uid": object::uid(pod)},
    });
    Act::new(PODS, Write::Delete { name: object::key(pod), options })
}
