//! Counts and conditions of a Deployment, and how long a roll-out may take without progress.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::time;
use control_core::edit::{self, list, text};
use serde_json::{Value, json};

use super::revision::REVISION;
use super::sets::{Sets, available, fences, replicas};
use crate::kinds::DEPLOYMENTS;
use crate::{Act, Decision, object, status};

/// Counts for which zero is not absent.
const POINTERS: [&str; 2] = ["terminatingReplicas", "collisionCount"];

/// What is to be written of a Deployment besides its spec: its status and its revision.
#[derive(Debug)]
pub struct Draft<'a> {
    deployment: &'a Arc<Value>,
    now: SystemTime,
    conditions: Vec<Value>,
    revision: Option<String>,
    /// Replaces the counts that are known.
    counts: Option<Value>,
    collisions: Option<i64>,
}

impl<'a> Draft<'a> {
    pub fn of(deployment: &'a Arc<Value>, now: SystemTime) -> Self {
        let conditions = list(deployment, &["status", "conditions"]).to_vec();
        let collisions = deployment["status"]["collisionCount"].as_i64();
        Self { deployment, now, conditions, revision: None, counts: None, collisions }
    }

    /// A roll-out that is paused cannot be late.
    pub fn pause(&mut self) {
        if self.deadline().is_none() || self.progress() == "ProgressDeadlineExceeded" {
            return;
        }
        let was = self.progress() == "DeploymentPaused";
        let is = self.deployment["spec"]["paused"] == true;
        if is && !was {
            self.set("Progressing", "Unknown", "DeploymentPaused", "Deployment is paused");
        } else if was && !is {
            self.set("Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed");
        }
    }

    /// The new set was there already.
    pub fn found(&mut self, set: &Value, revision: &str) {
        self.revision = Some(revision.to_owned());
        if self.deadline().is_some() && self.condition("Progressing").is_none() {
            let text = format!("Found new replica set {:?}", object::name(set));
            self.set("Progressing", "True", "FoundNewReplicaSet", &text);
        }
    }

    pub fn created(&mut self, set: &Value) {
        self.revision = object::annotation(set, REVISION).map(str::to_owned);
        if self.deadline().is_some() {
            let text = format!("Created new replica set {:?}", object::name(set));
            self.set("Progressing", "True", "NewReplicaSetCreated", &text);
        }
    }

    pub fn not_created(&mut self, name: &str, problem: &str) {
        if self.deadline().is_some() {
            let text = format!("Failed to create new replica set {name:?}: {problem}");
            self.set("Progressing", "False", "ReplicaSetCreateError", &text);
        }
    }

    /// Another template has the hash of this one.
    pub fn collided(&mut self) {
        self.collisions = Some(self.collisions.unwrap_or_default() + 1);
    }

    /// As known, the roll-out was complete.
    pub fn was_complete(&self) -> bool {
        self.is_complete(&self.deployment["status"])
    }

    /// With the counts of its sets.
    #[must_use]
    pub fn counted(mut self, sets: &Sets<'_>) -> Self {
        let sum = |path: &[&str]| sets.all().map(|set| object::int(set, path)).sum::<i64>();
        let asked: i64 = sets.all().map(|set| replicas(set)).sum();
        let available: i64 = sets.all().map(|set| available(set)).sum();
        let updated = sets.new.as_ref().map_or(0, |new| object::int(new, &["status", "replicas"]));
        let mut counts = status::counts([
            ("observedGeneration", edit::generation(self.deployment)),
            ("replicas", sum(&["status", "replicas"])),
            ("updatedReplicas", updated),
            ("readyReplicas", sum(&["status", "readyReplicas"])),
            ("availableReplicas", available),
            ("unavailableReplicas", (asked - available).max(0)),
        ]);
        if let Some(terminating) = terminating(sets) {
            counts["terminatingReplicas"] = terminating.into();
        }
        self.counts = Some(counts);
        if available >= sets.wanted() - fences(self.deployment).1 {
            let text = "Deployment has minimum availability.";
            self.set("Available", "True", "MinimumReplicasAvailable", text);
        } else {
            let text = "Deployment does not have minimum availability.";
            self.set("Available", "False", "MinimumReplicasUnavailable", text);
        }
        self
    }

    /// With counts, and with what they say of the progress of the roll-out.
    #[must_use]
    pub fn rolled(self, sets: &Sets<'_>) -> Self {
        let before = self.condition("Progressing").cloned();
        let mut draft = self.counted(sets);
        let counts = draft.counts.clone().unwrap_or_default();
        if draft.deadline().is_none() {
            draft.remove("Progressing");
        } else {
            let done = draft.progress() == "NewReplicaSetAvailable";
            if !(done && int(&counts, "replicas") == int(&counts, "updatedReplicas")) {
                draft.progressed(sets, &counts, before.as_ref());
            }
        }
        match failure(sets) {
            Some(failure) => draft.put(failure),
            None => draft.remove("ReplicaFailure"),
        }
        draft
    }

    fn progressed(&mut self, sets: &Sets<'_>, counts: &Value, before: Option<&Value>) {
        let what = match &sets.new {
            Some(new) => format!("ReplicaSet {:?}", object::name(new)),
            None => format!("Deployment {:?}", object::name(self.deployment)),
        };
        if self.is_complete(counts) {
            let text = format!("{what} has successfully progressed.");
            self.set("Progressing", "True", "NewReplicaSetAvailable", &text);
        } else if self.is_progress(counts) {
            let mut condition = self.condition_of(
                "Progressing",
                "True",
                "ReplicaSetUpdated",
                &format!("{what} is progressing."),
            );
            // Its time of update says when there was progress, whether or not anything else of it changed.
            if let Some(before) = before.filter(|before| text(before, &["status"]) == "True") {
                edit::restore(&mut condition, before, "lastTransitionTime");
            }
            self.remove("Progressing");
            self.conditions.push(condition);
        } else if self.is_late() {
            let text = format!("{what} has timed out progressing.");
            self.set("Progressing", "False", "ProgressDeadlineExceeded", &text);
        }
    }

    /// A decision that ends with the write of what differs, and that looks again when the roll-out may be late.
    pub fn written(self, decision: Decision) -> Decision {
        let late = self.late_in();
        let mut decision = match self.act() {
            Some(act) => decision.then(act),
            None => decision,
        };
        if let Some(late) = late {
            decision = decision.again_in(late);
        }
        decision
    }

    /// The write of what differs.
    pub fn act(self) -> Option<Act> {
        let known = &self.deployment["status"];
        let mut status = self.counts.unwrap_or_else(|| {
            let mut counts = known.clone();
            edit::remove(&mut counts, "conditions");
            counts
        });
        if status.is_null() {
            status = json!({});
        }
        if let Some(collisions) = self.collisions {
            status["collisionCount"] = collisions.into();
        }
        if !self.conditions.is_empty() {
            status["conditions"] = self.conditions.into();
        }
        let revised =
            self.revision.filter(|revision| object::annotation(self.deployment, REVISION) != Some(revision));
        if revised.is_none() && status::same(known, &status, &POINTERS) {
            return None;
        }
        let mut deployment = Value::clone(self.deployment);
        deployment["status"] = status;
        if let Some(revision) = revised
            && let Some(annotations) = edit::child(&mut deployment["metadata"], "annotations")
        {
            edit::set(annotations, REVISION, revision);
        }
        Some(Act::status(DEPLOYMENTS, deployment))
    }

    /// How long until the roll-out is late, if nothing happens.
    fn late_in(&self) -> Option<Duration> {
        let deadline = self.deadline()?;
        let condition = self.condition("Progressing")?;
        let ended = self.counts.as_ref().is_none_or(|counts| self.is_complete(counts));
        if ended || self.progress() == "ProgressDeadlineExceeded" || self.deployment["spec"]["paused"] == true
        {
            return None;
        }
        let due = object::moment(condition, &["lastUpdateTime"])? + deadline;
        Some(due.duration_since(self.now).unwrap_or_default() + Duration::from_secs(1))
    }

    fn is_complete(&self, counts: &Value) -> bool {
        let wanted = replicas(self.deployment);
        ["updatedReplicas", "replicas", "availableReplicas"].iter().all(|name| int(counts, name) == wanted)
            && int(counts, "observedGeneration") >= edit::generation(self.deployment)
    }

    fn is_progress(&self, counts: &Value) -> bool {
        let known = &self.deployment["status"];
        let old = |counts| int(counts, "replicas") - int(counts, "updatedReplicas");
        let more = |name| int(counts, name) > int(known, name);
        more("updatedReplicas")
            || old(counts) < old(known)
            || more("readyReplicas")
            || more("availableReplicas")
    }

    fn is_late(&self) -> bool {
        let (Some(deadline), Some(condition)) = (self.deadline(), self.condition("Progressing")) else {
            return false;
        };
        match text(condition, &["reason"]) {
            "NewReplicaSetAvailable" => false,
            "ProgressDeadlineExceeded" => true,
            _ => {
                object::moment(condition, &["lastUpdateTime"]).is_none_or(|since| since + deadline < self.now)
            }
        }
    }

    /// `None` where a roll-out may take for ever.
    fn deadline(&self) -> Option<Duration> {
        let seconds = self.deployment["spec"]["progressDeadlineSeconds"].as_u64()?;
        (seconds != u64::from(i32::MAX.unsigned_abs())).then(|| Duration::from_secs(seconds))
    }

    /// The reason of the present condition of progress.
    fn progress(&self) -> &str {
        self.condition("Progressing").map_or("", |condition| text(condition, &["reason"]))
    }

    fn condition(&self, of: &str) -> Option<&Value> {
        self.conditions.iter().find(|condition| text(condition, &["type"]) == of)
    }

    fn condition_of(&self, of: &str, is: &str, reason: &str, message: &str) -> Value {
        let now = time::seconds(self.now);
        json!({
            "type": of, "status": is, "lastUpdateTime": now, "lastTransitionTime": now,
            "reason": reason, "message": message,
        })
    }

    fn set(&mut self, of: &str, is: &str, reason: &str, message: &str) {
        let condition = self.condition_of(of, is, reason, message);
        self.put(condition);
    }

    /// One with the same status and reason stays as it is; its time changes only with its status.
    fn put(&mut self, mut condition: Value) {
        let of = text(&condition, &["type"]).to_owned();
        if let Some(before) = self.condition(&of).filter(|before| before["status"] == condition["status"]) {
            if before["reason"] == condition["reason"] {
                return;
            }
            condition["lastTransitionTime"] = before["lastTransitionTime"].clone();
        }
        self.remove(&of);
        self.conditions.push(condition);
    }

    fn remove(&mut self, of: &str) {
        self.conditions.retain(|condition| text(condition, &["type"]) != of);
    }
}

fn int(counts: &Value, name: &str) -> i64 {
    counts[name].as_i64().unwrap_or_default()
}

/// `None` where a set does not count them.
fn terminating(sets: &Sets<'_>) -> Option<i64> {
    let mut sum = 0;
    for set in sets.all() {
        match set["status"]["terminatingReplicas"].as_i64() {
            Some(count) => sum += count,
            None if object::int(set, &["status", "observedGeneration"]) == 0 => {}
            None => return None,
        }
    }
    Some(sum)
}

/// Why a set cannot make its pods; the new one is asked first.
fn failure(sets: &Sets<'_>) -> Option<Value> {
    let mut sets = sets.new.iter().chain(&sets.old);
    let mut condition = sets.find_map(|set| object::condition(set, "ReplicaFailure")).cloned()?;
    condition["lastUpdateTime"] = condition["lastTransitionTime"].clone();
    Some(condition)
}
