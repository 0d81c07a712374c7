//! Conditions of a node that is silent.

use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::time;
use control_core::edit::{self, text};
use serde_json::{Value, json};

use crate::kinds::NODES;
use crate::{Act, Note, object};

/// What a kubelet reports of, and nobody else.
const REPORTED: [&str; 4] = ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"];

/// Nobody knows how it is, by our own word.
pub fn is_lost(node: &Value) -> bool {
    object::condition_is(node, "Ready", "Unknown")
}

/// All that it reported is unknown now; `None` where that is written already.
pub fn lost(node: &Arc<Value>, now: SystemTime) -> Option<Act> {
    if is_lost(node) {
        return None;
    }
    let was_ready = object::condition_is(node, "Ready", "True");
    let now = time::seconds(now);
    let mut changed = Value::clone(node);
    let status = edit::child(&mut changed, "status")?;
    edit::default(status, "conditions", Value::Array(Vec::new()));
    let conditions = status["conditions"].as_array_mut()?;
    for of in REPORTED {
        match conditions.iter_mut().find(|condition| text(condition, &["type"]) == of) {
            None => conditions.push(json!({
                "type": of, "status": "Unknown", "reason": "NodeStatusNeverUpdated",
                "message": "Kubelet never posted node status.",
                "lastHeartbeatTime": text(node, &["metadata", "creationTimestamp"]), "lastTransitionTime": now,
            })),
            Some(condition) if condition["status"] != "Unknown" => {
                condition["status"] = "Unknown".into();
                condition["reason"] = "NodeStatusUnknown".into();
                condition["message"] = "Kubelet stopped posting node status.".into();
                condition["lastTransitionTime"] = now.clone().into();
            }
            Some(_) => {}
        }
    }
    let act = Act::status(NODES, changed);
    if !was_ready {
        return Some(act);
    }
    let text = format!("Node {} status is now: NodeNotReady", object::name(node));
    Some(act.telling(Note::normal(NODES, node, "NodeNotReady", text)))
}
