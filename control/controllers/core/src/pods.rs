//! What controllers ask of a pod.

use std::cmp::Ordering;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_core::edit::{at, list, text};
use serde_json::{Value, json};

use crate::kinds::PODS;
use crate::{Act, Context, Kind, Note, object};

/// It has not ended and is not going.
pub fn is_active(pod: &Value) -> bool {
    !has_ended(pod) && !object::is_deleting(pod)
}

/// It is going, and has not ended yet.
pub fn is_terminating(pod: &Value) -> bool {
    !has_ended(pod) && object::is_deleting(pod)
}

pub fn has_ended(pod: &Value) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

pub fn phase(pod: &Value) -> &str {
    text(pod, &["status", "phase"])
}

/// Empty for one that has none yet.
pub fn node(pod: &Value) -> &str {
    text(pod, &["spec", "nodeName"])
}

pub fn is_ready(pod: &Value) -> bool {
    object::condition_is(pod, "Ready", "True")
}

/// Since when it has been ready.
pub fn ready_since(pod: &Value) -> Option<SystemTime> {
    let ready = object::condition(pod, "Ready").filter(|ready| text(ready, &["status"]) == "True")?;
    object::moment(ready, &["lastTransitionTime"])
}

/// How long until it has been ready for `least` seconds; zero for one that is available.
pub fn available_in(pod: &Value, least: i64, now: SystemTime) -> Option<Duration> {
    if !is_ready(pod) {
        return None;
    }
    let least = Duration::from_secs(u64::try_from(least).unwrap_or_default());
    if least.is_zero() {
        return Some(Duration::ZERO);
    }
    let due = ready_since(pod)? + least;
    Some(due.duration_since(now).unwrap_or_default())
}

pub fn is_available(pod: &Value, least: i64, now: SystemTime) -> bool {
    available_in(pod, least, now).is_some_and(|wait| wait.is_zero())
}

/// Soonest time at which one more of these becomes available, if nothing else happens.
pub fn next_available<'a>(
    pods: impl IntoIterator<Item = &'a Arc<Value>>,
    least: i64,
    now: SystemTime,
) -> Option<Duration> {
    let waits = pods.into_iter().filter_map(|pod| available_in(pod, least, now));
    waits.filter(|wait| !wait.is_zero()).min()
}

/// The most restarts that one of its containers has had.
pub fn restarts(pod: &Value) -> (i64, i64) {
    let most = |field| {
        let all = list(pod, &["status", field]).iter();
        all.map(|status| object::int(status, &["restartCount"])).max().unwrap_or_default()
    };
    let sidecars = |container: &&Value| text(container, &["restartPolicy"]) == "Always";
    let names: Vec<&str> = list(pod, &["spec", "initContainers"])
        .iter()
        .filter(sidecars)
        .map(|container| text(container, &["name"]))
        .collect();
    let init = list(pod, &["status", "initContainerStatuses"]).iter();
    let init = init.filter(|status| names.contains(&text(status, &["name"])));
    (
        most("containerStatuses"),
        init.map(|status| object::int(status, &["restartCount"])).max().unwrap_or_default(),
    )
}

/// A pod of a template, for an owner that manages it.
pub fn of_template(template: &Value, kind: &Kind, owner: &Value, nth: usize, context: &Context) -> Value {
    let mut metadata = json!({
        "name": context.generated(&format!("{}-", object::name(owner)), nth),
        "generateName": format!("{}-", object::name(owner)),
        "namespace": object::namespace(owner),
        "ownerReferences": [object::controller_reference(kind, owner)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        let value = at(template, &["metadata", field]);
        if !value.is_null() {
            metadata[field] = value.clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]})
}

/// Which of two pods is the better one to lose; the order of the original (`ActivePodsWithRanks`). `rank` is the number of
/// ready relatives on the pod's node.
pub fn better_to_lose(a: (&Value, usize), b: (&Value, usize), now: SystemTime) -> Ordering {
    let ((a, a_rank), (b, b_rank)) = (a, b);
    let phase = |pod| match phase(pod) {
        "Pending" => 0,
        "Unknown" => 1,
        "Running" => 2,
        _ => 3,
    };
    let by_time = |a_at: Option<SystemTime>, b_at: Option<SystemTime>| match (a_at, b_at) {
        (Some(a_at), Some(b_at)) if a_at != b_at => {
            magnitude(a_at, now).cmp(&magnitude(b_at, now)).then_with(|| object::uid(a).cmp(object::uid(b)))
        }
        (a_at, b_at) => a_at.is_some().cmp(&b_at.is_some()),
    };
    let created = |pod| object::moment(pod, &["metadata", "creationTimestamp"]);
    node(b)
        .is_empty()
        .cmp(&node(a).is_empty())
        .then_with(|| phase(a).cmp(&phase(b)))
        .then_with(|| is_ready(a).cmp(&is_ready(b)))
        .then_with(|| deletion_cost(a).cmp(&deletion_cost(b)))
        .then_with(|| b_rank.cmp(&a_rank))
        .then_with(|| if is_ready(a) { by_time(ready_since(a), ready_since(b)) } else { Ordering::Equal })
        .then_with(|| restarts(b).cmp(&restarts(a)))
        .then_with(|| by_time(created(a), created(b)))
}

/// Ages that are alike: within a factor of two. What is of the future is the youngest.
fn magnitude(at: SystemTime, now: SystemTime) -> Option<u32> {
    now.duration_since(at).ok()?.as_nanos().checked_ilog2()
}

fn deletion_cost(pod: &Value) -> i64 {
    let cost = object::annotation(pod, "controller.kubernetes.io/pod-deletion-cost").unwrap_or_default();
    cost.parse::<i32>().map_or(0, i64::from)
}

/// Makes a pod for an owner, and tells of it.
pub fn made(kind: Kind, owner: &Arc<Value>, pod: Value) -> Act {
    let text = format!("Created pod: {}", object::name(&pod));
    Act::create(PODS, pod)
        .telling(Note::normal(kind, owner, "SuccessfulCreate", text))
        .telling_refusals(Note::warning(kind, owner, "FailedCreate", "Error creating: "))
}

/// Deletes a pod of an owner, and tells of it.
pub fn lost(kind: Kind, owner: &Arc<Value>, pod: &Value) -> Act {
    let text = format!("Deleted pod: {}", object::name(pod));
    Act::delete(PODS, pod)
        .telling(Note::normal(kind, owner, "SuccessfulDelete", text))
        .telling_refusals(Note::warning(kind, owner, "FailedDelete", "Error deleting: "))
}
