//! Pods that nobody else would remove.
//!
//! Owns: pods of nodes that are gone, pods that are going and were never on a node or are on one that is out of service, and
//! too many pods that have ended. Facts: kube-controller-manager 1.36, `pkg/controller/podgc`.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use control_core::edit::{list, text};
use serde_json::{Value, json};

use crate::kinds::{NODES, PODS};
use crate::{Act, Change, Context, Controller, Decision, Kind, World, object, pod_end, pods};

/// A node that is gone may come back within this time, and finds its pods.
const QUARANTINE: Duration = Duration::from_secs(40);

/// How often pods that have ended are counted.
const COUNTED: Duration = Duration::from_secs(20);

const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";

/// Keys: a pod; a node, without a namespace; without a name, all pods that have ended.
#[derive(Debug)]
pub struct PodGc {
    /// How many pods that have ended may be there (`--terminated-pod-gc-threshold`); 0 for any number.
    threshold: usize,
    seen: Mutex<Seen>,
}

/// What time decides about. After a restart it begins again, as the original's does.
#[derive(Debug, Default)]
struct Seen {
    /// Nodes that pods name and that are not there, since when.
    missing: BTreeMap<String, SystemTime>,
    counted: Option<SystemTime>,
}

impl PodGc {
    pub fn new(threshold: usize) -> Self {
        Self { threshold, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pods of a node that is gone.
    fn of_node(&self, world: &World, node: &ObjectName, context: &Context) -> Decision {
        if world.get(NODES, node).is_some() {
            self.seen().missing.remove(&*node.name);
            return Decision::nothing();
        }
        let pods: Vec<&Arc<Value>> = world.all(PODS).filter(|pod| pods::node(pod) == &*node.name).collect();
        if pods.is_empty() {
            self.seen().missing.remove(&*node.name);
            return Decision::nothing();
        }
        let since = *self.seen().missing.entry(node.name.to_string()).or_insert(context.now);
        let waited = context.now.duration_since(since).unwrap_or_default();
        if let Some(left) = QUARANTINE.checked_sub(waited).filter(|left| !left.is_zero()) {
            return Decision::nothing().again_in(left);
        }
        let condition = pod_end::disruption("DeletionByPodGC", "PodGC: node no longer exists");
        let (mut marks, mut ends) = (Vec::new(), Vec::new());
        for pod in pods {
            marks.extend(mark(pod, Some(&condition), context.now));
            ends.push(pod_end::force(pod));
        }
        let absent = |act: Act| act.while_absent(NODES, node.clone(), "");
        Decision::nothing()
            .all(marks.into_iter().map(absent).collect())
            .all(ends.into_iter().map(absent).collect())
    }

    /// The oldest of too many pods that have ended, evicted ones first.
    fn ended(&self, world: &World, context: &Context) -> Decision {
        if self.threshold == 0 {
            return Decision::nothing();
        }
        let counted = self.seen().counted;
        if let Some(since) = counted.and_then(|counted| context.now.duration_since(counted).ok())
            && let Some(left) = COUNTED.checked_sub(since).filter(|left| !left.is_zero())
        {
            return Decision::nothing().again_in(left);
        }
        self.seen().counted = Some(context.now);
        let mut ended: Vec<&Arc<Value>> = world.all(PODS).filter(|pod| pods::has_ended(pod)).collect();
        let surplus = ended.len().saturating_sub(self.threshold);
        if surplus == 0 {
            return Decision::nothing();
        }
        let evicted =
            |pod: &Value| pods::phase(pod) == "Failed" && text(pod, &["status", "reason"]) == "Evicted";
        let created = |pod: &Value| text(pod, &["metadata", "creationTimestamp"]).to_owned();
        ended.sort_by_cached_key(|pod| (!evicted(pod), created(pod), object::name(pod).to_owned()));
        Decision::nothing().all(ended.into_iter().take(surplus).map(|pod| pod_end::force(pod)).collect())
    }
}

/// A pod that no kubelet will report on is told to have failed before it goes.
fn mark(pod: &Value, condition: Option<&Value>, now: SystemTime) -> Option<Act> {
    if pods::has_ended(pod) {
        return None;
    }
    let mut status = json!({"phase": "Failed"});
    if let Some(conditions) = condition.and_then(|condition| pod_end::with_condition(pod, condition, now)) {
        status["conditions"] = conditions;
    }
    Some(pod_end::status(pod, &status))
}

fn is_out_of_service(node: &Value) -> bool {
    let mut taints = list(node, &["spec", "taints"]).iter();
    !object::condition_is(node, "Ready", "True")
        && taints.any(|taint| text(taint, &["key"]) == OUT_OF_SERVICE)
}

impl Controller for PodGc {
    fn name(&self) -> &'static str {
        "pod-garbage-collector-controller"
    }

    fn account(&self) -> &'static str {
        "pod-garbage-collector"
    }

    fn follows(&self) -> &[Kind] {
        &[PODS, NODES]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        if change.kind == NODES {
            match &change.new {
                None => keys.push(object::key(changed)),
                Some(node) if is_out_of_service(node) => {
                    let own = world
                        .all(PODS)
                        .filter(|pod| pods::node(pod) == object::name(node) && object::is_deleting(pod));
                    keys.extend(own.map(|pod| object::key(pod)));
                }
                Some(_) => {}
            }
            return;
        }
        let Some(pod) = &change.new else { return };
        let node = pods::node(pod);
        if object::is_deleting(pod) {
            keys.push(object::key(pod));
        }
        if !node.is_empty() && world.get(NODES, &ObjectName::new("", node)).is_none() {
            keys.push(ObjectName::new("", node));
        }
        if self.threshold > 0
            && pods::has_ended(pod)
            && !change.old.as_ref().is_some_and(|old| pods::has_ended(old))
        {
            keys.push(ObjectName::default());
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        if key.namespace.is_empty() {
            return if key.name.is_empty() {
                self.ended(world, context)
            } else {
                self.of_node(world, key, context)
            };
        }
        let Some(pod) = world.get(PODS, key).filter(|pod| object::is_deleting(pod)) else {
            return Decision::nothing();
        };
        let node = pods::node(pod);
        let lost = node.is_empty()
            || world.get(NODES, &ObjectName::new("", node)).is_some_and(|node| is_out_of_service(node));
        if !lost {
            return Decision::nothing();
        }
        Decision::nothing().all(mark(pod, None, context.now).into_iter().collect()).then(pod_end::force(pod))
    }
}
