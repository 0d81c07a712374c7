//! What the API server asks of its storage.
//!
//! Owns: the surface, and the tasks behind it. Begin at [`Store`].

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use etcd::Client;
use tokio::task::AbortHandle;

use crate::compact;
use crate::direct::Direct;
use crate::error::{PATIENCE, ReadError, WatchEnd, WriteError};
use crate::feed;
use crate::fresh::Fresh;
use crate::keys::Keys;
use crate::question::{Freshness, Page};
use crate::settings::Settings;
use crate::snapshot::{Origin, Snapshot};
use crate::stored::Stored;
use crate::stored::forms::FormCache;
use crate::view::View;
use crate::view::scope::{Part, Topic};
use crate::view::stats::Stats;
use crate::watcher::Watcher;
use crate::write::Writer;

/// etcd as the API server's storage. Cheap to clone; its tasks end with the last clone.
#[derive(Clone, Debug)]
pub struct Store {
    view: Arc<View>,
    fresh: Fresh,
    writer: Writer,
    direct: Direct,
    observer: Arc<Observer>,
    _tasks: Arc<Tasks>,
}

/// Who hears how long etcd took: what was done to which key.
#[derive(Default)]
struct Observer(OnceLock<Box<Observe>>);

type Observe = dyn Fn(&'static str, &str, Duration) + Send + Sync;

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer")
    }
}

#[derive(Debug)]
struct Tasks(Vec<AbortHandle>);

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

impl Store {
    /// Begins to load the registry; returns at once, also while etcd is absent. Needs a tokio runtime.
    pub fn open(client: Client, settings: Settings) -> Self {
        let forms = FormCache::new(settings.forms);
        let view = Arc::new(View::new(&settings.kinds, &settings.direct, forms.clone(), settings.ring));
        let keys = Keys::new(&settings.prefix);
        let fresh = Fresh::new(view.clone(), client.clone(), keys.clone());
        let writer = Writer::new(view.clone(), &client, keys.clone(), settings.connections);
        let direct = Direct::new(view.clone(), client.separate(), keys.clone());
        let mut tasks = vec![
            // A connection of its own: no long answer delays a change.
            tokio::spawn(feed::run(view.clone(), client.separate(), keys)).abort_handle(),
            tokio::spawn(sweep(view.clone(), forms, settings.form_age)).abort_handle(),
        ];
        if let Some(interval) = settings.compaction {
            tasks.push(tokio::spawn(compact::run(client, interval)).abort_handle());
        }
        Self { view, fresh, writer, direct, observer: Arc::default(), _tasks: Arc::new(Tasks(tasks)) }
    }

    /// Waits until the registry has been loaded for the first time.
    pub async fn ready(&self) {
        // The sender lives in the view.
        let _ = self.view.reaches().wait_for(|reached| reached.revision > 0).await;
    }

    /// Waits for three seconds at most until the registry has been loaded; whether it has.
    pub async fn loaded(&self) -> bool {
        self.is_ready() || tokio::time::timeout(PATIENCE, self.ready()).await.is_ok()
    }

    /// Waits until memory has everything that was written before this call, through whichever server; the revision that
    /// memory has then.
    ///
    /// # Errors
    /// [`ReadError::Unavailable`] where etcd does not answer.
    pub async fn latest(&self) -> Result<i64, ReadError> {
        self.fresh.latest().await?;
        Ok(self.revision())
    }

    /// Whether the registry has been loaded.
    pub fn is_ready(&self) -> bool {
        self.view.reached().revision > 0
    }

    /// Whether changes come in from etcd at this moment.
    pub fn is_connected(&self) -> bool {
        self.view.reached().connected
    }

    /// The revision up to which every change is known here. 0 before the registry has been loaded.
    pub fn revision(&self) -> i64 {
        self.view.reached().revision
    }

    /// `observer` is called after each write, and each read that etcd answers: with `create`, `update`, `delete`, `get` or
    /// `list`, the key or what keys begin with, and how long it took. Only the first one counts.
    pub fn observe(&self, observer: impl Fn(&'static str, &str, Duration) + Send + Sync + 'static) {
        let _ = self.observer.0.set(Box::new(observer));
    }

    async fn timed<T>(&self, operation: &'static str, key: &str, asked: impl Future<Output = T>) -> T {
        let begin = Instant::now();
        let answer = asked.await;
        if let Some(observer) = self.observer.0.get() {
            observer(operation, key, begin.elapsed());
        }
        answer
    }

    /// Bytes of etcd's database; None where it does not answer within a second.
    pub async fn size(&self) -> Option<i64> {
        tokio::time::timeout(Duration::from_secs(1), self.direct.size()).await.ok().flatten()
    }

    /// How much of what there is at this moment, for metrics.
    pub fn stats(&self) -> Stats {
        self.view.stats()
    }

    /// Gives a kind that was defined at run time a tree and watches of its own: the part of its keys that ends with a
    /// slash. Its watches can begin at this moment. Registering it again changes nothing.
    pub fn register(&self, prefix: &str) {
        self.view.register(prefix);
    }

    /// The kind is no longer served: its watches end. What etcd has of it stays.
    pub fn unregister(&self, prefix: &str) {
        self.view.unregister(prefix);
    }

    /// Whether keys with this prefix are kept out of the view: then [`Store::page`] is the cheap way to list them.
    pub fn is_direct(&self, prefix: &str) -> bool {
        self.view.is_direct(prefix)
    }

    /// One object by its key (`configmaps/NAMESPACE/NAME`); None where there is none.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn get(&self, key: &str, freshness: Freshness) -> Result<Option<Stored>, ReadError> {
        if self.view.is_direct(key) {
            return self.timed("get", key, self.direct.get(key, freshness)).await;
        }
        if let Freshness::Exactly(_) = freshness {
            return Ok(self.list(key, freshness).await?.get(key).cloned());
        }
        self.freshen(freshness).await?;
        Ok(self.view.kind_of(key).get(key))
    }

    /// One object by its key, as it is in memory at this moment: for decisions that may be some milliseconds behind. None
    /// for kinds that are kept out of the view.
    pub fn peek(&self, key: &str) -> Option<Stored> {
        self.view.kind_of(key).get(key)
    }

    /// Whether anybody watches objects of this key's kind.
    pub fn is_watched(&self, key: &str) -> bool {
        self.view.kind_of(key).is_watched()
    }

    /// As [`Store::peek`], all objects under a prefix.
    pub fn peek_all(&self, prefix: &str) -> Snapshot {
        let kind = self.view.kind_of(prefix);
        let (state, place) = kind.now(self.view.reached().revision);
        Snapshot::new(prefix, state, Some(Origin { kind, place: Some(place) }))
    }

    /// All objects whose keys begin with a prefix: a kind's, or a kind's with a namespace, each with a slash at the end.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn list(&self, prefix: &str, freshness: Freshness) -> Result<Snapshot, ReadError> {
        if self.view.is_direct(prefix) {
            return self.timed("list", prefix, self.direct.list(prefix, freshness)).await;
        }
        self.freshen(freshness).await?;
        let kind = self.view.kind_of(prefix);
        let reached = self.view.reached().revision;
        let Freshness::Exactly(revision) = freshness else {
            let (state, place) = kind.now(reached);
            return Ok(Snapshot::new(prefix, state, Some(Origin { kind, place: Some(place) })));
        };
        if let Some(state) = kind.at(revision, reached) {
            return Ok(Snapshot::new(prefix, state, Some(Origin { kind, place: None })));
        }
        // Of the whole kind, so that what is kept of it serves the questions for the rest; what is no kind is not kept.
        let whole = !kind.prefix().is_empty();
        let from = if whole { kind.prefix() } else { prefix };
        let old = self.timed("list", from, self.direct.list(from, freshness)).await?;
        let snapshot = Snapshot::new(prefix, old.into_state(), Some(Origin { kind, place: None }));
        if whole {
            snapshot.keep();
        }
        Ok(snapshot)
    }

    /// A part of a long list, read from etcd: up to `limit` objects (0: all) from the key `start` on. For kinds that are kept
    /// out of the view; with `Exactly` for the rest of one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn page(
        &self,
        prefix: &str,
        start: &str,
        limit: usize,
        freshness: Freshness,
    ) -> Result<Page, ReadError> {
        self.timed("list", prefix, self.direct.page(prefix, start, limit, freshness)).await
    }

    /// Changes under a prefix after a revision: an object's, a list's or an event's. After one that is still to come: from
    /// then on. The prefix is a kind's, or a kind's with a namespace, each with a slash at the end, or one object's key:
    /// such a watcher is neither woken nor pushed off the ring by other changes.
    ///
    /// # Errors
    /// [`WatchEnd::Expired`]: the changes since are no longer known.
    pub fn watch(&self, prefix: &str, revision: i64) -> Result<Watcher, WatchEnd> {
        if self.view.is_direct(prefix) {
            return self.direct.watch(prefix, revision);
        }
        let kind = self.view.kind_of(prefix);
        let part = kind.part(prefix);
        Watcher::new(self.view.clone(), Origin { kind, place: None }, part, revision)
    }

    /// As [`Store::watch`], for clients that go on where they were with a server before this one: while the registry is
    /// being loaded, or the changes since are being read, it waits for them, at most three seconds for each.
    ///
    /// # Errors
    /// [`WatchEnd::Expired`]: the changes since are no longer known; [`WatchEnd::Unloaded`].
    pub async fn resume(&self, prefix: &str, revision: i64) -> Result<Watcher, WatchEnd> {
        if !self.loaded().await {
            return Err(WatchEnd::Unloaded);
        }
        match self.watch(prefix, revision) {
            Err(WatchEnd::Expired { .. }) if !*self.view.recalls().borrow() => {
                let mut recalled = self.view.recalls();
                let _ = tokio::time::timeout(PATIENCE, recalled.wait_for(|recalled| *recalled)).await;
                self.watch(prefix, revision)
            }
            begun => begun,
        }
    }

    /// Changes after a snapshot, under its prefix: the two together are the whole story.
    ///
    /// # Errors
    /// [`WatchEnd::Expired`]: the snapshot was held for too long.
    pub fn follow(&self, snapshot: &Snapshot) -> Result<Watcher, WatchEnd> {
        let Some(origin) = snapshot.origin() else {
            return self.direct.watch(snapshot.prefix(), snapshot.revision());
        };
        let part = origin.kind.part(snapshot.prefix());
        Watcher::new(self.view.clone(), origin.clone(), part, snapshot.revision())
    }

    /// Says what objects of a kind can be watched by besides their keys: for Pods, the name of the node. `topic` is asked for
    /// every change once somebody watches so; let it keep what it decodes by [`Stored::derived`].
    pub fn set_topic(&self, kind: &str, topic: Topic) {
        self.view.kind_of(kind).set_topic(topic);
    }

    /// As [`Store::watch`] for a whole kind, of the objects with a topic alone, and of those that had it before the change. Others'
    /// changes cost such a watcher nothing.
    ///
    /// # Errors
    /// [`WatchEnd::Expired`]: the changes since are no longer known.
    pub fn watch_topic(&self, kind: &str, topic: &str, revision: i64) -> Result<Watcher, WatchEnd> {
        let kind = self.view.kind_of(kind);
        let part = Some(Part::About(topic.into()));
        Watcher::new(self.view.clone(), Origin { kind, place: None }, part, revision)
    }

    /// As [`Store::follow`] for a whole kind, of the objects with a topic alone.
    ///
    /// # Errors
    /// [`WatchEnd::Expired`]: the snapshot was held for too long.
    pub fn follow_topic(&self, snapshot: &Snapshot, topic: &str) -> Result<Watcher, WatchEnd> {
        match snapshot.origin() {
            Some(origin) => {
                let part = Some(Part::About(topic.into()));
                Watcher::new(self.view.clone(), origin.clone(), part, snapshot.revision())
            }
            None => self.direct.watch(snapshot.prefix(), snapshot.revision()),
        }
    }

    /// Writes an object where there is none. `ttl`: etcd deletes it after about this time, whole seconds.
    ///
    /// # Errors
    /// [`WriteError::Exists`], and those of every write.
    pub async fn create(
        &self,
        key: &str,
        bytes: impl Into<bytes::Bytes>,
        ttl: Option<Duration>,
    ) -> Result<Stored, WriteError> {
        self.timed("create", key, self.writer.create(key, bytes.into(), ttl)).await
    }

    /// Writes an object over the version with this revision; 0: where there is none.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] with what is there now, and those of every write.
    pub async fn replace(
        &self,
        key: &str,
        expected: i64,
        bytes: impl Into<bytes::Bytes>,
        ttl: Option<Duration>,
    ) -> Result<Stored, WriteError> {
        self.timed("update", key, self.writer.replace(key, expected, bytes.into(), ttl)).await
    }

    /// Deletes the version of an object with this revision; the revision of the deletion.
    ///
    /// # Errors
    /// [`WriteError::Conflict`] with what is there now, and those of every write.
    pub async fn remove(&self, key: &str, expected: i64) -> Result<i64, WriteError> {
        self.timed("delete", key, self.writer.remove(key, expected)).await
    }

    /// Waits until the view is as fresh as was asked for.
    async fn freshen(&self, freshness: Freshness) -> Result<(), ReadError> {
        match freshness {
            Freshness::Latest => self.fresh.latest().await.map(drop)?,
            Freshness::NotOlderThan(revision) | Freshness::Exactly(revision) => {
                self.fresh.reach(revision).await?;
            }
            Freshness::Any => {}
        }
        if !self.loaded().await {
            let reason = "the registry has not been loaded yet".to_owned();
            return Err(ReadError::Unavailable { reason });
        }
        self.writer.seen().await;
        Ok(())
    }
}

/// Gives up what is too old, for ever.
async fn sweep(view: Arc<View>, forms: Arc<FormCache>, age: Duration) {
    let mut ticks = tokio::time::interval((age / 2).max(Duration::from_millis(10)));
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        forms.sweep();
        view.trim(Instant::now());
    }
}
