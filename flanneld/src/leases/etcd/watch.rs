//! The leases and the configuration as they change, over every kind of interruption.

use std::time::Duration;

use etcd::{Change, Header, Span, Stale, Watch, WatchError, WatchEvent};
use flanneld_core::book::Continuity;
use telemetry::Backoff;
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep};

use super::EtcdSource;
use crate::leases::error::SourceError;
use crate::leases::{ConfigEvent, LeaseEvent};

/// A watch that lasted this long was a good one: the next list is not held back.
const CALM: Duration = Duration::from_secs(10);

/// The first wait after a failure, and the longest where etcd answers with an error. A fifth of a wait is chance, so
/// that nodes do not come back in step.
const FAILING: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5)).jitter(0.2);
/// The longest wait where etcd does not answer at all: a connection attempt is cheap, and an etcd that is back should
/// be found within a second.
const ABSENT: Duration = Duration::from_millis(500);

/// What was heard of etcd last, to see whether a list continues its history.
#[derive(Clone, Copy, Debug)]
struct Heard {
    cluster: u64,
    revision: i64,
    stale: Stale,
}

impl Heard {
    /// Whether a list follows on what was heard before.
    fn continuity(before: Option<Self>, now: Header) -> Continuity {
        match before {
            None => Continuity::Kept,
            Some(before) => match before.stale {
                Stale::Compacted if before.cluster == now.cluster && before.revision <= now.revision => {
                    Continuity::Kept
                }
                _ => Continuity::Lost,
            },
        }
    }
}

impl EtcdSource {
    /// Sends all leases, and then each change, until the receiver is dropped. Never fails: interruptions are
    /// logged and mended, after compaction or loss of etcd's history by a new [`LeaseEvent::Snapshot`].
    ///
    /// Can be dropped at any time. A slow receiver holds the watch back; it loses nothing.
    pub async fn watch(&self, events: Sender<LeaseEvent>) {
        tokio::select! {
            () = events.closed() => {}
            () = self.tell(&events) => {}
        }
    }

    /// Ends only when the receiver is gone.
    async fn tell(&self, events: &Sender<LeaseEvent>) {
        let mut interruption = Interruption::new("the watch of the leases", false);
        let mut relist = FAILING;
        let mut heard: Option<Heard> = None;
        loop {
            let snapshot = match self.list().await {
                Ok(snapshot) => snapshot,
                Err(error) => {
                    interruption.wait(&error).await;
                    continue;
                }
            };
            interruption.over();
            let continuity = Heard::continuity(heard, snapshot.header);
            let leases = snapshot.entries.into_iter().map(|entry| entry.stored).collect();
            if events.send(LeaseEvent::Snapshot(leases, continuity)).await.is_err() {
                return;
            }
            let listed = Instant::now();
            let mut watch = self.client.watch(self.span(), snapshot.header, false);
            let Some(stale) = self.follow(&mut watch, events, &mut interruption).await else { return };
            heard = Some(Heard { cluster: snapshot.header.cluster, revision: watch.revision(), stale });
            tracing::warn!(reason = %stale, "listing all leases again");
            if listed.elapsed() > CALM {
                relist.reset();
            }
            sleep(relist.wait(rand::random())).await;
        }
    }

    /// Sends what a watch says until it is stale. None: the receiver is gone.
    async fn follow(
        &self,
        watch: &mut Watch,
        events: &Sender<LeaseEvent>,
        interruption: &mut Interruption,
    ) -> Option<Stale> {
        loop {
            let changes = match self.next(watch, interruption).await {
                Ok(changes) => changes,
                Err(stale) => return Some(stale),
            };
            for event in changes.into_iter().filter_map(|change| self.lease_event(change)) {
                events.send(event).await.ok()?;
            }
        }
    }

    /// The next changes; waits out interruptions.
    async fn next(&self, watch: &mut Watch, interruption: &mut Interruption) -> Result<Vec<Change>, Stale> {
        loop {
            match watch.next().await {
                Ok(WatchEvent::Started(_)) => interruption.over(),
                Ok(WatchEvent::Progress(_)) => {}
                Ok(WatchEvent::Changes(_, changes)) => return Ok(changes),
                Err(WatchError::Stale(stale)) => return Err(stale),
                Err(WatchError::Broken(error)) => interruption.wait(&self.error(error)).await,
            }
        }
    }

    fn lease_event(&self, change: Change) -> Option<LeaseEvent> {
        Some(match change {
            Change::Put { kv, .. } => LeaseEvent::Put(self.entry(kv)?.stored),
            Change::Delete { kv, .. } => LeaseEvent::Delete(self.lease_key(&kv.key)?.1),
        })
    }

    /// Sends the configuration as it is, and then each change of it, until the receiver is dropped. Never fails.
    pub async fn watch_config(&self, events: Sender<ConfigEvent>) {
        tokio::select! {
            () = events.closed() => {}
            () = self.tell_config(&events) => {}
        }
    }

    async fn tell_config(&self, events: &Sender<ConfigEvent>) {
        let span = Span::key(self.prefix.config());
        let mut interruption = Interruption::new("the watch of the network configuration", true);
        let mut relist = FAILING;
        let tell = async |value: Option<&[u8]>| {
            let event = match self.parse_config(value) {
                Ok(config) => ConfigEvent::Is(config),
                Err(error) => ConfigEvent::Unusable(error),
            };
            events.send(event).await.is_ok()
        };
        loop {
            let found = match self.client.list(&span).await {
                Ok(found) => found,
                Err(error) => {
                    interruption.wait(&self.error(error)).await;
                    continue;
                }
            };
            interruption.over();
            if !tell(found.kvs.first().map(|kv| &kv.value[..])).await {
                return;
            }
            let mut watch = self.client.watch(span.clone(), found.header, false);
            while let Ok(changes) = self.next(&mut watch, &mut interruption).await {
                for change in &changes {
                    let value = match change {
                        Change::Put { kv, .. } => Some(&kv.value[..]),
                        Change::Delete { .. } => None,
                    };
                    if !tell(value).await {
                        return;
                    }
                }
                relist.reset();
            }
            sleep(relist.wait(rand::random())).await;
        }
    }
}

/// One absence of etcd: said once when it begins and once when it ends.
#[derive(Debug)]
struct Interruption {
    what: &'static str,
    /// Another watch of the same etcd says it already.
    quiet: bool,
    since: Option<Instant>,
    backoff: Backoff,
}

impl Interruption {
    fn new(what: &'static str, quiet: bool) -> Self {
        Self { what, quiet, since: None, backoff: FAILING }
    }

    async fn wait(&mut self, error: &SourceError) {
        let wait = self.backoff.wait(rand::random());
        let wait =
            if error.is_absence() { wait.min(ABSENT.mul_f64(rand::random_range(0.8..=1.0))) } else { wait };
        let first = self.since.is_none();
        self.since.get_or_insert_with(Instant::now);
        if first && !self.quiet {
            tracing::warn!(%error, "{} is interrupted; traffic is not", self.what);
        } else {
            tracing::debug!(%error, ?wait, "{} is still interrupted", self.what);
        }
        sleep(wait).await;
    }

    fn over(&mut self) {
        if let Some(since) = self.since.take().filter(|_| !self.quiet) {
            tracing::info!(after = ?since.elapsed(), "{} goes on", self.what);
        }
        self.backoff.reset();
    }
}
