//! Each end of a pod is counted once, though a Job's status and its pods cannot be written together.
//!
//! First the status names the uid of a pod that ended, then the pod loses its finalizer, then the count goes up and the uid
//! goes. Whoever begins in between sees what is left to do.

use std::collections::BTreeSet;
use std::sync::Arc;

use apiclient_core::time;
use serde_json::{Value, json};

use super::facts::{FINALIZER, Facts, has_finalizer, index, is_indexed};
use super::finish::{self, End};
use super::manage::Managed;
use super::policy::{self, Failure};
use crate::kinds::{JOBS, PODS};
use crate::{Act, Note, Stage, Write, object, pods, status};

/// Most uids that a status names.
const MOST: usize = 500;

/// Counts for which zero is not absent.
const POINTERS: [&str; 2] = ["ready", "terminating"];

/// Pods have ended that lose their finalizers now.
pub fn is_due(facts: &Facts<'_>) -> bool {
    facts.pods.iter().any(|pod| has_finalizer(pod) && is_released(facts, None, pod, facts.is_failed(pod)))
}

/// What is written of a Job and its pods.
pub fn stages(facts: &Facts<'_>, managed: &Managed<'_>, end: Option<End>) -> Vec<Stage> {
    let job = facts.job;
    let mut status = base(facts, managed);
    let mut notes = suspended(facts, end.as_ref(), &mut status);
    let (released, is_full) = count(facts, end.as_ref(), &mut status);
    let mut last = None;
    if let Some(end) = end {
        let (before, after) = end.conditions();
        let mut conditions = status["conditions"].as_array().cloned().unwrap_or_default();
        if object::condition(job, before).is_none_or(|said| said["status"] != "True") {
            conditions.retain(|said| said["type"] != before);
            conditions.push(end.condition(before, facts.now));
        }
        let counted = ["succeeded", "failed"]
            .iter()
            .all(|field| status["uncountedTerminatedPods"][*field].as_array().is_none_or(Vec::is_empty));
        let gone = status["terminating"] == 0 && released.is_empty() && managed.given_up.is_empty();
        if counted && gone && !is_full {
            conditions.push(end.condition(after, facts.now));
            if end.succeeds {
                status["completionTime"] = time::seconds(facts.now).into();
                let over =
                    facts.job["spec"]["completions"].as_i64().is_some_and(|wanted| facts.succeeded > wanted);
                if over {
                    let text = "Too many succeeded pods running after completion count reached";
                    notes.push(Note::warning(JOBS, job, "TooManySucceededPods", text));
                }
                last = Some(Note::normal(JOBS, job, "Completed", "Job completed"));
            } else {
                last = Some(ended(job, &end));
            }
        }
        status["conditions"] = conditions.into();
    }
    let mut stages: Vec<Stage> = Vec::new();
    if let Some(act) = status::update(JOBS, job, status, &POINTERS) {
        let act = match last {
            Some(note) => act.telling(note),
            None => act,
        };
        stages.push(Stage::All(vec![act]));
        stages.extend(notes.into_iter().map(Stage::Tell));
    }
    if !released.is_empty() {
        stages.push(Stage::All(released));
    }
    stages
}

/// Events have reasons that this program knows.
fn ended(job: &Arc<Value>, end: &End) -> Note {
    const REASONS: [&str; 5] = [
        "BackoffLimitExceeded",
        "DeadlineExceeded",
        "PodFailurePolicy",
        "MaxFailedIndexesExceeded",
        "FailedIndexes",
    ];
    let reason = REASONS.into_iter().find(|reason| *reason == end.reason).unwrap_or("Failed");
    Note::warning(JOBS, job, reason, &*end.message)
}

/// The status with the pods that are there now.
fn base(facts: &Facts<'_>, managed: &Managed<'_>) -> Value {
    let mut status = facts.job["status"].clone();
    if !status.is_object() {
        status = json!({});
    }
    if status["startTime"].is_null() && !facts.is_suspended() {
        status["startTime"] = time::seconds(facts.now).into();
    }
    let given_up = i64::try_from(managed.given_up.len()).unwrap_or(i64::MAX);
    let ready = managed.given_up.iter().filter(|pod| pods::is_ready(pod)).count();
    let active = i64::try_from(facts.active.len()).unwrap_or(i64::MAX);
    status["active"] = (active + managed.made - given_up).into();
    status["ready"] = (facts.ready() - i64::try_from(ready).unwrap_or(i64::MAX)).into();
    status["terminating"] = (facts.terminating + given_up).into();
    status
}

/// Says that a Job is suspended, or is not any more.
fn suspended(facts: &Facts<'_>, end: Option<&End>, status: &mut Value) -> Vec<Note> {
    if end.is_some() || object::is_deleting(facts.job) {
        return Vec::new();
    }
    let (is, reason, message) = match facts.is_suspended() {
        true => ("True", "JobSuspended", "Job suspended"),
        false => ("False", "JobResumed", "Job resumed"),
    };
    let condition = finish::condition("Suspended", is, reason, message, facts.now);
    let (conditions, changed) = finish::with_condition(facts.job, condition);
    if !changed {
        return Vec::new();
    }
    status["conditions"] = conditions.into();
    status["startTime"] = if facts.is_suspended() { Value::Null } else { time::seconds(facts.now).into() };
    let told = if facts.is_suspended() { "Suspended" } else { "Resumed" };
    vec![Note::normal(JOBS, facts.job, told, message)]
}

/// Names the pods that have ended in the status, counts those that have lost their finalizer, and says which lose theirs now.
/// `true`: others have to wait.
fn count(facts: &Facts<'_>, end: Option<&End>, status: &mut Value) -> (Vec<Act>, bool) {
    let held: BTreeSet<&str> =
        facts.pods.iter().filter(|pod| has_finalizer(pod)).map(|pod| object::uid(pod)).collect();
    let mut counted = [("succeeded", &facts.uncounted.succeeded), ("failed", &facts.uncounted.failed)].map(
        |(field, uids)| {
            let (stay, go): (Vec<&str>, Vec<&str>) = uids.iter().partition(|uid| held.contains(*uid));
            let before = status[field].as_i64().unwrap_or_default();
            status[field] = (before + i64::try_from(go.len()).unwrap_or(i64::MAX)).into();
            stay
        },
    );
    let [succeeded, failed] = &mut counted;
    let (mut released, mut indexes, mut is_full) = (Vec::new(), Vec::new(), false);
    let fails_rest = end.is_some_and(|end| !end.succeeds);
    for pod in facts.pods.iter().filter(|pod| has_finalizer(pod)) {
        let is_failed = facts.is_failed(pod);
        if !is_released(facts, end, pod, is_failed) {
            continue;
        }
        released.extend(without_finalizer(pod));
        let uid = object::uid(pod);
        if pods::phase(pod) == "Succeeded" && !facts.uncounted.failed.contains(uid) {
            if !is_indexed(facts.job) {
                if !facts.uncounted.succeeded.contains(uid) {
                    succeeded.push(uid);
                }
            } else if let Some(index) = index(pod).filter(|_| facts.is_indexed(pod)) {
                indexes.extend((!facts.counted_indexes.has(index)).then_some(index));
            }
        } else if (is_failed || fails_rest)
            && !facts.uncounted.failed.contains(uid)
            && (!is_indexed(facts.job) || facts.is_indexed(pod))
            && policy::of(facts.job, pod) != Failure::Ignored
        {
            failed.push(uid);
        }
        if indexes.len() + succeeded.len() + failed.len() >= MOST {
            is_full = true;
            break;
        }
    }
    if is_indexed(facts.job) {
        let done = facts.counted_indexes.with(indexes);
        status["succeeded"] = done.total().into();
        status["completedIndexes"] = if done.is_empty() { Value::Null } else { done.to_string().into() };
        match &facts.failed_indexes {
            Some(failed) => status["failedIndexes"] = failed.to_string().into(),
            None => status["failedIndexes"] = Value::Null,
        }
    }
    let mut uncounted = json!({});
    for (field, uids) in ["succeeded", "failed"].into_iter().zip(counted) {
        if !uids.is_empty() {
            uncounted[field] = json!(uids);
        }
    }
    status["uncountedTerminatedPods"] = uncounted;
    (released, is_full)
}

/// The pod needs to be held no longer.
fn is_released(facts: &Facts<'_>, end: Option<&End>, pod: &Arc<Value>, is_failed: bool) -> bool {
    if object::is_deleting(facts.job) || end.is_some() || pods::phase(pod) == "Succeeded" {
        return true;
    }
    let kept = index(pod).and_then(|index| facts.kept.get(&index));
    is_failed && kept.is_none_or(|kept| !Arc::ptr_eq(kept, pod))
}

/// The write that takes the finalizer from a pod.
pub fn without_finalizer(pod: &Value) -> Option<Act> {
    has_finalizer(pod).then(|| {
        let patch = json!({
            "metadata": {"$deleteFromPrimitiveList/finalizers": [FINALIZER], "uid": object::uid(pod)},
        });
        Act::new(PODS, Write::Strategic { name: object::key(pod), part: "", patch })
    })
}
