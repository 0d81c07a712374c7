//! Which pods a DaemonSet makes and loses on a node, apart from updates.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_core::edit::text;
use serde_json::Value;

use super::nodes::{Fit, Needs};
use super::template::{HASH_LABEL, is_updated, target};
use crate::kinds::DAEMON_SETS;
use crate::{Note, amount, object, pods};

/// Between the failures of pods on a node: at least, at most.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(900));

/// A DaemonSet, its nodes, and its pods on them.
#[derive(Debug)]
pub struct Placement<'a> {
    pub set: &'a Arc<Value>,
    pub revision: &'a Value,
    /// All nodes, with what they are to the DaemonSet.
    pub nodes: BTreeMap<&'a str, (&'a Arc<Value>, Fit)>,
    /// By the node that they are on or meant for; the oldest first.
    pub pods: BTreeMap<&'a str, Vec<&'a Arc<Value>>>,
    pub now: SystemTime,
}

/// What is to be done.
#[derive(Debug, Default)]
pub struct Change<'a> {
    /// Nodes that get a pod.
    pub begin: Vec<&'a str>,
    /// Pods that go.
    pub end: Vec<&'a Arc<Value>>,
    pub notes: Vec<Note>,
    pub again: Option<Duration>,
}

impl<'a> Placement<'a> {
    pub fn of(
        set: &'a Arc<Value>,
        revision: &'a Value,
        nodes: impl Iterator<Item = &'a Arc<Value>>,
        held: &'a [Arc<Value>],
        now: SystemTime,
    ) -> Self {
        let needs = Needs::of(set);
        let nodes = nodes.map(|node| (object::name(node), (node, needs.fit(node)))).collect();
        let mut pods: BTreeMap<&str, Vec<&Arc<Value>>> = BTreeMap::new();
        for pod in held.iter().filter(|pod| !(pods::has_ended(pod) && object::is_deleting(pod))) {
            if let Some(node) = target(pod) {
                pods.entry(node).or_default().push(pod);
            }
        }
        pods.values_mut().for_each(|pods| pods.sort_by(|a, b| by_age(a, b)));
        Self { set, revision, nodes, pods, now }
    }

    pub fn hash(&self) -> &str {
        object::label(self.revision, HASH_LABEL).unwrap_or_default()
    }

    pub fn is_updated(&self, pod: &Value) -> bool {
        is_updated(self.set, pod, self.hash())
    }

    pub fn is_available(&self, pod: &Value) -> bool {
        pods::is_available(pod, object::int(self.set, &["spec", "minReadySeconds"]), self.now)
    }

    /// Nodes on which there is to be a pod.
    pub fn desired(&self) -> i64 {
        i64::try_from(self.nodes.values().filter(|(_, fit)| fit.begins).count()).unwrap_or(i64::MAX)
    }

    pub fn fits(&self, node: &str) -> bool {
        self.nodes.get(node).is_some_and(|(_, fit)| fit.begins)
    }

    /// Surplus pods and unavailable ones that an update may have.
    pub fn fences(&self) -> (i64, i64) {
        if !self.rolls() {
            return (0, 0);
        }
        let rolling = &self.set["spec"]["updateStrategy"]["rollingUpdate"];
        let of = |field: &str| {
            amount::scaled(&rolling[field], self.desired(), amount::Round::Up).unwrap_or_default()
        };
        match (of("maxSurge"), of("maxUnavailable")) {
            (0, 0) => (0, 1),
            fences => fences,
        }
    }

    pub fn rolls(&self) -> bool {
        text(self.set, &["spec", "updateStrategy", "type"]) == "RollingUpdate"
    }

    /// What nodes lack and what they have too much.
    pub fn change(&self) -> Change<'a> {
        let mut change = Change::default();
        for (name, (node, fit)) in &self.nodes {
            let here = self.pods.get(name).map_or(&[][..], Vec::as_slice);
            if fit.begins && here.is_empty() {
                change.begin.push(name);
            } else if fit.stays {
                self.tidy(name, node, *fit, here, &mut change);
            } else {
                change.end.extend(here.iter().filter(|pod| !object::is_deleting(pod)));
            }
        }
        // Nobody binds a pod to a node that is gone, and nobody else deletes it.
        let nowhere =
            self.pods.iter().filter(|(node, _)| !self.nodes.contains_key(*node)).flat_map(|(_, pods)| pods);
        change.end.extend(nowhere.filter(|pod| pods::node(pod).is_empty() && !object::is_deleting(pod)));
        change
    }

    /// On a node where pods may be.
    fn tidy(&self, name: &'a str, node: &Value, fit: Fit, here: &[&'a Arc<Value>], change: &mut Change<'a>) {
        let mut running = Vec::new();
        for pod in here.iter().filter(|pod| !object::is_deleting(pod)) {
            let (namespace, pod_name) = (object::namespace(pod), object::name(pod));
            match pods::phase(pod) {
                "Failed" => {
                    let wait = self.pause(node, pod);
                    if !wait.is_zero() {
                        change.again = Some(change.again.map_or(wait, |before| before.min(wait)));
                        continue;
                    }
                    let text = format!(
                        "Found failed daemon pod {namespace}/{pod_name} on node {name}, will try to kill it"
                    );
                    change.notes.push(Note::warning(DAEMON_SETS, self.set, "FailedDaemonPod", text));
                    change.end.push(pod);
                }
                "Succeeded" => {
                    let text = format!(
                        "Found succeeded daemon pod {namespace}/{pod_name} on node {name}, will try to delete it"
                    );
                    change.notes.push(Note::normal(DAEMON_SETS, self.set, "SucceededDaemonPod", text));
                    change.end.push(pod);
                }
                _ => running.push(*pod),
            }
        }
        if !self.surges() {
            change.end.extend(running.into_iter().skip(1));
            return;
        }
        if running.is_empty() && fit.begins {
            change.begin.push(name);
        }
        if running.len() > 1 {
            change.end.extend(self.surplus(&running));
        }
    }

    /// In an update two pods may be on a node: the new one that is not available yet, and the old one that is ready.
    fn surplus(&self, running: &[&'a Arc<Value>]) -> Vec<&'a Arc<Value>> {
        let is_new = |pod: &&Arc<Value>| object::label(pod, HASH_LABEL) == Some(self.hash());
        let (new, old): (Vec<&Arc<Value>>, Vec<&Arc<Value>>) = running.iter().partition(|pod| is_new(pod));
        let mut surplus: Vec<&Arc<Value>> = new
            .iter()
            .chain(&old)
            .copied()
            .filter(|pod| {
                let kept =
                    [new.first(), old.first()].into_iter().flatten().any(|kept| Arc::ptr_eq(kept, pod));
                !kept
            })
            .collect();
        if let (Some(new), Some(old)) = (new.first(), old.first())
            && (!pods::is_ready(old) || self.is_available(new))
        {
            surplus.push(old);
        }
        surplus
    }

    /// Two pods may be on one node.
    fn surges(&self) -> bool {
        let surge = &self.set["spec"]["updateStrategy"]["rollingUpdate"]["maxSurge"];
        self.rolls() && amount::scaled(surge, 1, amount::Round::Up).unwrap_or_default() > 0
    }

    /// How long a failed pod is left alone. A pause grows with the time that pods could have run on this node, as the
    /// original's doubles with each failure, but needs no memory.
    fn pause(&self, node: &Value, pod: &Value) -> Duration {
        let created = |object| object::moment(object, &["metadata", "creationTimestamp"]);
        let ready = object::condition(node, "Ready");
        let ready = ready.and_then(|ready| object::moment(ready, &["lastTransitionTime"]));
        let since = [created(self.revision), created(node), ready].into_iter().flatten().max();
        let age = since.and_then(|since| self.now.duration_since(since).ok()).unwrap_or_default();
        let pause = (age / 8).clamp(PAUSES.0, PAUSES.1);
        let lived = created(pod).and_then(|created| self.now.duration_since(created).ok());
        pause.saturating_sub(lived.unwrap_or(PAUSES.1))
    }
}

/// Bound ones first, then the oldest.
fn by_age(a: &Value, b: &Value) -> Ordering {
    let created = |pod| object::moment(pod, &["metadata", "creationTimestamp"]);
    pods::node(a)
        .is_empty()
        .cmp(&pods::node(b).is_empty())
        .then_with(|| created(a).cmp(&created(b)))
        .then_with(|| object::name(a).cmp(object::name(b)))
}
