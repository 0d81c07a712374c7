//! What is to be seen of a Job and its pods.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use control_core::edit::{list, text};
use serde_json::Value;

use super::backoff;
use super::indexes::Indexes;
use super::policy::{self, Failure};
use crate::{object, pods};

/// Held by a pod until its end is counted.
pub const FINALIZER: &str = "batch.kubernetes.io/job-tracking";
pub const INDEX: &str = "batch.kubernetes.io/job-completion-index";
pub const FAILURES: &str = "batch.kubernetes.io/job-index-failure-count";
pub const IGNORED: &str = "batch.kubernetes.io/job-index-ignored-failure-count";

#[derive(Debug)]
pub struct Facts<'a> {
    pub job: &'a Arc<Value>,
    pub now: SystemTime,
    /// In the order of their indexes, where they have some.
    pub pods: Vec<&'a Arc<Value>>,
    pub active: Vec<&'a Arc<Value>>,
    /// Pods that go and have not ended yet.
    pub terminating: i64,
    /// Uids that the status lists, whose pods may still have the finalizer.
    pub uncounted: Uncounted<'a>,
    /// Ends of pods, counted or not.
    pub succeeded: i64,
    pub failed: i64,
    /// Indexes that succeeded as the status says, and those that did.
    pub counted_indexes: Indexes,
    pub succeeded_indexes: Indexes,
    /// Where failures are counted by index.
    pub failed_indexes: Option<Indexes>,
    /// The last failed pod of an index that is to get another one: it keeps its finalizer until then, for its count.
    pub kept: BTreeMap<i64, &'a Arc<Value>>,
}

#[derive(Debug, Default)]
pub struct Uncounted<'a> {
    pub succeeded: BTreeSet<&'a str>,
    pub failed: BTreeSet<&'a str>,
}

impl<'a> Facts<'a> {
    pub fn of(job: &'a Arc<Value>, held: &'a [Arc<Value>], now: SystemTime) -> Self {
        let uids = |field| {
            let uids = list(job, &["status", "uncountedTerminatedPods", field]).iter();
            uids.filter_map(Value::as_str).collect::<BTreeSet<_>>()
        };
        let uncounted = Uncounted { succeeded: uids("succeeded"), failed: uids("failed") };
        let mut pods: Vec<&Arc<Value>> = held.iter().collect();
        if is_indexed(job) {
            pods.sort_by_key(|pod| index(pod));
        }
        let active = pods.iter().copied().filter(|pod| pods::is_active(pod)).collect();
        let terminating = pods.iter().filter(|pod| pods::is_terminating(pod)).count();
        let mut facts = Self {
            job,
            now,
            pods,
            active,
            terminating: i64::try_from(terminating).unwrap_or(i64::MAX),
            uncounted,
            succeeded: 0,
            failed: 0,
            counted_indexes: Indexes::default(),
            succeeded_indexes: Indexes::default(),
            failed_indexes: None,
            kept: BTreeMap::new(),
        };
        facts.count();
        if is_indexed(job) {
            facts.index();
        }
        facts
    }

    fn count(&mut self) {
        let status = |name: &str| object::int(self.job, &["status", name]);
        let size = |set: &BTreeSet<&str>| i64::try_from(set.len()).unwrap_or(i64::MAX);
        let mut succeeded = status("succeeded") + size(&self.uncounted.succeeded);
        let mut failed = status("failed") + size(&self.uncounted.failed);
        for pod in self.pods.iter().filter(|pod| self.is_tracked(pod)) {
            if pods::phase(pod) == "Succeeded" && !self.uncounted.succeeded.contains(object::uid(pod)) {
                succeeded += 1;
            }
            if self.is_failed(pod)
                && !self.uncounted.failed.contains(object::uid(pod))
                && policy::of(self.job, pod) != Failure::Ignored
            {
                failed += 1;
            }
        }
        (self.succeeded, self.failed) = (succeeded, failed);
    }

    fn index(&mut self) {
        let completions = self.completions();
        let parse = |text: &str| Indexes::parse(text, completions);
        self.counted_indexes = parse(text(self.job, &["status", "completedIndexes"]));
        let tracked: Vec<(i64, &Arc<Value>)> = self
            .pods
            .iter()
            .filter(|pod| self.is_tracked(pod))
            .filter_map(|pod| Some((index(pod)?, *pod)))
            .collect();
        let done = tracked.iter().filter(|(_, pod)| pods::phase(pod) == "Succeeded").map(|(index, _)| *index);
        self.succeeded_indexes = self.counted_indexes.with(done);
        self.succeeded = self.succeeded_indexes.total();
        let Some(limit) = self.limit_per_index() else { return };
        let fails = |pod: &Arc<Value>| {
            self.is_failed(pod)
                && match policy::of(self.job, pod) {
                    Failure::FailsIndex => true,
                    Failure::Ignored => false,
                    Failure::Counts | Failure::FailsJob(_) => failures(pod) >= limit,
                }
        };
        let failed = tracked.iter().filter(|(_, pod)| fails(pod)).map(|(index, _)| *index);
        let failed = parse(text(self.job, &["status", "failedIndexes"])).with(failed);
        let active: BTreeSet<i64> = self.active.iter().filter_map(|pod| index(pod)).collect();
        for (index, pod) in tracked {
            let over = self.succeeded_indexes.has(index) || failed.has(index) || active.contains(&index);
            if over || !self.is_failed(pod) {
                continue;
            }
            let rank = |pod: &Value| (failures(pod) + ignored(pod), backoff::finished(pod));
            if self.kept.get(&index).is_none_or(|kept| rank(kept) <= rank(pod)) {
                self.kept.insert(index, pod);
            }
        }
        self.failed_indexes = Some(failed);
    }

    /// The pod's end is to be counted, and it is of an index of the Job where it has to be.
    pub fn is_tracked(&self, pod: &Value) -> bool {
        has_finalizer(pod) && (!is_indexed(self.job) || self.is_indexed(pod))
    }

    /// Its index is one of the Job's.
    pub fn is_indexed(&self, pod: &Value) -> bool {
        index(pod).is_some_and(|index| index < self.completions())
    }

    /// A pod that is going counts as failed, unless the Job waits for its end.
    pub fn is_failed(&self, pod: &Value) -> bool {
        match pods::phase(pod) {
            "Failed" => true,
            "Succeeded" => false,
            _ => !self.awaits_ends() && object::is_deleting(pod),
        }
    }

    /// A pod is replaced only when it has ended.
    pub fn awaits_ends(&self) -> bool {
        text(self.job, &["spec", "podReplacementPolicy"]) == "Failed"
            || self.job["spec"]["podFailurePolicy"].is_object()
    }

    pub fn completions(&self) -> i64 {
        self.job["spec"]["completions"].as_i64().unwrap_or_default()
    }

    pub fn limit_per_index(&self) -> Option<i64> {
        self.job["spec"]["backoffLimitPerIndex"].as_i64().filter(|_| is_indexed(self.job))
    }

    pub fn is_suspended(&self) -> bool {
        self.job["spec"]["suspend"] == true
    }

    pub fn ready(&self) -> i64 {
        i64::try_from(self.active.iter().filter(|pod| pods::is_ready(pod)).count()).unwrap_or(i64::MAX)
    }
}

pub fn is_indexed(job: &Value) -> bool {
    text(job, &["spec", "completionMode"]) == "Indexed"
}

/// It is complete or has failed.
pub fn is_finished(job: &Value) -> bool {
    ["Complete", "Failed"].iter().any(|of| object::condition_is(job, of, "True"))
}

pub fn has_finalizer(pod: &Value) -> bool {
    list(pod, &["metadata", "finalizers"]).iter().any(|finalizer| finalizer == FINALIZER)
}

pub fn index(pod: &Value) -> Option<i64> {
    object::annotation(pod, INDEX)?.parse().ok().filter(|index| *index >= 0)
}

fn number(pod: &Value, annotation: &str) -> i64 {
    object::annotation(pod, annotation).and_then(|text| text.parse::<u32>().ok()).map_or(0, i64::from)
}

/// Failures of an index before this pod.
pub fn failures(pod: &Value) -> i64 {
    number(pod, FAILURES)
}

/// Failures of an index before this pod that did not count.
pub fn ignored(pod: &Value) -> i64 {
    number(pod, IGNORED)
}
