//! A pod's status as a kubelet writes it.
//!
//! Facts: kubelet's `generateAPIPodStatus`, `getPhase` and `status/generate.go`, Kubernetes 1.36.

use std::net::IpAddr;
use std::time::SystemTime;

use apiclient_core::time;
use serde_json::{Map, Value, json};

use super::containers;
use super::runtime::{Clock, Runtime, State, Stop};
use super::spec::{ContainerSpec, PodSpec};

/// What is to be changed in a pod's status: a strategic merge patch, or nothing. `host` are the node's addresses.
pub fn patch(pod: &PodSpec<'_>, runtime: &Runtime, host: &[IpAddr], clock: &mut Clock) -> Option<Value> {
    let have = &pod.object["status"];
    let over = runtime.is_over(pod);
    let phase = phase(pod, runtime, over);
    let (inits, mains) = containers::statuses(pod, runtime, over, clock);
    let mut want = Map::new();
    want.insert("phase".to_owned(), json!(phase));
    if let Some(generation) = pod.object["metadata"]["generation"].as_i64() {
        want.insert("observedGeneration".to_owned(), json!(generation));
    }
    if let (true, Some((_, Stop::Deadline))) = (over, runtime.stop) {
        want.insert("reason".to_owned(), json!("DeadlineExceeded"));
        let message = "Pod was active on the node longer than the specified deadline";
        want.insert("message".to_owned(), json!(message));
    }
    want.insert("startTime".to_owned(), json!(time::seconds(runtime.start)));
    addresses(&mut want, "hostIP", host);
    addresses(&mut want, "podIP", &runtime.addresses);
    for (field, statuses) in [("initContainerStatuses", &inits), ("containerStatuses", &mains)] {
        if !statuses.is_empty() {
            want.insert(field.to_owned(), json!(statuses));
        }
    }
    want.retain(|field, value| have[field.as_str()] != *value);
    let conditions = conditions(pod, runtime, phase, &inits, &mains);
    conditions_patch(&mut want, pod, &conditions, clock.now);
    // Of another pod with that name it would be a lie.
    (!want.is_empty())
        .then(|| json!({ "metadata": { "uid": pod.object["metadata"]["uid"] }, "status": want }))
}

fn addresses(status: &mut Map<String, Value>, field: &str, addresses: &[IpAddr]) {
    if let Some(first) = addresses.first() {
        let all: Vec<Value> = addresses.iter().map(|ip| json!({ "ip": ip.to_string() })).collect();
        status.insert(field.to_owned(), json!(first.to_string()));
        status.insert(format!("{field}s"), json!(all));
    }
}

fn phase(pod: &PodSpec<'_>, runtime: &Runtime, over: bool) -> &'static str {
    let mut states = pod.mains.iter().map(|spec| runtime.state(spec.name));
    if over {
        let succeeded = states.all(|state| matches!(state, State::Ended(run) if run.code == 0));
        return match runtime.stop {
            Some((_, Stop::Deadline)) => "Failed",
            _ if succeeded && !runtime.init_failed(pod) => "Succeeded",
            _ => "Failed",
        };
    }
    match runtime.initialized && states.all(|state| state != State::Waiting) {
        true => "Running",
        false => "Pending",
    }
}

/// One condition: its type and status, and why it is not true.
struct Condition {
    kind: &'static str,
    status: bool,
    reason: &'static str,
    message: String,
}

impl Condition {
    fn new(kind: &'static str, status: bool) -> Self {
        Self { kind, status, reason: "", message: String::new() }
    }

    fn because(self, reason: &'static str, message: String) -> Self {
        Self { reason, message, ..self }
    }
}

/// In the kubelet's order.
fn conditions(
    pod: &PodSpec<'_>,
    runtime: &Runtime,
    phase: &str,
    inits: &[Value],
    mains: &[Value],
) -> [Condition; 5] {
    // A sidecar has done its part once it has started, ready or not.
    let inits = pod.inits.iter().zip(inits);
    let incomplete =
        inits.clone().filter(|(spec, status)| status[if spec.sidecar { "started" } else { "ready" }] != true);
    let incomplete = names(incomplete);
    let unready = inits.filter(|(spec, _)| spec.sidecar).chain(pod.mains.iter().zip(mains));
    let unready = names(unready.filter(|(_, status)| status["ready"] != true));
    let done = match phase {
        "Succeeded" => Some("PodCompleted"),
        "Failed" => Some("PodFailed"),
        _ => None,
    };
    let initialized = match (phase, runtime.initialized || incomplete.is_empty()) {
        ("Succeeded", _) => Condition::new("Initialized", true).because("PodCompleted", String::new()),
        (_, true) => Condition::new("Initialized", true),
        (_, false) => Condition::new("Initialized", false).because(
            "ContainersNotInitialized",
            format!("containers with incomplete status: [{incomplete}]"),
        ),
    };
    let containers = |kind| match (done, unready.is_empty()) {
        (Some(reason), _) => Condition::new(kind, false).because(reason, String::new()),
        (None, true) => Condition::new(kind, true),
        (None, false) => Condition::new(kind, false)
            .because("ContainersNotReady", format!("containers with unready status: [{unready}]")),
    };
    let mut ready = containers("Ready");
    let gates: Vec<String> = pod.gates.iter().filter_map(|gate| closed(pod, gate)).collect();
    if ready.status && !gates.is_empty() {
        ready = Condition::new("Ready", false).because("ReadinessGatesNotReady", gates.join(", "));
    }
    let sandbox = !runtime.addresses.is_empty() && done.is_none();
    [
        Condition::new("PodReadyToStartContainers", sandbox),
        initialized,
        ready,
        containers("ContainersReady"),
        Condition::new("PodScheduled", true),
    ]
}

fn names<'a>(containers: impl Iterator<Item = (&'a ContainerSpec<'a>, &'a Value)>) -> String {
    containers.map(|(spec, _)| spec.name).collect::<Vec<_>>().join(" ")
}

/// Why a readiness gate keeps a pod from being ready.
fn closed(pod: &PodSpec<'_>, gate: &str) -> Option<String> {
    let have = condition(pod, gate);
    match have["status"].as_str() {
        None => Some(format!("corresponding condition of pod readiness gate \"{gate}\" does not exist.")),
        Some("True") => None,
        Some(status) => {
            Some(format!("the status of pod readiness gate \"{gate}\" is not \"True\", but {status}"))
        }
    }
}

fn condition<'a>(pod: &PodSpec<'a>, kind: &str) -> &'a Value {
    let have = pod.object["status"]["conditions"].as_array();
    have.into_iter().flatten().find(|condition| condition["type"] == kind).unwrap_or(&Value::Null)
}

/// Only what differs, merged into the list by type: the conditions of others stay.
fn conditions_patch(
    want: &mut Map<String, Value>,
    pod: &PodSpec<'_>,
    conditions: &[Condition],
    now: SystemTime,
) {
    let generation = &pod.object["metadata"]["generation"];
    let changed: Vec<Value> =
        conditions.iter().filter_map(|new| changed(new, condition(pod, new.kind), generation, now)).collect();
    if changed.is_empty() {
        return;
    }
    let others = pod.object["status"]["conditions"].as_array().into_iter().flatten();
    let others = others.filter(|have| conditions.iter().all(|new| have["type"] != new.kind));
    let order = others.map(|have| &have["type"]).cloned().chain(conditions.iter().map(|new| json!(new.kind)));
    let order: Vec<Value> = order.map(|kind| json!({ "type": kind })).collect();
    want.insert("$setElementOrder/conditions".to_owned(), json!(order));
    want.insert("conditions".to_owned(), json!(changed));
}

fn changed(new: &Condition, have: &Value, generation: &Value, now: SystemTime) -> Option<Value> {
    let status = if new.status { "True" } else { "False" };
    let text = |field: &str| have[field].as_str().unwrap_or_default();
    let observed = generation.is_null() || have["observedGeneration"] == *generation;
    if text("status") == status && text("reason") == new.reason && text("message") == new.message && observed
    {
        return None;
    }
    let since =
        if text("status") == status { have["lastTransitionTime"].clone() } else { json!(time::seconds(now)) };
    let mut condition =
        json!({ "type": new.kind, "status": status, "lastProbeTime": null, "lastTransitionTime": since });
    for (field, value) in [("reason", new.reason), ("message", &new.message)] {
        if !value.is_empty() {
            condition[field] = json!(value);
        } else if !text(field).is_empty() {
            condition[field] = Value::Null;
        }
    }
    if !generation.is_null() {
        condition["observedGeneration"] = generation.clone();
    }
    Some(condition)
}
