//! Kinds that are served from etcd itself: Events, which are many, short-lived and seldom read.
//!
//! Owns: lists in pages, and one watch of etcd's for all watchers of a kind. Begin at [`Direct::page`].
//! Never: holds more than a page and the ring.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use etcd::{Client, EtcdError, Header, KeyValue, Range, Span, WatchError, WatchEvent};

use crate::error::{ReadError, WatchEnd};
use crate::event::{Change, Event};
use crate::feed::{Backoff, Pages};
use crate::keys::{Keys, behind};
use crate::question::{Freshness, Page};
use crate::snapshot::{Origin, Snapshot};
use crate::stored::Stored;
use crate::view::View;
use crate::view::kind::{Kind, State};
use crate::view::tree::Tree;
use crate::watcher::Watcher;

/// How often a watch of etcd's looks whether anybody still listens.
const LOOK: Duration = Duration::from_secs(10);

#[derive(Clone, Debug)]
pub(crate) struct Direct {
    view: Arc<View>,
    client: Client,
    keys: Keys,
    /// The ring of each kind that is being watched.
    streams: Arc<Mutex<HashMap<Box<str>, Weak<Kind>>>>,
}

impl Direct {
    pub(crate) fn new(view: Arc<View>, client: Client, keys: Keys) -> Self {
        Self { view, client, keys, streams: Arc::default() }
    }

    pub(crate) async fn size(&self) -> Option<i64> {
        self.client.status().await.ok().map(|status| status.db_size)
    }

    pub(crate) async fn get(&self, key: &str, freshness: Freshness) -> Result<Option<Stored>, ReadError> {
        let asked = asked(freshness);
        let range = Range { revision: exact(freshness), ..Range::of(Span::key(self.keys.key(key))) };
        let page = self.client.range(&range).await.map_err(|error| self.failed(asked, &error))?;
        fresh_enough(asked, page.header.revision)?;
        Ok(page.kvs.into_iter().find_map(|kv| self.object(kv)))
    }

    pub(crate) async fn list(&self, prefix: &str, freshness: Freshness) -> Result<Snapshot, ReadError> {
        let asked = asked(freshness);
        let mut pages = Pages::new(self.keys.span(prefix), exact(freshness));
        let (mut revision, mut objects) = (0, Vec::new());
        while let Some(page) = pages.next(&self.client).await.map_err(|error| self.failed(asked, &error))? {
            if revision == 0 {
                revision = page.header.revision;
                fresh_enough(asked, revision)?;
            }
            objects.extend(page.kvs.into_iter().filter_map(|kv| self.object(kv)));
        }
        let revision = if exact(freshness) > 0 { exact(freshness) } else { revision };
        Ok(Snapshot::of_list(prefix, revision, objects))
    }

    pub(crate) async fn page(
        &self,
        prefix: &str,
        start: &str,
        limit: usize,
        freshness: Freshness,
    ) -> Result<Page, ReadError> {
        let asked = asked(freshness);
        let first = self.keys.key(start.max(prefix));
        let range = Range {
            limit: i64::try_from(limit).unwrap_or(0),
            revision: exact(freshness),
            ..Range::of(Span::Between(first, behind(self.keys.key(prefix))))
        };
        let page = self.client.range(&range).await.map_err(|error| self.failed(asked, &error))?;
        fresh_enough(asked, page.header.revision)?;
        let revision = if range.revision > 0 { range.revision } else { page.header.revision };
        let remaining = usize::try_from(page.count).unwrap_or(0).saturating_sub(page.kvs.len());
        let objects = page.kvs.into_iter().filter_map(|kv| self.object(kv)).collect();
        Ok(Page { revision, objects, remaining })
    }

    pub(crate) fn watch(&self, prefix: &str, revision: i64) -> Result<Watcher, WatchEnd> {
        let whole = self.view.direct().iter().find(|whole| prefix.starts_with(&***whole));
        let whole: Box<str> = whole.map_or(prefix.into(), Clone::clone);
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        let running = streams.get(&whole).and_then(Weak::upgrade);
        // One that began too late stays for those who watch it; a longer one takes its place.
        let kind = match running.filter(|kind| kind.place_after(revision).is_ok()) {
            Some(kind) => kind,
            None => {
                let state = State { revision, tree: Tree::default() };
                let kind = Arc::new(Kind::new(&whole, state, self.view.limits()));
                streams.insert(whole, Arc::downgrade(&kind));
                tokio::spawn(self.clone().stream(Arc::downgrade(&kind), revision));
                kind
            }
        };
        let part = kind.part(prefix);
        Watcher::new(self.view.clone(), Origin { kind, place: None }, part, revision)
    }

    /// Feeds a ring for as long as somebody holds it.
    async fn stream(self, ring: Weak<Kind>, revision: i64) {
        let Some(prefix) = ring.upgrade().map(|kind| kind.prefix().to_owned()) else { return };
        let mut watch =
            self.client.watch(self.keys.span(&prefix), Header { revision, ..Header::default() }, true);
        let mut backoff = Backoff::default();
        loop {
            let heard = tokio::time::timeout(LOOK, watch.next()).await;
            let Some(kind) = ring.upgrade() else { return };
            match heard {
                Err(_) | Ok(Ok(WatchEvent::Started(_) | WatchEvent::Progress(_))) => {}
                Ok(Ok(WatchEvent::Changes(_, changes))) => {
                    backoff = Backoff::default();
                    let now = Instant::now();
                    kind.relay(changes.into_iter().filter_map(|change| self.event(change)), now);
                }
                Ok(Err(WatchError::Broken(error))) => {
                    tracing::warn!(%error, prefix, "a watch broke");
                    drop(kind);
                    backoff.wait().await;
                }
                Ok(Err(WatchError::Stale(stale))) => {
                    tracing::warn!(%stale, prefix, "a watch ends");
                    kind.restart(State { revision: i64::MAX, tree: Tree::default() });
                    return;
                }
            }
        }
    }

    fn event(&self, change: etcd::Change) -> Option<Event> {
        let (kv, before, put) = match change {
            etcd::Change::Put { kv, before } => (kv, before, true),
            etcd::Change::Delete { kv, before } => (kv, before, false),
        };
        let revision = kv.mod_revision;
        let previous = before.and_then(|before| self.object(before));
        match put {
            true => {
                let change = if previous.is_some() { Change::Modified } else { Change::Added };
                Some(Event { change, object: self.object(kv)?, previous })
            }
            false => {
                let object = previous.as_ref()?.at_revision(revision);
                Some(Event { change: Change::Deleted, object, previous })
            }
        }
    }

    fn object(&self, kv: KeyValue) -> Option<Stored> {
        // Of an old list of a kind that is in the view, most objects are there still.
        Some(self.view.listed(self.keys.strip(&kv.key)?, kv.mod_revision, kv.value))
    }

    fn failed(&self, asked: i64, error: &EtcdError) -> ReadError {
        match error {
            EtcdError::Compacted { .. } => ReadError::Expired { asked, oldest: self.view.reached().revision },
            // etcd's words for a revision that is still to come.
            EtcdError::Rpc { reason, .. } if reason.contains("future revision") => {
                ReadError::TooLarge { asked, current: self.view.reached().revision }
            }
            _ => ReadError::unavailable(error),
        }
    }
}

/// The revision that an answer must have reached; 0: any. A question to etcd is always for the latest, unless for an exact
/// revision.
fn asked(freshness: Freshness) -> i64 {
    match freshness {
        Freshness::NotOlderThan(revision) | Freshness::Exactly(revision) => revision,
        Freshness::Latest | Freshness::Any => 0,
    }
}

fn exact(freshness: Freshness) -> i64 {
    match freshness {
        Freshness::Exactly(revision) => revision,
        Freshness::Latest | Freshness::NotOlderThan(_) | Freshness::Any => 0,
    }
}

fn fresh_enough(asked: i64, current: i64) -> Result<(), ReadError> {
    if current < asked { Err(ReadError::TooLarge { asked, current }) } else { Ok(()) }
}
