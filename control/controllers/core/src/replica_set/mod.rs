//! ReplicaSets and ReplicationControllers: as many pods of one template as are asked for.
//!
//! Owns: how many pods are made and which are lost ([`victims`]), and the counts in the status ([`status`]). Facts:
//! kube-controller-manager 1.36, `pkg/controller/replicaset`.

mod status;
#[cfg(test)]
mod tests;
mod victims;

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::text;
use control_core::selectors::Selector;
use serde_json::{Value, json};

use crate::claim::{self, claim};
use crate::kinds::{PODS, REPLICA_SETS, REPLICATION_CONTROLLERS};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Refused, Stage, World, object, pods};

/// Most pods that are made or lost in one pass.
const BURST: usize = 500;

#[derive(Debug)]
pub struct ReplicaSets {
    kind: Kind,
    name: &'static str,
    account: &'static str,
    follows: [Kind; 2],
}

impl ReplicaSets {
    pub const fn sets() -> Self {
        Self {
            kind: REPLICA_SETS,
            name: "replicaset-controller",
            account: "replicaset-controller",
            follows: [REPLICA_SETS, PODS],
        }
    }

    pub const fn controllers() -> Self {
        Self {
            kind: REPLICATION_CONTROLLERS,
            name: "replicationcontroller-controller",
            account: "replication-controller",
            follows: [REPLICATION_CONTROLLERS, PODS],
        }
    }
}

impl Controller for ReplicaSets {
    fn name(&self) -> &'static str {
        self.name
    }

    fn account(&self) -> &'static str {
        self.account
    }

    fn follows(&self) -> &[Kind] {
        &self.follows
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        if change.kind == self.kind {
            keys.push(object::key(change.object()));
            return;
        }
        for pod in change.both() {
            claim::owners_of(world, self.kind, pod, keys);
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(set) = world.get(self.kind, key) else { return Decision::nothing() };
        let selector = claim::selector_of(self.kind, set).unwrap_or_default();
        let Some(selector) = Selector::of(&selector) else { return Decision::nothing() };
        let claim = claim(world, PODS, self.kind, set, &selector, pods::is_active);
        let mut decision = Decision::nothing().all(claim.acts);
        let (active, others): (Vec<_>, Vec<_>) = claim.held.into_iter().partition(|pod| pods::is_active(pod));
        let terminating = others.iter().filter(|pod| pods::is_terminating(pod)).count();
        if !object::is_deleting(set) {
            decision.stages.extend(self.replicas(world, set, &active, context));
        }
        let status = status::of(self.kind, set, &active, terminating, context.now, None);
        if let Some(act) = status::update(self.kind, set, status) {
            decision = decision.then(act);
        }
        let least = object::int(set, &["spec", "minReadySeconds"]);
        decision.again = pods::next_available(&active, least, context.now);
        decision
    }

    fn refused(&self, world: &World, key: &ObjectName, context: &Context, refused: &Refused<'_>) -> Vec<Act> {
        let Some(set) = world.get(self.kind, key).filter(|_| refused.act.kind == PODS) else {
            return Vec::new();
        };
        let held = world.managed(PODS, object::uid(set));
        let (active, others): (Vec<_>, Vec<_>) = held.cloned().partition(|pod| pods::is_active(pod));
        let terminating = others.iter().filter(|pod| pods::is_terminating(pod)).count();
        let status = status::of(self.kind, set, &active, terminating, context.now, Some(refused.message));
        status::update(self.kind, set, status).into_iter().collect()
    }
}

impl ReplicaSets {
    /// Pods that are made or lost.
    fn replicas(
        &self,
        world: &World,
        set: &Arc<Value>,
        active: &[Arc<Value>],
        context: &Context,
    ) -> Option<Stage> {
        let wanted = usize::try_from(object::int(set, &["spec", "replicas"])).unwrap_or_default();
        if active.len() < wanted {
            let template = &set["spec"]["template"];
            let missing = (wanted - active.len()).min(BURST);
            let acts = (0..missing).map(|nth| {
                let pod = pods::of_template(template, &self.kind, set, nth, context);
                let made = format!("Created pod: {}", object::name(&pod));
                Act::create(PODS, pod)
                    .telling(Note::normal(self.kind, set, "SuccessfulCreate", made))
                    .telling_refusals(Note::warning(self.kind, set, "FailedCreate", "Error creating: "))
            });
            return Some(Stage::Growing(acts.collect()));
        }
        let surplus = (active.len() - wanted).min(BURST);
        if surplus == 0 {
            return None;
        }
        let lost = victims::of(world, self.kind, set, active, surplus, context.now);
        let acts = lost.into_iter().map(|pod| {
            let lost = format!("Deleted pod: {}", object::name(pod));
            Act::delete(PODS, pod)
                .telling(Note::normal(self.kind, set, "SuccessfulDelete", lost))
                .telling_refusals(Note::warning(self.kind, set, "FailedDelete", "Error deleting: "))
        });
        Some(Stage::All(acts.collect()))
    }
}

/// Whether two objects have the same labels in the fields that a template gives.
fn has_labels_of(pod: &Value, template: &Value) -> bool {
    let wanted = template["metadata"]["labels"].as_object().into_iter().flatten();
    wanted
        .into_iter()
        .all(|(key, value)| text(object::labels(pod), &[key]) == value.as_str().unwrap_or_default())
}

/// A condition of a ReplicaSet has no generation and no time of its last look.
fn failure(reason: &str, message: &str, now: &str) -> Value {
    json!({
        "type": "ReplicaFailure", "status": "True", "lastTransitionTime": now, "reason": reason, "message": message,
    })
}
