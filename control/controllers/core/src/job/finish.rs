//! Whether a Job has come to its end, and which.

use std::time::{Duration, SystemTime};

use apiclient_core::time;
use control_core::edit::{list, text};
use serde_json::{Value, json};

use super::backoff;
use super::facts::Facts;
use super::policy::{self, Failure};
use crate::object;

/// What a Job comes to once its pods are gone and counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    pub succeeds: bool,
    pub reason: String,
    pub message: String,
}

impl End {
    fn fails(reason: &str, message: &str) -> Self {
        Self { succeeds: false, reason: reason.to_owned(), message: message.to_owned() }
    }

    /// All pods that were asked for have succeeded.
    pub fn completed() -> Self {
        Self {
            succeeds: true,
            reason: "CompletionsReached".to_owned(),
            message: "Reached expected number of succeeded pods".to_owned(),
        }
    }

    /// The condition that says so before the pods are gone, and the one that says so after.
    pub fn conditions(&self) -> (&'static str, &'static str) {
        if self.succeeds { ("SuccessCriteriaMet", "Complete") } else { ("FailureTarget", "Failed") }
    }

    pub fn condition(&self, of: &str, now: SystemTime) -> Value {
        condition(of, "True", &self.reason, &self.message, now)
    }
}

pub fn condition(of: &str, is: &str, reason: &str, message: &str, now: SystemTime) -> Value {
    let now = time::seconds(now);
    json!({
        "type": of, "status": is, "lastProbeTime": now, "lastTransitionTime": now, "reason": reason, "message": message,
    })
}

/// An end that was said before, or that is due now; apart from the one by the number of completions.
pub fn end(facts: &Facts<'_>) -> Option<End> {
    let job = facts.job;
    for (of, succeeds) in [("SuccessCriteriaMet", true), ("FailureTarget", false)] {
        if let Some(said) = object::condition(job, of).filter(|said| text(said, &["status"]) == "True") {
            let (reason, message) = (text(said, &["reason"]).to_owned(), text(said, &["message"]).to_owned());
            return Some(End { succeeds, reason, message });
        }
    }
    by_policy(facts).or_else(|| by_limit(facts)).or_else(|| by_indexes(facts)).or_else(|| {
        let message = policy::is_enough(job, &facts.succeeded_indexes, facts.completions())?;
        Some(End { succeeds: true, reason: "SuccessPolicy".to_owned(), message })
    })
}

fn by_policy(facts: &Facts<'_>) -> Option<End> {
    let mut failed = facts.pods.iter().filter(|pod| facts.is_failed(pod));
    failed.find_map(|pod| match policy::of(facts.job, pod) {
        Failure::FailsJob(message) => Some(End::fails("PodFailurePolicy", &message)),
        _ => None,
    })
}

fn by_limit(facts: &Facts<'_>) -> Option<End> {
    // Absent where failures are counted by index: there is no limit then.
    let limit = facts.job["spec"]["backoffLimit"].as_i64().unwrap_or(i64::MAX);
    if facts.failed > limit || backoff::has_restarted_too_often(facts.job, facts.pods.iter().copied()) {
        return Some(End::fails("BackoffLimitExceeded", "Job has reached the specified backoff limit"));
    }
    let due = deadline_in(facts)?;
    due.is_zero().then(|| End::fails("DeadlineExceeded", "Job was active longer than specified deadline"))
}

/// How long until the Job's deadline.
pub fn deadline_in(facts: &Facts<'_>) -> Option<Duration> {
    let seconds = facts.job["spec"]["activeDeadlineSeconds"].as_u64().filter(|_| !facts.is_suspended())?;
    let start = object::moment(facts.job, &["status", "startTime"]).unwrap_or(facts.now);
    Some((start + Duration::from_secs(seconds)).duration_since(facts.now).unwrap_or_default())
}

fn by_indexes(facts: &Facts<'_>) -> Option<End> {
    let failed = facts.failed_indexes.as_ref()?.total();
    let most = facts.job["spec"]["maxFailedIndexes"].as_i64();
    if most.is_some_and(|most| failed > most) {
        let message = "Job has exceeded the specified maximal number of failed indexes";
        return Some(End::fails("MaxFailedIndexesExceeded", message));
    }
    let over = failed > 0 && failed + facts.succeeded_indexes.total() >= facts.completions();
    over.then(|| End::fails("FailedIndexes", "Job has failed indexes"))
}

/// All that was asked for has succeeded, and nothing runs any more.
pub fn is_complete(facts: &Facts<'_>, active: i64) -> bool {
    let enough = match facts.job["spec"]["completions"].as_i64() {
        Some(completions) => facts.succeeded >= completions,
        None => facts.succeeded > 0,
    };
    enough && active == 0
}

/// The conditions of a Job, one of them with another status; `true` where that changes something. What was never true is not
/// said to be false.
pub fn with_condition(job: &Value, new: Value) -> (Vec<Value>, bool) {
    let mut all = list(job, &["status", "conditions"]).to_vec();
    let same =
        |found: &Value| ["status", "reason", "message"].iter().all(|field| found[*field] == new[*field]);
    match all.iter().position(|found| found["type"] == new["type"]) {
        Some(place) if same(&all[place]) => (all, false),
        Some(place) => {
            all[place] = new;
            (all, true)
        }
        None if new["status"] == "False" => (all, false),
        None => {
            all.push(new);
            (all, true)
        }
    }
}
