//! Which pod is next.
//!
//! Owns: [`Queue`], a state machine with the time as an argument. A pod is active (the most urgent first, then the longest
//! waiting), backing off, unschedulable until something happens that may help, or gated. What happens while a pod is
//! tried counts for it too. Never: reads the clock, tries a pod.

pub mod change;
mod entry;
pub mod hints;
pub mod nominated;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use apiclient_core::names::Name;

use crate::plugin::{Plugin, Plugins};
use crate::pod::{Pod, Spec};
use crate::profile::Profile;
use change::Change;
use entry::{Entry, Order, Place};

pub use entry::Tried;

/// Time since some moment that its user chose.
pub type Moment = Duration;

/// How long pods wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Waits {
    /// After the first failure; then twice as long each time.
    pub least: Duration,
    pub most: Duration,
    /// A pod that nothing has helped for so long is tried again.
    pub flush: Duration,
}

impl Default for Waits {
    fn default() -> Self {
        Self { least: Duration::from_secs(1), most: Duration::from_secs(10), flush: Duration::from_secs(300) }
    }
}

/// How many pods are where.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub active: usize,
    pub backoff: usize,
    pub unschedulable: usize,
    pub gated: usize,
}

#[derive(Debug)]
pub struct Queue {
    waits: Waits,
    entries: HashMap<Name, Entry>,
    active: BTreeSet<(Order, Name)>,
    /// By the end of the wait. Those after errors wait to the end; the others are tried when nothing else is to be done.
    backoff: BTreeSet<(Moment, Name)>,
    backoff_errors: BTreeSet<(Moment, Name)>,
    /// Unschedulable pods, by each plugin that has refused them.
    refused: HashMap<Plugin, HashSet<Name>>,
    unschedulable: BTreeSet<(Moment, Name)>,
    gated: usize,
    trying: HashMap<Name, u64>,
    changes: VecDeque<(u64, Change)>,
    serial: u64,
}

impl Queue {
    pub fn new(waits: Waits) -> Self {
        Self {
            waits,
            entries: HashMap::new(),
            active: BTreeSet::new(),
            backoff: BTreeSet::new(),
            backoff_errors: BTreeSet::new(),
            refused: HashMap::new(),
            unschedulable: BTreeSet::new(),
            gated: 0,
            trying: HashMap::new(),
            changes: VecDeque::new(),
            serial: 0,
        }
    }

    /// A pod waits for a node: a new one, or one that has changed.
    pub fn set(&mut self, pod: Arc<Pod>, profile: &Profile, now: Moment) {
        let uid = pod.uid.clone();
        let gated = !pod.gates.is_empty() && profile.pre_enqueue.has(Plugin::SchedulingGates);
        let Some(mut entry) = self.entries.remove(&uid) else {
            self.serial += 1;
            let entry = Entry::new(pod, now, self.serial);
            self.put(entry, if gated { Place::Gated } else { Place::Active });
            return;
        };
        self.take(&entry);
        let changed = *entry.pod.spec != *pod.spec;
        entry.pod = pod;
        let place = match entry.place {
            Place::Trying => {
                entry.changed |= changed;
                Place::Trying
            }
            _ if gated => Place::Gated,
            Place::Gated => Place::Active,
            // It may fit now that it is another.
            Place::Unschedulable if changed => self.after_backoff(&entry, now),
            place => place,
        };
        self.put(entry, place);
    }

    /// It does not wait any more: it is bound, gone, or somebody else's.
    pub fn remove(&mut self, uid: &str) -> Option<Arc<Pod>> {
        let entry = self.entries.remove(uid)?;
        self.take(&entry);
        self.finish(uid);
        Some(entry.pod)
    }

    pub fn get(&self, uid: &str) -> Option<&Arc<Pod>> {
        self.entries.get(uid).map(|entry| &entry.pod)
    }

    /// All that wait, wherever.
    pub fn pods(&self) -> impl Iterator<Item = &Arc<Pod>> {
        self.entries.values().map(|entry| &entry.pod)
    }

    /// The pod to try now. It counts as being tried until it comes back by [`Queue::failed`] or goes by [`Queue::remove`].
    pub fn pop(&mut self, now: Moment) -> Option<(Arc<Pod>, Tried)> {
        self.advance(now);
        let first = self.active.first().map(|(_, uid)| uid);
        let uid = first.or_else(|| self.backoff.first().map(|(_, uid)| uid))?.clone();
        let mut entry = self.entries.remove(&uid)?;
        self.take(&entry);
        entry.attempts += 1;
        entry.first.get_or_insert(now);
        entry.changed = false;
        let found = (entry.pod.clone(), entry.tried(now));
        self.trying.insert(uid, self.serial);
        self.put(entry, Place::Trying);
        Some(found)
    }

    /// A node was found for it: what happens from now on is not about it, unless it comes back by [`Queue::failed`].
    pub fn placed(&mut self, uid: &str) {
        self.finish(uid);
    }

    /// It was tried and refused by these plugins; none of them: something went wrong. Waits before the next attempt.
    pub fn failed(&mut self, uid: &str, by: Plugins, profile: &Profile, now: Moment) {
        let Some(mut entry) = self.entries.remove(uid) else { return };
        self.take(&entry);
        entry.since = now;
        entry.refused = by;
        let since = self.trying.get(uid).copied().unwrap_or(self.serial);
        let helped = entry.changed
            || self.changes.iter().any(|(serial, change)| *serial > since && helps(profile, &entry, change));
        self.finish(uid);
        if by.is_empty() {
            entry.errors += 1;
        } else {
            entry.refusals += 1;
            entry.errors = 0;
        }
        let place = match by.is_empty() {
            true => Place::Backoff { until: now + entry.wait(&self.waits), error: true },
            false if helped => self.after_backoff(&entry, now),
            false => Place::Unschedulable,
        };
        self.put(entry, place);
    }

    /// Nothing was found since something is missing that is about to come: as after a refusal that anything may help.
    pub fn no_nodes(&mut self, uid: &str, profile: &Profile, now: Moment) {
        let all = [Plugin::NodeName, Plugin::Extender].into_iter().collect();
        self.failed(uid, all, profile, now);
    }

    /// Something happened: pods that it may help are tried again.
    pub fn happened<'a>(
        &mut self,
        change: Change,
        profile: impl Fn(&Pod) -> Option<&'a Profile>,
        now: Moment,
    ) {
        let concerned = change.concerns();
        let mut candidates: Vec<&Name> = Vec::new();
        for plugin in concerned.iter() {
            candidates.extend(self.refused.get(&plugin).into_iter().flatten());
        }
        if !candidates.is_empty() {
            candidates.sort_unstable();
            candidates.dedup();
            // Pods of one template get one answer.
            let mut known: HashMap<(*const Spec, Plugins), bool> = HashMap::new();
            let mut moved = Vec::new();
            for uid in candidates {
                let Some(entry) = self.entries.get(uid) else { continue };
                let key = (Arc::as_ptr(&entry.pod.spec), entry.refused);
                let answer = known.entry(key).or_insert_with(|| {
                    profile(&entry.pod).is_some_and(|profile| helps(profile, entry, &change))
                });
                if *answer {
                    moved.push(uid.clone());
                }
            }
            for uid in moved {
                let Some(entry) = self.entries.remove(&uid) else { continue };
                self.take(&entry);
                let place = self.after_backoff(&entry, now);
                self.put(entry, place);
            }
        }
        if !self.trying.is_empty() {
            self.serial += 1;
            self.changes.push_back((self.serial, change));
        }
    }

    /// When to look again although nothing happens.
    pub fn next(&self) -> Option<Moment> {
        let first = |set: &BTreeSet<(Moment, Name)>| set.first().map(|(moment, _)| *moment);
        let flush = first(&self.unschedulable).map(|since| since + self.waits.flush);
        [first(&self.backoff), first(&self.backoff_errors), flush].into_iter().flatten().min()
    }

    /// There is a pod to try now.
    pub fn is_busy(&self) -> bool {
        !self.active.is_empty() || !self.backoff.is_empty()
    }

    pub fn counts(&self) -> Counts {
        Counts {
            active: self.active.len(),
            backoff: self.backoff.len() + self.backoff_errors.len(),
            unschedulable: self.unschedulable.len(),
            gated: self.gated,
        }
    }

    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Ends waits that are over.
    fn advance(&mut self, now: Moment) {
        let mut over: Vec<Name> = Vec::new();
        for set in [&self.backoff, &self.backoff_errors] {
            over.extend(set.iter().take_while(|(until, _)| *until <= now).map(|(_, uid)| uid.clone()));
        }
        let stale = self.unschedulable.iter().take_while(|(since, _)| *since + self.waits.flush <= now);
        over.extend(stale.map(|(_, uid)| uid.clone()));
        for uid in over {
            let Some(entry) = self.entries.remove(&uid) else { continue };
            self.take(&entry);
            self.put(entry, Place::Active);
        }
    }

    /// Where a pod goes that may fit now.
    fn after_backoff(&self, entry: &Entry, now: Moment) -> Place {
        let until = entry.since + entry.wait(&self.waits);
        if until <= now { Place::Active } else { Place::Backoff { until, error: false } }
    }

    fn put(&mut self, mut entry: Entry, place: Place) {
        entry.place = place;
        let uid = entry.pod.uid.clone();
        match place {
            Place::Active => _ = self.active.insert((entry.order(), uid.clone())),
            Place::Backoff { until, error: false } => _ = self.backoff.insert((until, uid.clone())),
            Place::Backoff { until, error: true } => _ = self.backoff_errors.insert((until, uid.clone())),
            Place::Unschedulable => {
                self.unschedulable.insert((entry.since, uid.clone()));
                for plugin in entry.refused.iter() {
                    self.refused.entry(plugin).or_default().insert(uid.clone());
                }
            }
            Place::Gated => self.gated += 1,
            Place::Trying => {}
        }
        self.entries.insert(uid, entry);
    }

    fn take(&mut self, entry: &Entry) {
        let uid = &entry.pod.uid;
        match entry.place {
            Place::Active => _ = self.active.remove(&(entry.order(), uid.clone())),
            Place::Backoff { until, error: false } => _ = self.backoff.remove(&(until, uid.clone())),
            Place::Backoff { until, error: true } => _ = self.backoff_errors.remove(&(until, uid.clone())),
            Place::Unschedulable => {
                self.unschedulable.remove(&(entry.since, uid.clone()));
                for plugin in entry.refused.iter() {
                    if let Some(uids) = self.refused.get_mut(&plugin) {
                        uids.remove(uid);
                    }
                }
            }
            Place::Gated => self.gated -= 1,
            Place::Trying => {}
        }
    }

    /// It is not tried any more: changes that only it had to see are forgotten.
    fn finish(&mut self, uid: &str) {
        if self.trying.remove(uid).is_none() {
            return;
        }
        let oldest = self.trying.values().min().copied().unwrap_or(u64::MAX);
        while self.changes.front().is_some_and(|(serial, _)| *serial <= oldest) {
            self.changes.pop_front();
        }
    }
}

fn helps(profile: &Profile, entry: &Entry, change: &Change) -> bool {
    let concerned = change.concerns();
    let mut refused = entry.refused.iter().filter(|plugin| concerned.has(*plugin));
    refused.any(|plugin| hints::may_help(profile, plugin, &entry.pod, change))
}
