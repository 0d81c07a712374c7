//! Objects in few words, and a scheduler that they are told to.
#![allow(dead_code)] // each test binary uses its part

use std::time::Duration;

use apiclient_core::names::ObjectName;
use control_scheduler_core::profile::Profile;
use control_scheduler_core::queue::Waits;
use control_scheduler_core::state::{Bind, Failed, Kind, State, Step};
use serde_json::{Value, json};

pub fn at(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A node with 4 CPUs, 8 GiB and room for ten pods, in a zone.
pub fn node(name: &str, zone: &str) -> Value {
    json!({
        "metadata": {"name": name, "labels": {
            "kubernetes.io/hostname": name, "topology.kubernetes.io/zone": zone}},
        "spec": {},
        "status": {"allocatable": {"cpu": "4", "memory": "8Gi", "pods": "10"}},
    })
}

/// A pod of the default profile that asks for thousandths of a CPU.
pub fn pod(name: &str, cpu: u32) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}"),
            "labels": {"app": "a"}},
        "spec": {"schedulerName": "default-scheduler", "priority": 0,
            "containers": [{"name": "c", "image": "i", "resources": {"requests": {"cpu": format!("{cpu}m")}}}]},
        "status": {"phase": "Pending"},
    })
}

/// Merges fields into an object.
pub fn with(mut object: Value, fields: Value) -> Value {
    merge(&mut object, fields);
    object
}

fn merge(into: &mut Value, from: Value) {
    match (into, from) {
        (Value::Object(into), Value::Object(from)) => {
            for (key, value) in from {
                merge(into.entry(key).or_insert(Value::Null), value);
            }
        }
        (into, from) => *into = from,
    }
}

/// A pod that is on a node.
pub fn on(node: &str, pod: Value) -> Value {
    with(pod, json!({"spec": {"nodeName": node}}))
}

pub fn priority(priority: i32, pod: Value) -> Value {
    with(pod, json!({"spec": {"priority": priority}}))
}

pub fn state() -> State {
    state_of(Profile::default())
}

pub fn state_of(profile: Profile) -> State {
    State::new(vec![profile], Waits::default(), 0, false, 7)
}

pub trait Told {
    fn tell(&mut self, kind: Kind, object: &Value, now: Duration);
    fn nodes(&mut self, nodes: &[Value]);
    fn pods(&mut self, pods: &[Value]);
    fn delete(&mut self, kind: Kind, name: &str, now: Duration);
    /// The next thing to do must be to bind.
    fn binds(&mut self, now: Duration) -> Bind;
    /// The next thing to do must be to say why not.
    fn fails(&mut self, now: Duration) -> Failed;
    fn waits(&mut self, now: Duration) -> Option<Duration>;
}

impl Told for State {
    fn tell(&mut self, kind: Kind, object: &Value, now: Duration) {
        self.put(kind, object, now).unwrap_or_else(|error| panic!("{object}: {error}"));
    }

    fn nodes(&mut self, nodes: &[Value]) {
        nodes.iter().for_each(|node| self.tell(Kind::Node, node, at(0)));
    }

    fn pods(&mut self, pods: &[Value]) {
        pods.iter().for_each(|pod| self.tell(Kind::Pod, pod, at(0)));
    }

    fn delete(&mut self, kind: Kind, name: &str, now: Duration) {
        let namespace = if matches!(kind, Kind::Pod | Kind::Claim) { "default" } else { "" };
        self.gone(kind, &ObjectName::new(namespace, name), now);
    }

    fn binds(&mut self, now: Duration) -> Bind {
        match self.step(now) {
            Step::Bind(bind) => bind,
            other => panic!("want a binding: {other:?}"),
        }
    }

    fn fails(&mut self, now: Duration) -> Failed {
        match self.step(now) {
            Step::Failed(failed) => *failed,
            other => panic!("want a failure: {other:?}"),
        }
    }

    fn waits(&mut self, now: Duration) -> Option<Duration> {
        match self.step(now) {
            Step::Wait(until) => until,
            other => panic!("want nothing to do: {other:?}"),
        }
    }
}
