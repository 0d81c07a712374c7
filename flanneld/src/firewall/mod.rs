//! The masquerade and forward rules in the kernel, kept as they should be.
//!
//! Owns: the choice of the tool, the rules' place, and the moment to look again. The rules themselves are
//! `flanneld_core::firewall`'s. Begin at [`Firewall::start`].
//! Never: touches a chain that is not flannel's by name.

pub mod accounting;
mod iptables;
mod nftables;

use std::time::Duration;

use flanneld_core::config::NetworkConfig;
use flanneld_core::firewall::{Rules, Wishes};
use flanneld_core::lease::Subnets;
use flanneld_core::overlay::Node;
use host::error::HostError;
use host::nftables::{Event, Monitor, Nftables, TableId};
use ipnet::IpNet;
use tokio::time::Instant;

use crate::error::{FlanneldError, chain};
use crate::metrics::Metrics;
use crate::options::{FirewallChoice, Options};
use accounting::Counted;
use iptables::Iptables;

/// How long changes of others are gathered: a flush and its refill come together.
const GATHER: Duration = Duration::from_millis(10);
/// After a failure.
const RETRY: Duration = Duration::from_secs(1);

/// Keeps the rules.
pub struct Firewall {
    wishes: Wishes,
    config: NetworkConfig,
    tool: Tool,
    /// `None` where the kernel has no nf_tables.
    nft: Option<Nftables>,
    /// Tells of changes in nf_tables, in which the iptables tools may keep their rules too.
    monitor: Option<Monitor>,
    /// When to look without being told: after a failure, and with tables that tell nothing.
    look_at: Option<Instant>,
    period: Duration,
    /// When to see whether somebody has begun to use the old iptables tables, which tell nothing of it.
    peek_at: Instant,
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

impl Firewall {
    /// Chooses the tool; writes nothing.
    ///
    /// # Errors
    /// The tool that was asked for is not there.
    pub fn new(options: &Options, config: &NetworkConfig, metrics: Metrics) -> Result<Self, FlanneldError> {
        let mut wishes = Wishes {
            masquerade: options.ip_masq,
            forward: options.forward_rules,
            random_fully: options.masq_random_fully,
        };
        let monitor = Monitor::open().ok();
        let nft = Nftables::connect().and_then(|mut nft| nft.generation().map(|_| nft)).ok();
        let nftables = match (options.firewall, config.enable_nftables) {
            (FirewallChoice::Nftables, _) | (FirewallChoice::Auto, Some(true)) => true,
            (FirewallChoice::Iptables, _) | (FirewallChoice::Auto, Some(false)) => false,
            (FirewallChoice::Auto, None) => nft.is_some(),
        };
        let tool = if nftables {
            Tool::Nftables { legacy: Iptables::legacy_in_use() }
        } else {
            let iptables = Iptables::find().map_err(FlanneldError::Firewall)?;
            wishes.random_fully &= iptables.has_random_fully();
            Tool::Iptables(iptables)
        };
        let name = if nftables { "nftables" } else { "iptables" };
        tracing::info!(
            tool = name,
            masquerade = wishes.masquerade,
            forward = wishes.forward,
            "firewall rules"
        );
        let config = config.clone();
        Ok(Self {
            wishes,
            config,
            tool,
            nft,
            monitor,
            look_at: None,
            counted: None,
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
        self.write(&rules).await.map_err(FlanneldError::Firewall)?;
        if self.counted.is_none() {
            // An earlier run may have counted.
            self.account();
        }
        self.look_at = self.tool.tells_nothing().then(|| Instant::now() + self.period);
        Ok(())
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
            let told = async {
                match &mut self.monitor {
                    Some(monitor) => foreign_change(monitor, own_port).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = timer => return,
                () = tokio::time::sleep_until(self.peek_at) => {
                    self.peek_at = Instant::now() + self.period;
                    if self.tool.should_take_up_legacy() {
                        return;
                    }
                    continue;
                }
                () = told => {}
            }
            let soon = Instant::now() + GATHER;
            self.look_at = Some(due.map_or(soon, |due| due.min(soon)));
        }
    }

    /// Looks, and writes what is missing. A failure is logged and tried again.
    pub async fn sync(&mut self, node: &Node) {
        self.account();
        let rules = self.rules(&node.subnets);
        let wait = match self.write(&rules).await {
            Ok(written) => {
                if written {
                    tracing::info!("firewall rules had been changed; put back");
                }
                self.tool.tells_nothing().then_some(self.period)
            }
            Err(error) => {
                tracing::warn!(error = chain(&error), "firewall rules could not be written; trying again");
                Some(RETRY)
            }
        };
        self.look_at = wait.map(|wait| Instant::now() + wait);
    }

    /// Counts the packets of these peers from now on; of nobody with `None`.
    pub fn count(&mut self, counted: Option<Counted>) {
        if self.counted != counted {
            self.counted = counted;
            self.account();
        }
    }

    fn account(&mut self) {
        let Some(nft) = &mut self.nft else { return };
        let accounted = tokio::task::block_in_place(|| match &self.counted {
            Some(counted) => accounting::sync(nft, counted),
            None => accounting::remove(nft),
        });
        if let Err(error) = accounted {
            tracing::warn!(error = chain(&error), "the packets of the peers are not counted");
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
    async fn write(&mut self, rules: &[Rules]) -> Result<bool, HostError> {
        let (tool, nft) = (&mut self.tool, &mut self.nft);
        let written = tokio::task::block_in_place(|| match (tool, nft) {
            (Tool::Nftables { legacy }, Some(nft)) => {
                if legacy.is_none() && iptables::legacy_tables_exist() {
                    *legacy = Iptables::legacy_in_use();
                }
                let written = nftables::sync(nft, rules)?;
                let also = legacy.as_ref().map_or(Ok(false), |legacy| legacy.accept_where_dropped(rules))?;
                Ok(written || also)
            }
            // The error of the connection names the cause.
            (Tool::Nftables { .. }, None) => Nftables::connect().map(|_| false),
            (Tool::Iptables(iptables), nft) => {
                nft.as_mut().map_or(Ok(()), nftables::remove_own_tables)?;
                iptables.sync(rules)
            }
        })?;
        if written {
            self.metrics.firewall_written();
        }
        Ok(written)
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

/// Removes all rules of ours, and of flannel, whichever tool wrote them.
///
/// # Errors
/// The first refusal, after trying all.
pub fn remove() -> Result<(), HostError> {
    let nft =
        Nftables::connect().and_then(|mut nft| nftables::remove(&mut nft).and(accounting::remove(&mut nft)));
    let legacy = Iptables::legacy_in_use().map_or(Ok(()), |legacy| legacy.remove());
    nft.and(legacy)
}

fn concerns(table: &TableId) -> bool {
    *table == accounting::table() || nftables::concerns(table)
}

/// Waits for somebody else's change to a table that concerns us.
async fn foreign_change(monitor: &mut Monitor, own_port: Option<u32>) {
    loop {
        match monitor.next().await {
            Ok(Event::Changed(change)) if Some(change.port) == own_port => {}
            Ok(Event::Changed(change)) if !change.tables.iter().any(concerns) => {}
            Ok(Event::Changed(_) | Event::Lost) => return,
            Err(error) => {
                tracing::warn!(%error, "no more word of changes in nf_tables");
                std::future::pending::<()>().await;
            }
        }
    }
}
