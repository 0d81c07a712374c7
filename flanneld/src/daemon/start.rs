//! From options to a daemon that can begin its loop.

use std::fs;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use flanneld_core::acquire::Identity;
use flanneld_core::config::{Backend, NetworkConfig};
use flanneld_core::lease::Subnets;
use flanneld_core::network_id::NetworkId;
use flanneld_core::overlay::{self, Node, PerFamily, Underlay};
use flanneld_core::tables::LinkName;
use host::netlink::{Netlink, Watch};
use ipnet::IpNet;
use telemetry::http::{Health, Server, Texts, WhenTaken};
use telemetry::{Backoff, Ready};

use super::files::Files;
use super::identity;
use super::lease::{Memory, OwnLease};
use super::reconciler::{Reconciler, Surroundings};
use crate::accounting;
use crate::error::{FlanneldError, chain};
use crate::files::check_writable;
use crate::firewall::Firewall;
use crate::leases::etcd::EtcdSource;
use crate::leases::{LeaseSource, Remedy, SourceError};
use crate::metrics::Metrics;
use crate::options::Options;
use crate::peers::{Peers, Prober};
use crate::udp::UdpSpec;
use crate::underlay::{self, Chosen, Successor};
use crate::vtep::{self, Vteps};

/// flannel's answers, which probes may compare.
const TEXTS: Texts = Texts {
    alive: "flanneld is running",
    ready: "flanneld is ready",
    not_ready: "flanneld is not ready yet",
};

/// flannel's pace when etcd, or the kernel, has no answer, or the wrong one.
const PAUSE: Backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(1));

/// Why a look at the kernel's tables is waited for.
const BUSY: &str = "the kernel's tables cannot be read yet";

/// Everything that the loop works with.
pub struct Started {
    pub reconciler: Reconciler,
    pub firewall: Firewall,
    pub own: OwnLease,
    pub source: Arc<dyn LeaseSource>,
    /// The configuration that the daemon runs with.
    pub config: NetworkConfig,
    pub metrics: Metrics,
    pub changes: Watch,
    pub health: Ready,
    pub files: Files,
    /// Ends with the daemon.
    pub server: Option<Server>,
}

/// Starts everything up to the lease. Writes nothing to the kernel.
///
/// # Errors
/// What no waiting heals. An absent etcd, a missing or malformed configuration are waited out.
pub async fn start(options: &Options) -> Result<Started, FlanneldError> {
    announce(options);
    check_host(options)?;
    let peers = Peers::default();
    let metrics = Metrics::new(peers.clone());
    let (health, server) = serve_health(options, &metrics, &peers).await?;
    let source = lease_source(options)?;
    let memory = Memory::of(&options.subnet_file);
    let former = identity::recorded_networks(&options.subnet_file);
    let config = patiently("the network configuration is not there yet", || source.config()).await?;
    tracing::info!(%config, "network configuration");

    let netlink = Netlink::connect().map_err(FlanneldError::Observe)?;
    let chosen = patiently(BUSY, || underlay::choose(&netlink, options, &config)).await?;
    tracing::info!(
        link = %chosen.underlay.name,
        mtu = chosen.underlay.mtu,
        public_ip = %chosen.public_ip,
        public_ipv6 = chosen.public_ipv6.map(tracing::field::display),
        "interface for the overlay"
    );
    check_mtu(&config, &chosen.underlay)?;
    warn_of_forwarding(&config);

    let (who, vteps) = identify(&netlink, &source, &config, &chosen, &memory).await?;
    let attrs = overlay::lease_attrs(&config, chosen.public_ip, chosen.public_ipv6, vteps);
    let held = patiently("no lease yet", || source.acquire(&config, &attrs, &who)).await?;
    tracing::info!(subnet = %held.lease().subnets, reserved = held.is_reservation(), "lease acquired");
    let own = OwnLease::new(source.clone(), config.clone(), held, who, memory, options.renew_margin);

    let id = identity::network_id(options);
    let networks = config.networks();
    let all: Vec<IpNet> = networks.v4.into_iter().chain(networks.v6).chain(former.iter().copied()).collect();
    let tun = patiently(BUSY, async || identity::tun(&netlink, &id, &all).await).await?;
    let node = Node { id, tun, ..node(options, chosen, own.subnets(), vteps)? };
    let firewall = Firewall::new(options, &config, &node.id, metrics.clone())?;
    start_probes(options, &peers);
    if options.healthz.is_some() && config.backend.overlay().carried_by_kernel() {
        peers.counted_by_kernel(accounting::table(&node.id));
    }
    // Listening begins before the first look, so that nothing falls between them.
    let changes = netlink.watch().map_err(FlanneldError::Observe)?;
    let udp = udp_spec(options, &config, &node);
    if udp.is_none() {
        metrics.datapath(config.backend.name(), "kernel");
    }
    let files = Files::new(options, &config, own.subnets());
    let etcd = underlay::addresses_of(&options.etcd.endpoints);
    let guarded = etcd.into_iter().map(|ip| (ip, "etcd".to_owned())).collect();
    let successor = Successor::new(options, &config);
    let surroundings = Surroundings { successor, former, guarded };
    let reconciler =
        Reconciler::new(netlink, config.clone(), node, udp, peers, metrics.clone(), surroundings)?;
    Ok(Started { reconciler, firewall, own, source, config, metrics, changes, health, files, server })
}

fn announce(options: &Options) {
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "flanneld starts");
    tracing::info!(%options, "options");
    for sentence in options.without_effect() {
        tracing::warn!("{sentence}");
    }
}

/// What would fail later for certain fails now, while nothing has been written and no lease is taken.
fn check_host(options: &Options) -> Result<(), FlanneldError> {
    // /proc/self/status tells the effective capabilities in hexadecimal; CAP_NET_ADMIN is bit 12 (capability.h).
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:"));
    if effective
        .and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .is_some_and(|bits| bits & 1 << 12 == 0)
    {
        return Err(FlanneldError::NotAllowed);
    }
    for file in [Some(&options.subnet_file), options.cni_conf.as_ref()].into_iter().flatten() {
        check_writable(file)?;
    }
    Ok(())
}

async fn serve_health(
    options: &Options,
    metrics: &Metrics,
    peers: &Peers,
) -> Result<(Ready, Option<Server>), FlanneldError> {
    let (text, peers, accounting) = (metrics.clone(), peers.clone(), options.peer_accounting);
    let health = Health::new(TEXTS, move |request| {
        if accounting.is_for(request.is_from_this_host()) {
            peers.ask();
        }
        text.encode()
    });
    let ready = health.readiness();
    let server = match options.healthz {
        Some(address) => {
            let routes = health.routes();
            Some(telemetry::http::serve("health and metrics", address, routes, WhenTaken::Fail).await?)
        }
        None => None,
    };
    Ok((ready, server))
}

/// Where the configuration and the leases are.
fn lease_source(options: &Options) -> Result<Arc<dyn LeaseSource>, FlanneldError> {
    let source = EtcdSource::new(&options.etcd, options.lease_ttl).map_err(FlanneldError::Lease)?;
    Ok(Arc::new(source))
}

/// Asks until there is an answer that can be used. Each new reason to wait is said once.
async fn patiently<T, E: Into<FlanneldError> + Patience>(
    waiting: &'static str,
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T, FlanneldError> {
    let (mut pause, mut said) = (PAUSE, String::new());
    loop {
        let error = match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if !error.is_waited_out() => return Err(error.into()),
            Err(error) => chain(&error),
        };
        if error != said {
            tracing::warn!(error, "{waiting}; asking again every second");
            said = error;
        }
        tokio::time::sleep(pause.step()).await;
    }
}

/// Which errors end the start, and which are waited out.
trait Patience: std::error::Error {
    fn is_waited_out(&self) -> bool;
}

impl Patience for SourceError {
    fn is_waited_out(&self) -> bool {
        self.remedy() != Remedy::GiveUp
    }
}

impl Patience for FlanneldError {
    fn is_waited_out(&self) -> bool {
        self.heals()
    }
}

fn check_mtu(config: &NetworkConfig, underlay: &Underlay) -> Result<(), FlanneldError> {
    if overlay::too_small(config, underlay) {
        return Err(FlanneldError::TooSmall {
            name: underlay.name.to_string(),
            mtu: underlay.mtu,
            backend: config.backend.name(),
        });
    }
    Ok(())
}

/// flannel changes no sysctl, and neither do we; but nothing works without this one.
fn warn_of_forwarding(config: &NetworkConfig) {
    let families =
        [(config.v4.is_some(), "net/ipv4/ip_forward"), (config.v6.is_some(), "net/ipv6/conf/all/forwarding")];
    for (_, name) in families.into_iter().filter(|(used, _)| *used) {
        if host::sysctl::read(name).is_ok_and(|value| value.trim() == "0") {
            let command = format!("sysctl -w {}=1", name.replace('/', "."));
            tracing::warn!(
                "this host forwards no packets, so its pods reach nobody; Docker and kubelet switch it on, or: {command}"
            );
        }
    }
}

/// By what this node's lease is recognised, and the MACs of its tunnel end points.
async fn identify(
    netlink: &Netlink,
    source: &Arc<dyn LeaseSource>,
    config: &NetworkConfig,
    chosen: &Chosen,
    memory: &Memory,
) -> Result<(Identity, Vteps), FlanneldError> {
    let links = patiently(BUSY, async || netlink.links().await.map_err(FlanneldError::Observe)).await?;
    let addresses = chosen.underlay.local.iter().filter_map(|address| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    let who = Identity {
        public_ip: chosen.public_ip,
        previous: memory.previous,
        addresses: addresses.collect(),
        macs: vtep::present_macs(config, &links),
        note: memory.note,
    };
    if config.backend.overlay().vteps(config.v6.is_some()) == PerFamily::default() {
        return Ok((who, Vteps::default()));
    }
    let published = patiently("the leases cannot be read yet", || source.published(&who)).await?;
    let vteps = vtep::choose(config, &links, published.as_ref());
    Ok((who, vteps))
}

fn node(options: &Options, chosen: Chosen, subnets: Subnets, vteps: Vteps) -> Result<Node, FlanneldError> {
    let bridge = options.bridge.as_deref().map(str::parse::<LinkName>).transpose()?;
    Ok(Node {
        id: NetworkId::default(),
        tun: LinkName::tun(0),
        underlay: chosen.underlay,
        public_ip: chosen.public_ip,
        public_ipv6: chosen.public_ipv6,
        subnets,
        vtep: vteps.v4,
        vtep_v6: vteps.v6,
        bridge,
        blackhole: options.blackhole_route,
    })
}

fn udp_spec(options: &Options, config: &NetworkConfig, node: &Node) -> Option<UdpSpec> {
    let Backend::Udp(udp) = &config.backend else { return None };
    Some(UdpSpec {
        device: node.tun.to_string(),
        mtu: overlay::pod_mtu(config, &node.underlay),
        underlay: node.underlay.index,
        local: node.underlay.ip?,
        port: udp.port,
        subnet: node.subnets.v4,
        datapath: udp.datapath,
        check_source: options.check_source,
        pin_dir: identity::pin_dir(options, &node.id),
    })
}

fn start_probes(options: &Options, peers: &Peers) {
    // Nobody would see the answers.
    let (Some(interval), Some(_)) = (options.probe_interval, options.healthz) else { return };
    match Prober::start(interval) {
        Ok(prober) => peers.set_prober(prober),
        Err(error) => tracing::warn!(%error, "no round-trip probes: they need CAP_NET_RAW"),
    }
}
