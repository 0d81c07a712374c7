//! How many pods may be missed.
//!
//! Owns: the status of PodDisruptionBudgets ([`DisruptionBudgets`]), by which evictions are allowed, and the end of the condition
//! `DisruptionTarget` of pods that were not deleted after all ([`StaleDisruptions`]). Facts: kube-controller-manager 1.36,
//! `pkg/controller/disruption`.

mod expected;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use control_core::edit::{self, at, text};
use control_core::selectors::{self, Selector};
use serde_json::{Map, Value, json};

use crate::kinds::{
    DEPLOYMENTS, DISRUPTION_BUDGETS, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, STATEFUL_SETS,
};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, object, pod_end, pods};

const NAME: &str = "disruption-controller";

/// A pod whose eviction was allowed, and that is not going after so long, will not go.
const LATE: Duration = Duration::from_secs(120);

/// Keys are budgets.
#[derive(Debug)]
pub struct DisruptionBudgets;

impl Controller for DisruptionBudgets {
    fn name(&self) -> &'static str {
        NAME
    }

    fn follows(&self) -> &[Kind] {
        &[DISRUPTION_BUDGETS, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, DEPLOYMENTS, STATEFUL_SETS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        match change.kind {
            DISRUPTION_BUDGETS => keys.push(object::key(changed)),
            PODS => {
                let budgets = world.within(DISRUPTION_BUDGETS, object::namespace(changed));
                let selecting = budgets.filter(|budget| change.both().any(|pod| selects(budget, pod)));
                keys.extend(selecting.map(|budget| object::key(budget)));
            }
            // The number of pods that there should be is known from them.
            _ => {
                let replicas = |object: &Option<Arc<Value>>| {
                    object.as_ref().map(|object| object::int(object, &["spec", "replicas"]))
                };
                if replicas(&change.old) != replicas(&change.new) {
                    let budgets = world.within(DISRUPTION_BUDGETS, object::namespace(changed));
                    keys.extend(budgets.map(|budget| object::key(budget)));
                }
            }
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(budget) = world.get(DISRUPTION_BUDGETS, key) else { return Decision::nothing() };
        let own = world.within(PODS, &key.namespace).filter(|pod| selects(budget, pod));
        let own: Vec<&Arc<Value>> = own.collect();
        let mut decision = Decision::nothing();
        let (disrupted, late, again) = disrupted(budget, &own, context.now);
        for pod in late {
            let namespace = object::namespace(budget);
            let text = format!("Pod was expected by PDB {namespace}/{namespace} to be deleted but it wasn't");
            decision.stages.push(Stage::Tell(Note::warning(PODS, pod, "NotDeleted", text)));
        }
        let (expected, desired, unmanaged) = match expected::of(world, budget, &own) {
            Ok(expected) => expected,
            Err(problem) => return decision.all(failed(budget, &problem, context.now).into_iter().collect()),
        };
        let healthy = own.iter().filter(|pod| {
            !object::is_deleting(pod) && !disrupted.contains_key(object::name(pod)) && pods::is_ready(pod)
        });
        let healthy = i64::try_from(healthy.count()).unwrap_or(i64::MAX);
        let Some(act) = written(budget, (healthy, desired, expected), disrupted, context.now) else {
            decision.again = again;
            return decision;
        };
        if own.is_empty() {
            let note = Note::normal(DISRUPTION_BUDGETS, budget, "NoPods", "No matching pods found");
            decision.stages.push(Stage::Tell(note));
        }
        if unmanaged {
            let selector = selectors::shown(&budget["spec"]["selector"]);
            let text = format!(
                "Pods selected by this PodDisruptionBudget (selector: {selector}) were found to be unmanaged. As a result, \
                 the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account \
                 for these pods please set \".spec.minAvailable\" field of the PDB to an integer value."
            );
            decision.stages.push(Stage::Tell(Note::warning(
                DISRUPTION_BUDGETS,
                budget,
                "UnmanagedPods",
                text,
            )));
        }
        decision.again = again;
        decision.then(act)
    }
}

fn selects(budget: &Value, pod: &Value) -> bool {
    let selector = &budget["spec"]["selector"];
    Selector::of(selector).is_some_and(|selector| selector.matches(object::labels(pod)))
}

/// Pods whose eviction was allowed and that are still to go; those that did not go; when to look again.
fn disrupted<'a>(
    budget: &Value,
    own: &[&'a Arc<Value>],
    now: SystemTime,
) -> (Map<String, Value>, Vec<&'a Arc<Value>>, Option<Duration>) {
    let (mut kept, mut late, mut again) = (Map::new(), Vec::new(), None::<Duration>);
    let known = at(budget, &["status", "disruptedPods"]);
    for pod in own.iter().filter(|pod| !object::is_deleting(pod)) {
        let name = object::name(pod);
        let Some(since) = known.get(name).and_then(Value::as_str) else { continue };
        let due = time::parse(since).map_or(now, |since| since + LATE);
        match due.duration_since(now) {
            Ok(left) if !left.is_zero() => {
                kept.insert(name.to_owned(), since.into());
                again = Some(again.map_or(left, |again| again.min(left)));
            }
            _ => late.push(*pod),
        }
    }
    (kept, late, again)
}

/// The status, where it differs.
fn written(
    budget: &Value,
    (healthy, desired, expected): (i64, i64, i64),
    disrupted: Map<String, Value>,
    now: SystemTime,
) -> Option<Act> {
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let mut status = json!({
        "currentHealthy": healthy, "desiredHealthy": desired, "expectedPods": expected, "disruptionsAllowed": allowed,
        "observedGeneration": edit::generation(budget),
    });
    if !disrupted.is_empty() {
        status["disruptedPods"] = disrupted.into();
    }
    edit::restore(&mut status, &budget["status"], "conditions");
    let (is, reason) = if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    condition(&mut status, is, reason, "", edit::generation(budget), now);
    update(budget, status)
}

/// Nothing is allowed where it cannot be said how many pods there should be.
fn failed(budget: &Value, problem: &str, now: SystemTime) -> Option<Act> {
    let mut status = budget["status"].clone();
    for count in ["currentHealthy", "desiredHealthy", "expectedPods"] {
        edit::default(&mut status, count, 0);
    }
    edit::set(&mut status, "disruptionsAllowed", 0);
    let observed = status["observedGeneration"].as_i64().unwrap_or_default();
    condition(&mut status, "False", "SyncFailed", problem, observed, now);
    update(budget, status)
}

fn condition(status: &mut Value, is: &str, reason: &str, message: &str, observed: i64, now: SystemTime) {
    const OF: &str = "DisruptionAllowed";
    control_core::conditions::set(status, OF, is, reason, message, &time::seconds(now));
    let condition = edit::items(status, "conditions").find(|condition| text(condition, &["type"]) == OF);
    if let Some(condition) = condition.filter(|_| observed != 0) {
        edit::set(condition, "observedGeneration", observed);
    }
}

fn update(budget: &Value, status: Value) -> Option<Act> {
    if edit::semantic_eq(&status, &budget["status"]) {
        return None;
    }
    let mut budget = budget.clone();
    edit::set(&mut budget, "status", status);
    Some(Act::status(DISRUPTION_BUDGETS, budget))
}

/// Keys are pods.
#[derive(Debug)]
pub struct StaleDisruptions;

impl Controller for StaleDisruptions {
    fn name(&self) -> &'static str {
        NAME
    }

    fn follows(&self) -> &[Kind] {
        &[PODS]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        keys.extend(change.new.as_ref().filter(|pod| targeted(pod).is_some()).map(|pod| object::key(pod)));
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let pod = world.get(PODS, key);
        let Some((pod, condition)) = pod.and_then(|pod| Some((pod, targeted(pod)?))) else {
            return Decision::nothing();
        };
        let since = object::moment(condition, &["lastTransitionTime"]).unwrap_or(context.now);
        let left = (since + LATE).duration_since(context.now).unwrap_or_default();
        if !left.is_zero() {
            return Decision::nothing().again_in(left);
        }
        let over = json!({"type": "DisruptionTarget", "status": "False"});
        let conditions = pod_end::with_condition(pod, &over, context.now);
        let act = conditions.map(|conditions| {
            let mut pod = Value::clone(pod);
            pod["status"]["conditions"] = conditions;
            Act::status(PODS, pod)
        });
        Decision::nothing().all(act.into_iter().collect())
    }
}

/// The condition that says that a pod is about to go, which it is not.
fn targeted(pod: &Value) -> Option<&Value> {
    if object::is_deleting(pod) || pods::has_ended(pod) {
        return None;
    }
    let condition = object::condition(pod, "DisruptionTarget")?;
    // A kubelet takes its time.
    (condition["status"] == "True" && condition["reason"] != "TerminationByKubelet").then_some(condition)
}
