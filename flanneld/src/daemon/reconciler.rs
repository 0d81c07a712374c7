//! The one task that owns the kernel's tables: a look, a plan, its execution.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flanneld_core::attention::{Attention, Parts};
use flanneld_core::book::LeaseBook;
use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::{LeaseAttrs, Subnets};
use flanneld_core::mac::Mac;
use flanneld_core::overlay::{self, Ignored, Node, View};
use flanneld_core::tables::{self, Op, Ownership, RouteKey};
use host::netlink::Netlink;
use ipnet::IpNet;
use tokio::sync::Notify;

use super::contests::Contests;
use crate::accounting::Counted;
use crate::error::{FlanneldError, chain};
use crate::kernel::{self, Failure, Observed, Raw, Shield};
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::udp::{self, UdpPath, UdpSpec};
use crate::underlay::{self, Standing, Successor};

/// What a pass found out.
#[derive(Debug, Default)]
pub struct Pass {
    /// Writes that the kernel refused; not empty means that another pass is due soon.
    pub failures: Vec<Failure>,
    /// What keeps the overlay from working although nothing was refused: the underlay or the data path is not there.
    pub missing: Option<String>,
    /// The underlay has another address for good: everything begins again there.
    pub moved: Option<String>,
    /// The pass could not be made; nothing is known of the tables.
    pub failed: Option<String>,
}

impl Pass {
    fn without(missing: String) -> Self {
        Self { missing: Some(missing), ..Self::default() }
    }

    /// A pass that ended with an error.
    pub fn failed(error: String) -> Self {
        Self { failed: Some(error), ..Self::default() }
    }

    /// It says nothing of the tables.
    pub fn is_blind(&self) -> bool {
        self.failed.is_some()
    }

    /// What keeps the tables from being complete, in one line.
    pub fn trouble(&self) -> Option<String> {
        let refused = || self.failures.first().map(|first| describe(first, self.failures.len()));
        self.failed.clone().or_else(|| self.missing.clone()).or_else(refused)
    }

    /// Whether the overlay itself stands. One peer that cannot be routed to does not keep the node back.
    pub fn carries_packets(&self) -> bool {
        let own =
            |failure: &Failure| matches!(failure.op, Op::AddLink(..) | Op::SetLink(..) | Op::AddAddress(..));
        self.missing.is_none() && !self.failures.iter().any(own)
    }
}

/// What the start knows of the world around.
pub struct Surroundings {
    /// Finds what takes the place of an address that this host loses.
    pub successor: Successor,
    /// Networks of earlier configurations.
    pub former: Vec<IpNet>,
    /// Addresses outside of this host that no lease may cover, with what they are.
    pub guarded: BTreeMap<IpAddr, String>,
}

/// Keeps the kernel as the leases want it.
pub struct Reconciler {
    netlink: Netlink,
    config: NetworkConfig,
    ours: Ownership,
    node: Node,
    /// The kernel's tables as they were read last, and which of them are not as they were.
    raw: Raw,
    stale: Parts,
    attention: Arc<Attention>,
    /// How to make the udp data path; `None` with the other backends.
    udp: Option<UdpSpec>,
    /// The udp data path has worked in this life.
    ran_udp: bool,
    peers: Peers,
    metrics: Metrics,
    /// Finds what takes the place of an address that this host loses.
    successor: Successor,
    /// Leases found useless at the last pass, so that each is reported once.
    reported: BTreeMap<Subnets, Ignored>,
    /// MAC addresses that several peers share, as reported last.
    shared: BTreeMap<Mac, BTreeSet<IpAddr>>,
    contests: Contests,
    /// When repairs are due that have to wait.
    held: Option<Instant>,
    shield: Shield,
    /// Addresses outside of this host that no lease may cover, with what they are.
    guarded: BTreeMap<IpAddr, String>,
    last_pass: Duration,
}

impl Reconciler {
    pub fn new(
        netlink: Netlink,
        config: NetworkConfig,
        node: Node,
        udp: Option<UdpSpec>,
        peers: Peers,
        metrics: Metrics,
        surroundings: Surroundings,
    ) -> Result<Self, FlanneldError> {
        let ours = overlay::ownership(&config, &node, surroundings.former)?;
        Ok(Self {
            netlink,
            config,
            ours,
            node,
            raw: Raw::default(),
            stale: Parts::ALL,
            attention: Arc::default(),
            udp,
            ran_udp: false,
            successor: surroundings.successor,
            peers,
            metrics,
            reported: BTreeMap::new(),
            shared: BTreeMap::new(),
            contests: Contests::default(),
            held: None,
            shield: Shield::default(),
            guarded: surroundings.guarded,
            last_pass: Duration::ZERO,
        })
    }

    pub fn node(&self) -> &Node {
        &self.node
    }

    /// How long the last pass took.
    pub fn last_pass(&self) -> Duration {
        self.last_pass
    }

    /// Wakes up whenever somebody asks about the peers.
    pub fn questions(&self) -> Arc<Notify> {
        self.peers.questions()
    }

    /// Whose packets the kernel is to count: all usable peers', where it carries them and somebody asks.
    pub fn counted(&self, leases: &LeaseBook) -> Option<Counted> {
        let pool = self.config.v4.as_ref().filter(|_| self.peers.need_kernel_counters())?;
        let usable = leases.peers().filter(|(subnets, _)| !self.reported.contains_key(subnets));
        let peers = usable.map(|(subnets, attrs)| (subnets.v4, attrs.public_ip)).collect();
        Some(Counted { length: pool.subnet_len, peers })
    }

    /// The largest packet of a pod, as of the last look at the underlay.
    pub fn pod_mtu(&self) -> u32 {
        overlay::pod_mtu(&self.config, &self.node.underlay)
    }

    /// One pass: read what has changed, plan, write.
    ///
    /// # Errors
    /// Where no pass can help: a foreign link in the way, a data path that cannot be had.
    pub async fn pass(&mut self, leases: &LeaseBook) -> Result<Pass, FlanneldError> {
        let start = Instant::now();
        let seen = self.observe().await?;
        let missing = match self.standing(&seen).await {
            Ok(missing) => missing,
            Err(pass) => return Ok(pass),
        };
        let view = self.view(leases, &seen).await;
        let wanted = overlay::wanted(&self.config, &self.node, leases.peers(), &view)?;
        if let Some(conflict) = tables::conflicts(&wanted.tables, &seen.tables).into_iter().next() {
            return Err(conflict.into());
        }
        let seen = match self.heal_udp() {
            Ok(false) => seen,
            Ok(true) => {
                self.ran_udp = true;
                self.observe().await?
            }
            // It has worked before: what it needs (an address, a port) comes back, or a person brings it.
            Err(error) if self.ran_udp => return Ok(Pass::without(error.chain())),
            Err(error) => return Err(error),
        };
        self.set_udp_peers(&wanted.udp_peers)?;
        self.sync_udp_bridge(&seen).await;
        for name in wanted.tables.links.keys().filter(|name| seen.links.contains_key(*name)) {
            self.shield.cover(name);
        }
        let plan = tables::plan(&wanted.tables, &seen.tables);
        let plan = plan.into_iter().map(|op| adopt(op, &wanted.adopted)).collect();
        let (plan, held) = self.contests.hold_back(plan, Instant::now());
        self.held = held;
        let ops = plan.len();
        for op in &plan {
            tracing::debug!(%op, "plan");
        }
        let failures = kernel::apply(&self.netlink, plan, &seen, &mut self.shield, &self.metrics).await;
        if failures.is_empty() {
            self.stale = Parts::default();
        }
        let refused = failures.iter().map(|failure| failure.op.object()).collect();
        self.contests.carried_out(wanted.tables, refused, Instant::now());

        self.report(wanted.ignored);
        self.report_shared(wanted.shared_macs);
        self.metrics.leases(leases.peers().len() - self.reported.len(), self.reported.len());
        self.peers.probe(self.probe_targets(leases));
        self.last_pass = start.elapsed();
        self.metrics.pass(self.last_pass);
        // What is refused is said once, by whoever tries again.
        if ops > failures.len() {
            tracing::info!(ops, failed = failures.len(), took = ?start.elapsed(), "kernel tables brought up to date");
        }
        let blocked = wanted.blocked.first().map(|(key, other)| {
            format!(
                "the route {key} cannot be made, for another program's leads there: {other}; delete that one"
            )
        });
        let missing = missing.or(blocked);
        Ok(Pass { failures, missing, ..Pass::default() })
    }

    /// Something has changed; the next pass reads these tables again.
    pub fn note(&mut self, parts: Parts) {
        self.stale |= parts;
    }

    /// What a change means after the last look.
    pub fn attention(&self) -> Arc<Attention> {
        Arc::clone(&self.attention)
    }

    async fn observe(&mut self) -> Result<Observed, FlanneldError> {
        // Whatever goes wrong from here on, the next look is a full one.
        let parts = std::mem::replace(&mut self.stale, Parts::ALL);
        self.raw.read(&self.netlink, &self.ours, parts).await.map_err(FlanneldError::Observe)?;
        let follows = self.peers.with_udp(|path| path.as_ref().is_some_and(UdpPath::follows_bridge));
        self.attention = Arc::new(Attention {
            all_routes: self.config.backend.overlay().asks_direct(),
            bridge_ports: follows,
            ..self.raw.attention(&self.ours, &self.node.underlay.name)
        });
        Ok(kernel::observed(&self.raw, &self.ours))
    }

    /// What keeps packets from the peers although the tables can be kept as they should be; or a pass that ends here.
    async fn standing(&mut self, seen: &Observed) -> Result<Option<String>, Pass> {
        let standing = underlay::refresh(&mut self.node.underlay, seen);
        let name = &self.node.underlay.name;
        let lost = match standing {
            Standing::Unaddressed(lost) => lost,
            Standing::Gone => {
                return Err(Pass::without(format!(
                    "the underlay interface {name} is gone, so no packet reaches the peers; waiting for it"
                )));
            }
            Standing::Fine | Standing::Down => {
                self.successor.forget();
                let down =
                    || format!("the underlay interface {name} is down, so no packet reaches the peers");
                return Ok((standing == Standing::Down).then(down));
            }
        };
        match self.successor.find(&self.netlink).await {
            Ok(new) => Err(Pass {
                moved: Some(format!(
                    "this host has lost {lost}; {} with {} takes its place",
                    new.underlay.name, new.public_ip
                )),
                ..Pass::default()
            }),
            Err(prospects) => Err(Pass::without(format!(
                "interface {name} has lost {lost}, which the overlay's packets need; {prospects}"
            ))),
        }
    }

    /// When repairs are due that have to wait because somebody undoes them again and again.
    pub fn held(&self) -> Option<Instant> {
        self.held
    }

    /// What the plan has to know of the world around.
    async fn view(&self, leases: &LeaseBook, seen: &Observed) -> View {
        let inside = |ip: &IpAddr| self.ours.networks.iter().any(|network| network.contains(ip));
        let own = seen.addresses_of_others(&self.ours).filter(|(ip, _)| inside(ip));
        let mut guarded: BTreeMap<IpAddr, String> =
            own.map(|(ip, link)| (ip, format!("this node's own address on {link}"))).collect();
        let gateways = seen.gateways.iter().filter(|ip| inside(ip));
        guarded.extend(gateways.map(|ip| (*ip, "the default gateway".to_owned())));
        guarded.extend(self.guarded.clone());
        View {
            direct: self.direct(leases).await,
            foreign: seen.foreign.clone(),
            guarded,
            underlay: seen.networks_of(self.node.underlay.index),
        }
    }

    /// What only the kernel can answer: which peers need no gateway.
    async fn direct(&self, leases: &LeaseBook) -> BTreeSet<IpAddr> {
        if !self.config.backend.overlay().asks_direct() {
            return BTreeSet::new();
        }
        let addresses: BTreeSet<IpAddr> =
            leases.peers().flat_map(|(_, attrs)| public_addresses(attrs)).collect();
        let asked = addresses.iter().map(async |ip| match self.netlink.route_to(*ip).await {
            Ok(Some(path)) if path.via.is_none() && !path.local => Some(*ip),
            _ => None,
        });
        futures::future::join_all(asked).await.into_iter().flatten().collect()
    }

    /// Whether there is a udp data path to keep whole.
    pub fn runs_udp(&self) -> bool {
        self.ran_udp
    }

    /// Whether the udp data path is whole, as far as there is one. The kernel does not tell when somebody detaches
    /// a packet program, so whoever wants to know has to ask: some microseconds.
    pub fn udp_is_whole(&self) -> bool {
        self.peers.with_udp(|path| path.as_mut().is_none_or(UdpPath::healthy))
    }

    /// Makes the udp data path, or mends it. True if something was done, so that a look before it is stale.
    fn heal_udp(&mut self) -> Result<bool, FlanneldError> {
        let Some(spec) = &mut self.udp else { return Ok(false) };
        let moved = spec.follow(&self.node.underlay, overlay::pod_mtu(&self.config, &self.node.underlay));
        self.peers.with_udp(|path| {
            let mended = udp::ensure(path, spec, moved).map_err(FlanneldError::Udp)?;
            if let Some(path) = path.as_ref().filter(|_| mended) {
                let chosen = path.datapath();
                tracing::info!(datapath = %chosen.datapath, why = chosen.why, "udp data path");
                self.metrics.datapath("udp", chosen.datapath.label());
            }
            Ok(mended)
        })
    }

    /// Tells the udp data path where the pods are now.
    async fn sync_udp_bridge(&self, seen: &Observed) {
        if !self.peers.with_udp(|path| path.as_ref().is_some_and(UdpPath::follows_bridge)) {
            return;
        }
        let bridge = match seen.bridge_in(self.node.subnets.v4.into()) {
            Some(index) => match self.netlink.bridge_ports(index).await {
                Ok(ports) => Some(ebpf::overlay::Bridge { index, ports }),
                Err(error) => {
                    return tracing::debug!(error = chain(&error), "the pods' bridge stays as it was");
                }
            },
            None => None,
        };
        self.peers.with_udp(|path| path.as_mut().map_or((), |path| path.sync_bridge(bridge.as_ref())));
    }

    /// What is due from time to time: the udp data path's trust in silent peers goes, and settings of our links are
    /// looked at of whose change the kernel tells nobody.
    pub fn age(&mut self) {
        for link in self.ours.overlay_links.iter().chain(&self.ours.bridge) {
            self.shield.cover(link);
        }
        self.peers.with_udp(|path| path.as_mut().map_or((), UdpPath::age));
    }

    fn set_udp_peers(
        &self,
        wanted: &BTreeMap<ipnet::Ipv4Net, std::net::Ipv4Addr>,
    ) -> Result<(), FlanneldError> {
        self.peers
            .with_udp(|path| path.as_mut().map_or(Ok(()), |path| path.set_peers(wanted)))
            .map_err(FlanneldError::Udp)
    }

    /// Says once of each lease why it is of no use.
    fn report(&mut self, ignored: Vec<(Subnets, Ignored)>) {
        let ignored: BTreeMap<Subnets, Ignored> = ignored.into_iter().collect();
        for (subnets, reason) in &ignored {
            if self.reported.get(subnets) != Some(reason) {
                tracing::warn!(lease = %subnets, %reason, "this lease is left out");
            }
        }
        self.reported = ignored;
    }

    /// Says once which peers share a MAC, few lines for however many.
    fn report_shared(&mut self, shared: BTreeMap<Mac, BTreeSet<IpAddr>>) {
        const SAID: usize = 3;
        let shared: BTreeMap<_, _> = shared.into_iter().filter(|(_, holders)| holders.len() > 1).collect();
        let new: Vec<_> =
            shared.iter().filter(|(mac, holders)| self.shared.get(mac) != Some(holders)).collect();
        for (mac, holders) in new.iter().take(SAID) {
            let some: Vec<String> = holders.iter().take(SAID).map(IpAddr::to_string).collect();
            tracing::warn!(
                %mac, nodes = holders.len(),
                "several nodes publish one MAC for their tunnel ({}{}), and only one of them gets packets: on the \
                 others delete the link flannel.VNI and restart flanneld (machines made from one image?)",
                some.join(", "),
                if holders.len() > SAID { ", ..." } else { "" }
            );
        }
        if new.len() > SAID {
            tracing::warn!("and {} more MAC addresses are shared", new.len() - SAID);
        }
        self.shared = shared;
    }

    /// Through the overlay where it has an address of its own there, else the peer itself.
    fn probe_targets(&self, leases: &LeaseBook) -> BTreeMap<IpAddr, IpAddr> {
        let through_overlay = self.config.backend.overlay().answers_inside();
        let usable = leases.peers().filter(|(subnets, _)| !self.reported.contains_key(subnets));
        usable
            .map(|(subnets, attrs)| {
                let public = IpAddr::from(attrs.public_ip);
                let inside = IpAddr::from(subnets.v4.network());
                (public, if through_overlay { inside } else { public })
            })
            .collect()
    }
}

fn public_addresses(attrs: &LeaseAttrs) -> impl Iterator<Item = IpAddr> {
    [Some(IpAddr::from(attrs.public_ip)), attrs.public_ipv6.map(IpAddr::from)].into_iter().flatten()
}

/// A route that is as the original made it is not added but replaced, so that it bears our number.
fn adopt(op: Op, adopted: &BTreeSet<RouteKey>) -> Op {
    match op {
        Op::AddRoute(key, route) if adopted.contains(&key) => Op::SetRoute(key, route),
        op => op,
    }
}

/// The first of some writes that were refused, and how many more there are.
fn describe(Failure { op, error }: &Failure, all: usize) -> String {
    let hint = match (op, error.errno()) {
        (
            Op::AddRoute(..) | Op::SetRoute(..),
            Some(libc::EINVAL | libc::ENETUNREACH | libc::EHOSTUNREACH),
        ) => " (its gateway is not on the interface's network: host-gw and direct routes need a common link)",
        _ => "",
    };
    let more = match all {
        1 => String::new(),
        all => format!(" (and {} more)", all - 1),
    };
    format!("{op}: {}{hint}{more}", chain(error))
}
