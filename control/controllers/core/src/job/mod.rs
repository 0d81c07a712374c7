//! Jobs: pods until enough of them have succeeded.
//!
//! Owns: what is to be seen of a Job and its pods ([`facts`]), whether it has come to its end ([`finish`], [`policy`]), which
//! pods it makes and gives up ([`manage`], [`backoff`]), and how ends of pods are counted ([`track`]). Begin at
//! [`Jobs::decide`]. Facts: kube-controller-manager 1.36, `pkg/controller/job`.

mod backoff;
mod facts;
mod finish;
mod indexes;
mod manage;
mod policy;
#[cfg(test)]
mod tests;
mod track;

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::text;
use control_core::selectors::Selector;
use serde_json::{Value, json};

pub use self::facts::is_finished;
use self::facts::{FINALIZER, Facts, has_finalizer};
use self::finish::End;
use self::manage::Managed;
use crate::claim::{self, claim};
use crate::kinds::{JOBS, PODS};
use crate::{Act, Change, Context, Controller, Decision, Kind, Refused, Stage, World, Write, object};

/// Who manages a Job whose `managedBy` says nothing.
const OURS: &str = "kubernetes.io/job-controller";
/// Begins the key of a pod that may be held for no Job. No Job has such a name.
const ORPHAN: &str = "pods/";

/// The controller.
#[derive(Debug)]
pub struct Jobs;

impl Controller for Jobs {
    fn name(&self) -> &'static str {
        "job-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[JOBS, PODS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        if change.kind == JOBS {
            let job = change.object();
            keys.push(object::key(job));
            if change.new.is_none() || is_finished(job) {
                let held = world.managed(PODS, object::uid(job)).filter(|pod| has_finalizer(pod));
                keys.extend(held.map(|pod| orphan(pod)));
            }
            return;
        }
        for pod in change.both() {
            claim::owners_of(world, JOBS, pod, keys);
        }
        if let Some(pod) = change.new.as_ref().filter(|pod| is_orphan(world, pod)) {
            keys.push(orphan(pod));
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        if let Some(name) = key.name.strip_prefix(ORPHAN) {
            let pod = world.get(PODS, &ObjectName::new(Arc::clone(&key.namespace), name));
            let held = pod.filter(|pod| is_orphan(world, pod));
            let act = held.and_then(|pod| track::without_finalizer(pod));
            return Decision::nothing().all(act.into_iter().collect());
        }
        let Some(job) = world.get(JOBS, key).filter(|job| is_ours(job) && !is_finished(job)) else {
            return Decision::nothing();
        };
        let Some(selector) = Selector::of(&job["spec"]["selector"]) else { return Decision::nothing() };
        let mut claim = claim(world, PODS, JOBS, job, &selector, |_| true);
        if !claim.acts.is_empty() {
            claim.acts.iter_mut().for_each(hold);
            // What comes of them brings the key back.
            return Decision::nothing().all(claim.acts);
        }
        let facts = Facts::of(job, &claim.held, context.now);
        let mut end = finish::end(&facts);
        let managed = match &end {
            Some(_) => manage::end(&facts),
            None if object::is_deleting(job) => Managed::default(),
            None => manage::manage(&facts, context),
        };
        let given_up = i64::try_from(managed.given_up.len()).unwrap_or(i64::MAX);
        let active = i64::try_from(facts.active.len()).unwrap_or(i64::MAX) + managed.made - given_up;
        if end.is_none() && finish::is_complete(&facts, active) {
            end = Some(End::completed());
        }
        let deadline = finish::deadline_in(&facts).filter(|_| end.is_none());
        let mut decision = Decision { stages: Vec::new(), again: managed.again };
        if end.is_none() && track::is_due(&facts) {
            // Ends are counted even where no pod can be made; a second status follows in any case.
            decision.stages.extend(track::stages(&facts, &Managed::default(), None));
            decision.stages.extend(managed.stages);
        } else {
            decision.stages.extend(managed.stages.iter().cloned());
            decision.stages.extend(track::stages(&facts, &managed, end));
        }
        match deadline {
            Some(wait) => decision.again_in(wait),
            None => decision,
        }
    }

    fn refused(&self, world: &World, key: &ObjectName, context: &Context, refused: &Refused<'_>) -> Vec<Act> {
        // The status says what is there, whether or not pods can be made or given up.
        let managing = matches!(refused.act.write, Write::Create { .. } | Write::Delete { .. });
        let Some(job) = world.get(JOBS, key).filter(|_| managing) else { return Vec::new() };
        let held: Vec<Arc<Value>> = world.managed(PODS, object::uid(job)).cloned().collect();
        let facts = Facts::of(job, &held, context.now);
        // The status alone: pods lose their finalizers only after it is written.
        let first = track::stages(&facts, &Managed::default(), None).into_iter().next();
        match first {
            Some(Stage::All(acts)) => acts.into_iter().filter(|act| act.kind == JOBS).collect(),
            _ => Vec::new(),
        }
    }
}

/// An adoption holds the pod too.
fn hold(act: &mut Act) {
    if let Write::Strategic { patch, .. } = &mut act.write
        && patch["metadata"]["ownerReferences"][0]["controller"] == true
    {
        patch["metadata"]["finalizers"] = json!([FINALIZER]);
    }
}

fn is_ours(job: &Value) -> bool {
    matches!(text(job, &["spec", "managedBy"]), "" | OURS)
}

fn orphan(pod: &Value) -> ObjectName {
    ObjectName::new(object::namespace(pod), format!("{ORPHAN}{}", object::name(pod)))
}

/// A pod is held, but no Job counts its end any more.
fn is_orphan(world: &World, pod: &Value) -> bool {
    if !has_finalizer(pod) {
        return false;
    }
    let Some(owner) = object::controller(pod) else { return true };
    if text(owner, &["kind"]) != JOBS.name || text(owner, &["apiVersion"]) != JOBS.api_version() {
        return false;
    }
    let job = world.get(JOBS, &ObjectName::new(object::namespace(pod), text(owner, &["name"])));
    let job = job.filter(|job| object::uid(job) == text(owner, &["uid"]));
    job.is_none_or(|job| is_ours(job) && is_finished(job))
}
