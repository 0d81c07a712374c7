//! The masquerade and forward rules in the kernel, kept as they should be.
//!
//! Owns: the choice of the tool, the rules' place, and the moment to look again. The rules themselves are
//! `flanneld_core::firewall`'s. Begin at [`Firewall::start`].
//! Never: touches a chain that is not flannel's by name.

mod choice;
mod iptables;
mod nftables;
mod obstacles;

use std::collections::BTreeSet;
use std::time::Duration;

use flanneld_core::config::NetworkConfig;
use flanneld_core::firewall::{Rules, Wishes};
use flanneld_core::lease::Subnets;
use flanneld_core::network_id::NetworkId;
use flanneld_core::overlay::Node;
use host::contention::Contention;
use host::error::HostError;
use host::nftables::{Batch, Event, Monitor, Nftables, TableId, Writer};
use ipnet::IpNet;
use tokio::time::Instant;

use crate::accounting::{self, Counted};
use crate::error::{FlanneldError, chain};
use crate::metrics::Metrics;
use crate::options::Options;
use choice::Kind;
use iptables::{Iptables, Restores};
use nftables::Names;
use obstacles::Obstacles;

/// How long changes of others are gathered: a flush and its refill come together.
const GATHER: Duration = Duration::from_millis(10);
/// How long after a change of others their rules are looked at, and at least so long after the last look.
const INSPECT: Duration = Duration::from_secs(1);
const INSPECT_PAUSE: Duration = Duration::from_secs(10);
/// After a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the rules.
pub struct Firewall {
    wishes: Wishes,
    config: NetworkConfig,
    id: NetworkId,
    names: Names,
    tool: Tool,
    /// `None` where the kernel has no nf_tables.
    nft: Option<Nftables>,
    /// Tells of changes in nf_tables, in which the iptables tools may keep their rules too.
    monitor: Option<Monitor>,
    /// Who made the last change that concerned us.
    writer: Option<Writer>,
    /// Of the rules, and of the counters.
    contention: Contention,
    counters_contention: Contention,
    /// When to look without being told: after a failure, and with tables that tell nothing.
    look_at: Option<Instant>,
    period: Duration,
    /// When to see whether somebody has begun to use the old iptables tables, which tell nothing of it.
    peek_at: Instant,
    /// Rules of others that cut pods off, as far as they have been said; when to look for them again.
    obstacles: Obstacles,
    inspected: Instant,
    inspect_at: Option<Instant>,
    /// Whose packets to count; `None` where the data path counts by itself or nobody asks.
    counted: Option<Counted>,
    metrics: Metrics,
}

enum Tool {
    /// Our own tables over netlink. The old iptables tables are looked at too where they are in use, for they
    /// may drop what we accept.
    Nftables {
        legacy: Option<Iptables>,
    },
    Iptables(Iptables),
}

/// The writes that make the rules what they should be.
#[derive(Debug, Default)]
struct Work {
    nft: Batch,
    iptables: Restores,
}

impl Work {
    fn is_empty(&self) -> bool {
        self.nft.is_empty() && self.iptables.is_empty()
    }
}

impl Firewall {
    /// Chooses the tool; leaves nothing written.
    ///
    /// # Errors
    /// The tool that was asked for is not there.
    pub fn new(
        options: &Options,
        config: &NetworkConfig,
        id: &NetworkId,
        metrics: Metrics,
    ) -> Result<Self, FlanneldError> {
        let mut wishes = Wishes {
            masquerade: options.ip_masq,
            forward: options.forward_rules,
            random_fully: options.masq_random_fully,
        };
        let probe = || {
            let mut nft = Nftables::connect()?;
            choice::probe(&mut nft, config, wishes.masquerade)
        };
        let kind = choice::choose(options.firewall, config.enable_nftables, probe)?;
        let monitor = Monitor::open().ok();
        let nft = Nftables::connect().and_then(|mut nft| nft.generation().map(|_| nft)).ok();
        let tool = match kind {
            Kind::Nftables => Tool::Nftables { legacy: Iptables::legacy_in_use() },
            Kind::Iptables => {
                let iptables = Iptables::find().map_err(FlanneldError::Firewall)?;
                wishes.random_fully &= iptables.has_random_fully();
                Tool::Iptables(iptables)
            }
        };
        tracing::info!(
            tool = kind.name(),
            masquerade = wishes.masquerade,
            forward = wishes.forward,
            "firewall rules"
        );
        Ok(Self {
            wishes,
            config: config.clone(),
            id: id.clone(),
            names: Names::of(id),
            tool,
            nft,
            monitor,
            writer: None,
            contention: Contention::default(),
            counters_contention: Contention::default(),
            look_at: None,
            counted: None,
            obstacles: Obstacles::default(),
            inspected: Instant::now(),
            inspect_at: None,
            period: options.iptables_resync,
            peek_at: Instant::now() + options.iptables_resync,
            metrics,
        })
    }

    /// Writes the rules for the first time, after removing what the other tool may hold of ours.
    ///
    /// # Errors
    /// The kernel or the tool refuses.
    pub async fn start(&mut self, node: &Node) -> Result<(), FlanneldError> {
        let rules = self.rules(&node.subnets);
        let work = self.plan(&rules).map_err(FlanneldError::Firewall)?;
        self.carry_out(&work).map_err(FlanneldError::Firewall)?;
        if self.counted.is_none() {
            // An earlier run may have counted.
            self.account();
        }
        self.look_at = self.tool.tells_nothing().then(|| Instant::now() + self.period);
        self.inspect();
        Ok(())
    }

    /// Looks for rules of others that cut the pods off.
    fn inspect(&mut self) {
        (self.inspected, self.inspect_at) = (Instant::now(), None);
        let networks = self.config.networks();
        let legacy = match &self.tool {
            Tool::Nftables { legacy: Some(iptables) } | Tool::Iptables(iptables) => Some(iptables),
            Tool::Nftables { legacy: None } => None,
        };
        let mut found = BTreeSet::new();
        let looked = tokio::task::block_in_place(|| {
            for network in networks.v4.into_iter().chain(networks.v6) {
                if let Some(nft) = &mut self.nft {
                    found.extend(obstacles::in_nftables(nft, network)?);
                }
                if let Some(legacy) = legacy {
                    found.extend(legacy.obstacles(network)?);
                }
            }
            Ok::<(), HostError>(())
        });
        match looked {
            Ok(()) => self.obstacles.report(found),
            Err(error) => tracing::debug!(error = chain(&error), "the rules of others cannot be read"),
        }
    }

    /// Waits until it is worth a look. What it has heard of is kept when the wait is given up for something else.
    pub async fn changed(&mut self) {
        let own_port = self.nft.as_ref().map(Nftables::port);
        loop {
            let due = self.look_at;
            let timer = async {
                match due {
                    Some(due) => tokio::time::sleep_until(due).await,
                    None => std::future::pending().await,
                }
            };
            let (names, counters) = (&self.names, accounting::table(&self.id));
            let concerns = |table: &TableId| names.concern(table) || *table == counters;
            let told = async {
                match &mut self.monitor {
                    Some(monitor) => foreign_change(monitor, own_port, concerns).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => return,
                () = until(self.inspect_at) => {
                    self.inspect();
                    continue;
                }
                () = tokio::time::sleep_until(self.peek_at) => {
                    self.peek_at = Instant::now() + self.period;
                    if self.tool.should_take_up_legacy() {
                        return;
                    }
                    continue;
                }
                (concerned, writer) = told => {
                    let at = (Instant::now() + INSPECT).max(self.inspected + INSPECT_PAUSE);
                    self.inspect_at.get_or_insert(at);
                    if !concerned {
                        continue;
                    }
                    self.writer = writer;
                }
            }
            let soon = Instant::now() + GATHER;
            self.look_at = Some(due.map_or(soon, |due| due.min(soon)));
        }
    }

    /// Looks, and writes what is missing. A failure is logged and tried again. What somebody undoes again and again is
    /// repaired ever more seldom.
    pub async fn sync(&mut self, node: &Node) {
        let writer = self.writer.take();
        let counters_due = self.sync_counters(writer.as_ref());
        let rules = self.rules(&node.subnets);
        let wait = match self.plan(&rules) {
            Ok(work) if work.is_empty() => self.tool.tells_nothing().then(|| Instant::now() + self.period),
            Ok(work) => {
                let what = "our firewall rules are";
                match hold_back(&mut self.contention, writer.as_ref(), what) {
                    Some(due) => Some(due),
                    None => self.repair(&work),
                }
            }
            Err(error) => Some(self.after_failure(&error)),
        };
        self.look_at = wait.into_iter().chain(counters_due).min();
    }

    fn repair(&mut self, work: &Work) -> Option<Instant> {
        match self.carry_out(work) {
            Ok(()) => {
                tracing::info!("firewall rules had been changed; put back");
                self.tool.tells_nothing().then(|| Instant::now() + self.period)
            }
            Err(error) => Some(self.after_failure(&error)),
        }
    }

    fn after_failure(&self, error: &HostError) -> Instant {
        tracing::warn!(error = chain(error), "firewall rules could not be written; trying again");
        Instant::now() + RETRY
    }

    /// The counters after somebody's change. Says when a repair that has to wait is due.
    fn sync_counters(&mut self, writer: Option<&Writer>) -> Option<Instant> {
        let batch = self.plan_counters()?;
        if batch.is_empty() {
            return None;
        }
        let due = hold_back(&mut self.counters_contention, writer, "our counters of the peers' packets are");
        if due.is_none() {
            self.write_counters(&batch);
        }
        due
    }

    /// Counts the packets of these peers from now on; of nobody with `None`.
    pub fn count(&mut self, counted: Option<Counted>) {
        if self.counted != counted {
            self.counted = counted;
            self.account();
        }
    }

    fn account(&mut self) {
        if let Some(batch) = self.plan_counters() {
            self.write_counters(&batch);
        }
    }

    fn plan_counters(&mut self) -> Option<Batch> {
        let nft = self.nft.as_mut()?;
        let table = accounting::table(&self.id);
        let planned = tokio::task::block_in_place(|| match &self.counted {
            Some(counted) => accounting::plan(nft, &table, counted),
            None => accounting::removal(nft, &table),
        });
        planned.map_err(|error| not_counted(&error)).ok()
    }

    fn write_counters(&mut self, batch: &Batch) {
        let Some(nft) = self.nft.as_mut().filter(|_| !batch.is_empty()) else { return };
        if let Err(error) = tokio::task::block_in_place(|| nft.apply(batch)) {
            not_counted(&error);
        }
    }

    fn rules(&self, subnets: &Subnets) -> Vec<Rules> {
        let of = |network: IpNet, subnet: IpNet| Rules::of_family(network, subnet, self.wishes);
        let v4 = self.config.v4.as_ref().map(|pool| of(pool.network, subnets.v4.into()));
        let v6 =
            self.config.v6.as_ref().zip(subnets.v6).map(|(pool, subnet)| of(pool.network, subnet.into()));
        v4.into_iter().chain(v6).collect()
    }

    /// Netlink and the iptables tools block: both run where that hurts nobody.
    fn plan(&mut self, rules: &[Rules]) -> Result<Work, HostError> {
        let (tool, nft, names, id) = (&mut self.tool, &mut self.nft, &self.names, &self.id);
        tokio::task::block_in_place(|| match (tool, nft) {
            (Tool::Nftables { legacy }, Some(nft)) => {
                if legacy.is_none() && iptables::legacy_tables_exist() {
                    *legacy = Iptables::legacy_in_use();
                }
                let iptables = legacy.as_ref().map(|legacy| legacy.plan_accepts(id, rules)).transpose()?;
                Ok(Work { nft: nftables::plan(nft, names, rules)?, iptables: iptables.unwrap_or_default() })
            }
            // The error of the connection names the cause; if there is none, it is back.
            (Tool::Nftables { .. }, nft) => {
                *nft = Some(Nftables::connect()?);
                Ok(Work::default())
            }
            (Tool::Iptables(iptables), nft) => {
                let own = nft.as_mut().map(|nft| nftables::removal_of_own_tables(nft, names, rules));
                Ok(Work { nft: own.transpose()?.unwrap_or_default(), iptables: iptables.plan(id, rules)? })
            }
        })
    }

    fn carry_out(&mut self, work: &Work) -> Result<(), HostError> {
        if work.is_empty() {
            return Ok(());
        }
        let (tool, nft) = (&self.tool, &mut self.nft);
        tokio::task::block_in_place(|| {
            if let Some(nft) = nft {
                nft.apply(&work.nft)?;
            }
            match tool {
                Tool::Nftables { legacy: Some(iptables) } | Tool::Iptables(iptables) => {
                    iptables.apply(&work.iptables)
                }
                Tool::Nftables { legacy: None } => Ok(()),
            }
        })?;
        self.metrics.firewall_written();
        Ok(())
    }
}

/// Counts a change of ours that somebody undid, and says so once if it happens again and again. When the repair is due
/// that has to wait; `None`: it may be made now.
fn hold_back(contention: &mut Contention, writer: Option<&Writer>, what: &str) -> Option<Instant> {
    let now = std::time::Instant::now();
    let undone = contention.undone(writer, now);
    if let Some(report) = undone.report {
        tracing::warn!("{what} {report}");
    }
    if undone.at > now {
        return Some(undone.at.into());
    }
    contention.repaired(now);
    None
}

fn not_counted(error: &HostError) {
    tracing::warn!(error = chain(error), "the packets of the peers are not counted");
}

impl Kind {
    fn name(self) -> &'static str {
        match self {
            Self::Nftables => "nftables",
            Self::Iptables => "iptables",
        }
    }
}

impl Tool {
    /// Somebody (Docker, most often) uses the old tables since the last look.
    fn should_take_up_legacy(&self) -> bool {
        matches!(self, Self::Nftables { legacy: None }) && iptables::legacy_tables_exist()
    }

    /// The old tables of iptables send no word of their changes.
    fn tells_nothing(&self) -> bool {
        match self {
            Self::Nftables { legacy } => legacy.is_some(),
            Self::Iptables(iptables) => iptables.is_legacy(),
        }
    }
}

/// Removes all rules of a network, of ours and of flannel, whichever tool wrote them.
///
/// # Errors
/// The first refusal, after trying all.
pub fn remove(id: &NetworkId) -> Result<(), HostError> {
    let nft = Nftables::connect().and_then(|mut nft| {
        let rules = nftables::removal(&mut nft, &Names::of(id)).and_then(|batch| nft.apply(&batch));
        let counters = accounting::removal(&mut nft, &accounting::table(id));
        rules.and(counters.and_then(|batch| nft.apply(&batch)))
    });
    let legacy = Iptables::legacy_in_use()
        .map_or(Ok(()), |legacy| legacy.removal(id).and_then(|restores| legacy.apply(&restores)));
    nft.and(legacy)
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Waits for somebody else's change, and says whether it concerns our rules, and who made it. Tables that are none of our
/// business, and change often, are passed over.
async fn foreign_change(
    monitor: &mut Monitor,
    own_port: Option<u32>,
    concerns: impl Fn(&TableId) -> bool,
) -> (bool, Option<Writer>) {
    loop {
        match monitor.next().await {
            Ok(Event::Changed(change)) if Some(change.port) == own_port => {}
            Ok(Event::Changed(change)) if change.tables.iter().all(obstacles::is_exempt) => {
                if change.tables.iter().any(&concerns) {
                    return (true, Some(change.writer));
                }
            }
            Ok(Event::Changed(change)) => {
                return (change.tables.iter().any(&concerns), Some(change.writer));
            }
            Ok(Event::Lost) => return (true, None),
            Err(error) => {
                tracing::warn!(%error, "no more word of changes in nf_tables");
                std::future::pending::<()>().await;
            }
        }
    }
}
