//! What happens to a StatefulSet's pods, and in which order.
//!
//! Pods begin from the lowest number and end from the highest, each after the one before is available; or all at once where
//! the set says `Parallel`. Updates go from the highest number to the partition.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

use control_core::edit::text;
use serde_json::Value;

use super::claims::{self, Ready};
use super::identity::{self, ordinal, wanted};
use crate::kinds::{PODS, STATEFUL_SETS};
use crate::{Act, Note, Stage, World, amount, object, pods};

/// A set, its revisions and its pods.
#[derive(Debug)]
pub struct Order<'a> {
    pub world: &'a World,
    pub set: &'a Arc<Value>,
    pub current: &'a Value,
    pub update: &'a Value,
    /// The set's pods, by their numbers.
    pub pods: Vec<(i64, &'a Arc<Value>)>,
    pub now: SystemTime,
}

/// What is to be done.
#[derive(Debug, Default)]
struct Steps {
    notes: Vec<Note>,
    claims: Vec<Act>,
    made: Vec<Act>,
    others: Vec<Act>,
}

impl Steps {
    fn stages(self) -> Vec<Stage> {
        let mut stages: Vec<Stage> = self.notes.into_iter().map(Stage::Tell).collect();
        let rest = [Stage::All(self.claims), Stage::Growing(self.made), Stage::All(self.others)];
        stages
            .extend(rest.into_iter().filter(
                |stage| !matches!(stage, Stage::All(acts) | Stage::Growing(acts) if acts.is_empty()),
            ));
        stages
    }
}

/// The pod of a number, where there is one.
type Place<'a> = Option<&'a Arc<Value>>;

impl<'a> Order<'a> {
    pub fn stages(&self) -> Vec<Stage> {
        let places = self.places();
        let mut surplus: Vec<(i64, &Arc<Value>)> = self.pods.clone();
        surplus.retain(|(number, _)| !wanted(self.set).contains(number));
        surplus.sort_by_key(|(number, _)| -number);
        let in_turn = text(self.set, &["spec", "podManagementPolicy"]) != "Parallel";
        let mut steps = Steps::default();
        for (number, place) in &places {
            let is_done = self.place(*number, *place, &mut steps);
            if in_turn && !is_done {
                return steps.stages();
            }
        }
        for (number, pod) in &surplus {
            self.retain(pod, *number, &mut steps);
        }
        // One that is broken need not become available before it ends.
        let lowest = surplus.iter().rev().find(|(_, pod)| self.is_unavailable(pod));
        let broken = lowest
            .filter(|_| places.iter().all(|(_, place)| place.is_some_and(|pod| !self.is_unavailable(pod))));
        for (number, pod) in &surplus {
            let ready = self.is_available(pod) || broken.is_some_and(|(broken, _)| broken == number);
            if !object::is_deleting(pod) && (ready || !in_turn) {
                steps.others.push(self.end(pod));
            }
            if in_turn {
                return steps.stages();
            }
        }
        if text(self.set, &["spec", "updateStrategy", "type"]) != "OnDelete" {
            steps.others.extend(self.outdated(&places).into_iter().map(|pod| self.end(pod)));
        }
        steps.stages()
    }

    fn places(&self) -> Vec<(i64, Place<'a>)> {
        let taken: BTreeMap<i64, &Arc<Value>> = self.pods.iter().copied().collect();
        wanted(self.set).map(|number| (number, taken.get(&number).copied())).collect()
    }

    /// The revision of a pod that is made now.
    fn revision_of(&self, number: i64) -> &'a Value {
        let rolling = &self.set["spec"]["updateStrategy"]["rollingUpdate"];
        let rolls = text(self.set, &["spec", "updateStrategy", "type"]) == "RollingUpdate";
        let held = match rolling.is_null() {
            true if rolls => object::int(self.set, &["status", "currentReplicas"]),
            true => 0,
            false => object::int(rolling, &["partition"]),
        };
        if number < wanted(self.set).start + held { self.current } else { self.update }
    }

    /// Brings the pod of a number about; `true` where it is as it should be and available.
    fn place(&self, number: i64, place: Place<'_>, steps: &mut Steps) -> bool {
        let Some(pod) = place else {
            self.begin(number, steps);
            return false;
        };
        if pods::has_ended(pod) {
            if !object::is_deleting(pod) {
                steps.others.push(self.end(pod));
            }
            return false;
        }
        if pods::phase(pod) == "Pending"
            && let Ready::Make(acts) = claims::missing(self.world, self.set, object::name(pod), number)
        {
            steps.claims.extend(acts);
        }
        self.retain(pod, number, steps);
        if self.is_unavailable(pod) {
            return false;
        }
        if !identity::is_right(self.set, pod, number) {
            let righted = identity::righted(self.set, pod, number);
            steps.others.push(self.telling(Act::update(PODS, righted), "Update", pod));
        }
        true
    }

    /// Makes a pod and its claims, unless claims of a former one have to go before.
    fn begin(&self, number: i64, steps: &mut Steps) {
        let pod = identity::pod(self.set, self.revision_of(number), number);
        if claims::is_stale(self.world, self.set, &pod, number) {
            return;
        }
        match claims::missing(self.world, self.set, object::name(&pod), number) {
            Ready::Make(acts) => {
                steps.claims.extend(acts);
                let act = Act::create(PODS, pod.clone());
                steps.made.push(self.telling(act, "Create", &pod));
            }
            Ready::Going(problem) => {
                let text = self.failed("Create", &pod) + &problem;
                steps.notes.push(Note::warning(STATEFUL_SETS, self.set, "FailedCreate", text));
            }
        }
    }

    fn retain(&self, pod: &Value, number: i64, steps: &mut Steps) {
        let (acts, notes) = claims::retained(self.world, self.set, pod, number);
        steps.notes.extend(notes);
        steps.claims.extend(acts);
    }

    /// Pods of another revision that are replaced now.
    fn outdated(&self, places: &[(i64, Place<'a>)]) -> Vec<&'a Arc<Value>> {
        let rolling = &self.set["spec"]["updateStrategy"]["rollingUpdate"];
        let partition = usize::try_from(object::int(rolling, &["partition"])).unwrap_or_default();
        let is_old = |pod: &&Arc<Value>| {
            identity::revision(pod) != object::name(self.update) && !object::is_deleting(pod)
        };
        let is_unavailable = |place: &Place<'_>| place.is_none_or(|pod| self.is_unavailable(pod));
        let after = places.iter().skip(partition).rev().map(|(_, place)| *place);
        if rolling["maxUnavailable"].is_null() {
            // One after the other, and none before those above it are available.
            let first =
                after.into_iter().find(|place| place.as_ref().is_some_and(is_old) || is_unavailable(place));
            return first.flatten().filter(is_old).into_iter().collect();
        }
        let total = i64::try_from(places.len()).unwrap_or(i64::MAX);
        let most = amount::scaled(&rolling["maxUnavailable"], total, amount::Round::Down).unwrap_or(1).max(1);
        let unavailable = places.iter().filter(|(_, place)| is_unavailable(place)).count();
        let more = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(unavailable);
        after.flatten().filter(is_old).take(more).collect()
    }

    fn is_available(&self, pod: &Value) -> bool {
        pods::is_available(pod, object::int(self.set, &["spec", "minReadySeconds"]), self.now)
    }

    fn is_unavailable(&self, pod: &Value) -> bool {
        !self.is_available(pod) || object::is_deleting(pod)
    }

    fn end(&self, pod: &Value) -> Act {
        self.telling(Act::delete(PODS, pod), "Delete", pod)
    }

    fn telling(&self, act: Act, verb: &str, pod: &Value) -> Act {
        let (done, refused) = match verb {
            "Create" => ("SuccessfulCreate", "FailedCreate"),
            "Update" => ("SuccessfulUpdate", "FailedUpdate"),
            _ => ("SuccessfulDelete", "FailedDelete"),
        };
        let text =
            format!("{verb} Pod {} in StatefulSet {} successful", object::name(pod), object::name(self.set));
        act.telling(Note::normal(STATEFUL_SETS, self.set, done, text)).telling_refusals(Note::warning(
            STATEFUL_SETS,
            self.set,
            refused,
            self.failed(verb, pod),
        ))
    }

    fn failed(&self, verb: &str, pod: &Value) -> String {
        format!("{verb} Pod {} in StatefulSet {} failed error: ", object::name(pod), object::name(self.set))
    }
}

/// The set's pods among those that it manages.
pub fn numbered<'a>(set: &Value, held: &'a [Arc<Value>]) -> Vec<(i64, &'a Arc<Value>)> {
    let numbers = held.iter().filter_map(|pod| Some((ordinal(set, pod)?, pod)));
    let mut numbered: Vec<(i64, &Arc<Value>)> = numbers.collect();
    numbered.sort_by_key(|(number, _)| *number);
    numbered
}
