//! A Deployment's ReplicaSets: the one of its present template, and the others.

use std::sync::Arc;

use control_core::edit::{self, text};
use serde_json::Value;

use super::revision::HASH_LABEL;
use crate::{amount, object};

#[derive(Debug)]
pub struct Sets<'a> {
    pub deployment: &'a Arc<Value>,
    pub new: Option<Arc<Value>>,
    /// From the oldest to the newest.
    pub old: Vec<Arc<Value>>,
}

impl<'a> Sets<'a> {
    /// The oldest set with the Deployment's template is the new one.
    pub fn of(deployment: &'a Arc<Value>, mut all: Vec<Arc<Value>>) -> Self {
        all.sort_by(|a, b| by_age(a, b));
        let place = all.iter().position(|set| same_template(deployment, set));
        let new = place.map(|place| all.remove(place));
        Self { deployment, new, old: all }
    }

    /// Replicas that the Deployment asks for.
    pub fn wanted(&self) -> i64 {
        replicas(self.deployment)
    }

    pub fn all(&self) -> impl Iterator<Item = &Arc<Value>> {
        self.old.iter().chain(&self.new)
    }

    /// Those that ask for pods.
    pub fn active(&self) -> Vec<&Arc<Value>> {
        self.all().filter(|set| replicas(set) > 0).collect()
    }

    /// How many pods more than it wants a Deployment may have, and how many may be unavailable.
    pub fn fences(&self) -> (i64, i64) {
        fences(self.deployment)
    }
}

/// Surge and unavailability of a Deployment; none where it does not roll.
pub fn fences(deployment: &Value) -> (i64, i64) {
    if !is_rolling(deployment) {
        return (0, 0);
    }
    let rolling = &deployment["spec"]["strategy"]["rollingUpdate"];
    let wanted = replicas(deployment);
    let (surge, unavailable) =
        amount::surge_and_unavailable(&rolling["maxSurge"], &rolling["maxUnavailable"], wanted);
    (surge, unavailable.min(wanted))
}

pub fn is_rolling(deployment: &Value) -> bool {
    text(deployment, &["spec", "strategy", "type"]) == "RollingUpdate"
}

/// Replicas that a Deployment or a set asks for.
pub fn replicas(object: &Value) -> i64 {
    object::int(object, &["spec", "replicas"])
}

pub fn available(set: &Value) -> i64 {
    object::int(set, &["status", "availableReplicas"])
}

/// From the oldest to the newest, by name where they are of the same second.
pub fn by_age(a: &Value, b: &Value) -> std::cmp::Ordering {
    let created = |set| object::moment(set, &["metadata", "creationTimestamp"]);
    created(a).cmp(&created(b)).then_with(|| object::name(a).cmp(object::name(b)))
}

/// Two objects have the same template, but for the label that a set adds.
pub fn same_template(a: &Value, b: &Value) -> bool {
    let (a, b) = (&a["spec"]["template"], &b["spec"]["template"]);
    edit::semantic_eq(&a["spec"], &b["spec"]) && edit::semantic_eq(&metadata(a), &metadata(b))
}

fn metadata(template: &Value) -> Value {
    let mut metadata = template["metadata"].clone();
    if let Some(labels) = edit::existing(&mut metadata, "labels") {
        edit::remove(labels, HASH_LABEL);
    }
    metadata
}
