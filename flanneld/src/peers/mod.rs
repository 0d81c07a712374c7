//! What is known of each peer: its traffic, and how long a packet to it and back takes.
//!
//! Owns: the gathering at the time of a question. Begin at [`Peers::report`].
//! Never: keeps a history, or influences where packets go.

mod probe;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use host::nftables::{Nftables, TableId};
use tokio::sync::Notify;

use crate::accounting;
use crate::traffic::Traffic;
use crate::udp::UdpPath;

pub use probe::Prober;

/// Everything about all peers, by public address.
#[derive(Clone, Debug, Default)]
pub struct Report {
    pub traffic: BTreeMap<IpAddr, Traffic>,
    pub drops: BTreeMap<String, u64>,
    /// What the packet programs left to user space, by reason.
    pub to_user: BTreeMap<&'static str, u64>,
    pub round_trips: BTreeMap<IpAddr, Duration>,
    pub lost_probes: BTreeMap<IpAddr, u64>,
}

/// Where the counters are. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Peers {
    sources: Arc<Mutex<Sources>>,
    questions: Arc<Notify>,
}

/// How long after the last question the kernel goes on counting: a few missed scrapes are no loss of interest.
const INTEREST: Duration = Duration::from_secs(600);

#[derive(Debug, Default)]
struct Sources {
    udp: Option<UdpPath>,
    /// Where the kernel carries the packets, it counts them too: in this table.
    kernel: Option<TableId>,
    prober: Option<Prober>,
    asked: Option<Instant>,
}

impl Peers {
    /// Asks every source.
    pub fn report(&self) -> Report {
        let sources = self.lock();
        let mut report = Report::default();
        if let Some(udp) = &sources.udp {
            let counters = udp.counters();
            report.to_user = counters.to_user.iter().map(|(reason, count)| (reason.name(), *count)).collect();
            report.drops =
                counters.drops.iter().map(|(reason, count)| (reason.to_string(), *count)).collect();
            let traffic =
                counters.peers.iter().map(|(peer, counts)| (IpAddr::from(*peer), Traffic::from(counts)));
            report.traffic = traffic.collect();
        }
        if let Some(table) = &sources.kernel
            && let Ok(traffic) = Nftables::connect().and_then(|mut nft| accounting::read(&mut nft, table))
        {
            report.traffic.extend(traffic);
        }
        if let Some(prober) = &sources.prober {
            for (peer, state) in prober.results() {
                if let Some(time) = state.round_trip {
                    report.round_trips.insert(peer, time);
                }
                report.lost_probes.insert(peer, state.lost);
            }
        }
        report
    }

    /// The udp data path, where there is one. The daemon's loop is its only other user.
    pub fn with_udp<T>(&self, act: impl FnOnce(&mut Option<UdpPath>) -> T) -> T {
        act(&mut self.lock().udp)
    }

    /// Somebody wants to know, for whom the kernel is to count: see `--peer-accounting`.
    pub fn ask(&self) {
        self.lock().asked = Some(Instant::now());
        self.questions.notify_one();
    }

    /// The kernel carries the packets: it is to count them while somebody asks.
    pub fn counted_by_kernel(&self, table: TableId) {
        self.lock().kernel = Some(table);
    }

    /// Whether the kernel has to count now.
    pub fn need_kernel_counters(&self) -> bool {
        let sources = self.lock();
        sources.kernel.is_some() && sources.asked.is_some_and(|asked| asked.elapsed() < INTEREST)
    }

    /// Wakes up at every question.
    pub fn questions(&self) -> Arc<Notify> {
        self.questions.clone()
    }

    /// Hands over the prober.
    pub fn set_prober(&self, prober: Prober) {
        self.lock().prober = Some(prober);
    }

    /// Which address to probe for which peer.
    pub fn probe(&self, targets: BTreeMap<IpAddr, IpAddr>) {
        if let Some(prober) = &self.lock().prober {
            prober.aim(targets);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Sources> {
        self.sources.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
