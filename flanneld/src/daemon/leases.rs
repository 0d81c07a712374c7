//! The leases while the daemon runs: watched and kept in tasks of their own, so that a long pass over the kernel's
//! tables delays no renewal and no heartbeat of the watch; the book of peers is changed between passes.

use std::sync::Arc;
use std::time::Instant;

use flanneld_core::book::{Change, Continuity, LeaseBook, Notice, Outcome};
use flanneld_core::config::NetworkConfig;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::config;
use super::lease::OwnLease;
use crate::error::FlanneldError;
use crate::leases::{LeaseEvent, LeaseSource};
use crate::metrics::Metrics;

/// Events that may wait for a pass to end. More of them wait in etcd's connection; none is lost.
const WAITING: usize = 1024;
/// Changes and oddities of one snapshot that get a line of their own in the log.
const LINES: usize = 20;

/// The book of peers, and what feeds it. The tasks end with it.
pub struct Leases {
    pub book: LeaseBook,
    /// What the book's times count from.
    since: Instant,
    events: mpsc::Receiver<LeaseEvent>,
    /// A hint that something happened to our own lease.
    own_changed: mpsc::Sender<()>,
    tasks: JoinSet<Option<FlanneldError>>,
}

impl Leases {
    /// Starts to watch the leases and the configuration, and to keep our own lease.
    pub fn start(
        source: Arc<dyn LeaseSource>,
        running: NetworkConfig,
        own: OwnLease,
        book: LeaseBook,
        metrics: Metrics,
    ) -> Self {
        let (own_changed, hints) = mpsc::channel(1);
        let (leases_in, events) = mpsc::channel(WAITING);
        let (config_in, configs) = mpsc::channel(1);
        let mut tasks = JoinSet::new();
        let ended = async |task: futures::future::BoxFuture<'static, ()>| {
            task.await;
            None
        };
        tasks.spawn(ended(source.clone().watch(leases_in)));
        tasks.spawn(ended(source.watch_config(config_in)));
        tasks.spawn(ended(Box::pin(config::report(running, configs))));
        tasks.spawn(async move { Some(own.keep(hints, metrics).await) });
        Self { book, since: Instant::now(), events, own_changed, tasks }
    }

    /// Waits for changes and takes them into the book. True if the kernel's tables have to follow. Can be given up
    /// for something else and loses nothing by it.
    ///
    /// # Errors
    /// Our own lease is lost for good.
    pub async fn changed(&mut self) -> Result<bool, FlanneldError> {
        let expiry = self.book.next_expiry().map(|at| self.since + at);
        tokio::select! {
            event = self.events.recv() => match event {
                Some(event) => Ok(self.note(event)),
                // The watch never ends by itself.
                None => std::future::pending().await,
            },
            () = until(expiry) => {
                let outcome = self.book.expire(self.since.elapsed());
                tracing::warn!(leases = outcome.changes.len(), "leases that were kept have not come back");
                self.tell(&outcome);
                Ok(true)
            }
            error = lost(&mut self.tasks) => Err(error),
        }
    }

    /// Takes in what has come meanwhile, without waiting. True if the kernel's tables have to follow.
    pub fn drain(&mut self) -> bool {
        let mut look = false;
        for _ in 0..WAITING {
            let Ok(event) = self.events.try_recv() else { break };
            look |= self.note(event);
        }
        look
    }

    fn note(&mut self, event: LeaseEvent) -> bool {
        let snapshot = matches!(event, LeaseEvent::Snapshot(..));
        if matches!(event, LeaseEvent::Snapshot(_, Continuity::Lost)) {
            // Whatever it holds of ours is old: publish it again, under an etcd lease that lives.
            let _ = self.own_changed.try_send(());
        }
        let outcome = event.enter(&mut self.book, self.since.elapsed());
        self.tell(&outcome);
        snapshot || !outcome.changes.is_empty()
    }

    fn tell(&self, outcome: &Outcome) {
        for change in outcome.changes.iter().take(LINES) {
            tracing::info!(lease = %change, "lease of a peer");
        }
        if outcome.changes.len() > LINES {
            let count =
                |wanted: fn(&Change) -> bool| outcome.changes.iter().filter(|one| wanted(one)).count();
            tracing::info!(
                new = count(|change| matches!(change, Change::Added(_))),
                changed = count(|change| matches!(change, Change::Changed { .. })),
                gone = count(|change| matches!(change, Change::Removed(_))),
                "leases of peers; those above are the first of them"
            );
        }
        let mut lines = 0;
        for notice in &outcome.notices {
            if matches!(
                notice,
                Notice::OwnDeleted | Notice::OwnTakenOver { .. } | Notice::OwnUnreadable { .. }
            ) {
                // The keeper of the lease asks the source itself; a second hint while it does so says nothing new.
                let _ = self.own_changed.try_send(());
            } else {
                lines += 1;
                if lines > LINES {
                    continue;
                }
            }
            tracing::warn!("{notice}");
        }
        if lines > LINES {
            tracing::warn!(more = lines - LINES, "there are more such leases");
        }
    }
}

/// Returns when our own lease is lost for good, with the reason.
async fn lost(tasks: &mut JoinSet<Option<FlanneldError>>) -> FlanneldError {
    loop {
        match tasks.join_next().await {
            Some(Ok(Some(error))) => return error,
            Some(Ok(None)) => {}
            Some(Err(error)) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }
}

async fn until(due: Option<Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
