//! CronJobs: a Job at each time of a schedule.
//!
//! Owns: when a schedule is due ([`times`]), the Jobs that are made, and those of the past that go. The name of a Job says
//! for which minute it is, so that it is made once. Facts: kube-controller-manager 1.36, `pkg/controller/cronjob`.

mod status;
#[cfg(test)]
mod tests;
mod times;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apiclient_core::names::ObjectName;
use control_core::edit::text;
use control_core::kinds::schedule;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use self::status::Draft;
use self::times::{Missed, Plan};
use crate::claim;
use crate::job::is_finished;
use crate::kinds::{CRON_JOBS, JOBS};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, Write, object};

/// On a Job: for which time it is.
const SCHEDULED: &str = "batch.kubernetes.io/cronjob-scheduled-timestamp";
/// After a time, so that clocks which differ a little do not miss it.
const PADDING: Duration = Duration::from_millis(100);

/// The controller.
#[derive(Debug)]
pub struct CronJobs;

impl Controller for CronJobs {
    fn name(&self) -> &'static str {
        "cronjob-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[CRON_JOBS, JOBS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        if change.kind == CRON_JOBS {
            keys.push(object::key(change.object()));
            return;
        }
        for job in change.both().filter(|job| object::controller(job).is_some()) {
            claim::owners_of(world, CRON_JOBS, job, keys);
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(cron) = world.get(CRON_JOBS, key) else { return Decision::nothing() };
        let jobs: Vec<&Arc<Value>> = world.managed(JOBS, object::uid(cron)).collect();
        let mut draft = Draft::of(world, cron, &jobs);
        let mut decision = Decision::nothing();
        if !object::is_deleting(cron) {
            decision = start(world, cron, &mut draft, context);
        }
        let mut stages: Vec<Stage> = std::mem::take(&mut draft.notes).into_iter().map(Stage::Tell).collect();
        stages.append(&mut decision.stages);
        decision.stages = stages;
        decision = decision.all(old(cron, &jobs));
        match draft.act() {
            Some(act) => decision.then(act),
            None => decision,
        }
    }
}

/// Starts what is due, and says when to look again.
fn start(world: &World, cron: &Arc<Value>, draft: &mut Draft<'_>, context: &Context) -> Decision {
    let mut tell = |warning: bool, reason: &'static str, text: String| {
        draft.notes.push(Note { warning, ..Note::normal(CRON_JOBS, cron, reason, text) });
    };
    let name = text(cron, &["spec", "timeZone"]);
    let Some(zone) = times::zone(name) else {
        tell(true, "UnknownTimeZone", format!("invalid timeZone: {name:?}: unknown time zone {name}"));
        return Decision::nothing();
    };
    if cron["spec"]["suspend"] == true {
        return Decision::nothing();
    }
    let written = text(cron, &["spec", "schedule"]);
    if written.contains("TZ") {
        let text = format!(
            "CRON_TZ or TZ used in schedule {written:?} is not officially supported, \
             see https://kubernetes.io/docs/concepts/workloads/controllers/cron-jobs/ for more details"
        );
        tell(true, "UnsupportedSchedule", text);
    }
    let plan = match schedule::parse(written) {
        Ok(schedule) => Plan::new(schedule, zone.clone()),
        Err(problem) => {
            tell(true, "UnparseableSchedule", format!("unparseable schedule: {written:?} : {problem}"));
            return Decision::nothing();
        }
    };
    let now = context.now;
    let since = draft.last.or(object::moment(cron, &["metadata", "creationTimestamp"])).unwrap_or(now);
    let deadline = cron["spec"]["startingDeadlineSeconds"].as_u64().map(Duration::from_secs);
    let earliest =
        deadline.and_then(|deadline| now.checked_sub(deadline)).map_or(since, |least| since.max(least));
    let due = match plan.due(earliest, now) {
        Ok(due) => due,
        Err(problem) => {
            tell(true, "InvalidSchedule", format!("invalid schedule: {written} : {problem}"));
            return Decision::nothing();
        }
    };
    let again = |decision: Decision, last: Option<SystemTime>| match next(&plan, last.unwrap_or(since), now) {
        Some(wait) => decision.again_in(wait),
        None => decision,
    };
    let Some(at) = due.last else { return again(Decision::nothing(), None) };
    if due.missed == Missed::Many {
        let text =
            "too many missed start times. Set or decrease .spec.startingDeadlineSeconds or check clock skew";
        tell(true, "TooManyMissedTimes", text.to_owned());
    }
    if deadline.is_some_and(|deadline| at + deadline < now) {
        let text = format!("Missed scheduled time to start a job: {}", status::shown(at));
        tell(true, "MissSchedule", text);
        return again(Decision::nothing(), Some(at));
    }
    let policy = text(cron, &["spec", "concurrencyPolicy"]);
    if policy == "Forbid" && !draft.active.is_empty() {
        let text = "Not starting job because prior execution is running and concurrency policy is Forbid";
        tell(false, "JobAlreadyActive", text.to_owned());
        return again(Decision::nothing(), Some(at));
    }
    let job = job(cron, at, &zone);
    if world.get(JOBS, &object::key(&job)).is_some() {
        // Somebody else's, or one of ours that was released.
        return again(Decision::nothing(), Some(at));
    }
    let mut decision = Decision::nothing();
    if policy == "Replace" {
        let active = draft.active.iter().filter_map(|reference| {
            let key = ObjectName::new(text(reference, &["namespace"]), text(reference, &["name"]));
            world.get(JOBS, &key).filter(|job| object::uid(job) == text(reference, &["uid"]))
        });
        decision = decision.all(active.map(|job| delete(cron, job)).collect());
        draft.active.clear();
    }
    let made = format!("Created job {}", object::name(&job));
    decision = decision.then(
        Act::create(JOBS, job)
            .telling(Note::normal(CRON_JOBS, cron, "SuccessfulCreate", made))
            .telling_refusals(Note::warning(CRON_JOBS, cron, "FailedCreate", "Error creating job: ")),
    );
    again(decision, Some(at))
}

/// How long until the time after `last`.
fn next(plan: &Plan, last: SystemTime, now: SystemTime) -> Option<Duration> {
    let next = plan.next(last)?;
    // After many missed ones the next is that after now.
    let next = if next < now { plan.next(now)? } else { next };
    Some((next + PADDING).duration_since(now).unwrap_or_default())
}

/// The Job of a time.
fn job(cron: &Value, at: SystemTime, zone: &TimeZone) -> Value {
    let template = &cron["spec"]["jobTemplate"];
    let minutes = at.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() / 60);
    let mut annotations = object::texts(&template["metadata"]["annotations"]);
    annotations.insert(SCHEDULED.to_owned(), Plan::shown(zone, at));
    let mut metadata = json!({
        "name": format!("{}-{minutes}", object::name(cron)),
        "namespace": object::namespace(cron),
        "annotations": annotations,
        "ownerReferences": [object::controller_reference(&CRON_JOBS, cron)],
    });
    if template["metadata"]["labels"].is_object() {
        metadata["labels"] = template["metadata"]["labels"].clone();
    }
    json!({"apiVersion": "batch/v1", "kind": "Job", "metadata": metadata, "spec": template["spec"]})
}

/// Jobs that have ended, beyond those that are kept; those that began first go first.
fn old(cron: &Arc<Value>, jobs: &[&Arc<Value>]) -> Vec<Act> {
    let mut acts = Vec::new();
    for (of, field) in [("Complete", "successfulJobsHistoryLimit"), ("Failed", "failedJobsHistoryLimit")] {
        let Some(limit) = cron["spec"][field].as_u64() else { continue };
        let mut ended: Vec<&Arc<Value>> = jobs.to_vec();
        ended.retain(|job| {
            is_finished(job) && object::condition_is(job, of, "True") && !object::is_deleting(job)
        });
        let began = |job: &Value| object::moment(job, &["status", "startTime"]);
        ended.sort_by(|a, b| {
            let by_start = began(a).is_none().cmp(&began(b).is_none()).then_with(|| began(a).cmp(&began(b)));
            by_start.then_with(|| object::name(a).cmp(object::name(b)))
        });
        let beyond = ended.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        acts.extend(ended.into_iter().take(beyond).map(|job| delete(cron, job)));
    }
    acts
}

fn delete(cron: &Arc<Value>, job: &Value) -> Act {
    let options = json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background",
        "preconditions": {"uid": object::uid(job)},
    });
    Act::new(JOBS, Write::Delete { name: object::key(job), options })
        .telling(Note::normal(
            CRON_JOBS,
            cron,
            "SuccessfulDelete",
            format!("Deleted job {}", object::name(job)),
        ))
        .telling_refusals(Note::warning(CRON_JOBS, cron, "FailedDelete", "Deleted job: "))
}
