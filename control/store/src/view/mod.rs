//! The one view of what etcd holds: every kind's objects and last changes, and up to which revision they are known.
//!
//! Owns: which kind a key belongs to. Begin at [`View::apply`], which the feed calls, and [`View::kind_of`].
//! Never: talks to etcd, decodes an object.

pub(crate) mod kind;
pub(crate) mod ring;
pub(crate) mod scope;
pub mod stats;
pub(crate) mod tree;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering::Relaxed, Ordering::SeqCst};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Instant;

use bytes::Bytes;
use tokio::sync::watch;

use crate::event::Event;
use crate::stored::Stored;
use crate::stored::forms::FormCache;
use crate::view::stats::Stats;
use kind::{Kind, State, Write};
use ring::RingLimits;
use tree::Tree;

/// Where the view is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reached {
    /// Every change up to this revision is in the view. 0: nothing has been loaded yet.
    pub(crate) revision: i64,
    /// Whether changes come in at this moment.
    pub(crate) connected: bool,
}

#[derive(Debug)]
pub(crate) struct View {
    kinds: RwLock<Kinds>,
    reached: watch::Sender<Reached>,
    /// Whether what happened before the first list has been read, or cannot be.
    recalled: watch::Sender<bool>,
    forms: Arc<FormCache>,
    limits: RingLimits,
    /// Prefixes that are kept out of the view.
    direct: Vec<Box<str>>,
    /// Revision of the last change under one of those.
    direct_changed: AtomicI64,
    /// Whether every change of etcd's revision comes in, and not only those under the prefix.
    all_keys: AtomicBool,
    /// What was written here and has not come in yet, by its revision.
    written: Mutex<HashMap<i64, Stored>>,
}

/// So many versions that were written here are kept for their coming in; with more, the view lags so far behind that
/// nobody gains.
const WRITTEN: usize = 1024;

#[derive(Debug)]
struct Kinds {
    by_prefix: HashMap<Box<str>, Arc<Kind>>,
    /// The objects of no kind that is known here: of another server's definitions, perhaps.
    rest: Arc<Kind>,
}

impl Kinds {
    /// The kind with the longest prefix of this key. All prefixes end with a slash.
    fn of(&self, key: &str) -> &Arc<Kind> {
        key.rmatch_indices('/').find_map(|(at, _)| self.by_prefix.get(&key[..=at])).unwrap_or(&self.rest)
    }

    fn all(&self) -> impl Iterator<Item = &Arc<Kind>> {
        self.by_prefix.values().chain([&self.rest])
    }
}

/// A change as the feed hands it in, its key without the registry's prefix.
#[derive(Debug)]
pub(crate) struct RawWrite {
    pub(crate) key: String,
    pub(crate) revision: i64,
    /// None: it was deleted.
    pub(crate) value: Option<Vec<u8>>,
}

impl View {
    pub(crate) fn new(
        kinds: &[String],
        direct: &[String],
        forms: Arc<FormCache>,
        limits: RingLimits,
    ) -> Self {
        let empty = |prefix: &str| Arc::new(Kind::new(prefix, empty_state(), limits));
        let by_prefix = kinds.iter().map(|prefix| (prefix.as_str().into(), empty(prefix))).collect();
        Self {
            kinds: RwLock::new(Kinds { by_prefix, rest: empty("") }),
            reached: watch::Sender::new(Reached::default()),
            recalled: watch::Sender::new(false),
            forms,
            limits,
            direct: direct.iter().map(|prefix| prefix.as_str().into()).collect(),
            direct_changed: AtomicI64::new(0),
            all_keys: AtomicBool::new(true),
            written: Mutex::default(),
        }
    }

    pub(crate) fn sees_all_keys(&self) -> bool {
        self.all_keys.load(Relaxed)
    }

    pub(crate) fn see_prefix_only(&self) {
        self.all_keys.store(false, Relaxed);
    }

    /// Whether keys with this prefix are kept out of the view.
    pub(crate) fn is_direct(&self, key: &str) -> bool {
        self.direct.iter().any(|prefix| key.starts_with(&**prefix))
    }

    pub(crate) fn direct(&self) -> &[Box<str>] {
        &self.direct
    }

    pub(crate) fn limits(&self) -> RingLimits {
        self.limits
    }

    pub(crate) fn kind_of(&self, key: &str) -> Arc<Kind> {
        self.kinds.read().unwrap_or_else(PoisonError::into_inner).of(key).clone()
    }

    pub(crate) fn reached(&self) -> Reached {
        *self.reached.borrow()
    }

    /// A revision up to which a kind's ring has every change. One that is fed by a watch of its own may lag behind.
    pub(crate) fn reached_by(&self, kind: &Kind) -> i64 {
        let reached = self.reached().revision;
        let lags = self.is_direct(kind.prefix()) && kind.last() < self.direct_changed.load(SeqCst);
        if lags { kind.last() } else { reached }
    }

    pub(crate) fn reaches(&self) -> watch::Receiver<Reached> {
        self.reached.subscribe()
    }

    pub(crate) fn set_recalled(&self) {
        self.recalled.send_replace(true);
    }

    pub(crate) fn recalls(&self) -> watch::Receiver<bool> {
        self.recalled.subscribe()
    }

    pub(crate) fn set_connected(&self, connected: bool) {
        self.reached
            .send_if_modified(|reached| std::mem::replace(&mut reached.connected, connected) != connected);
    }

    /// Every change up to this revision has been handed in.
    pub(crate) fn advance(&self, revision: i64) {
        self.reached.send_if_modified(|reached| {
            let further = reached.revision > 0 && revision > reached.revision;
            if further {
                reached.revision = revision;
            }
            further
        });
    }

    /// Takes in changes: whole revisions, in their order.
    pub(crate) fn apply(&self, writes: Vec<RawWrite>) {
        let now = Instant::now();
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        let mut last = 0;
        // Most often one kind; never many.
        let mut sorted: Vec<(&Arc<Kind>, Vec<Write>)> = Vec::new();
        for write in writes {
            last = last.max(write.revision);
            if self.is_direct(&write.key) {
                self.direct_changed.store(write.revision, SeqCst);
                continue;
            }
            let kind = kinds.of(&write.key);
            let write = match write.value {
                Some(value) => Write::Put(self.arrived(&write.key, write.revision, value)),
                None => Write::Delete { key: write.key.into(), revision: write.revision },
            };
            match sorted.iter_mut().find(|(other, _)| Arc::ptr_eq(other, kind)) {
                Some((_, list)) => list.push(write),
                None => sorted.push((kind, vec![write])),
            }
        }
        for (kind, writes) in sorted {
            kind.apply(writes, now);
        }
        // While the table is locked: see [`View::counted`].
        self.advance(last);
    }

    /// How many objects there are at the revision that has been reached.
    pub(crate) fn counted(&self) -> (i64, usize) {
        // Locked against changes that are half applied.
        let kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        (self.reached().revision, kinds.all().map(|kind| kind.count()).sum())
    }

    /// Replaces everything by what was listed at a revision, in the order of the keys. All watches end.
    pub(crate) fn load(&self, revision: i64, objects: Vec<Stored>) {
        let kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: HashMap<*const Kind, Vec<Stored>> = HashMap::new();
        for object in objects {
            sorted.entry(Arc::as_ptr(kinds.of(object.key()))).or_default().push(object);
        }
        for kind in kinds.all() {
            let objects = sorted.remove(&Arc::as_ptr(kind)).unwrap_or_default();
            kind.restart(State { revision, tree: objects.into_iter().collect() });
        }
        drop(kinds);
        self.direct_changed.store(revision, SeqCst);
        self.reached.send_modify(|reached| reached.revision = revision);
    }

    /// Puts what happened between `floor` and the list at `listed` into the rings, unless they have moved on.
    pub(crate) fn recall(&self, listed: i64, floor: i64, events: Vec<Event>, now: Instant) {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        let mut sorted: HashMap<*const Kind, Vec<Arc<Event>>> = HashMap::new();
        for event in events {
            sorted.entry(Arc::as_ptr(kinds.of(event.key()))).or_default().push(Arc::new(event));
        }
        for kind in kinds.all() {
            let events = sorted.remove(&Arc::as_ptr(kind)).unwrap_or_default();
            kind.recall(listed, floor, events, now);
        }
    }

    /// A value as listed; the one that the view has already, if it is that version.
    pub(crate) fn listed(&self, key: &str, revision: i64, value: impl Into<Bytes>) -> Stored {
        let value = value.into();
        match self.kind_of(key).get(key) {
            Some(known) if known.revision() == revision && known.bytes()[..] == value[..] => known,
            _ => self.stored(key, revision, value),
        }
    }

    /// A version that etcd has taken from here. Who wrote it and who watches share one value, and so its encodings, whichever
    /// of etcd's two answers comes first.
    pub(crate) fn written(&self, key: &str, revision: i64, bytes: Bytes) -> Stored {
        if self.is_direct(key) {
            return self.stored(key, revision, bytes);
        }
        // While this is locked, no change can come in unnoticed.
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if self.reached().revision >= revision {
            drop(written);
            return self.listed(key, revision, bytes);
        }
        let stored = self.stored(key, revision, bytes);
        if written.len() >= WRITTEN {
            written.clear();
        }
        written.insert(revision, stored.clone());
        stored
    }

    fn arrived(&self, key: &str, revision: i64, value: Vec<u8>) -> Stored {
        let own = self.written.lock().unwrap_or_else(PoisonError::into_inner).remove(&revision);
        let own = own.filter(|own| own.key() == key && own.bytes()[..] == value[..]);
        own.unwrap_or_else(|| self.stored(key, revision, value))
    }

    pub(crate) fn stored(&self, key: &str, revision: i64, value: impl Into<Bytes>) -> Stored {
        Stored::new(key, revision, value.into(), &self.forms)
    }

    /// Gives a prefix a tree and a ring of its own.
    pub(crate) fn register(&self, prefix: &str) {
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        if kinds.by_prefix.contains_key(prefix) {
            return;
        }
        // Nothing is applied while the table is locked, so the new kind begins at exactly this revision.
        let tree = kinds.of(prefix).split_off(prefix);
        let state = State { revision: self.reached().revision, tree };
        kinds.by_prefix.insert(prefix.into(), Arc::new(Kind::new(prefix, state, self.limits)));
    }

    /// Takes a prefix's tree and ring away; its watches end. Its objects belong to no kind.
    pub(crate) fn unregister(&self, prefix: &str) {
        let mut kinds = self.kinds.write().unwrap_or_else(PoisonError::into_inner);
        let Some(gone) = kinds.by_prefix.remove(prefix) else { return };
        let revision = self.reached().revision;
        let objects = gone.split_off(prefix);
        gone.restart(State { revision, tree: Tree::default() });
        kinds.of(prefix).take_in(objects);
    }

    pub(crate) fn stats(&self) -> Stats {
        let kinds = self.kinds.read().unwrap_or_else(PoisonError::into_inner);
        let each = |kind: &Arc<Kind>| (kind.prefix().into(), kind.stats());
        Stats { kinds: kinds.all().map(each).collect(), form_bytes: self.forms.bytes() }
    }

    /// Forgets what is too old.
    pub(crate) fn trim(&self, now: Instant) {
        let kinds: Vec<_> =
            self.kinds.read().unwrap_or_else(PoisonError::into_inner).all().cloned().collect();
        kinds.iter().for_each(|kind| kind.trim(now));
        // A change may have come in by half when its writer looked.
        let reached = self.reached().revision;
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        written.retain(|revision, _| *revision > reached);
    }
}

fn empty_state() -> State {
    State { revision: 0, tree: Tree::default() }
}
