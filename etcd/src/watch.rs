//! Changes as they happen, over every kind of interruption.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use etcd_client::{EventType, WatchOptions, WatchResponse, WatchStream};
use tokio::time::{Instant, sleep_until, timeout};

use crate::Client;
use crate::connection::{Connection, Live, RPC_LIMIT};
use crate::error::{EtcdError, Failure};
use crate::kv::{ANSWER_LIMIT, Header, KeyValue, Span};

/// How often a quiet watch is asked whether it lives, and how long it may be silent.
const PULSE: Duration = Duration::from_secs(1);
const SILENCE: Duration = Duration::from_secs(3);

/// One key's change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Written. `before`: what it held, where that was asked for and is not compacted.
    Put { kv: KeyValue, before: Option<KeyValue> },
    /// Deleted, by somebody or with its lease. `kv` has the key and the revision alone.
    Delete { kv: KeyValue, before: Option<KeyValue> },
}

impl Change {
    pub fn kv(&self) -> &KeyValue {
        match self {
            Self::Put { kv, .. } | Self::Delete { kv, .. } => kv,
        }
    }
}

/// What a watch says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WatchEvent {
    /// etcd has taken up the watch: at first, and again after each interruption. What happened meanwhile follows.
    Started(Header),
    /// In the order of their revisions; all changes of one revision come together.
    Changes(Header, Vec<Change>),
    /// Nothing has happened up to this revision.
    Progress(Header),
}

/// Why a watch gives no event.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// Changes may have been missed. The watch is over: list again, and watch from there.
    #[error("{0}")]
    Stale(Stale),
    /// The connection broke. Wait a little and call [`Watch::next`] again: it goes on from where it was.
    #[error(transparent)]
    Broken(#[from] EtcdError),
}

/// Why a watch cannot go on from where it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// etcd has forgotten the changes since the last one heard of.
    Compacted,
    /// etcd is at an older revision than was heard of: it lost data, or was restored from a backup.
    Rewound { was: i64, is: i64 },
    /// Another cluster answers at the same endpoints.
    OtherCluster,
}

impl fmt::Display for Stale {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compacted => f.write_str("etcd has compacted the changes since the last one heard of"),
            Self::Rewound { was, is } => {
                write!(f, "etcd is at revision {is} and was at {was}: its data was lost or replaced")
            }
            Self::OtherCluster => f.write_str("another etcd cluster answers now"),
        }
    }
}

/// A watch that knows where it is. Made by [`Client::watch`].
#[derive(Debug)]
pub struct Watch {
    connection: Arc<Connection>,
    span: Span,
    before: bool,
    /// The revision after the last one heard of.
    next: i64,
    cluster: u64,
    running: Option<Running>,
}

/// One watch on one connection.
struct Running {
    live: Live,
    stream: WatchStream,
    heard: Instant,
    ask_at: Instant,
    asked: u32,
    /// Members older than etcd 3.4 do not answer; for them the keepalive of the connection must do. A newer one
    /// does not answer a watch that it has only just made, hence the haste at first.
    answers: bool,
}

impl fmt::Debug for Running {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "watch on {:?}", self.live)
    }
}

impl Client {
    /// Changes after a list's revision: hand in the list's header. `before`: with what each key held before.
    /// Nothing is asked before [`Watch::next`].
    pub fn watch(&self, span: Span, listed: Header, before: bool) -> Watch {
        let connection = self.connection.clone();
        Watch { connection, span, before, next: listed.revision + 1, cluster: listed.cluster, running: None }
    }
}

impl Watch {
    /// The last revision that was heard of.
    pub fn revision(&self) -> i64 {
        self.next - 1
    }

    /// The next event; connects where needed. Can be dropped at any time and loses nothing by it.
    ///
    /// # Errors
    /// See [`WatchError`].
    pub async fn next(&mut self) -> Result<WatchEvent, WatchError> {
        loop {
            if self.running.is_none() {
                self.running = Some(self.start().await?);
            }
            let Some(running) = &mut self.running else { continue };
            let message = tokio::select! {
                message = running.stream.message() => message,
                () = sleep_until(running.ask_at) => {
                    if let Err(failure) = running.pulse().await {
                        return Err(self.broken(failure).await);
                    }
                    continue;
                }
            };
            let response = match message {
                Ok(Some(response)) => response,
                Ok(None) => return Err(self.broken(Failure::broken("the watch ended")).await),
                Err(error) => return Err(self.broken(Failure::of(&error)).await),
            };
            running.heard = Instant::now();
            if let Some(event) = self.hear(response).await? {
                return Ok(event);
            }
        }
    }

    async fn start(&self) -> Result<Running, WatchError> {
        let live = self.connection.live().await?;
        let mut options = WatchOptions::new().with_start_revision(self.next).with_progress_notify();
        if self.before {
            options = options.with_prev_key();
        }
        let (first, end) = self.span.bounds();
        if let Some(end) = end {
            options = options.with_range(end);
        }
        let mut client = live.client.watch_client().max_decoding_message_size(ANSWER_LIMIT);
        match timeout(RPC_LIMIT, client.watch(first, Some(options))).await {
            Ok(Ok(stream)) => {
                let now = Instant::now();
                Ok(Running { live, stream, heard: now, ask_at: now, asked: 0, answers: false })
            }
            Ok(Err(error)) => {
                self.connection.give_up(&live).await;
                Err(self.connection.error(self.what(), &live.endpoint, Failure::of(&error)).into())
            }
            Err(_) => {
                self.connection.give_up(&live).await;
                Err(EtcdError::TimedOut { what: self.what(), limit: RPC_LIMIT }.into())
            }
        }
    }

    fn what(&self) -> String {
        format!("watch {}", self.span.text())
    }

    /// Gives up a connection that failed while it was watched.
    async fn broken(&mut self, failure: Failure) -> WatchError {
        let Some(Running { live, .. }) = self.running.take() else {
            return EtcdError::Rpc { what: self.what(), reason: "it ended".to_owned() }.into();
        };
        self.connection.give_up(&live).await;
        self.connection.error(self.what(), &live.endpoint, failure).into()
    }

    /// Takes in one response; None where it only answers our question for a sign of life.
    async fn hear(&mut self, response: WatchResponse) -> Result<Option<WatchEvent>, WatchError> {
        let header = Header::of(response.header());
        if response.canceled() && response.compact_revision() == 0 {
            if let Some(running) = self.running.take() {
                self.connection.give_up(&running.live).await;
            }
            let reason = format!("it cancelled the watch: {}", response.cancel_reason());
            if reason.contains("PermissionDenied") || reason.contains("permission denied") {
                return Err(EtcdError::Denied { what: self.what(), reason }.into());
            }
            return Err(EtcdError::Rpc { what: self.what(), reason }.into());
        }
        if let Some(stale) = self.stale(&response, header) {
            self.running = None;
            return Err(WatchError::Stale(stale));
        }
        if response.created() {
            return Ok(Some(WatchEvent::Started(header)));
        }
        if response.watch_id() < 0 {
            // The answer to our question. It may run ahead of events still to come (etcd issue 15220): never
            // resume from it.
            if let Some(running) = &mut self.running {
                running.answers = true;
            }
            return Ok(None);
        }
        if response.events().is_empty() {
            // What etcd says of its own accord every ten minutes of quiet. It spares a list when those revisions
            // are compacted and the connection then breaks.
            self.next = self.next.max(header.revision + 1);
            return Ok(Some(WatchEvent::Progress(header)));
        }
        let changes: Vec<Change> = response.events().iter().filter_map(change).collect();
        if let Some(last) = changes.iter().map(|change| change.kv().mod_revision).max() {
            self.next = self.next.max(last + 1);
        }
        Ok(Some(WatchEvent::Changes(header, changes)))
    }

    /// Whether the changes that follow are not complete.
    fn stale(&self, response: &WatchResponse, header: Header) -> Option<Stale> {
        if response.compact_revision() != 0 {
            return Some(Stale::Compacted);
        }
        if !response.created() {
            return None;
        }
        if self.cluster != 0 && header.cluster != self.cluster {
            return Some(Stale::OtherCluster);
        }
        (header.revision + 1 < self.next)
            .then_some(Stale::Rewound { was: self.next - 1, is: header.revision })
    }
}

impl Running {
    /// Asks for a sign of life, and judges the silence since the last one.
    async fn pulse(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        // A tick that comes late says that we were not listening, which is not etcd's silence: what it sent
        // meanwhile waits in the socket.
        if now.duration_since(self.ask_at) > PULSE / 2 {
            self.heard = now;
        }
        if self.answers && now.duration_since(self.heard) > SILENCE {
            return Err(Failure::broken(format!("no sign of life for {:?}", now - self.heard)));
        }
        self.stream.request_progress().await.map_err(|error| Failure::of(&error))?;
        self.asked = self.asked.saturating_add(1);
        self.ask_at = now + if self.answers || self.asked > 10 { PULSE } else { PULSE / 10 };
        Ok(())
    }
}

fn change(event: &etcd_client::Event) -> Option<Change> {
    let kv = KeyValue::of(event.kv()?.clone());
    let before = event.prev_kv().cloned().map(KeyValue::of);
    Some(match event.event_type() {
        EventType::Put => Change::Put { kv, before },
        EventType::Delete => Change::Delete { kv, before },
    })
}
