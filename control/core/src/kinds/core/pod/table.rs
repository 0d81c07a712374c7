//! How `kubectl get pods` shows a pod: one word for all of its containers' states.

use std::time::{SystemTime, UNIX_EPOCH};

use apiclient_core::time;
use serde_json::Value;

use crate::ages;
use crate::edit::{at, list, text};
use crate::kinds::core::cells;
use crate::table::BuiltIn;

pub const POD: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Ready", "string", "How many containers are ready, of how many."),
    BuiltIn::new("Status", "string", "What the containers are doing, or what keeps them from it."),
    BuiltIn::new("Restarts", "string", "How often containers were restarted, and when last."),
    BuiltIn::age(),
    BuiltIn::new("IP", "string", "The pod's first address.").wide(),
    BuiltIn::new("Node", "string", "The node that the pod is bound to.").wide(),
    BuiltIn::new("Nominated Node", "string", "The node that makes room for the pod.").wide(),
    BuiltIn::new("Readiness Gates", "string", "How many of the pod's own gates are open.").wide(),
];

/// Counts over the containers, as the row is made.
#[derive(Default)]
struct Count {
    ready: usize,
    restarts: i64,
    last: Option<SystemTime>,
}

impl Count {
    fn add(&mut self, status: &Value) {
        self.restarts += at(status, &["restartCount"]).as_i64().unwrap_or_default();
        let ended = text(status, &["lastState", "terminated", "finishedAt"]);
        self.last = self.last.max(time::parse(ended));
    }
}

pub fn pod(object: &Value, now: SystemTime) -> Vec<Value> {
    let spec = at(object, &["spec"]);
    let is_sidecar = |name: &str| {
        let named = |container: &&Value| text(container, &["name"]) == name;
        let found = list(spec, &["initContainers"]).iter().find(named);
        found.is_some_and(|container| text(container, &["restartPolicy"]) == "Always")
    };
    let sidecars = list(spec, &["initContainers"])
        .iter()
        .filter(|container| text(container, &["restartPolicy"]) == "Always")
        .count();
    let total = list(spec, &["containers"]).len() + sidecars;
    let phase = text(object, &["status", "phase"]);
    let mut reason = match text(object, &["status", "reason"]) {
        "" => phase.to_owned(),
        reason => reason.to_owned(),
    };
    let conditions = list(object, &["status", "conditions"]);
    let condition = |kind: &str| conditions.iter().find(|condition| text(condition, &["type"]) == kind);
    let gated = |condition: &Value| {
        text(condition, &["type"]) == "PodScheduled" && text(condition, &["reason"]) == "SchedulingGated"
    };
    if conditions.iter().any(gated) {
        "SchedulingGated".clone_into(&mut reason);
    }
    let (mut all, mut kept) = (Count::default(), Count::default());
    let mut initializing = false;
    for (n, status) in list(object, &["status", "initContainerStatuses"]).iter().enumerate() {
        let sidecar = is_sidecar(text(status, &["name"]));
        all.add(status);
        if sidecar {
            kept.add(status);
        }
        let ended = at(status, &["state", "terminated"]);
        if at(ended, &["exitCode"]).as_i64() == Some(0)
            || (!ended.is_null() && at(ended, &["exitCode"]).is_null())
        {
            continue;
        }
        if sidecar && at(status, &["started"]) == true {
            all.ready += usize::from(at(status, &["ready"]) == true);
            continue;
        }
        let waiting = text(status, &["state", "waiting", "reason"]);
        reason = match (ended.is_null(), waiting) {
            (false, _) => format!("Init:{}", end(ended)),
            (true, "" | "PodInitializing") => format!("Init:{n}/{}", list(spec, &["initContainers"]).len()),
            (true, waiting) => format!("Init:{waiting}"),
        };
        initializing = true;
        break;
    }
    let initialized = condition("Initialized").is_some_and(|found| text(found, &["status"]) == "True");
    if !initializing || initialized {
        kept.ready = all.ready;
        all = kept;
        reason = running(object, reason, &mut all);
    }
    if !at(object, &["metadata", "deletionTimestamp"]).is_null() {
        if text(object, &["status", "reason"]) == "NodeLost" {
            "Unknown".clone_into(&mut reason);
        } else if !matches!(phase, "Failed" | "Succeeded") {
            "Terminating".clone_into(&mut reason);
        }
    }
    let restarts = match all.last.filter(|last| all.restarts != 0 && *last != UNIX_EPOCH) {
        Some(last) => format!("{} ({} ago)", all.restarts, ages::between(last, now)),
        None => all.restarts.to_string(),
    };
    let address = list(object, &["status", "podIPs"]).first().map_or("", |first| text(first, &["ip"]));
    vec![
        cells::name(object),
        format!("{}/{total}", all.ready).into(),
        reason.into(),
        restarts.into(),
        ages::of(object, now).into(),
        cells::or_none(address),
        cells::or_none(text(spec, &["nodeName"])),
        cells::or_none(text(object, &["status", "nominatedNodeName"])),
        gates(object).into(),
    ]
}

/// Why a container ended.
fn end(ended: &Value) -> String {
    let number = |field: &str| at(ended, &[field]).as_i64().unwrap_or_default();
    match (text(ended, &["reason"]), number("signal")) {
        ("", 0) => format!("ExitCode:{}", number("exitCode")),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_owned(),
    }
}

/// The containers after initialization: the first one that has something to say decides.
fn running(object: &Value, mut reason: String, count: &mut Count) -> String {
    let (mut any, mut failed) = (false, None);
    for status in list(object, &["status", "containerStatuses"]).iter().rev() {
        count.add(status);
        let (waiting, ended) =
            (text(status, &["state", "waiting", "reason"]), at(status, &["state", "terminated"]));
        if !waiting.is_empty() {
            waiting.clone_into(&mut reason);
        } else if !ended.is_null() {
            reason = end(ended);
            if at(ended, &["exitCode"]).as_i64().unwrap_or_default() != 0 {
                failed = Some(reason.clone());
            }
        } else if at(status, &["ready"]) == true && !at(status, &["state", "running"]).is_null() {
            any = true;
            count.ready += 1;
        }
    }
    if reason != "Completed" {
        return reason;
    }
    let ready = list(object, &["status", "conditions"])
        .iter()
        .any(|condition| text(condition, &["type"]) == "Ready" && text(condition, &["status"]) == "True");
    match (any, failed) {
        (true, _) if ready => "Running".to_owned(),
        (_, Some(failed)) => failed,
        (true, None) => "NotReady".to_owned(),
        (false, None) => reason,
    }
}

fn gates(object: &Value) -> String {
    let gates = list(object, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return "<none>".to_owned();
    }
    let open = |gate: &&Value| {
        let kind = text(gate, &["conditionType"]);
        let found = list(object, &["status", "conditions"])
            .iter()
            .find(|condition| text(condition, &["type"]) == kind);
        found.is_some_and(|condition| text(condition, &["status"]) == "True")
    };
    format!("{}/{}", gates.iter().filter(open).count(), gates.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::time::Duration;

    fn row(object: &Value) -> Vec<Value> {
        pod(object, UNIX_EPOCH + Duration::from_secs(1_000))[1..4].to_vec()
    }

    #[test]
    fn one_word_says_what_the_containers_do() {
        let spec = json!({"containers": [{"name": "a"}, {"name": "b"}], "initContainers": [{"name": "i"}]});
        let of = |status: Value| json!({"spec": spec, "status": status});
        assert_eq!(row(&of(json!({"phase": "Pending"}))), ["0/2", "Pending", "0"]);
        let status =
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"waiting": {}}}]});
        assert_eq!(row(&of(status)), ["0/2", "Init:0/1", "0"]);
        let status = json!({"phase": "Running", "containerStatuses": [
            {"name": "a", "ready": true, "restartCount": 2, "state": {"running": {}},
             "lastState": {"terminated": {"finishedAt": "1970-01-01T00:10:00Z"}}},
            {"name": "b", "state": {"waiting": {"reason": "CrashLoopBackOff"}}}]});
        assert_eq!(row(&of(status)), ["1/2", "CrashLoopBackOff", "2 (6m40s ago)"]);
        let mut gone = of(json!({"phase": "Running"}));
        gone["metadata"] = json!({"deletionTimestamp": "1970-01-01T00:10:00Z"});
        assert_eq!(row(&gone), ["0/2", "Terminating", "0"]);
    }
}
