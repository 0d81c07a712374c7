//! One kind's objects, the last changes among them, and recent states.
//!
//! Owns: the tree and the ring, which always change together. Begin at [`Kind::apply`] and [`Kind::snapshot`].
//! Never: talks to etcd; lets anybody see half of a revision.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::ring::{Ring, RingLimits};
use super::scope::{Part, Scopes, Topic, Wakes, is_under};
use super::tree::Tree;
use crate::event::{Change, Event};
use crate::stored::Stored;
use crate::view::stats::KindStats;

/// How many states are kept for the rest of a list, and for how long after they were last asked for.
const STATES: usize = 32;
const STATE_AGE: Duration = Duration::from_secs(90);

/// A put or a deletion in the order of etcd.
#[derive(Debug)]
pub(crate) enum Write {
    Put(Stored),
    Delete { key: Box<str>, revision: i64 },
}

/// All objects of a kind at one revision.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) revision: i64,
    pub(crate) tree: Tree,
}

#[derive(Debug)]
pub(crate) struct Kind {
    /// What its keys begin with: `configmaps/`.
    prefix: Box<str>,
    inner: RwLock<Inner>,
    /// The place behind the last event: what watchers wait on.
    end: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inner {
    tree: Tree,
    ring: Ring,
    scopes: Scopes,
    /// Revision of the last change.
    last: i64,
    states: VecDeque<(Instant, State)>,
}

impl Kind {
    pub(crate) fn new(prefix: &str, state: State, limits: RingLimits) -> Self {
        let State { revision, tree } = state;
        let ring = Ring::new(revision, limits);
        let end = watch::Sender::new(ring.end());
        let inner = Inner { tree, ring, scopes: Scopes::default(), last: revision, states: VecDeque::new() };
        Self { prefix: prefix.into(), inner: RwLock::new(inner), end }
    }

    pub(crate) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// The part of it under a prefix; None: all.
    pub(crate) fn part(&self, prefix: &str) -> Option<Part> {
        (prefix != &*self.prefix).then(|| Part::Under(prefix.into()))
    }

    /// Takes in changes: whole revisions, in their order. Deletions of what is not there are no change.
    pub(crate) fn apply(&self, writes: Vec<Write>, now: Instant) {
        let (mut inner, mut wakes) = (self.write(), Wakes::new());
        for write in writes {
            if let Some(event) = inner.change(write) {
                inner.push(event, now, &mut wakes);
            }
        }
        self.wake(inner, wakes);
    }

    /// Hands on changes of objects that are not kept here: whole revisions, in their order.
    pub(crate) fn relay(&self, events: impl Iterator<Item = Event>, now: Instant) {
        let (mut inner, mut wakes) = (self.write(), Wakes::new());
        events.for_each(|event| inner.push(event, now, &mut wakes));
        self.wake(inner, wakes);
    }

    /// Another state, from which no changes lead here: all watchers have lost their place.
    pub(crate) fn restart(&self, state: State) {
        let (mut inner, mut wakes) = (self.write(), Wakes::new());
        inner.tree = state.tree;
        inner.restart(state.revision, &mut wakes);
        self.wake(inner, wakes);
    }

    /// Lets watches begin after `floor` instead of after `listed`, if the ring still begins there. The events are those
    /// between the two, in their order.
    pub(crate) fn recall(&self, listed: i64, floor: i64, events: Vec<Arc<Event>>, now: Instant) {
        let mut inner = self.write();
        if inner.ring.floor() == listed {
            inner.ring.prepend(floor, events, now);
        }
    }

    /// Lets everybody know who waits, once others can read again.
    fn wake(&self, inner: RwLockWriteGuard<'_, Inner>, wakes: Wakes) {
        let end = inner.ring.end();
        drop(inner);
        self.end.send_replace(end);
        for (part, end) in wakes {
            part.send_replace(end);
        }
    }

    pub(crate) fn set_topic(&self, topic: Topic) {
        self.write().scopes.set_topic(topic);
    }

    /// Takes out all objects under a prefix, which is a kind of its own from now on. All watchers here lose their place.
    pub(crate) fn split_off(&self, prefix: &str) -> Tree {
        let mut inner = self.write();
        let taken: Tree = under(&inner.tree, prefix, prefix).cloned().collect();
        for object in taken.iter() {
            inner.tree.remove(object.key());
        }
        let (last, mut wakes) = (inner.last, Wakes::new());
        inner.restart(last, &mut wakes);
        self.wake(inner, wakes);
        taken
    }

    /// Takes in objects of a kind that is no more, without a word to watchers.
    pub(crate) fn take_in(&self, objects: Tree) {
        let mut inner = self.write();
        for object in objects.iter() {
            inner.tree.insert(object.clone());
        }
        inner.states.clear();
    }

    pub(crate) fn get(&self, key: &str) -> Option<Stored> {
        self.read().tree.get(key).cloned()
    }

    pub(crate) fn count(&self) -> usize {
        self.read().tree.len()
    }

    pub(crate) fn stats(&self) -> KindStats {
        let inner = self.read();
        let (events, event_bytes) = inner.ring.size();
        KindStats { objects: inner.tree.len(), events, event_bytes }
    }

    /// Revision of the last change.
    pub(crate) fn last(&self) -> i64 {
        self.read().last
    }

    /// The objects now, and the place of the first event that is not in them. `reached`: a revision whose changes have
    /// all been applied.
    pub(crate) fn now(&self, reached: i64) -> (State, u64) {
        let inner = self.read();
        let state = State { revision: inner.last.max(reached), tree: inner.tree.clone() };
        (state, inner.ring.end())
    }

    /// The objects at an earlier revision, if memory has it.
    pub(crate) fn at(&self, revision: i64, reached: i64) -> Option<State> {
        let now = Instant::now();
        let found = {
            let mut inner = self.write();
            inner.states.iter_mut().find(|(_, state)| state.revision == revision).map(|(used, state)| {
                *used = now;
                state.clone()
            })
        };
        if found.is_some() {
            return found;
        }
        let (mut tree, undo) = {
            let inner = self.read();
            if revision > inner.last.max(reached) {
                return None;
            }
            let place = inner.ring.place_after(revision)?;
            let undo: Vec<Arc<Event>> = inner.ring.since(place)?.cloned().collect();
            (inner.tree.clone(), undo)
        };
        for event in undo.iter().rev() {
            match &event.previous {
                Some(previous) => tree.insert(previous.clone()),
                None => tree.remove(event.key()),
            };
        }
        Some(State { revision, tree })
    }

    /// Keeps a state for the questions for its rest.
    pub(crate) fn keep(&self, state: State) {
        let mut inner = self.write();
        inner.states.retain(|(_, kept)| kept.revision != state.revision);
        if inner.states.len() >= STATES
            && let Some(oldest) = inner.states.iter().enumerate().min_by_key(|(_, (used, _))| *used)
        {
            let oldest = oldest.0;
            inner.states.remove(oldest);
        }
        inner.states.push_back((Instant::now(), state));
    }

    /// The place of the first event after a revision, or the oldest revision that would do.
    pub(crate) fn place_after(&self, revision: i64) -> Result<u64, i64> {
        let inner = self.read();
        inner.ring.place_after(revision).ok_or(inner.ring.floor())
    }

    /// Up to `most` events from a place on with their numbers, or the oldest revision from which a watch could begin.
    /// `part`: of this part alone, which has been subscribed to.
    pub(crate) fn since(
        &self,
        part: Option<&Part>,
        place: u64,
        most: usize,
    ) -> Result<Vec<(u64, Arc<Event>)>, i64> {
        let inner = self.read();
        let events = match part {
            Some(part) => inner.scopes.since(part, place, &inner.ring, most),
            None => inner.ring.since(place).map(|events| (place..).zip(events.cloned()).take(most).collect()),
        };
        events.ok_or(inner.ring.floor())
    }

    /// What to wait on for events from a place on: the place behind the last one. Fails as [`Kind::since`].
    pub(crate) fn subscribe(&self, part: Option<&Part>, place: u64) -> Result<watch::Receiver<u64>, i64> {
        let Some(part) = part else { return Ok(self.end.subscribe()) };
        let mut inner = self.write();
        let Inner { scopes, ring, .. } = &mut *inner;
        scopes.subscribe(part, place, ring).ok_or(ring.floor())
    }

    /// Whether anybody waits for changes.
    pub(crate) fn is_watched(&self) -> bool {
        self.end.receiver_count() > 0 || self.read().scopes.are_watched()
    }

    /// Forgets what is too old.
    pub(crate) fn trim(&self, now: Instant) {
        let mut inner = self.write();
        inner.ring.trim(now);
        let Inner { scopes, ring, states, .. } = &mut *inner;
        scopes.trim(ring);
        states.retain(|(used, _)| now.saturating_duration_since(*used) < STATE_AGE);
    }

    // A panic while the lock was held (there is none in this file) would leave whole values behind all the same.
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn push(&mut self, event: Event, now: Instant, wakes: &mut Wakes) {
        self.last = event.revision();
        let (number, event) = (self.ring.end(), Arc::new(event));
        self.ring.push(event.clone(), now);
        self.scopes.note(number, &event, wakes);
    }

    fn restart(&mut self, revision: i64, wakes: &mut Wakes) {
        self.ring.restart(revision);
        self.scopes.restart(&self.ring, wakes);
        self.last = revision;
        self.states.clear();
    }

    fn change(&mut self, write: Write) -> Option<Event> {
        match write {
            Write::Put(object) => {
                let previous = self.tree.insert(object.clone());
                let change = if previous.is_some() { Change::Modified } else { Change::Added };
                Some(Event { change, object, previous })
            }
            Write::Delete { key, revision } => {
                let previous = self.tree.remove(&key)?;
                let object = previous.at_revision(revision);
                Some(Event { change: Change::Deleted, object, previous: Some(previous) })
            }
        }
    }
}

/// The objects whose keys begin with `prefix` (or the one whose key it is, where it does not end with a slash), from the key `start` on, in order.
pub(crate) fn under<'a>(tree: &'a Tree, prefix: &'a str, start: &'a str) -> impl Iterator<Item = &'a Stored> {
    tree.iter_from(start.max(prefix)).take_while(move |object| is_under(object.key(), prefix))
}
