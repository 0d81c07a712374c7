//! The end of a namespace: all that it holds goes, pods first, and then the namespace.
//!
//! Owns: what a namespace needs next ([`Step`]), what a pass over its content found ([`Pass`]) and what that means for its
//! conditions and for the time of the next pass. Facts: kube-controller-manager 1.36, `pkg/controller/namespace/deletion`.
//! Never: asks a server; the shell lists and deletes, kind by kind.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::time;
use control_core::conditions;
use control_core::edit::{self, list, text};
use serde_json::{Value, json};

use crate::discovery::Resource;
use crate::kinds::NAMESPACES;
use crate::{Act, Write, object, pods};

/// As `--controllers` names it, and its account.
pub const NAME: &str = "namespace-controller";

/// What holds a namespace until its content is gone.
const FINALIZER: &str = "kubernetes";

/// A server that has not heard yet of the end of a namespace may take an object into it for so long (the original waits
/// for five seconds before it begins; here the content goes at once, and a last look is this late).
const LATE: Duration = Duration::from_secs(2);

/// How long what has finalizers is given.
const FINALIZING: u64 = 15;

/// What is to be done about a namespace.
#[derive(Clone, Debug, PartialEq)]
pub enum Step {
    /// It is not going, or not held by us.
    Nothing,
    /// Its phase is to be written first.
    Mark(Box<Act>),
    /// Its content is to go.
    Empty,
}

pub fn step(namespace: &Value) -> Step {
    if !object::is_deleting(namespace) {
        return Step::Nothing;
    }
    if text(namespace, &["status", "phase"]) != "Terminating" {
        let mut marked = namespace.clone();
        if let Some(status) = edit::child(&mut marked, "status") {
            edit::set(status, "phase", "Terminating");
        }
        return Step::Mark(Box::new(Act::status(NAMESPACES, marked)));
    }
    if list(namespace, &["spec", "finalizers"]).iter().any(|finalizer| finalizer == FINALIZER) {
        Step::Empty
    } else {
        Step::Nothing
    }
}

/// Lets go of a namespace that is empty.
pub fn finalize(namespace: &Value) -> Act {
    let mut released = namespace.clone();
    if let Some(finalizers) = released["spec"]["finalizers"].as_array_mut() {
        finalizers.retain(|finalizer| finalizer != FINALIZER);
    }
    Act::new(NAMESPACES, Write::Update { part: "finalize", object: released })
}

/// The kinds whose objects have to go: pods come first, and the rest once there are none.
pub fn kinds(all: &[Resource]) -> (Vec<&Resource>, Vec<&Resource>) {
    let deletable = all.iter().filter(|resource| resource.namespaced && resource.can("delete"));
    deletable.partition(|resource| resource.group.is_empty() && resource.plural == "pods")
}

/// What a look at the content of a namespace found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Pass {
    /// How many objects are left, by `plural.group`.
    remaining: BTreeMap<String, usize>,
    finalizers: BTreeMap<String, usize>,
    errors: Vec<String>,
    discovery: Option<String>,
    /// Seconds until what is left may be gone.
    estimate: u64,
}

/// What follows from a pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nothing is left.
    Empty,
    /// Another pass, after a while.
    Again(Duration),
    /// Another pass, after a pause that grows.
    Failed,
}

impl Pass {
    /// Some groups could not be discovered.
    pub fn undiscovered(&mut self, groups: usize, problem: &str) {
        self.discovery = Some(format!(
            "Discovery failed for some groups, {groups} failing: unable to retrieve the complete list of server APIs: {problem}"
        ));
    }

    /// Objects of a kind could not be deleted or listed.
    pub fn failed(&mut self, problem: String) {
        self.errors.push(problem);
    }

    /// What is left of a kind after its deletion.
    pub fn left(&mut self, resource: &Resource, namespace: &Value, left: &[Arc<Value>], now: SystemTime) {
        if left.is_empty() {
            return;
        }
        self.remaining.insert(resource.group_resource(), left.len());
        let finalizers = left.iter().flat_map(|object| list(object, &["metadata", "finalizers"]));
        let mut held = false;
        for finalizer in finalizers.filter_map(Value::as_str) {
            *self.finalizers.entry(finalizer.to_owned()).or_default() += 1;
            held = true;
        }
        let mut wait = if held { FINALIZING } else { 0 };
        if resource.group.is_empty() && resource.plural == "pods" {
            wait = wait.max(grace(namespace, left, now));
        }
        if wait == 0 {
            self.errors.push(format!(
                "unexpected items still remain in namespace: {} for gvr: {}/{}, Resource={}",
                object::name(namespace),
                resource.group,
                resource.version,
                resource.plural
            ));
        }
        self.estimate = self.estimate.max(wait);
    }

    /// Nothing was found so far, and nothing went wrong.
    pub fn is_empty(&self) -> bool {
        self.remaining.is_empty() && self.errors.is_empty()
    }

    pub fn end(&self, namespace: &Value, now: SystemTime) -> End {
        if !self.errors.is_empty() || self.discovery.is_some() {
            return End::Failed;
        }
        if self.estimate > 0 {
            return End::Again(Duration::from_secs(self.estimate / 2 + 1));
        }
        let since = object::moment(namespace, &["metadata", "deletionTimestamp"]);
        let late = since.and_then(|since| (since + LATE).duration_since(now).ok()).unwrap_or_default();
        if late.is_zero() { End::Empty } else { End::Again(late) }
    }

    /// The conditions that say why a namespace is still there, where they differ from those that it has.
    pub fn conditions(&self, namespace: &Value, now: SystemTime) -> Option<Act> {
        let mut changed = namespace.clone();
        let now = time::seconds(now);
        for (of, problem, good) in self.said() {
            let (is, (reason, message)) = match problem {
                Some((reason, message)) => ("True", (reason, message)),
                None => ("False", (good.0, good.1.to_owned())),
            };
            let has = object::condition(namespace, of);
            let same = |field: &str, wanted: &str| has.is_some_and(|has| text(has, &[field]) == wanted);
            if !(same("status", is) && same("reason", reason) && same("message", &message)) {
                conditions::set(edit::child(&mut changed, "status")?, of, is, reason, &message, &now);
            }
        }
        (changed != *namespace).then(|| Act::status(NAMESPACES, changed))
    }

    /// Each condition: what is wrong, and what is said where nothing is.
    #[allow(clippy::type_complexity)]
    fn said(&self) -> [(&'static str, Option<(&'static str, String)>, (&'static str, &'static str)); 5] {
        let counted = |counts: &BTreeMap<String, usize>, has: &str| {
            let each = counts.iter().map(|(name, count)| format!("{name} {has} {count} resource instances"));
            each.collect::<Vec<_>>().join(", ")
        };
        let remaining = (!self.remaining.is_empty()).then(|| {
            (
                "SomeResourcesRemain",
                format!("Some resources are remaining: {}", counted(&self.remaining, "has")),
            )
        });
        let finalizers = (!self.finalizers.is_empty()).then(|| {
            let all = counted(&self.finalizers, "in");
            ("SomeFinalizersRemain", format!("Some content in the namespace has finalizers remaining: {all}"))
        });
        let errors = (!self.errors.is_empty()).then(|| {
            let mut errors = self.errors.clone();
            errors.sort();
            let (count, errors) = (errors.len(), errors.join(", "));
            (
                "ContentDeletionFailed",
                format!("Failed to delete all resource types, {count} remaining: {errors}"),
            )
        });
        let discovery = self.discovery.clone().map(|problem| ("DiscoveryFailed", problem));
        [
            (
                "NamespaceDeletionDiscoveryFailure",
                discovery,
                ("ResourcesDiscovered", "All resources successfully discovered"),
            ),
            (
                "NamespaceDeletionGroupVersionParsingFailure",
                None,
                ("ParsedGroupVersions", "All legacy kube types successfully parsed"),
            ),
            (
                "NamespaceDeletionContentFailure",
                errors,
                ("ContentDeleted", "All content successfully deleted, may be waiting on finalization"),
            ),
            ("NamespaceContentRemaining", remaining, ("ContentRemoved", "All content successfully removed")),
            (
                "NamespaceFinalizersRemaining",
                finalizers,
                ("ContentHasNoFinalizers", "All content-preserving finalizers finished"),
            ),
        ]
    }
}

/// Seconds that pods may still take: the longest grace period, as long as that is not over.
fn grace(namespace: &Value, pods: &[Arc<Value>], now: SystemTime) -> u64 {
    let seconds = |pod: &Arc<Value>| object::int(pod, &["spec", "terminationGracePeriodSeconds"]);
    let longest = pods.iter().filter(|pod| !pods::has_ended(pod)).map(seconds).max().unwrap_or_default();
    let longest = u64::try_from(longest).unwrap_or_default();
    let since = object::moment(namespace, &["metadata", "deletionTimestamp"]);
    let gone = since.and_then(|since| now.duration_since(since).ok()).unwrap_or_default();
    if gone >= Duration::from_secs(longest) { 0 } else { longest }
}

/// What is deleted along is the garbage collector's: nothing is orphaned.
pub fn options() -> Value {
    json!({"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"})
}
