//! Keeps the view up to date: lists everything once, then follows etcd's changes over every interruption.
//!
//! Owns: when the view is made again. Begin at [`run`].
//! Never: loses a change in silence; where one may be lost, all watches end and everything is listed again.

use std::sync::Arc;
use std::time::Duration;

use etcd::{Change, Client, EtcdError, Header, Range, Span, Watch, WatchError, WatchEvent};
use tokio::time::sleep;

use crate::keys::{Keys, behind};
use crate::recall::recall;
use crate::stored::Stored;
use crate::view::{RawWrite, View};

/// Keys in the first page of a list. Later pages grow or shrink towards [`PAGE_BYTES`]: etcd walks the index of all that
/// is left for every page, so few pages are cheap, and large answers are not.
const FIRST_PAGE: i64 = 500;
const PAGE_BYTES: usize = 2 << 20;
const MOST_KEYS: i64 = 20_000;
/// Waits before another attempt: first, and at most.
const WAITS: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Feeds the view for ever.
pub(crate) async fn run(view: Arc<View>, client: Client, keys: Keys) {
    let mut backoff = Backoff::default();
    let mut first = true;
    loop {
        let header = loop {
            match load(&view, &client, &keys).await {
                Ok(header) => break header,
                Err(error) => {
                    tracing::warn!(%error, "cannot list the registry");
                    backoff.wait().await;
                }
            }
        };
        backoff = Backoff::default();
        tokio::select! {
            () = follow(&view, &client, &keys, header) => {}
            // Beside the changes, which must not wait.
            () = async {
                // What is listed again is perhaps another history than the one that watchers know.
                if std::mem::take(&mut first) {
                    recall(&view, &client, &keys, header).await;
                    view.set_recalled();
                }
                std::future::pending::<()>().await;
            } => {}
        }
        // Where it was cut off, nothing more is to be had from it.
        view.set_recalled();
    }
}

/// Follows changes until some may be lost.
async fn follow(view: &View, client: &Client, keys: &Keys, listed: Header) {
    let watch_from = |header: Header| {
        let span = if view.sees_all_keys() { Span::prefix("") } else { keys.span("") };
        client.watch(span, header, false)
    };
    let mut watch: Watch = watch_from(listed);
    let mut backoff = Backoff::default();
    let mut last = None;
    loop {
        match watch.next().await {
            Ok(WatchEvent::Started(_)) => {
                if let Some(last) = &last
                    && !is_history(client, last).await
                {
                    tracing::warn!(
                        "etcd has another history now: everything is listed again, and all watches end"
                    );
                    return;
                }
                view.set_connected(true);
            }
            Ok(WatchEvent::Changes(_, changes)) => {
                backoff = Backoff::default();
                last = changes.last().map(LastChange::of).or(last);
                take_in(view, keys, changes);
            }
            Ok(WatchEvent::Progress(header)) => view.advance(header.revision),
            Err(WatchError::Broken(EtcdError::Denied { .. })) if view.sees_all_keys() => {
                tracing::info!(
                    "etcd lets us watch the registry alone: others' keys cost a question now and then"
                );
                view.see_prefix_only();
                watch = watch_from(Header { revision: watch.revision(), ..listed });
            }
            Err(WatchError::Broken(error)) => {
                view.set_connected(false);
                tracing::warn!(%error, "the watch of the registry broke");
                backoff.wait().await;
            }
            Err(WatchError::Stale(stale)) => {
                view.set_connected(false);
                tracing::warn!(%stale, "the registry is listed again, and all watches end");
                return;
            }
        }
    }
}

/// The last change that was taken in: whether etcd still has it shows whether it is still the same etcd.
#[derive(Debug)]
struct LastChange {
    key: Vec<u8>,
    revision: i64,
    /// Revision of its creation, and how often it was written; None: it was deleted.
    written: Option<(i64, i64)>,
}

impl LastChange {
    fn of(change: &Change) -> Self {
        let kv = change.kv();
        let written = match change {
            Change::Put { .. } => Some((kv.create_revision, kv.version)),
            Change::Delete { .. } => None,
        };
        Self { key: kv.key.clone(), revision: kv.mod_revision, written }
    }
}

/// Whether a change is in etcd's history. An etcd that was restored from a backup can be at a higher revision than the one
/// before by the time we reach it, which the watch alone cannot tell.
async fn is_history(client: &Client, last: &LastChange) -> bool {
    let range = Range { revision: last.revision, ..Range::of(Span::key(last.key.clone())) };
    let mut backoff = Backoff::default();
    loop {
        match client.range(&range).await {
            Ok(page) => {
                let found = page.kvs.first();
                return match last.written {
                    Some(written) => found.is_some_and(|kv| {
                        (kv.create_revision, kv.version) == written && kv.mod_revision == last.revision
                    }),
                    None => found.is_none(),
                };
            }
            Err(error) if error.is_absence() => backoff.wait().await,
            // Compacted since: nobody can tell.
            Err(error) => {
                tracing::debug!(%error, "cannot compare etcd's history");
                return true;
            }
        }
    }
}

fn take_in(view: &View, keys: &Keys, changes: Vec<Change>) {
    let mut last = 0;
    let mut writes = Vec::with_capacity(changes.len());
    for change in changes {
        let (kv, put) = match change {
            Change::Put { kv, .. } => (kv, true),
            Change::Delete { kv, .. } => (kv, false),
        };
        last = last.max(kv.mod_revision);
        if let Some(key) = keys.strip(&kv.key) {
            let (key, revision) = (key.to_owned(), kv.mod_revision);
            writes.push(RawWrite { key, revision, value: put.then_some(kv.value) });
        }
    }
    view.apply(writes);
    // Others' keys move the revision, too.
    view.advance(last);
}

/// Lists everything at one revision and replaces the view by it.
async fn load(view: &View, client: &Client, keys: &Keys) -> Result<Header, EtcdError> {
    let mut again = 3;
    loop {
        match list(view, client, keys).await {
            Err(EtcdError::Compacted { .. }) if again > 0 => again -= 1,
            Err(error) => return Err(error),
            Ok((header, objects)) => {
                tracing::info!(objects = objects.len(), revision = header.revision, "the registry is listed");
                view.load(header.revision, objects);
                return Ok(header);
            }
        }
    }
}

async fn list(view: &View, client: &Client, keys: &Keys) -> Result<(Header, Vec<Stored>), EtcdError> {
    let mut listed = Header::default();
    let mut objects = Vec::new();
    for span in keys.spans(view.direct()) {
        let mut pages = Pages::new(span, listed.revision);
        while let Some(page) = pages.next(client).await? {
            if listed.revision == 0 {
                listed = page.header;
            }
            objects.extend(page.kvs.into_iter().filter_map(|kv| {
                let key = keys.strip(&kv.key)?;
                Some(view.listed(key, kv.mod_revision, kv.value))
            }));
        }
    }
    Ok((listed, objects))
}

/// A list in pages, all at one revision.
pub(crate) struct Pages {
    range: Range,
    done: bool,
}

impl Pages {
    /// `revision` 0: as of the first page's answer.
    pub(crate) fn new(span: Span, revision: i64) -> Self {
        let span = match span {
            Span::Prefix(prefix) => Span::Between(prefix.clone(), behind(prefix)),
            span => span,
        };
        Self { range: Range { limit: FIRST_PAGE, revision, ..Range::of(span) }, done: false }
    }

    /// The next page; None behind the last.
    pub(crate) async fn next(&mut self, client: &Client) -> Result<Option<etcd::Page>, EtcdError> {
        if self.done {
            return Ok(None);
        }
        let page = client.range(&self.range).await?;
        if self.range.revision == 0 {
            self.range.revision = page.header.revision;
        }
        match (page.kvs.last(), &mut self.range.span) {
            (Some(last), Span::Between(first, _)) if page.more => *first = [&last.key[..], &[0]].concat(),
            _ => self.done = true,
        }
        let bytes: usize = page.kvs.iter().map(|kv| kv.key.len() + kv.value.len() + 32).sum();
        let each = (bytes / page.kvs.len().max(1)).max(1);
        self.range.limit = i64::try_from(PAGE_BYTES / each).unwrap_or(MOST_KEYS).clamp(10, MOST_KEYS);
        Ok(Some(page))
    }
}

/// Longer waits after every failure.
#[derive(Default)]
pub(crate) struct Backoff(Option<Duration>);

impl Backoff {
    pub(crate) async fn wait(&mut self) {
        let wait = self.0.unwrap_or(WAITS.0);
        self.0 = Some((wait * 2).min(WAITS.1));
        sleep(wait).await;
    }
}
