//! Whether nodes are alive, and what follows for their taints and pods.
//!
//! Owns: when a node that is silent counts as lost ([`Heard`]), its conditions ([`health`]), its taints ([`taints`]), and how
//! fast nodes may lose their pods ([`zones`]). Facts: kube-controller-manager 1.36, `pkg/controller/nodelifecycle`.
//! Never: evicts a pod; that is the business of taints with the effect NoExecute.

mod health;
mod taints;
#[cfg(test)]
mod tests;
mod zones;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use control_core::edit::text;
use serde_json::{Value, json};

use crate::kinds::{LEASES, NODES, PODS};
use crate::{
    Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, Write, object, pod_end, pods,
};

use zones::Zones;

/// Where kubelets renew their leases.
const LEASE_NAMESPACE: &str = "kube-node-lease";

/// How often a node that is not ready is looked at (`--node-monitor-period`).
const PERIOD: Duration = Duration::from_secs(5);

/// Flags of the original, with its defaults.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// `--node-monitor-grace-period`, and `--node-startup-grace-period` for nodes that never reported.
    pub grace: Duration,
    pub startup: Duration,
    /// Nodes a second that may lose their pods (`--node-eviction-rate`), and in a large zone of which many nodes are
    /// down (`--secondary-node-eviction-rate`).
    pub rate: f64,
    pub secondary_rate: f64,
    /// `--unhealthy-zone-threshold`, `--large-cluster-size-threshold`.
    pub unhealthy: f64,
    pub large: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            grace: Duration::from_secs(50),
            startup: Duration::from_secs(60),
            rate: 0.1,
            secondary_rate: 0.01,
            unhealthy: 0.55,
            large: 50,
        }
    }
}

/// Keys are nodes.
#[derive(Debug, Default)]
pub struct NodeLifecycle {
    limits: Limits,
    seen: Mutex<Seen>,
}

/// What was heard of a node, and when by our own clock: the clocks of nodes may be wrong.
#[derive(Clone, Debug)]
struct Heard {
    node: Arc<Value>,
    /// The last heartbeats, as the node wrote them.
    lease: String,
    status: Option<String>,
    at: SystemTime,
}

/// What time decides about. After a restart it begins again, as the original's does.
#[derive(Debug, Default)]
struct Seen {
    heard: HashMap<String, Heard>,
    zones: Zones,
}

impl NodeLifecycle {
    pub fn new(limits: Limits) -> Self {
        Self { limits, seen: Mutex::default() }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Controller for NodeLifecycle {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn account(&self) -> &'static str {
        "node-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[NODES, LEASES, PODS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        match change.kind {
            NODES => keys.push(object::key(changed)),
            LEASES if object::namespace(changed) == LEASE_NAMESPACE => {
                keys.push(ObjectName::new("", object::name(changed)));
            }
            PODS if change.new.is_some() => {
                // A pod that is ready on a node that is lost is not.
                let key = ObjectName::new("", pods::node(changed));
                if pods::is_ready(changed) && world.get(NODES, &key).is_some_and(|node| health::is_lost(node))
                {
                    keys.push(key);
                }
            }
            _ => {}
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let mut seen = self.seen();
        let Some(node) = world.get(NODES, key) else {
            let Some(heard) = seen.heard.remove(&*key.name) else { return Decision::nothing() };
            return tell(&heard.node, "RemovingNode", "Removing");
        };
        let lease = world.get(LEASES, &ObjectName::new(LEASE_NAMESPACE, &*key.name));
        let lease = lease.map_or("", |lease| text(lease, &["spec", "renewTime"]));
        let (heard, is_new) = hear(&mut seen.heard, node, lease, context.now);
        let mut decision = Decision::nothing();
        if is_new {
            decision.stages.extend(tell(node, "RegisteredNode", "Registered").stages);
        }
        let grace = if heard.status.is_some() { self.limits.grace } else { self.limits.startup };
        let silent = context.now.duration_since(heard.at).unwrap_or_default();
        if silent > grace {
            if let Some(act) = health::lost(node, context.now) {
                // The rest follows once this is known.
                return decision.then(act);
            }
        } else {
            decision = decision.again_in(grace - silent + Duration::from_millis(1));
        }
        let ready = object::condition(node, "Ready").map(|ready| text(ready, &["status"]));
        let mut wanted = taints::no_schedule(node, context.now);
        match ready {
            Some("True") | None => {}
            Some(ready) => {
                decision = decision.again_in(PERIOD);
                if seen.zones.look(world, context.now) {
                    // One of all nodes is back: it may have been our own connection, so that all get their time again.
                    seen.heard.values_mut().for_each(|heard| heard.at = context.now);
                }
                let key = taints::of_ready(ready);
                if taints::has_no_execute(node) && !seen.zones.all_down() {
                    wanted.push(taints::no_execute(key, context.now));
                } else if let Some(wait) = seen.zones.evict(node, &self.limits, context.now) {
                    decision = decision.again_in(wait);
                } else if !seen.zones.all_down() {
                    wanted.push(taints::no_execute(key, context.now));
                }
            }
        }
        drop(seen);
        decision
            .all([taints::update(node, &wanted), labels(node)].into_iter().flatten().collect())
            .all(if health::is_lost(node) { unready(world, node, context.now) } else { Vec::new() })
    }
}

fn tell(node: &Arc<Value>, reason: &'static str, what: &str) -> Decision {
    let name = object::name(node);
    let end = if what == "Removing" { "from" } else { "in" };
    let text = format!("Node {name} event: {what} Node {name} {end} Controller");
    let mut decision = Decision::nothing();
    decision.stages.push(Stage::Tell(Note::normal(NODES, node, reason, text)));
    decision
}

/// What is known now of a node's heartbeats, and whether it is new.
fn hear<'a>(
    all: &'a mut HashMap<String, Heard>,
    node: &Arc<Value>,
    lease: &str,
    now: SystemTime,
) -> (&'a Heard, bool) {
    let ready = object::condition(node, "Ready");
    let status = ready.map(|ready| text(ready, &["lastHeartbeatTime"]).to_owned());
    let is_new = !all.contains_key(object::name(node));
    let heard = all.entry(object::name(node).to_owned()).or_insert_with(|| Heard {
        node: Arc::clone(node),
        lease: lease.to_owned(),
        status: status.clone(),
        // One that never reported has its time from its creation on.
        at: match status {
            Some(_) => now,
            None => object::moment(node, &["metadata", "creationTimestamp"]).unwrap_or(now),
        },
    });
    if heard.status != status || *heard.lease != *lease && !lease.is_empty() {
        (heard.at, heard.status) = (now, status);
        lease.clone_into(&mut heard.lease);
    }
    heard.node = Arc::clone(node);
    (heard, is_new)
}

/// Labels of old names follow those of new ones.
fn labels(node: &Value) -> Option<Act> {
    let mut wrong = json!({});
    for name in ["os", "arch"] {
        let (own, old) = (format!("kubernetes.io/{name}"), format!("beta.kubernetes.io/{name}"));
        if let Some(value) =
            object::label(node, &own).filter(|value| object::label(node, &old) != Some(value))
        {
            wrong[old] = value.into();
        }
    }
    if wrong.as_object().is_none_or(serde_json::Map::is_empty) {
        return None;
    }
    let patch = json!({"metadata": {"uid": object::uid(node), "labels": wrong}});
    Some(Act::new(NODES, Write::Strategic { name: object::key(node), part: "", patch }))
}

/// The pods of a node that is lost are not ready.
fn unready(world: &World, node: &Value, now: SystemTime) -> Vec<Act> {
    let own = world.all(PODS).filter(|pod| pods::node(pod) == object::name(node) && pods::is_ready(pod));
    own.filter_map(|pod| {
        let mut ready = object::condition(pod, "Ready")?.clone();
        ready["status"] = "False".into();
        let conditions = pod_end::with_condition(pod, &ready, now)?;
        let note = Note::warning(PODS, pod, "NodeNotReady", "Node is not ready");
        Some(pod_end::status(pod, &json!({"conditions": conditions})).telling(note))
    })
    .collect()
}
