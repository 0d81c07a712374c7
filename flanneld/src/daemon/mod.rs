//! The life of the daemon, from its options to its end.
//!
//! Order of the start (flannel's, with the rules before `subnet.env`, since others take that file for "ready"):
//! configuration from etcd, interface, lease, first snapshot of all leases, first pass over the kernel's tables,
//! rules, `subnet.env`, readiness. Begin at [`run`]; then [`reconciler`] (kernel tables) and [`lease`] (our own lease).

mod cleanup;
mod config;
mod contests;
mod files;
mod identity;
mod lease;
mod leases;
mod reconciler;
mod retry;
mod stage;
mod start;

use std::time::Duration;

use flanneld_core::attention::{Attention, Change, Parts};
use flanneld_core::book::LeaseBook;
use host::netlink::{self, Watch};
use telemetry::daemon;
use tokio::time::Instant;

pub use cleanup::cleanup;

use crate::error::FlanneldError;
use crate::options::Options;
use crate::udp;
use leases::Leases;
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
/// How often everything is looked at although nobody told of a change.
const COMPLETE: Duration = Duration::from_secs(3600);
/// How often the udp data path is asked whether it is whole: packet programs are detached without a word.
const PULSE: Duration = Duration::from_millis(250);

/// Between two attempts to begin again.
const RESTART: Duration = Duration::from_secs(5);

/// How long the end waits for what is being done.
const GRACE: Duration = Duration::from_millis(500);

/// Runs flanneld until it is told to end. The kernel's tables, the rules and the pinned data path stay as they are: pods
/// keep talking.
///
/// # Errors
/// Whatever it cannot wait out; see [`FlanneldError`].
pub async fn run(options: Options) -> Result<(), FlanneldError> {
    let work = move || async move { Err(lives(&options).await) };
    daemon::until_told(work, std::future::pending(), GRACE, "Exiting cleanly...").await
}

/// One life after the other: where the underlay has got another address, everything begins again there, as after a
/// restart. The lease, the kernel's tables and the data path are taken over.
async fn lives(options: &Options) -> FlanneldError {
    let mut lived = false;
    loop {
        match serve(options).await {
            Ok(Moved(how)) => {
                tracing::warn!("{how}: the lease is published and the tunnel made again, as after a restart");
                lived = true;
            }
            // The host may still be getting its addresses.
            Err(error @ (FlanneldError::Interface(_) | FlanneldError::Refused(_))) if lived => {
                tracing::warn!(error = error.chain(), "cannot go on with these addresses; trying again");
                tokio::time::sleep(RESTART).await;
            }
            Err(error) => return error,
        }
    }
}

/// The underlay has another address.
struct Moved(String);

async fn serve(options: &Options) -> Result<Moved, FlanneldError> {
    let Started {
        mut reconciler,
        mut firewall,
        own,
        source,
        config,
        metrics,
        changes,
        health,
        mut files,
        server,
    } = start::start(options).await?;
    let book = LeaseBook::new(own.subnets(), reconciler.node().public_ip);
    let mut leases = Leases::start(source, config, own, book, metrics);

    let mut changes = Changes::of(changes);
    // A net under everything else: what no word came of.
    let mut complete = tokio::time::interval_at(Instant::now() + COMPLETE, COMPLETE);
    let mut pulse = tokio::time::interval(PULSE);
    pulse.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut retry = Retry::default();
    let questions = reconciler.questions();
    let mut aging = tokio::time::interval(udp::AGING);
    // Before the first snapshot nothing is planned: what is not known yet would look like gone.
    let mut informed = false;
    let mut stage = Stage::new(health);
    loop {
        let held = reconciler.held();
        let attention = reconciler.attention();
        let mut look = tokio::select! {
            look = leases.changed() => {
                informed = true;
                look?
            }
            () = changes.gather(&attention, reconciler.last_pass()), if informed => true,
            _ = complete.tick(), if informed => {
                reconciler.note(Parts::ALL);
                true
            }
            () = retry.due(), if informed => true,
            () = until(held), if informed => true,
            _ = pulse.tick(), if stage.reached() && reconciler.runs_udp() => !reconciler.udp_is_whole(),
            () = firewall.changed(), if stage.reached() => {
                firewall.sync(reconciler.node()).await;
                false
            }
            () = files.changed(), if stage.reached() => true,
            _ = aging.tick(), if stage.reached() => {
                reconciler.age();
                firewall.count(reconciler.counted(&leases.book));
                false
            }
            () = questions.notified(), if stage.reached() => {
                firewall.count(reconciler.counted(&leases.book));
                false
            }
        };
        look |= leases.drain();
        if !look && stage.reached() {
            continue;
        }
        reconciler.note(changes.take(&attention));
        let pass = match reconciler.pass(&leases.book).await {
            Ok(pass) => pass,
            // Whatever a look or a write runs into now, the tables stand; they are looked at again.
            Err(error) if stage.reached() || error.heals() => Pass::failed(error.chain()),
            Err(error) => return Err(error),
        };
        if let Some(how) = pass.moved {
            if let Some(server) = server {
                // The next life wants the port.
                server.stop().await;
            }
            return Ok(Moved(how));
        }
        firewall.count(reconciler.counted(&leases.book));
        let trouble =
            stage.after(&pass, &mut firewall, &mut files, &reconciler, leases.book.peers().len()).await?;
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
    /// What is to be read again.
    parts: Parts,
    /// From when on it is worth a look.
    look_at: Option<Instant>,
}

impl Changes {
    fn of(watch: Watch) -> Self {
        Self { watch, parts: Parts::default(), look_at: None }
    }

    /// Waits for a change that concerns us, and then for what comes with it. A wait that is given up for something
    /// else forgets nothing.
    async fn gather(&mut self, attention: &Attention, last_pass: Duration) {
        let at = loop {
            if let Some(at) = self.look_at {
                break at;
            }
            let Some(change) = self.watch.next().await else {
                // The runtime shuts down.
                return std::future::pending().await;
            };
            self.parts |= attention.parts(meaning(change));
            if self.parts.any() {
                let wait = (last_pass * GATHER_SHARE).clamp(GATHER, GATHER_LAST);
                self.look_at = Some(Instant::now() + wait);
            }
        };
        tokio::time::sleep_until(at).await;
    }

    /// What is to be read again, with all that is here by now.
    fn take(&mut self, attention: &Attention) -> Parts {
        while let Some(change) = self.watch.ready() {
            self.parts |= attention.parts(meaning(change));
        }
        self.look_at = None;
        std::mem::take(&mut self.parts)
    }
}

fn meaning(change: netlink::Change) -> Change {
    match change {
        netlink::Change::Link(index) => Change::Link(index),
        netlink::Change::Address(index) => Change::Address(index),
        netlink::Change::Route { destination, table: netlink::MAIN_TABLE, dev } => {
            Change::Route { destination, dev }
        }
        netlink::Change::Route { .. } => Change::OtherRoute,
        netlink::Change::Neighbour(index) => Change::Neighbour(index),
        netlink::Change::Fdb(index) => Change::Fdb(index),
        netlink::Change::Lost => Change::Lost,
    }
}

async fn until(due: Option<std::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}
