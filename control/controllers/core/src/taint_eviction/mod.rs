//! Pods that have to leave a node because of its taints with the effect NoExecute.
//!
//! Owns: which pods leave, and when ([`tolerated`]). Facts: kube-controller-manager 1.36, `pkg/controller/tainteviction`.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use control_core::edit::{list, text};
use serde_json::{Value, json};

use crate::kinds::{NODES, PODS};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, object, pod_end, pods};

const REASON: &str = "TaintManagerEviction";

/// Keys are pods.
#[derive(Debug, Default)]
pub struct TaintEviction {
    /// Since when a pod tolerates what it does not tolerate for ever, by uid. After a restart it begins again, as the
    /// original's does.
    since: Mutex<HashMap<String, SystemTime>>,
}

impl TaintEviction {
    fn since(&self) -> MutexGuard<'_, HashMap<String, SystemTime>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing is to happen to a pod; an eviction that was to come is called off.
    fn stays(&self, pod: &Arc<Value>) -> Decision {
        let mut decision = Decision::nothing();
        if self.since().remove(object::uid(pod)).is_some() {
            let text = format!("Cancelling deletion of Pod {}", object::key(pod));
            decision.stages.push(Stage::Tell(Note::normal(PODS, pod, REASON, text)));
        }
        decision
    }

    fn evict(&self, pod: &Arc<Value>, now: SystemTime) -> Decision {
        let text = format!("Marking for deletion Pod {}", object::key(pod));
        let mut decision = Decision::nothing();
        decision.stages.push(Stage::Tell(Note::normal(PODS, pod, REASON, text)));
        let condition =
            pod_end::disruption("DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint");
        let conditions = pod_end::with_condition(pod, &condition, now);
        let marks = conditions.map(|conditions| pod_end::status(pod, &json!({"conditions": conditions})));
        decision.all(marks.into_iter().collect()).then(Act::delete(PODS, pod))
    }
}

impl Controller for TaintEviction {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn account(&self) -> &'static str {
        "node-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[PODS, NODES]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        if change.kind == PODS {
            if change.new.is_none() {
                self.since().remove(object::uid(changed));
                return;
            }
            let placed = |pod: &Option<Arc<Value>>| {
                pod.as_ref().map(|pod| (pods::node(pod).to_owned(), pod["spec"]["tolerations"].clone()))
            };
            if !pods::node(changed).is_empty() && placed(&change.old) != placed(&change.new) {
                keys.push(object::key(changed));
            }
            return;
        }
        let of = |node: &Option<Arc<Value>>| {
            node.as_ref().map(|node| taints(node).cloned().collect::<Vec<_>>()).unwrap_or_default()
        };
        if change.new.is_none() || of(&change.old) == of(&change.new) {
            return;
        }
        let name = object::name(changed);
        keys.extend(world.all(PODS).filter(|pod| pods::node(pod) == name).map(|pod| object::key(pod)));
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let pod = world.get(PODS, key).filter(|pod| !object::is_deleting(pod));
        let Some(pod) = pod else { return Decision::nothing() };
        let Some(node) = world.get(NODES, &ObjectName::new("", pods::node(pod))) else {
            return Decision::nothing();
        };
        match tolerated(pod, node) {
            Tolerated::ForEver => self.stays(pod),
            Tolerated::Not => {
                self.since().remove(object::uid(pod));
                self.evict(pod, context.now)
            }
            Tolerated::For(wait) => {
                let since = *self.since().entry(object::uid(pod).to_owned()).or_insert(context.now);
                let left = (since + wait).duration_since(context.now).unwrap_or_default();
                if left.is_zero() { self.evict(pod, context.now) } else { Decision::nothing().again_in(left) }
            }
        }
    }
}

fn taints(node: &Value) -> impl Iterator<Item = &Value> {
    list(node, &["spec", "taints"]).iter().filter(|taint| text(taint, &["effect"]) == "NoExecute")
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tolerated {
    Not,
    For(Duration),
    ForEver,
}

/// How long a pod tolerates the taints of its node: the shortest time of all tolerations that are needed for them.
fn tolerated(pod: &Value, node: &Value) -> Tolerated {
    let tolerations = list(pod, &["spec", "tolerations"]);
    let mut shortest: Option<i64> = None;
    for taint in taints(node) {
        let Some(toleration) = tolerations.iter().find(|toleration| tolerates(toleration, taint)) else {
            return Tolerated::Not;
        };
        if let Some(seconds) = toleration["tolerationSeconds"].as_i64() {
            shortest = Some(shortest.map_or(seconds, |shortest| shortest.min(seconds)));
        }
    }
    match shortest {
        None => Tolerated::ForEver,
        Some(seconds) => match u64::try_from(seconds) {
            Ok(0) | Err(_) => Tolerated::Not,
            Ok(seconds) => Tolerated::For(Duration::from_secs(seconds)),
        },
    }
}

fn tolerates(toleration: &Value, taint: &Value) -> bool {
    let field = |name| text(toleration, &[name]);
    let effect = field("effect");
    (effect.is_empty() || effect == text(taint, &["effect"]))
        && (field("key").is_empty() || field("key") == text(taint, &["key"]))
        && match field("operator") {
            "" | "Equal" => !field("key").is_empty() && field("value") == text(taint, &["value"]),
            "Exists" => true,
            _ => false,
        }
}
