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

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use flanneld_core::acquire::Identity;
    use flanneld_core::lease::{Lease, LeaseAttrs, Stored, Subnets};
    use futures::future::BoxFuture;
    use tokio::sync::watch;

    use super::*;
    use crate::daemon::lease::Memory;
    use crate::leases::{ConfigEvent, Expiry, HeldLease, SourceError};
    use crate::peers::Peers;

    const MANY: usize = 5000;

    fn peer(n: usize) -> Stored {
        let n = u32::try_from(n).unwrap();
        Stored {
            subnets: Subnets::v4(ipnet::Ipv4Net::new((0x0a06_0000 + (n << 8)).into(), 24).unwrap()),
            attrs: Ok(LeaseAttrs::new((0xac10_0000 + n).into())),
            reserved: false,
            written: 1,
        }
    }

    fn own() -> Lease {
        Lease { subnets: "10.5.1.0-24".parse().unwrap(), attrs: LeaseAttrs::new(Ipv4Addr::new(192, 0, 2, 1)) }
    }

    /// A source whose leases last for 100 ms, and whose watch has much to say.
    #[derive(Debug)]
    struct Busy {
        renewals: watch::Sender<usize>,
    }

    #[derive(Debug)]
    struct Held {
        lease: Lease,
        expires: Instant,
        renewals: watch::Sender<usize>,
    }

    impl LeaseSource for Busy {
        fn config(&self) -> BoxFuture<'_, Result<NetworkConfig, SourceError>> {
            Box::pin(async { Ok(NetworkConfig::parse(r#"{"Network":"10.0.0.0/8"}"#).unwrap()) })
        }

        fn published<'a>(
            &'a self,
            _: &'a Identity,
        ) -> BoxFuture<'a, Result<Option<LeaseAttrs>, SourceError>> {
            Box::pin(async { Ok(None) })
        }

        fn acquire<'a>(
            &'a self,
            _: &'a NetworkConfig,
            attrs: &'a LeaseAttrs,
            _: &'a Identity,
        ) -> BoxFuture<'a, Result<Box<dyn HeldLease>, SourceError>> {
            let lease = Lease { attrs: attrs.clone(), ..own() };
            let held = Held { lease, expires: Instant::now(), renewals: self.renewals.clone() };
            Box::pin(async { Ok(Box::new(held) as Box<dyn HeldLease>) })
        }

        fn watch(self: Arc<Self>, events: mpsc::Sender<LeaseEvent>) -> BoxFuture<'static, ()> {
            Box::pin(async move {
                let Lease { subnets, attrs } = own();
                let own = Stored { subnets, attrs: Ok(attrs), reserved: false, written: 1 };
                events.send(LeaseEvent::Snapshot(vec![own], Continuity::Kept)).await.unwrap();
                for n in 0..MANY {
                    events.send(LeaseEvent::Put(peer(n))).await.unwrap();
                }
                events.closed().await;
            })
        }

        fn watch_config(self: Arc<Self>, events: mpsc::Sender<ConfigEvent>) -> BoxFuture<'static, ()> {
            Box::pin(async move { events.closed().await })
        }
    }

    impl HeldLease for Held {
        fn lease(&self) -> &Lease {
            &self.lease
        }

        fn is_reservation(&self) -> bool {
            false
        }

        fn expiry(&self) -> Option<Expiry> {
            Some(Expiry { at: self.expires, ttl: Duration::from_millis(100) })
        }

        fn written(&self) -> i64 {
            1
        }

        fn renew(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
            self.expires = Instant::now() + Duration::from_millis(100);
            self.renewals.send_modify(|count| *count += 1);
            Box::pin(async { Ok(()) })
        }
    }

    /// As while a pass over the tables of tens of thousands of peers goes on for a minute.
    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn while_nobody_takes_events_the_lease_is_renewed_and_no_event_is_lost() {
        let (renewals, mut renewed) = watch::channel(0);
        let source = Arc::new(Busy { renewals });
        let config = source.config().await.unwrap();
        let who = Identity::new(own().attrs.public_ip);
        let held = source.acquire(&config, &own().attrs, &who).await.unwrap();
        let files = tempfile::tempdir().unwrap();
        let memory = Memory::of(&files.path().join("subnet.env"));
        let margin = Duration::from_millis(50);
        let own_lease = OwnLease::new(source.clone(), config.clone(), held, who, memory, margin);
        let book = LeaseBook::new(own().subnets, own().attrs.public_ip);
        let metrics = Metrics::new(Peers::default());
        let mut leases = Leases::start(source, config, own_lease, book, metrics);

        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, renewed.wait_for(|count| *count >= 5)).await.expect("renewals").unwrap();
        assert_eq!(leases.book.peers().len(), 0, "nobody has taken an event yet");
        while leases.book.peers().len() < MANY {
            tokio::time::timeout(limit, leases.changed()).await.expect("events").unwrap();
            leases.drain();
        }
        assert_eq!(leases.book.peers().map(|(subnets, _)| *subnets).last(), Some(peer(MANY - 1).subnets));
        assert_eq!(
            std::fs::read_to_string(files.path().join("subnet.env.lease")).unwrap(),
            "10.5.1.0-24 1\n"
        );
    }
}
