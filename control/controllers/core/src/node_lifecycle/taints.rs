//! Taints that say what a node's conditions say.

use std::time::SystemTime;

use apiclient_core::time;
use control_core::edit::{list, text};
use serde_json::{Value, json};

use crate::kinds::NODES;
use crate::{Act, Write, object};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";

/// A condition, its status, and the taint that follows.
const FOLLOWS: [(&str, &str, &str); 6] = [
    ("Ready", "False", NOT_READY),
    ("Ready", "Unknown", UNREACHABLE),
    ("MemoryPressure", "True", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "True", "node.kubernetes.io/disk-pressure"),
    ("NetworkUnavailable", "True", "node.kubernetes.io/network-unavailable"),
    ("PIDPressure", "True", "node.kubernetes.io/pid-pressure"),
];

/// Those that keep new pods away.
pub fn no_schedule(node: &Value, now: SystemTime) -> Vec<Value> {
    let mut keys: Vec<&str> = Vec::new();
    for (of, status, key) in FOLLOWS {
        if object::condition_is(node, of, status) {
            keys.push(key);
        }
    }
    if node["spec"]["unschedulable"] == true {
        keys.push(UNSCHEDULABLE);
    }
    keys.into_iter().map(|key| taint(key, "NoSchedule", now)).collect()
}

/// The taint for a node that is not ready.
pub fn of_ready(status: &str) -> &'static str {
    if status == "False" { NOT_READY } else { UNREACHABLE }
}

pub fn no_execute(key: &str, now: SystemTime) -> Value {
    taint(key, "NoExecute", now)
}

fn taint(key: &str, effect: &str, now: SystemTime) -> Value {
    json!({"key": key, "effect": effect, "timeAdded": time::seconds(now)})
}

/// Its pods leave already, for one or the other reason.
pub fn has_no_execute(node: &Value) -> bool {
    list(node, &["spec", "taints"]).iter().any(|taint| taint["effect"] == "NoExecute" && is_ours(taint))
}

fn is_ours(taint: &Value) -> bool {
    let key = text(taint, &["key"]);
    match text(taint, &["effect"]) {
        "NoSchedule" => key == UNSCHEDULABLE || FOLLOWS.iter().any(|(.., own)| *own == key),
        "NoExecute" => key == NOT_READY || key == UNREACHABLE,
        _ => false,
    }
}

fn same(a: &Value, b: &Value) -> bool {
    a["key"] == b["key"] && a["effect"] == b["effect"]
}

/// Makes these the only ones of their kind; all others stay.
pub fn update(node: &Value, wanted: &[Value]) -> Option<Act> {
    let has = list(node, &["spec", "taints"]);
    let mut taints: Vec<Value> = has
        .iter()
        .filter(|taint| !is_ours(taint) || wanted.iter().any(|wanted| same(wanted, taint)))
        .cloned()
        .collect();
    for wanted in wanted {
        if !has.iter().any(|taint| same(wanted, taint)) {
            taints.push(wanted.clone());
        }
    }
    if taints == has {
        return None;
    }
    let patch = json!({
        "metadata": {"uid": object::uid(node), "resourceVersion": text(node, &["metadata", "resourceVersion"])},
        "spec": {"taints": taints},
    });
    Some(Act::new(NODES, Write::Merge { name: object::key(node), part: "", patch }))
}
