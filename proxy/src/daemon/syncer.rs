//! Keeps the kernel as the objects want it: table, rules, UDP flows, health-check ports.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Instant, SystemTime};

use proxy_core::cluster::{Change, Cluster, Touched};
use proxy_core::conntrack::StaleFlows;
use proxy_core::names::Family;
use proxy_core::objects::{Kind, Object};
use proxy_core::options as core;
use proxy_core::table::{Action, Frontend, FrontendKind, ServicePort, ServiceTable, TableDelta};

use super::questions::Question;
use crate::backends::{AnyBackend, Applied, BackendError};
use crate::conntrack::{self, Sweeper};
use crate::feeds::kubernetes::{About, Herald, News};
use crate::health::{NodePorts, ProxyHealth};
use crate::metrics::{Metrics, ServiceCount, Sync};
use crate::modes::{self, Mode};
use crate::options::{Feed, Options};

pub(super) struct Syncer<B: ?Sized> {
    options: core::Options,
    mode: Mode,
    /// Objects from files need not include Nodes.
    nodes_are_known: bool,
    families: Vec<Family>,
    cluster: Cluster,
    table: ServiceTable,
    backend: Box<B>,
    pending: Pending,
    /// The kernel does not, or may not, hold the table of the last pass.
    behind: bool,
    /// A pass has been completed.
    synced: bool,
    started: SystemTime,
    lacking: Lacking,
    flows: Sweeper,
    /// UDP flows that changes since the last complete pass may have made stale.
    stale_flows: StaleFlows,
    node_ports: NodePorts,
    health: ProxyHealth,
    metrics: Metrics,
    herald: Herald,
}

/// What has arrived since the last pass that was completed.
#[derive(Default)]
struct Pending {
    touched: Touched,
    /// For the metrics.
    changes: Vec<Dated>,
}

/// When a change of the objects happened.
struct Dated {
    /// None: it may be about both.
    family: Option<Family>,
    /// When the feed read it.
    at: Instant,
    /// When its cause was, where the change says so.
    triggered: Option<SystemTime>,
}

impl Dated {
    fn is_about(&self, family: Family) -> bool {
        self.family.is_none_or(|of| of == family)
    }
}

/// So many changes are timed in one pass: more come together only where passes fail for long.
const TIMED: usize = 1 << 14;

impl<B: AnyBackend + ?Sized> Syncer<B> {
    pub fn new(
        options: &Options,
        backend: Box<B>,
        health: ProxyHealth,
        metrics: Metrics,
        herald: Herald,
    ) -> Self {
        herald.tell(starting(&options.node_name));
        Self {
            options: options.core(),
            mode: options.mode,
            nodes_are_known: !matches!(options.feed, Feed::Directory(_)),
            families: modes::families(),
            cluster: Cluster::default(),
            table: ServiceTable::default(),
            backend,
            pending: Pending::default(),
            behind: true,
            synced: false,
            started: SystemTime::now(),
            lacking: Lacking::default(),
            flows: Sweeper::default(),
            stale_flows: StaleFlows::default(),
            node_ports: NodePorts::new(health.clone()),
            health,
            metrics,
            herald,
        }
    }

    pub fn services(&self) -> usize {
        self.cluster.services().count()
    }

    /// Takes a change of the objects in.
    pub fn note(&mut self, change: Change, at: Instant, triggered: Option<SystemTime>) {
        let (kind, family) = (kind_of(&change), family_of(&change));
        let touched = self.cluster.apply(change);
        if touched.is_empty() {
            return;
        }
        match kind {
            Kind::EndpointSlice => self.metrics.endpoint_change(),
            Kind::Service => self.metrics.service_change(),
            Kind::Node | Kind::ServiceCidr => {}
        }
        // What was before this process is no measure of it: kube-proxy leaves that out too.
        let triggered = triggered.filter(|triggered| *triggered >= self.started);
        let change = Dated { family, at, triggered };
        for family in self.families.iter().filter(|family| change.is_about(**family)) {
            self.metrics.queued(*family);
            self.health.queued(*family);
        }
        self.pending.touched.merge(touched);
        if self.pending.changes.len() < TIMED {
            self.pending.changes.push(change);
        }
    }

    pub fn has_work(&self) -> bool {
        self.behind || !self.pending.touched.is_empty()
    }

    /// Returns when somebody else has changed our rules; a pass is due then.
    pub async fn disturbed(&mut self) -> Result<(), BackendError> {
        let outcome = self.backend.disturbed().await;
        self.behind = true;
        outcome
    }

    /// Everything that has arrived goes to the kernel.
    ///
    /// # Errors
    /// The kernel is not as it should be; the next pass looks at everything.
    pub async fn pass(&mut self) -> Result<(), BackendError> {
        let start = Instant::now();
        let touched = std::mem::take(&mut self.pending.touched);
        let delta = self.table.rebuild(&self.cluster, &self.options, &touched);
        self.report(&delta);
        self.stale_flows.add(&delta, &self.table);
        self.lacking.follow(&delta);
        // Before anything that may fail: after a failure nothing is known of flows either.
        let everything = std::mem::replace(&mut self.behind, true) || !self.synced;
        let outcome = match everything {
            true => self.backend.sync_full(&self.table),
            false => self.backend.sync_delta(&self.table, &delta),
        };
        let kind = if everything { Sync::Full } else { Sync::Partial };
        let applied = outcome.inspect_err(|_| self.failed(kind))?;
        self.behind = false;
        self.synced = true;
        self.done(applied, start);
        let mut stale_flows = std::mem::take(&mut self.stale_flows);
        if everything {
            stale_flows.add_all(&self.table);
        }
        self.sweep(&stale_flows).await;
        self.follow_health(&delta, everything).await;
        Ok(())
    }

    pub fn answer(&mut self, question: Question) {
        // Who asked may have given up.
        match question {
            Question::Connections(to) => _ = to.send(self.connections()),
            Question::IsWhole(to) => _ = to.send(self.is_whole()),
        }
    }

    /// Looks again whether the kernel holds what is wanted. The next pass repairs what is amiss.
    fn is_whole(&mut self) -> bool {
        if self.has_work() {
            return false;
        }
        let amiss = self.backend.difference(&self.table).unwrap_or_else(|error| error.to_string());
        let whole = amiss.trim().is_empty();
        if !whole {
            tracing::warn!(amiss = amiss.lines().next(), "the kernel does not hold all rules; looking again");
            self.behind = true;
        }
        whole
    }

    /// New connections of each service port, for the metrics.
    fn connections(&mut self) -> Vec<ServiceCount> {
        match self.backend.connections(&self.table) {
            Ok(counts) => counts
                .into_iter()
                .map(|((family, port), connections)| ServiceCount { family, port, connections })
                .collect(),
            Err(error) => {
                tracing::warn!(error = crate::error::chain(&error), "connections could not be counted");
                Vec::new()
            }
        }
    }

    fn report(&self, delta: &TableDelta) {
        for report in &delta.reports {
            tracing::warn!("{report}");
        }
        for change in &delta.ports {
            let endpoints = change.new.as_ref().map(|port| port.cluster.len().max(port.local.len()));
            tracing::debug!(service = %change.key.1, family = %change.key.0, ?endpoints, "changed");
        }
    }

    fn failed(&self, kind: Sync) {
        for family in &self.families {
            self.mode.count_failure(&self.metrics, *family, kind);
        }
    }

    fn done(&mut self, applied: Applied, start: Instant) {
        let took = start.elapsed();
        tracing::debug!(full = applied.full, writes = applied.writes, ?took, "synced");
        let kind = if applied.full { Sync::Full } else { Sync::Partial };
        let pending = std::mem::take(&mut self.pending);
        for family in &self.families {
            self.metrics.synced(*family, kind, took);
            self.health.updated(*family);
            let (internal, external) = self.lacking.of(*family);
            self.metrics.no_local_endpoints(*family, internal, external);
            for change in pending.changes.iter().filter(|change| change.is_about(*family)) {
                self.metrics.applied(*family, change.at.elapsed());
                if let Some(triggered) = change.triggered {
                    self.metrics.programmed(*family, triggered);
                }
            }
        }
        self.metrics.nothing_pending();
    }

    /// Deletes UDP flows that lead nowhere. New rules are there already, so that none comes back.
    async fn sweep(&mut self, stale_flows: &StaleFlows) {
        for family in self.families.clone() {
            let start = Instant::now();
            if let Some(deleted) = self.flows.sweep(stale_flows, family, &self.table.node).await {
                self.metrics.conntrack_cleaned(family, start.elapsed(), deleted);
            }
        }
    }

    async fn follow_health(&mut self, delta: &TableDelta, everything: bool) {
        let eligible = match self.cluster.node(&self.options.node_name) {
            Some(node) => !node.leaving,
            None => !self.nodes_are_known,
        };
        self.health.set_node_eligible(eligible);
        if !everything && delta.health.is_empty() && delta.node_before.is_none() {
            return;
        }
        let addresses = self.health_addresses().await;
        for failure in self.node_ports.sync(&self.table.health, &addresses) {
            tracing::warn!("{failure}");
            self.herald.tell(failure.news(&self.options.node_name));
        }
    }

    /// Where health-check node ports are opened: where node ports are.
    async fn health_addresses(&self) -> Vec<IpAddr> {
        let mut found = Vec::new();
        let mut here: Option<BTreeSet<IpAddr>> = None;
        for family in &self.families {
            let node_ports = &self.table.node.family(*family).node_ports;
            if node_ports.within.is_none() {
                found.push(match family {
                    Family::V4 => Ipv4Addr::UNSPECIFIED.into(),
                    Family::V6 => Ipv6Addr::UNSPECIFIED.into(),
                });
                continue;
            }
            if here.is_none() {
                here = Some(conntrack::local_addresses().await);
            }
            let of_family = here.iter().flatten().filter(|ip| Family::of(**ip) == *family);
            found.extend(of_family.filter(|ip| !ip.is_loopback() && node_ports.covers(**ip)));
        }
        found
    }
}

/// kube-proxy's own first event.
fn starting(node: &str) -> News {
    let (reason, action) = ("Starting", "StartKubeProxy");
    News { about: About::Node(node.into()), reason, action, note: String::new(), warning: false }
}

/// How many service ports have a Local policy and no endpoint on this node, though there are some elsewhere.
#[derive(Debug, Default)]
struct Lacking(BTreeMap<Family, (usize, usize)>);

impl Lacking {
    fn follow(&mut self, delta: &TableDelta) {
        for change in &delta.ports {
            let (internal, external) = self.0.entry(change.key.0).or_default();
            if let Some(old) = &change.old {
                let lacks = lacks(old);
                *internal -= usize::from(lacks.0);
                *external -= usize::from(lacks.1);
            }
            if let Some(new) = &change.new {
                let lacks = lacks(new);
                *internal += usize::from(lacks.0);
                *external += usize::from(lacks.1);
            }
        }
    }

    /// For clients inside, and outside.
    fn of(&self, family: Family) -> (usize, usize) {
        self.0.get(&family).copied().unwrap_or_default()
    }
}

/// For clients inside, and outside: only such a policy drops what has endpoints.
fn lacks(port: &ServicePort) -> (bool, bool) {
    let drops = |frontend: &Frontend| frontend.branches.iter().any(|branch| branch.action == Action::Drop);
    let (inside, outside): (Vec<_>, Vec<_>) =
        port.frontends.iter().partition(|frontend| frontend.kind == FrontendKind::ClusterIp);
    let lacks = |frontends: Vec<&Frontend>| port.any_endpoints && frontends.into_iter().any(drops);
    (lacks(inside), lacks(outside))
}

fn kind_of(change: &Change) -> Kind {
    match change {
        Change::Put(object) => Object::kind(object),
        Change::Delete(kind, _) | Change::Replace(kind, _) => *kind,
    }
}

/// The family that a change is about, where it is one: each slice is of one.
fn family_of(change: &Change) -> Option<Family> {
    match change {
        Change::Put(Object::EndpointSlice(slice)) => Some(slice.family),
        Change::Put(_) | Change::Delete(..) | Change::Replace(..) => None,
    }
}

#[cfg(test)]
mod tests;
