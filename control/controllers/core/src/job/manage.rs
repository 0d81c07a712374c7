//! Which pods a Job makes and which it gives up.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use control_core::edit::{self, list, text};
use serde_json::{Value, json};

use super::backoff;
use super::facts::{FAILURES, FINALIZER, Facts, IGNORED, INDEX, failures, ignored, index, is_indexed};
use super::policy::{self, Failure};
use super::track::without_finalizer;
use crate::kinds::JOBS;
use crate::{Act, Context, Stage, object, pods};

/// Most pods that are made or given up in one pass.
const BURST: usize = 500;
/// Longest beginning of a generated name.
const BASE: usize = 58;

/// What is done, and what is there afterwards.
#[derive(Debug, Default)]
pub struct Managed<'a> {
    pub stages: Vec<Stage>,
    pub made: i64,
    pub given_up: Vec<&'a Arc<Value>>,
    pub again: Option<Duration>,
}

/// Pods that go because the Job has come to its end; they count as failed.
pub fn end<'a>(facts: &Facts<'a>) -> Managed<'a> {
    let acts: Vec<Act> = facts.active.iter().map(|pod| pods::lost(JOBS, facts.job, pod)).collect();
    let stages = if acts.is_empty() { Vec::new() } else { vec![Stage::All(acts)] };
    Managed { stages, given_up: facts.active.clone(), ..Managed::default() }
}

pub fn manage<'a>(facts: &Facts<'a>, context: &Context) -> Managed<'a> {
    let active = i64::try_from(facts.active.len()).unwrap_or(i64::MAX);
    let wanted = wanted(facts, active);
    let surplus = usize::try_from(active - wanted).unwrap_or_default();
    let mut given_up = surplus_of(facts, surplus);
    if !facts.is_suspended() {
        given_up.truncate(BURST);
    }
    if !given_up.is_empty() || facts.is_suspended() {
        return give_up(facts, given_up);
    }
    let waits = if facts.awaits_ends() { facts.terminating } else { 0 };
    let missing = usize::try_from(wanted - waits - active).unwrap_or_default().min(BURST);
    if missing == 0 {
        return Managed::default();
    }
    make(facts, missing, context)
}

/// Pods that are to be active.
fn wanted(facts: &Facts<'_>, active: i64) -> i64 {
    let parallelism = object::int(facts.job, &["spec", "parallelism"]);
    match facts.job["spec"]["completions"].as_i64() {
        _ if facts.is_suspended() => 0,
        Some(completions) => (completions - facts.succeeded).min(parallelism).max(0),
        // Once one has succeeded, no other begins.
        None if facts.succeeded > 0 => active,
        None => parallelism,
    }
}

/// Pods that are given up without counting.
fn give_up<'a>(facts: &Facts<'_>, pods: Vec<&'a Arc<Value>>) -> Managed<'a> {
    let released: Vec<Act> = pods.iter().filter_map(|pod| without_finalizer(pod)).collect();
    let lost: Vec<Act> = pods.iter().map(|pod| pods::lost(JOBS, facts.job, pod)).collect();
    let stages = [released, lost].into_iter().filter(|acts| !acts.is_empty()).map(Stage::All).collect();
    Managed { stages, given_up: pods, ..Managed::default() }
}

/// At least so many active pods: first those of an index that is another's too, or none of the Job's.
fn surplus_of<'a>(facts: &Facts<'a>, least: usize) -> Vec<&'a Arc<Value>> {
    let of_job = |pod: &Value| index(pod).filter(|index| *index < facts.completions());
    let indexes: BTreeSet<i64> = facts.active.iter().filter_map(|pod| of_job(pod)).collect();
    let is_right = !is_indexed(facts.job) || indexes.len() == facts.active.len();
    if least == 0 && is_right {
        return Vec::new();
    }
    let mut by_worth = facts.active.clone();
    by_worth.sort_by(|a, b| pods::better_to_lose((a, 0), (b, 0), facts.now));
    if !is_indexed(facts.job) {
        by_worth.truncate(least);
        return by_worth;
    }
    let mut kept = BTreeSet::new();
    let (mut left, mut surplus) = (Vec::new(), Vec::new());
    // The most worthy of an index stays.
    for pod in by_worth.iter().rev() {
        if of_job(pod).is_some_and(|index| kept.insert(index)) {
            left.push(*pod);
        } else {
            surplus.push(*pod);
        }
    }
    let more = least.saturating_sub(surplus.len());
    surplus.extend(left.into_iter().rev().take(more));
    surplus
}

fn make<'a>(facts: &Facts<'a>, missing: usize, context: &Context) -> Managed<'a> {
    let mut indexes: Vec<Option<i64>> = vec![None; missing];
    if is_indexed(facts.job) {
        let pending = pending(facts, missing);
        let wait = |index: &i64| facts.kept.get(index).map_or(Duration::ZERO, |pod| wait_of(pod, facts));
        let now: Vec<i64> = pending.iter().copied().filter(|index| wait(index).is_zero()).collect();
        if now.is_empty() {
            return Managed { again: pending.iter().map(wait).min(), ..Managed::default() };
        }
        indexes = now.into_iter().map(Some).collect();
    }
    if facts.limit_per_index().is_none() {
        let of = |holds: &dyn Fn(&Value) -> bool| {
            facts.pods.iter().copied().filter(|pod| holds(pod)).collect::<Vec<_>>()
        };
        let (failed, succeeded) =
            (of(&|pod| facts.is_failed(pod)), of(&|pod| pods::phase(pod) == "Succeeded"));
        let wait = backoff::remaining(&failed, &succeeded, facts.now);
        if !wait.is_zero() {
            return Managed { again: Some(wait), ..Managed::default() };
        }
    }
    let template = template(facts);
    let acts: Vec<Act> = indexes
        .iter()
        .enumerate()
        .map(|(nth, index)| pods::made(JOBS, facts.job, pod(facts, &template, *index, nth, context)))
        .collect();
    let made = i64::try_from(acts.len()).unwrap_or(i64::MAX);
    Managed { stages: vec![Stage::Growing(acts)], made, ..Managed::default() }
}

/// The lowest indexes that have no pod and need one.
fn pending(facts: &Facts<'_>, count: usize) -> Vec<i64> {
    let mut taken = facts.succeeded_indexes.with(facts.active.iter().filter_map(|pod| index(pod)));
    if facts.awaits_ends() {
        let going = facts.pods.iter().filter(|pod| pods::is_terminating(pod));
        taken = taken.with(going.filter_map(|pod| index(pod)));
    }
    if let Some(failed) = &facts.failed_indexes {
        taken = taken.union(failed);
    }
    taken.missing(count, facts.completions())
}

/// How much longer until the pod of an index is replaced.
fn wait_of(pod: &Value, facts: &Facts<'_>) -> Duration {
    backoff::after(failures(pod) + ignored(pod) + 1, backoff::finished(pod), facts.now)
}

/// The template with what all pods of the Job get.
fn template(facts: &Facts<'_>) -> Value {
    let mut template = facts.job["spec"]["template"].clone();
    let mut finalizers = list(&template, &["metadata", "finalizers"]).to_vec();
    if !finalizers.iter().any(|finalizer| finalizer == FINALIZER) {
        finalizers.push(FINALIZER.into());
    }
    template["metadata"]["finalizers"] = finalizers.into();
    if is_indexed(facts.job) {
        for field in ["initContainers", "containers"] {
            for container in edit::items(&mut template["spec"], field) {
                let mut variables = list(container, &["env"]).to_vec();
                if variables.iter().any(|variable| text(variable, &["name"]) == "JOB_COMPLETION_INDEX") {
                    continue;
                }
                let field = format!("metadata.labels['{INDEX}']");
                let from = json!({"fieldRef": {"apiVersion": "v1", "fieldPath": field}});
                variables.push(json!({"name": "JOB_COMPLETION_INDEX", "valueFrom": from}));
                edit::set(container, "env", variables);
            }
        }
    }
    template
}

fn pod(facts: &Facts<'_>, template: &Value, index: Option<i64>, nth: usize, context: &Context) -> Value {
    let mut pod = pods::of_template(template, &JOBS, facts.job, nth, context);
    let Some(index) = index else { return pod };
    let name = object::name(facts.job);
    let end = format!("-{index}-");
    let base = format!("{}{end}", &name[..name.floor_char_boundary(BASE - end.len())]);
    pod["metadata"]["name"] = context.generated(&base, nth).into();
    pod["metadata"]["generateName"] = base.into();
    pod["metadata"]["labels"][INDEX] = index.to_string().into();
    pod["metadata"]["annotations"][INDEX] = index.to_string().into();
    pod["spec"]["hostname"] = format!("{name}-{index}").into();
    if facts.limit_per_index().is_some() {
        let former = facts.kept.get(&index);
        let (mut failed, mut skipped) = former.map_or((0, 0), |former| (failures(former), ignored(former)));
        match former.map(|former| policy::of(facts.job, former)) {
            Some(Failure::Ignored) => skipped += 1,
            Some(_) => failed += 1,
            None => {}
        }
        pod["metadata"]["annotations"][FAILURES] = failed.to_string().into();
        if skipped > 0 {
            pod["metadata"]["annotations"][IGNORED] = skipped.to_string().into();
        }
    }
    pod
}
