//! Deployments: ReplicaSets of old and new templates, and the way from one to the other.
//!
//! Owns: which ReplicaSet is the new one and its annotations ([`sets`], [`revision`]), how many replicas each has ([`rolling`],
//! [`scaling`]), counts and conditions ([`status`]), what is kept of the past ([`history`]). Begin at [`Deployments::decide`].
//! Never: makes or loses pods; the ReplicaSets do. Facts: kube-controller-manager 1.36, `pkg/controller/deployment`.

mod history;
mod revision;
mod rolling;
mod scaling;
mod sets;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{self, text};
use control_core::selectors::Selector;
use serde_json::Value;

use self::sets::Sets;
use self::status::Draft;
use crate::claim::{self, claim};
use crate::kinds::{DEPLOYMENTS, PODS, REPLICA_SETS};
use crate::{
    Act, Change, Context, Controller, Decision, Kind, Note, Refused, Stage, World, Write, object, pods,
};

/// The controller.
#[derive(Debug)]
pub struct Deployments;

impl Controller for Deployments {
    fn name(&self) -> &'static str {
        "deployment-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[DEPLOYMENTS, REPLICA_SETS, PODS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        match change.kind {
            DEPLOYMENTS => keys.push(object::key(change.object())),
            REPLICA_SETS => change.both().for_each(|set| claim::owners_of(world, DEPLOYMENTS, set, keys)),
            _ => keys.extend(waiting_for_end(world, change)),
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(deployment) = world.get(DEPLOYMENTS, key) else { return Decision::nothing() };
        let Some(selector) = Selector::of(&deployment["spec"]["selector"]) else {
            return Decision::nothing();
        };
        if selector.is_empty() {
            return selecting_all(deployment);
        }
        let claim = claim(world, REPLICA_SETS, DEPLOYMENTS, deployment, &selector, |_| true);
        if !claim.acts.is_empty() {
            // What comes of them brings the key back.
            return Decision::nothing().all(claim.acts);
        }
        let sets = Sets::of(deployment, claim.held);
        let mut draft = Draft::of(deployment, context.now);
        if object::is_deleting(deployment) {
            return match revision::revise(&sets, &mut draft) {
                Some(act) => Decision::nothing().then(act),
                None => draft.counted(&sets).written(Decision::nothing()),
            };
        }
        draft.pause();
        let paused = deployment["spec"]["paused"] == true;
        let rollback = history::rollback_to(deployment).filter(|_| !paused);
        let recreate = text(deployment, &["spec", "strategy", "type"]) == "Recreate";
        // A paused one makes no set; neither does one that waits for the end of old pods.
        let creates = !paused && (!recreate || rollback.is_some());
        let scaled = paused || rollback.is_none() && scaling::is_due(&sets);
        if let Some(act) = revision::revise(&sets, &mut draft) {
            return Decision::nothing().then(act);
        }
        if sets.new.is_none() && creates && !scaled {
            return self.begin(&sets, draft);
        }
        if let Some(revision) = rollback {
            return history::rollback(&sets, revision);
        }
        if scaled {
            let mut decision = Decision::nothing().all(scaling::scale(&sets));
            if paused {
                decision = decision.all(history::clean(&sets));
            }
            return draft.counted(&sets).written(decision);
        }
        if recreate {
            return self.recreate(world, &sets, draft);
        }
        let mut acts = rolling::roll(&sets);
        if acts.is_empty() && draft.was_complete() {
            acts = history::clean(&sets);
        }
        draft.rolled(&sets).written(Decision::nothing().all(acts))
    }

    fn refused(&self, world: &World, key: &ObjectName, context: &Context, refused: &Refused<'_>) -> Vec<Act> {
        let Some(deployment) = world.get(DEPLOYMENTS, key) else { return Vec::new() };
        let Write::Create { object } = &refused.act.write else { return Vec::new() };
        let mut draft = Draft::of(deployment, context.now);
        if refused.code == 409 {
            // Another template has the same hash. A set that is not known yet may be ours: the news will tell.
            let Some(other) = world.get(REPLICA_SETS, &refused.act.target()) else { return Vec::new() };
            if object::controller_uid(other) == Some(object::uid(deployment))
                && sets::same_template(deployment, other)
            {
                return Vec::new();
            }
            draft.collided();
        } else if refused.message.contains("because it is being terminated") {
            return Vec::new();
        } else {
            draft.not_created(object::name(object), refused.message);
        }
        draft.act().into_iter().collect()
    }
}

impl Deployments {
    /// Creates the new set.
    fn begin(&self, sets: &Sets<'_>, mut draft: Draft<'_>) -> Decision {
        let new = Arc::new(revision::new_set(sets, rolling::first(sets)));
        let replicas = object::int(&new, &["spec", "replicas"]);
        let name = object::name(&new);
        let failed = format!("Failed to create new replica set {name:?}: ");
        let mut act = Act::create(REPLICA_SETS, Value::clone(&new)).telling_refusals(Note::warning(
            DEPLOYMENTS,
            sets.deployment,
            "ReplicaSetCreateError",
            failed,
        ));
        if replicas > 0 {
            let made = format!("Scaled up replica set {name} from 0 to {replicas}");
            act = act.telling(Note::normal(DEPLOYMENTS, sets.deployment, "ScalingReplicaSet", made));
        }
        draft.created(&new);
        let with_new = Sets { new: Some(new), old: sets.old.clone(), deployment: sets.deployment };
        draft.rolled(&with_new).written(Decision::nothing().then(act))
    }

    /// All old pods end before the first new one begins.
    fn recreate(&self, world: &World, sets: &Sets<'_>, draft: Draft<'_>) -> Decision {
        let down: Vec<Act> = sets.old.iter().filter_map(|old| rolling::resize(sets, old, 0)).collect();
        if !down.is_empty() {
            return draft.rolled(sets).written(Decision::nothing().all(down));
        }
        let counted = sets.old.iter().any(|old| object::int(old, &["status", "replicas"]) > 0);
        let runs = |set: &Arc<Value>| world.managed(PODS, object::uid(set)).any(|pod| !pods::has_ended(pod));
        if counted || sets.old.iter().any(runs) {
            return draft.rolled(sets).written(Decision::nothing());
        }
        let Some(new) = &sets.new else { return self.begin(sets, draft) };
        let up = rolling::resize(sets, new, sets.wanted());
        let clean = if draft.was_complete() { history::clean(sets) } else { Vec::new() };
        draft.rolled(sets).written(Decision::nothing().all(up.into_iter().chain(clean).collect()))
    }
}

/// The Deployment that may go on because a pod has ended.
fn waiting_for_end(world: &World, change: &Change) -> Option<ObjectName> {
    let ended = change.new.as_ref().is_none_or(|pod| pods::has_ended(pod));
    let pod = change.old.as_ref().filter(|old| ended && !pods::has_ended(old))?;
    let owner = object::controller(pod).filter(|owner| text(owner, &["kind"]) == REPLICA_SETS.name)?;
    let namespace = object::namespace(pod);
    let set = world.get(REPLICA_SETS, &ObjectName::new(namespace, text(owner, &["name"])))?;
    let key = ObjectName::new(namespace, text(object::controller(set)?, &["name"]));
    let deployment = world.get(DEPLOYMENTS, &key)?;
    (text(deployment, &["spec", "strategy", "type"]) == "Recreate").then_some(key)
}

fn selecting_all(deployment: &Arc<Value>) -> Decision {
    let text = "This deployment is selecting all pods. A non-empty selector is required.";
    let note = Note::warning(DEPLOYMENTS, deployment, "SelectingAll", text);
    let mut decision = Decision { stages: vec![Stage::Tell(note)], again: None };
    if object::int(deployment, &["status", "observedGeneration"]) < edit::generation(deployment) {
        let mut seen = Value::clone(deployment);
        seen["status"]["observedGeneration"] = edit::generation(deployment).into();
        decision = decision.then(Act::status(DEPLOYMENTS, seen));
    }
    decision
}
