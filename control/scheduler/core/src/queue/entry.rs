//! One pod in the queue.

use std::cmp::Reverse;
use std::sync::Arc;
use std::time::Duration;

use super::{Moment, Waits};
use crate::plugin::Plugins;
use crate::pod::Pod;

/// The most urgent first, then the longest waiting.
pub type Order = (Reverse<i32>, Moment, u64);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    Active,
    Backoff { until: Moment, error: bool },
    Unschedulable,
    Gated,
    Trying,
}

#[derive(Clone, Debug)]
pub struct Entry {
    pub pod: Arc<Pod>,
    pub place: Place,
    /// Since when it waits, after the last attempt if there was one.
    pub since: Moment,
    serial: u64,
    pub attempts: u32,
    pub refusals: u32,
    /// In a row.
    pub errors: u32,
    /// Of the first attempt.
    pub first: Option<Moment>,
    pub refused: Plugins,
    /// It has become another while it was tried.
    pub changed: bool,
}

/// What is known of a pod that is tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried {
    /// This one included.
    pub attempts: u32,
    /// Since the first attempt began.
    pub first: Moment,
    /// How long it waited before this one.
    pub waited: Duration,
}

impl Entry {
    pub fn new(pod: Arc<Pod>, now: Moment, serial: u64) -> Self {
        Self {
            pod,
            place: Place::Active,
            since: now,
            serial,
            attempts: 0,
            refusals: 0,
            errors: 0,
            first: None,
            refused: Plugins::NONE,
            changed: false,
        }
    }

    pub fn order(&self) -> Order {
        (Reverse(self.pod.priority()), self.since, self.serial)
    }

    pub fn tried(&self, now: Moment) -> Tried {
        let first = self.first.unwrap_or(now);
        Tried { attempts: self.attempts, first, waited: now.saturating_sub(self.since) }
    }

    /// How long it waits after its last failure.
    pub fn wait(&self, waits: &Waits) -> Duration {
        let failures = if self.errors > 0 { self.errors } else { self.refusals };
        match failures {
            0 => Duration::ZERO,
            count => waits.least.saturating_mul(1 << (count - 1).min(16)).min(waits.most),
        }
    }
}
