//! What follows a pass: stale UDP flows go, health-check node ports open and close, the operator is told what to know.
//!
//! Owns: what of it could not be done yet, and when it is tried again. No pass waits for that, and a failure of one
//! keeps nothing else from being done. Begin at [`FollowUps::due`].
//! Never: takes a look that failed for a look that found nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use proxy_core::advice::{Advice, advise};
use proxy_core::conntrack::StaleFlows;
use proxy_core::health::places;
use proxy_core::names::Family;
use proxy_core::options::Options;
use proxy_core::table::ServiceTable;

use crate::addresses::LocalAddresses;
use crate::bridges::Bridges;
use crate::conntrack::Sweeper;
use crate::daemon::retry::NextTry;
use crate::health::{NodePorts, PortFailure, ProxyHealth};
use crate::metrics::Metrics;

/// The longest wait for another attempt: kube-proxy's own for a port.
const LONGEST: Duration = Duration::from_secs(5);

pub(super) struct FollowUps {
    addresses: LocalAddresses,
    flows: Sweeper,
    /// UDP flows that changes since the last complete look may have made stale.
    pub stale_flows: StaleFlows,
    flows_retry: NextTry,
    ports: NodePorts,
    ports_retry: NextTry,
    bridges: Bridges,
    /// What holds, and was said.
    advice: BTreeSet<Advice>,
}

impl FollowUps {
    pub fn new(addresses: LocalAddresses, bridges: Bridges, health: ProxyHealth) -> Self {
        Self {
            addresses,
            flows: Sweeper::default(),
            stale_flows: StaleFlows::default(),
            flows_retry: NextTry::new(LONGEST),
            ports: NodePorts::new(health),
            ports_retry: NextTry::new(LONGEST),
            bridges,
            advice: BTreeSet::new(),
        }
    }

    /// Returns when something has to be done, or done again. `written`: the kernel holds the rules of the table; without
    /// them a deleted flow would come back. Cancel safe.
    pub async fn due(&mut self, written: bool) {
        tokio::select! {
            () = self.addresses.changed() => {}
            () = self.bridges.changed() => {}
            () = self.flows_retry.due(), if written => {}
            () = self.ports_retry.due() => {}
        }
    }

    /// Deletes UDP flows that lead nowhere. New rules are there already, so that none comes back.
    pub fn sweep(&mut self, families: &[Family], table: &ServiceTable, metrics: &Metrics) {
        if !self.flows_retry.is_calm() && !self.flows_retry.is_due() {
            return;
        }
        let local = self.addresses.now();
        let mut complete = true;
        for family in families {
            let start = Instant::now();
            match self.flows.sweep(&mut self.stale_flows, *family, &table.node, local.as_deref()) {
                Ok(Some(deleted)) => metrics.conntrack_cleaned(*family, start.elapsed(), deleted),
                Ok(None) => {}
                Err(_) => complete = false,
            }
        }
        self.flows_retry.after(complete);
    }

    /// Says what an operator should know, each once for as long as it holds.
    pub fn advise(&mut self, options: &Options, table: &ServiceTable) {
        let now = advise(options, table, self.bridges.now().as_deref());
        now.difference(&self.advice).for_each(|advice| tracing::warn!("{advice}"));
        self.advice.difference(&now).for_each(|advice| tracing::info!("no longer so: {advice}"));
        self.advice = now;
    }

    /// Opens and closes health-check node ports; returns those that could not be opened and were not told of yet.
    pub fn open_ports(&mut self, families: &[Family], table: &ServiceTable) -> Vec<PortFailure> {
        let local = self.addresses.now();
        let failures = self.ports.sync(&table.health, &places(&table.node, families, local.as_deref()));
        self.ports_retry.after(self.ports.is_complete());
        failures
    }
}
