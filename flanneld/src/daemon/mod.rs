//! The life of the daemon, from its options to its end.
//!
//! Order of the start (flannel's, with the rules before `subnet.env`, since others take that file for "ready"):
//! configuration from etcd, interface, lease, first snapshot of all leases, first pass over the kernel's tables,
//! rules, `subnet.env`, readiness. Begin at [`run`]; then [`reconciler`] (kernel tables) and [`lease`] (our own lease).

mod cleanup;
mod files;
mod lease;
mod reconciler;
mod retry;
mod stage;
mod start;

use std::time::Duration;

use flanneld_core::book::{LeaseBook, Notice, Outcome};
use host::netlink::Watch;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::Instant;

pub use cleanup::cleanup;

use crate::error::FlanneldError;
use crate::etcd::LeaseEvent;
use crate::options::Options;
use crate::udp;
use reconciler::Pass;
use retry::{News, Retry};
use stage::Stage;
use start::Started;

/// How long changes are gathered before a look: our own writes and a link's going down come in showers.
const GATHER: Duration = Duration::from_millis(10);
/// Where looks take long (a host with very many routes), changes are gathered for this many times as long, so
/// that somebody else's churn does not cost more than a part of a core; but never for longer than
/// [`GATHER_LAST`], so that a repair comes within a second.
const GATHER_SHARE: u32 = 5;
const GATHER_LAST: Duration = Duration::from_millis(500);
/// How often the udp data path is asked whether it is whole: packet programs are detached without a word.
const PULSE: Duration = Duration::from_millis(250);

/// Runs flanneld until it is told to end.
///
/// # Errors
/// Whatever it cannot wait out; see [`FlanneldError`].
pub async fn run(options: Options) -> Result<(), FlanneldError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(FlanneldError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(FlanneldError::Signals)?;
    tokio::select! {
        outcome = serve(options) => outcome,
        _ = interrupt.recv() => leave(),
        _ = terminate.recv() => leave(),
    }
}

/// The kernel's tables, the rules and the pinned data path stay as they are: pods keep talking.
fn leave() -> Result<(), FlanneldError> {
    tracing::info!("Exiting cleanly...");
    tell_systemd("STOPPING=1");
    Ok(())
}

async fn serve(options: Options) -> Result<(), FlanneldError> {
    let Started {
        mut reconciler,
        mut firewall,
        own,
        source,
        metrics,
        changes,
        health,
        mut files,
        server: _server,
    } = start::start(&options).await?;
    let (lease_lost, lease_hints) = mpsc::channel(1);
    let (leases_in, mut leases) = mpsc::channel(64);
    let mut book = LeaseBook::new(own.subnets(), reconciler.node().public_ip);
    let watch = async move { source.watch(leases_in).await };
    let keep = own.keep(lease_hints, metrics);
    tokio::pin!(watch, keep);

    let mut changes = Changes { watch: changes, look_at: None };
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut retry = Retry::default();
    let questions = reconciler.questions();
    let mut aging = tokio::time::interval(udp::AGING);
    // Before the first snapshot nothing is planned: what is not known yet would look like gone.
    let mut informed = false;
    let mut stage = Stage::new(health);
    loop {
        let mut look = tokio::select! {
            event = leases.recv() => {
                informed = true;
                event.is_some_and(|event| note(&mut book, event, &lease_lost))
            }
            () = changes.gather(reconciler.last_pass()), if informed => true,
            () = retry.due(), if informed => true,
            _ = pulse.tick(), if stage.reached() && reconciler.runs_udp() => !reconciler.udp_is_whole(),
            () = firewall.changed(), if stage.reached() => {
                firewall.sync(reconciler.node()).await;
                false
            }
            _ = aging.tick(), if stage.reached() => {
                reconciler.age_udp_peers();
                firewall.count(reconciler.counted(&book));
                false
            }
            () = questions.notified(), if stage.reached() => {
                firewall.count(reconciler.counted(&book));
                false
            }
            () = &mut watch => false,
            lost = &mut keep => return Err(lost),
        };
        while let Ok(event) = leases.try_recv() {
            look |= note(&mut book, event, &lease_lost);
        }
        if !look && stage.reached() {
            continue;
        }
        let pass = match reconciler.pass(&book).await {
            Ok(pass) => pass,
            // Whatever a look or a write runs into now, the tables stand; they are looked at again.
            Err(error) if stage.reached() || error.heals() => Pass::failed(error.chain()),
            Err(error) => return Err(error),
        };
        firewall.count(reconciler.counted(&book));
        let trouble = stage.after(&pass, &mut firewall, &mut files, &reconciler, book.peers().len()).await?;
        report(retry.after(trouble, Instant::now().into_std()));
    }
}

fn report(news: Option<News>) {
    match news {
        Some(News::Trouble { text, returned: 0 }) => {
            tracing::warn!(error = text, "not everything is as it should be; trying again");
        }
        Some(News::Trouble { text, returned }) => {
            tracing::warn!(error = text, returned, "not everything is as it should be, again; trying again");
        }
        Some(News::Over) => tracing::info!("everything is as it should be again"),
        None => {}
    }
}

/// Word of changes in the kernel's tables.
struct Changes {
    watch: Watch,
    /// Something has changed; it is worth a look from then on.
    look_at: Option<Instant>,
}

impl Changes {
    /// Waits for a change, and then for what comes with it. A wait that is given up for something else forgets
    /// nothing.
    async fn gather(&mut self, last_pass: Duration) {
        if self.look_at.is_none() {
            if self.watch.next().await.is_none() {
                // The socket broke, which has been logged: looks now come with leases and retries alone.
                std::future::pending::<()>().await;
            }
            let wait = (last_pass * GATHER_SHARE).clamp(GATHER, GATHER_LAST);
            self.look_at = Some(Instant::now() + wait);
        }
        if let Some(at) = self.look_at {
            tokio::time::sleep_until(at).await;
        }
        self.look_at = None;
        while self.watch.ready().is_some() {}
    }
}

/// Takes an event into the book, and says what it changed. True if the kernel's tables have to follow.
fn note(book: &mut LeaseBook, event: LeaseEvent, lease_lost: &mpsc::Sender<()>) -> bool {
    let Outcome { changes, notices } = event.enter(book);
    for change in &changes {
        tracing::info!(lease = %change, "lease of a peer");
    }
    for notice in &notices {
        match notice {
            // The reconciler of the lease asks etcd itself; a second hint while it does so says nothing new.
            Notice::OwnDeleted | Notice::OwnTakenOver { .. } | Notice::OwnUnreadable { .. } => {
                tracing::warn!("{notice}");
                let _ = lease_lost.try_send(());
            }
            _ => tracing::warn!("{notice}"),
        }
    }
    matches!(event, LeaseEvent::Snapshot(_)) || !changes.is_empty()
}

fn tell_systemd(state: &str) {
    if let Err(error) = telemetry::systemd::notify(state) {
        tracing::warn!(%error, "systemd was not told");
    }
}
