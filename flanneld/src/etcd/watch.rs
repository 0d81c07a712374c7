//! The leases as they change: a snapshot, then each change after it, over every kind of interruption.

use std::time::Duration;

use etcd_client::{EventType, WatchOptions, WatchResponse};
use flanneld_core::book::{LeaseBook, Outcome};
use tokio::sync::mpsc::Sender;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::EtcdSource;
use super::backoff::Backoff;
use super::connection::{Live, RPC_LIMIT};
use super::error::{EtcdError, Failure};
use super::list;

/// How often a quiet watch is asked whether it lives, and how long it may be silent.
const PULSE: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(3);
/// A watch that lasted this long was a good one: the next list is not held back.
const CALM: Duration = Duration::from_secs(10);
/// Room for the leases of some hundred thousand nodes in one answer.
pub(super) const ANSWER_LIMIT: usize = 64 << 20;

const WHAT: &str = "watch the leases";

/// What the watch says, in whole keys and raw values: [`LeaseBook`] judges them. Our own lease is in it as any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// All leases there are: the first event, and again whenever changes may have been missed.
    Snapshot(Vec<(String, Vec<u8>)>),
    /// A lease is new, or its holder or his data changed; also each renewal.
    Put(String, Vec<u8>),
    /// A lease expired or was deleted.
    Delete(String),
}

impl LeaseEvent {
    /// Writes it into the book.
    pub fn enter(&self, book: &mut LeaseBook) -> Outcome {
        match self {
            Self::Snapshot(leases) => book.snapshot(leases.iter().map(|(key, value)| (key, value))),
            Self::Put(key, value) => book.put(key, value),
            Self::Delete(key) => book.delete(key),
        }
    }
}

/// Why following the changes ended.
#[derive(Debug)]
enum End {
    /// The revision to go on from is no longer in etcd's history, or etcd has lost its history: list again.
    Stale(&'static str),
    /// The connection broke: go on from where we were.
    Broken(EtcdError),
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
        // The revision after the last one heard of.
        let mut next;
        let mut interruption = Interruption::default();
        let mut relist = Backoff::new();
        loop {
            match self.list().await {
                Ok(snapshot) => {
                    interruption.over();
                    next = snapshot.revision + 1;
                    let leases = snapshot.entries.into_iter().map(|entry| (entry.key, entry.value)).collect();
                    if events.send(LeaseEvent::Snapshot(leases)).await.is_err() {
                        return;
                    }
                }
                Err(error) => {
                    interruption.wait(&error).await;
                    continue;
                }
            }
            let listed = Instant::now();
            loop {
                match self.follow(&mut next, events, &mut interruption).await {
                    Ok(()) => return,
                    Err(End::Stale(reason)) => {
                        tracing::warn!(reason, revision = next, "listing all leases again");
                        if listed.elapsed() > CALM {
                            relist = Backoff::new();
                        }
                        sleep(relist.wait(false)).await;
                        break;
                    }
                    Err(End::Broken(error)) => interruption.wait(&error).await,
                }
            }
        }
    }

    /// Gives up a connection that failed while it was watched.
    async fn broken(&self, live: &Live, failure: Failure) -> End {
        self.connection.give_up(live).await;
        End::Broken(self.connection.error(WHAT, &live.endpoint, failure))
    }

    /// One watch on one connection. `Ok`: the receiver is gone.
    async fn follow(
        &self,
        next: &mut i64,
        events: &Sender<LeaseEvent>,
        interruption: &mut Interruption,
    ) -> Result<(), End> {
        let live = self.connection.live().await.map_err(End::Broken)?;
        let options = WatchOptions::new().with_prefix().with_start_revision(*next).with_progress_notify();
        let mut client = live.client.watch_client().max_decoding_message_size(ANSWER_LIMIT);
        let mut stream = match timeout(RPC_LIMIT, client.watch(self.prefix.subnets(), Some(options))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(self.broken(&live, Failure::of(&error)).await),
            Err(_) => {
                self.connection.give_up(&live).await;
                return Err(End::Broken(EtcdError::TimedOut { what: WHAT, limit: RPC_LIMIT }));
            }
        };
        let mut heard = Instant::now();
        let (mut ask_at, mut asked) = (heard, 0);
        // Members older than etcd 3.4 do not answer; for them the keepalive of the connection must do. A newer one
        // does not answer a watch that it has only just made, hence the haste at first.
        let mut answers = false;
        loop {
            let message = tokio::select! {
                message = stream.message() => message,
                () = sleep_until(ask_at) => {
                    if answers && heard.elapsed() > SILENCE {
                        let reason = format!("no sign of life for {:?}", heard.elapsed());
                        return Err(self.broken(&live, Failure::broken(reason)).await);
                    }
                    if let Err(error) = stream.request_progress().await {
                        return Err(self.broken(&live, Failure::of(&error)).await);
                    }
                    asked += 1;
                    ask_at = Instant::now() + if answers || asked > 10 { PULSE } else { PULSE / 10 };
                    continue;
                }
            };
            let response = match message {
                Ok(Some(response)) => response,
                Ok(None) => {
                    return Err(self.broken(&live, Failure::broken("the watch ended")).await);
                }
                Err(error) => return Err(self.broken(&live, Failure::of(&error)).await),
            };
            heard = Instant::now();
            if response.canceled() && response.compact_revision() == 0 {
                self.connection.give_up(&live).await;
                let reason = format!("it cancelled the watch: {}", response.cancel_reason());
                return Err(End::Broken(EtcdError::Rpc { what: WHAT, reason }));
            }
            check(&response, *next)?;
            if response.created() {
                interruption.over();
            } else if response.watch_id() < 0 {
                // The answer to our question. It may run ahead of events still to come (etcd issue 15220): never
                // resume from it.
                answers = true;
                continue;
            }
            for event in self.hear(next, &response) {
                if events.send(event).await.is_err() {
                    return Ok(());
                }
            }
            // The receiver may have kept us; that is not etcd's silence.
            heard = Instant::now();
        }
    }
}

/// Whether the changes that follow are complete.
fn check(response: &WatchResponse, next: i64) -> Result<(), End> {
    if response.compact_revision() != 0 {
        return Err(End::Stale("etcd has compacted the changes since the last one heard of"));
    }
    let revision = response.header().map_or(0, |header| header.revision());
    if response.created() && revision + 1 < next {
        return Err(End::Stale("etcd is at an older revision than was heard of; was its data replaced?"));
    }
    Ok(())
}

impl EtcdSource {
    /// The events of one response, in their order; moves `next` behind them.
    fn hear(&self, next: &mut i64, response: &WatchResponse) -> Vec<LeaseEvent> {
        let mut events = Vec::new();
        // What etcd says of its own accord every ten minutes of quiet: so far there is nothing more. It spares a
        // list when those revisions are compacted and the connection then breaks.
        if response.events().is_empty() && !response.created() {
            let revision = response.header().map_or(0, |header| header.revision());
            *next = (*next).max(revision + 1);
        }
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            *next = (*next).max(kv.mod_revision() + 1);
            let Some(key) = list::lease_key(&self.prefix, kv) else { continue };
            events.push(match event.event_type() {
                EventType::Put => LeaseEvent::Put(key, kv.value().to_vec()),
                EventType::Delete => LeaseEvent::Delete(key),
            });
        }
        events
    }
}

/// One absence of etcd: said once when it begins and once when it ends.
#[derive(Debug)]
struct Interruption {
    since: Option<Instant>,
    backoff: Backoff,
}

impl Default for Interruption {
    fn default() -> Self {
        Self { since: None, backoff: Backoff::new() }
    }
}

impl Interruption {
    async fn wait(&mut self, error: &EtcdError) {
        let wait = self.backoff.wait(error.is_absence());
        if self.since.is_none() {
            self.since = Some(Instant::now());
            tracing::warn!(%error, "the watch of the leases is interrupted; traffic is not");
        } else {
            tracing::debug!(%error, ?wait, "the watch of the leases is still interrupted");
        }
        sleep(wait).await;
    }

    fn over(&mut self) {
        if let Some(since) = self.since.take() {
            tracing::info!(after = ?since.elapsed(), "the watch of the leases goes on");
        }
        self.backoff = Backoff::new();
    }
}
