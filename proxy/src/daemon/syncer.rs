//! Keeps the kernel as the objects want it: table and rules here, what follows a pass in [`follow_ups`].

mod follow_ups;
mod pending;

use std::time::{Instant, SystemTime};

use apiclient::{Event, EventRecorder, Reference};
use proxy_core::cluster::{Change, Cluster};
use proxy_core::lacking::Lacking;
use proxy_core::names::Family;
use proxy_core::objects::Kind;
use proxy_core::options as core;
use proxy_core::table::{ServiceTable, TableDelta};

use self::follow_ups::FollowUps;
use self::pending::{Dated, Pending, family_of, kind_of};
use super::kernel::KernelSettings;
use super::questions::Question;
use crate::addresses::LocalAddresses;
use crate::announce::Announcing;
use crate::backends::{AnyBackend, Applied, BackendError};
use crate::bridges::Bridges;
use crate::health::ProxyHealth;
use crate::metrics::{Metrics, ServiceCount, Sync};
use crate::modes::{self, Mode};
use crate::options::{Feed, Options};

/// What the syncer follows besides the objects, and sets besides the rules.
pub(super) struct Surroundings {
    pub settings: KernelSettings,
    pub addresses: LocalAddresses,
    pub bridges: Bridges,
    /// Told of the addresses that this node can serve; None: nobody is.
    pub announcing: Option<Announcing>,
}

/// Why the syncer has something to do.
pub(super) enum Wake {
    /// Somebody else has changed our rules, or that could not be told: a pass is due.
    Disturbed(Result<(), BackendError>),
    FollowUp,
}

pub(super) struct Syncer<B: ?Sized> {
    options: core::Options,
    mode: Mode,
    /// Objects from files need not include Nodes.
    nodes_are_known: bool,
    node_was_there: bool,
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
    follow_ups: FollowUps,
    settings: KernelSettings,
    announcing: Option<Announcing>,
    health: ProxyHealth,
    metrics: Metrics,
    events: EventRecorder,
}

impl<B: AnyBackend + ?Sized> Syncer<B> {
    pub fn new(
        options: &Options,
        backend: Box<B>,
        Surroundings { settings, addresses, bridges, announcing }: Surroundings,
        health: ProxyHealth,
        metrics: Metrics,
        events: EventRecorder,
    ) -> Self {
        events.emit(starting(&options.node_name));
        Self {
            options: options.core(),
            mode: options.mode,
            nodes_are_known: !matches!(options.feed, Feed::Directory(_)),
            node_was_there: false,
            families: modes::families(),
            cluster: Cluster::default(),
            table: ServiceTable::default(),
            backend,
            pending: Pending::default(),
            behind: true,
            synced: false,
            started: SystemTime::now(),
            lacking: Lacking::default(),
            follow_ups: FollowUps::new(addresses, bridges, health.clone()),
            settings,
            announcing,
            health,
            metrics,
            events,
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
            // Not with the next pass, which may fail.
            Kind::Node => self.follow_node(),
            Kind::ServiceCidr => {}
        }
        // What was before this process is no measure of it: kube-proxy leaves that out too.
        let triggered = triggered.filter(|triggered| *triggered >= self.started);
        let change = Dated { family, at, triggered };
        for family in self.families.iter().filter(|family| change.is_about(**family)) {
            self.metrics.queued(*family);
            self.health.queued(*family);
        }
        self.pending.add(touched, change);
    }

    pub fn has_work(&self) -> bool {
        self.behind || !self.pending.touched.is_empty()
    }

    /// Returns when there is something to do besides what changes of the objects ask for. `calm`: no failed pass waits
    /// for its repetition, which would look at everything anyway. Cancel safe.
    pub async fn wake(&mut self, calm: bool) -> Wake {
        let outcome = tokio::select! {
            outcome = self.backend.disturbed(), if calm => outcome,
            () = self.follow_ups.due(!self.behind) => return Wake::FollowUp,
        };
        self.behind = true;
        Wake::Disturbed(outcome)
    }

    /// Tries again what could not be done after a pass, or does what other addresses of the node ask for.
    pub fn follow_up(&mut self) {
        if !self.behind {
            self.sweep();
        }
        if self.synced {
            self.open_ports();
            self.follow_ups.advise(&self.options, &self.table);
        }
    }

    /// Everything that has arrived goes to the kernel.
    ///
    /// # Errors
    /// The kernel is not as it should be; the next pass looks at everything.
    pub fn pass(&mut self) -> Result<(), BackendError> {
        let start = Instant::now();
        let touched = std::mem::take(&mut self.pending.touched);
        let delta = self.table.rebuild(&self.cluster, &self.options, &touched);
        self.report(&delta);
        self.follow_ups.stale_flows.add(&delta, &self.table);
        self.lacking.follow(&delta);
        if let Some(announcing) = &mut self.announcing {
            announcing.follow(&delta);
        }
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
        if let Some(announcing) = &mut self.announcing {
            announcing.written(&self.table.node.addresses);
        }
        if everything {
            self.follow_ups.stale_flows.add_all(&self.table);
            self.settings.again();
        }
        self.sweep();
        if everything || !delta.health.is_empty() || delta.node_before.is_some() {
            self.open_ports();
        }
        // A family may have got its first service, or lost its last.
        if everything
            || delta.node_before.is_some()
            || delta.ports.iter().any(|port| port.old.is_none() || port.new.is_none())
        {
            self.follow_ups.advise(&self.options, &self.table);
        }
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

    fn count_rules(&self) {
        for count in self.backend.rules() {
            self.metrics.iptables_rules(count.family, count.table, count.all, count.last);
        }
    }

    /// New connections of each service port, for the metrics.
    fn connections(&mut self) -> Vec<ServiceCount> {
        let counted = self.backend.connections(&self.table);
        self.count_rules();
        match counted {
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
        self.count_rules();
    }

    fn sweep(&mut self) {
        self.follow_ups.sweep(&self.families, &self.table, &self.metrics);
    }

    fn open_ports(&mut self) {
        for failure in self.follow_ups.open_ports(&self.families, &self.table) {
            tracing::warn!("{failure}");
            self.events.emit(failure.event(&self.options.node_name));
        }
    }

    /// Whether load balancers should send anything here: until a Node says otherwise, as kube-proxy does.
    fn follow_node(&mut self) {
        let eligible = match self.cluster.node(&self.options.node_name) {
            Some(node) => {
                self.node_was_there = true;
                !node.leaving
            }
            // Objects from files need not include Nodes.
            None => !(self.node_was_there && self.nodes_are_known),
        };
        self.health.set_node_eligible(eligible);
    }
}

/// kube-proxy's own first event.
fn starting(node: &str) -> Event {
    Event {
        regarding: Reference {
            api_version: "v1".into(),
            kind: "Node".into(),
            name: node.to_owned(),
            ..Reference::default()
        },
        reason: "Starting".into(),
        action: "StartKubeProxy".into(),
        note: String::new(),
        warning: false,
    }
}

#[cfg(test)]
mod tests;
