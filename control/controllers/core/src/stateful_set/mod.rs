//! StatefulSets: pods with numbers, each with claims of its own, that begin and end in their order.
//!
//! Owns: what a pod of a number is ([`identity`]), its claims ([`claims`]), what happens in which order ([`order`]), and the
//! status. Begin at [`StatefulSets::decide`]. Facts: kube-controller-manager 1.36, `pkg/controller/statefulset`.

mod claims;
mod identity;
mod order;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{self, text};
use control_core::selectors::Selector;
use serde_json::{Value, json};

use self::order::Order;
use crate::claim::{self, claim};
use crate::kinds::{CLAIMS, PODS, REVISIONS, STATEFUL_SETS};
use crate::revisions::{self, History};
use crate::{Act, Change, Context, Controller, Decision, Kind, Refused, World, Write, object, pods, status};

/// On a revision: the hash of what it holds.
const HASH_LABEL: &str = "controller.kubernetes.io/hash";

/// The controller.
#[derive(Debug)]
pub struct StatefulSets;

impl Controller for StatefulSets {
    fn name(&self) -> &'static str {
        "statefulset-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[STATEFUL_SETS, PODS, REVISIONS, CLAIMS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        match change.kind {
            STATEFUL_SETS => keys.push(object::key(change.object())),
            CLAIMS => {
                // One that comes, or binds, changes nothing for a set.
                if change.new.as_ref().is_none_or(|claim| object::is_deleting(claim)) {
                    claims::waiting(world, change.object(), keys);
                }
            }
            _ => change.both().for_each(|owned| claim::owners_of(world, STATEFUL_SETS, owned, keys)),
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(set) = world.get(STATEFUL_SETS, key) else { return Decision::nothing() };
        let Some(selector) = Selector::of(&set["spec"]["selector"]) else { return Decision::nothing() };
        let is_member = |pod: &Value| identity::ordinal(set, pod).is_some();
        let pods = claim(world, PODS, STATEFUL_SETS, set, &selector, is_member);
        let revisions = claim(world, REVISIONS, STATEFUL_SETS, set, &selector, |_| true);
        let claims: Vec<Act> = pods.acts.into_iter().chain(revisions.acts).collect();
        if !claims.is_empty() {
            // What comes of them brings the key back.
            return Decision::nothing().all(claims);
        }
        let history = History::of(set, revisions.held);
        let Some(update) = history.current.last() else {
            if object::is_deleting(set) {
                return Decision::nothing();
            }
            let revision = revisions::create(STATEFUL_SETS, set, history.next(), HASH_LABEL, true);
            return Decision::nothing().then(Act::create(REVISIONS, revision));
        };
        if revisions::number(update) < history.next() {
            return Decision::nothing().then(revisions::renumber(update, history.next()));
        }
        let named = text(set, &["status", "currentRevision"]);
        let mut all = history.old.iter().chain(&history.current);
        let current = all.find(|revision| object::name(revision) == named).unwrap_or(update);
        let pods = order::numbered(set, &pods.held);
        let order = Order { world, set, current, update, pods, now: context.now };
        let mut decision = Decision::nothing();
        if !object::is_deleting(set) {
            decision.stages = order.stages();
        }
        decision = decision.all(forgotten(&order, &history));
        if let Some(act) = status::update(STATEFUL_SETS, set, counted(&order), &["collisionCount"]) {
            decision = decision.then(act);
        }
        let least = object::int(set, &["spec", "minReadySeconds"]);
        decision.again = pods::next_available(order.pods.iter().map(|(_, pod)| *pod), least, context.now);
        decision
    }

    fn refused(&self, world: &World, key: &ObjectName, _: &Context, refused: &Refused<'_>) -> Vec<Act> {
        let Some(set) = world.get(STATEFUL_SETS, key) else { return Vec::new() };
        let Write::Create { object } = &refused.act.write else { return Vec::new() };
        if refused.code != 409 || refused.act.kind != REVISIONS {
            return Vec::new();
        }
        // Another template has the same hash; a revision that is not known yet may be ours, as the news will tell.
        let Some(other) = world.get(REVISIONS, &refused.act.target()) else { return Vec::new() };
        if object::controller_uid(other) == Some(object::uid(set))
            && edit::semantic_eq(&other["data"], &object["data"])
        {
            return Vec::new();
        }
        let mut counted = Value::clone(set);
        counted["status"]["collisionCount"] = (object::int(set, &["status", "collisionCount"]) + 1).into();
        vec![Act::status(STATEFUL_SETS, counted)]
    }
}

/// Revisions beyond the limit, the oldest first; those that the set or a pod of it has do not count.
fn forgotten(order: &Order<'_>, history: &History) -> Vec<Act> {
    let Some(limit) = order.set["spec"]["revisionHistoryLimit"].as_u64() else { return Vec::new() };
    let mut used: BTreeSet<&str> = order.pods.iter().map(|(_, pod)| identity::revision(pod)).collect();
    used.extend([object::name(order.current), object::name(order.update)]);
    let mut all: Vec<&Arc<Value>> = history.old.iter().chain(&history.current).collect();
    all.retain(|revision| !used.contains(object::name(revision)));
    let beyond = all.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
    all.truncate(beyond);
    all.into_iter().map(|revision| Act::delete(REVISIONS, revision)).collect()
}

/// The status, with what is to be seen now.
fn counted(order: &Order<'_>) -> Value {
    let set = order.set;
    let least = object::int(set, &["spec", "minReadySeconds"]);
    let (current, update) = (object::name(order.current), object::name(order.update));
    let count = |holds: &dyn Fn(&Value) -> bool| order.pods.iter().filter(|(_, pod)| holds(pod)).count();
    let of = |revision: &str| count(&|pod| !object::is_deleting(pod) && identity::revision(pod) == revision);
    let (replicas, updated) = (order.pods.len(), of(update));
    let ready = count(&is_ready);
    let wanted = usize::try_from(object::int(set, &["spec", "replicas"])).unwrap_or_default();
    let rolls = text(set, &["spec", "updateStrategy", "type"]) == "RollingUpdate";
    let complete = rolls && updated == wanted && ready == wanted && replicas == wanted;
    let (current, of_current) = if complete { (update, updated) } else { (current, of(current)) };
    json!({
        "observedGeneration": edit::generation(set),
        "replicas": replicas, "readyReplicas": ready,
        "availableReplicas": count(&|pod| is_ready(pod) && pods::is_available(pod, least, order.now)),
        "currentReplicas": of_current, "updatedReplicas": updated,
        "currentRevision": current, "updateRevision": update,
        "collisionCount": object::int(set, &["status", "collisionCount"]),
    })
}

fn is_ready(pod: &Value) -> bool {
    pods::phase(pod) == "Running" && pods::is_ready(pod)
}
