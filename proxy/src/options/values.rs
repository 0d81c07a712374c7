//! The meaning of the settings: typed values, checked once, trusted afterwards.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use goflags::{duration, words};
use ipnet::IpNet;
use proxy_core::options as core;

use super::conntrack::Conntrack;
use super::env::Env;
use super::{OptionsError, PROGRAM, Setting, Settings, Source};
use crate::modes::{MODES, Mode, NAMES};

/// What the proxy is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Be the daemon.
    Run,
    /// Remove all rules, of ours and of kube-proxy's, and exit.
    Cleanup,
    /// Set what needs root, and exit.
    InitOnly,
    /// Write [`Options::configuration`] to this file, and exit.
    WriteConfig(PathBuf),
    /// Print [`super::help`] to standard output, exit 0.
    Help,
    /// Print [`super::version`] to standard output, exit 0.
    Version,
}

/// Where the objects come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Feed {
    /// Files in this directory.
    Directory(PathBuf),
    /// An API server.
    Kubernetes {
        /// None, and no `master`: the service account of the pod this runs in.
        kubeconfig: Option<PathBuf>,
        /// Address of the API server, instead of the one in the kubeconfig.
        master: Option<String>,
    },
}

/// How addresses of load balancers are announced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announce {
    /// By name; empty: those that have one of the node's addresses.
    pub interfaces: Vec<String>,
    /// Of the Leases.
    pub namespace: String,
}

/// The whole configuration from flags and file. `Display` is one line.
#[derive(Clone, Debug)]
pub struct Options {
    pub action: Action,
    pub feed: Feed,
    pub mode: Mode,
    /// Name of this node's Node object: small letters, without blanks around.
    pub node_name: String,
    /// From --node-ips, else from a bindAddress that is one; empty: those of the Node object.
    pub node_ips: Vec<IpAddr>,
    /// None: no address is announced.
    pub announce: Option<Announce>,
    pub masquerade_all: bool,
    /// Bit of the packet mark that asks for masquerading: 0 to 31. That of the mode.
    pub masquerade_bit: u8,
    pub localhost_nodeports: bool,
    pub nodeport_addresses: core::NodePortAddresses,
    pub detect_local: core::DetectLocal,
    /// Longest time until a failed sync is tried again, at least 1 ns; health turns bad after twice this.
    pub sync_period: Duration,
    /// Shortest time between two syncs; at most `sync_period`.
    pub min_sync_period: Duration,
    pub conntrack: Conntrack,
    /// Where /healthz and /livez are answered.
    pub healthz: Option<SocketAddr>,
    /// Where /metrics, /proxyMode, /configz and /healthz are answered.
    pub metrics: Option<SocketAddr>,
    /// End when a port for health or metrics is taken.
    pub bind_address_hard_fail: bool,
    /// -1000 to 1000.
    pub oom_score_adj: i16,
    /// klog's level, as in `-v 2`.
    pub verbosity: u32,
    /// The values behind all this, and where they came from.
    pub settings: Settings,
}

impl Options {
    /// Nothing but an action, with every value at its default.
    pub(super) fn only(action: Action) -> Result<Self, OptionsError> {
        let env = super::env::Fixture::named("localhost");
        Ok(Self { action, ..Self::from_settings(PROGRAM.defaults(), &env)? })
    }

    pub(super) fn from_settings(mut settings: Settings, env: &impl Env) -> Result<Self, OptionsError> {
        let get = |name: &str| settings.get(name);
        let mode = mode(get("mode"))?;
        let of_mode = |field: &str| get(&format!("{mode}.{field}"));
        let (sync_period, min_sync_period) = periods(of_mode("syncPeriod"), of_mode("minSyncPeriod"))?;
        // Only a file can name healthz and metrics without a port and without the old flags for it.
        let flagged = get("config").text().is_empty();
        let serve = |field: &str, port: &str, usual: u16| {
            server(get(field), if flagged { within(get(port), 0, 65_535)? as u16 } else { usual })
        };
        // The original checks both bits, whatever the mode.
        for bit in ["iptables.masqueradeBit", "nftables.masqueradeBit"] {
            within(get(bit), 0, 31)?;
        }
        let mut options = Self {
            action: action(&settings),
            feed: feed(&settings)?,
            mode,
            node_name: node_name(get("hostnameOverride"), env)?,
            node_ips: node_ips(get("node-ips"), get("bindAddress"))?,
            announce: announce(&settings)?,
            masquerade_all: of_mode("masqueradeAll").truth(),
            masquerade_bit: within(of_mode("masqueradeBit"), 0, 31)? as u8,
            localhost_nodeports: get("iptables.localhostNodePorts").truth(),
            nodeport_addresses: nodeport_addresses(get("nodePortAddresses"), mode)?,
            detect_local: detect_local(&settings)?,
            sync_period,
            min_sync_period,
            conntrack: conntrack(&settings)?,
            healthz: serve("healthzBindAddress", "healthz-port", 10256)?,
            metrics: serve("metricsBindAddress", "metrics-port", 10249)?,
            bind_address_hard_fail: get("bindAddressHardFail").truth(),
            oom_score_adj: within(get("oomScoreAdj"), -1000, 1000)? as i16,
            verbosity: within(get("logging.verbosity"), 0, i64::from(i32::MAX))? as u32,
            settings: PROGRAM.defaults(),
        };
        settings.resolve("mode", mode.as_str());
        settings
            .resolve("hostnameOverride", settings.get("hostnameOverride").text().trim().to_ascii_lowercase());
        if settings.get("detectLocalMode").text().is_empty() {
            settings.resolve("detectLocalMode", "ClusterCIDR");
        }
        if options.nodeport_addresses == core::NodePortAddresses::Primary {
            settings.resolve("nodePortAddresses", vec!["primary"]);
        }
        for (field, address) in
            [("healthzBindAddress", options.healthz), ("metricsBindAddress", options.metrics)]
        {
            settings.resolve(field, address.map(|address| address.to_string()).unwrap_or_default());
        }
        options.settings = settings;
        Ok(options)
    }

    /// What of this decides about packets.
    pub fn core(&self) -> core::Options {
        core::Options {
            node_name: self.node_name.as_str().into(),
            node_ips: self.node_ips.clone(),
            zone: None,
            masquerade_all: self.masquerade_all,
            detect_local: self.detect_local.clone(),
            nodeport_addresses: self.nodeport_addresses.clone(),
            // kube-proxy serves them in iptables mode only; so do we.
            localhost_nodeports: self.localhost_nodeports && self.mode.serves_loopback(),
        }
    }

    /// The level of our logs that klog's `-v` stands for: `info`, `debug` or `trace`.
    pub fn log_level(&self) -> &'static str {
        match self.verbosity {
            0 => "info",
            1..=4 => "debug",
            5.. => "trace",
        }
    }

    /// One sentence for each setting that somebody made and that does nothing: for a warning at start.
    pub fn without_effect(&self) -> Vec<String> {
        self.settings.without_effect()
    }

    /// The KubeProxyConfiguration that says all this: for /configz and --write-config-to.
    pub fn configuration(&self) -> serde_json::Value {
        self.settings.document()
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "node={} {}", self.node_name, self.settings)
    }
}

fn action(settings: &Settings) -> Action {
    let written = settings.get("write-config-to").text();
    match settings.get("version").text() {
        _ if !written.is_empty() => Action::WriteConfig(PathBuf::from(written)),
        "raw" => Action::Version,
        text if words::boolean(text) != Some(false) => Action::Version,
        _ if settings.get("cleanup").truth() => Action::Cleanup,
        _ if settings.get("init-only").truth() => Action::InitOnly,
        _ => Action::Run,
    }
}

fn feed(settings: &Settings) -> Result<Feed, OptionsError> {
    let text = |name: &str| Some(settings.get(name).text().to_owned()).filter(|text| !text.is_empty());
    let (kubeconfig, master) = (text("clientConnection.kubeconfig"), text("master"));
    match text("feed-dir") {
        Some(directory) => {
            if let Some(other) = ["clientConnection.kubeconfig", "master"]
                .map(|name| settings.get(name))
                .into_iter()
                .find(|setting| matches!(setting.source, Source::Flag(_)) && !setting.text().is_empty())
            {
                let other = other.origin();
                return Err(OptionsError::Conflict(format!(
                    "--feed-dir and {other} name two sources of the same objects: give one of them"
                )));
            }
            Ok(Feed::Directory(PathBuf::from(directory)))
        }
        None => Ok(Feed::Kubernetes { kubeconfig: kubeconfig.map(PathBuf::from), master }),
    }
}

fn announce(settings: &Settings) -> Result<Option<Announce>, OptionsError> {
    if !settings.get("announce-load-balancers").truth() {
        return Ok(None);
    }
    if !settings.get("feed-dir").text().is_empty() {
        let text =
            "--announce-load-balancers needs an API server, where the Leases are: leave --feed-dir out";
        return Err(OptionsError::Conflict(text.to_owned()));
    }
    let (interfaces, namespace) = (settings.get("announce-interfaces"), settings.get("announce-namespace"));
    if let Some(wrong) = interfaces.list().find(|name| name.is_empty() || name.len() > 15) {
        return Err(interfaces.refuse(format!("{wrong:?} is no interface: a name has 1 to 15 bytes")));
    }
    if namespace.text().is_empty() {
        return Err(namespace.refuse("want the name of a namespace"));
    }
    Ok(Some(Announce {
        interfaces: interfaces.list().map(str::to_owned).collect(),
        namespace: namespace.text().to_owned(),
    }))
}

fn mode(setting: &Setting) -> Result<Mode, OptionsError> {
    Mode::find(setting.text()).ok_or_else(|| setting.refuse(format!("want {}; empty is {}", NAMES, MODES[0])))
}

/// The original trims and lowers the name; an override of blanks alone is an error there too.
fn node_name(setting: &Setting, env: &impl Env) -> Result<String, OptionsError> {
    let chosen = setting.text();
    if !chosen.is_empty() && chosen.trim().is_empty() {
        return Err(setting.refuse("want a name, not blanks"));
    }
    let name = match chosen.is_empty() {
        false => chosen.to_owned(),
        true => env.hostname().map_err(|error| no_name(&error.to_string()))?,
    };
    let name = name.trim().to_lowercase();
    if name.is_empty() {
        return Err(no_name("the host's name is empty"));
    }
    Ok(name)
}

fn no_name(reason: &str) -> OptionsError {
    OptionsError::Conflict(format!("this node has no name: {reason}; give --hostname-override"))
}

fn node_ips(setting: &Setting, bind: &Setting) -> Result<Vec<IpAddr>, OptionsError> {
    let bind_address: IpAddr =
        bind.text().parse().map_err(|_| bind.refuse("want an IPv4 or IPv6 address"))?;
    let mut found = Vec::new();
    for text in setting.list() {
        let address: IpAddr = text
            .trim()
            .parse()
            .map_err(|_| setting.refuse("want IPv4 or IPv6 addresses, separated by commas"))?;
        if !found.contains(&address) {
            found.push(address);
        }
    }
    if found.is_empty() && !bind_address.is_unspecified() {
        found.push(bind_address);
    }
    Ok(found)
}

fn nodeport_addresses(setting: &Setting, mode: Mode) -> Result<core::NodePortAddresses, OptionsError> {
    let words: Vec<&str> = setting.list().map(str::trim).collect();
    match words.as_slice() {
        [] => Ok(mode.node_port_addresses()),
        ["primary"] => Ok(core::NodePortAddresses::Primary),
        words if words.contains(&"primary") => {
            Err(setting.refuse("primary stands alone: give it, or networks"))
        }
        words => {
            let network = |word: &&str| word.parse().map(|network: IpNet| network.trunc());
            let networks = words.iter().map(network).collect::<Result<_, _>>();
            networks
                .map(core::NodePortAddresses::Cidrs)
                .map_err(|_| setting.refuse("want networks such as 192.168.0.0/16, or primary"))
        }
    }
}

fn detect_local(settings: &Settings) -> Result<core::DetectLocal, OptionsError> {
    let mode = settings.get("detectLocalMode");
    let name = |field: &str| {
        let setting = settings.get(field);
        match setting.text() {
            "" => Err(setting.refuse(format!("detect-local-mode is {}, which needs it", mode.text()))),
            text if text.len() > 15 => Err(setting.refuse("an interface's name has at most 15 bytes")),
            text => Ok(text.into()),
        }
    };
    match mode.text() {
        "" | "ClusterCIDR" => cluster_cidr(settings.get("clusterCIDR")),
        "NodeCIDR" => Ok(core::DetectLocal::NodeCidr),
        "BridgeInterface" => name("detectLocal.bridgeInterface").map(core::DetectLocal::Bridge),
        "InterfaceNamePrefix" => {
            name("detectLocal.interfaceNamePrefix").map(core::DetectLocal::InterfacePrefix)
        }
        _ => Err(mode.refuse("want ClusterCIDR, NodeCIDR, BridgeInterface or InterfaceNamePrefix")),
    }
}

fn cluster_cidr(setting: &Setting) -> Result<core::DetectLocal, OptionsError> {
    if setting.text().is_empty() {
        return Ok(core::DetectLocal::None);
    }
    let expected = "want one network, or two of different families, such as 10.244.0.0/16,fd00:10:244::/56";
    let networks: Vec<IpNet> = setting
        .text()
        .split(',')
        .map(|text| text.trim().parse().map(|network: IpNet| network.trunc()))
        .collect::<Result<_, _>>()
        .map_err(|_| setting.refuse(expected))?;
    let families = networks.iter().filter(|network| network.addr().is_ipv4()).count();
    match networks.len() {
        1 => {}
        2 if families == 1 => {}
        _ => return Err(setting.refuse(expected)),
    }
    Ok(core::DetectLocal::ClusterCidr(networks))
}

fn periods(sync: &Setting, least: &Setting) -> Result<(Duration, Duration), OptionsError> {
    let (period, shortest) = (time(sync), time(least));
    if period.is_zero() {
        return Err(sync.refuse("want a time greater than 0"));
    }
    if shortest > period {
        return Err(OptionsError::Conflict(format!(
            "{} is {} and {} is {}: the shortest time between syncs is longer than the longest",
            least.origin(),
            least.text(),
            sync.origin(),
            sync.text()
        )));
    }
    Ok((period, shortest))
}

fn conntrack(settings: &Settings) -> Result<Conntrack, OptionsError> {
    let get = |name: &str| settings.get(name);
    let most = i64::from(i32::MAX);
    Ok(Conntrack {
        max_per_core: within(get("conntrack.maxPerCore"), 0, most)? as u32,
        min: within(get("conntrack.min"), 0, most)? as u32,
        tcp_established: time(get("conntrack.tcpEstablishedTimeout")),
        tcp_close_wait: time(get("conntrack.tcpCloseWaitTimeout")),
        tcp_be_liberal: get("conntrack.tcpBeLiberal").truth(),
        udp: time(get("conntrack.udpTimeout")),
        udp_stream: time(get("conntrack.udpStreamTimeout")),
    })
}

/// `IP:PORT`, or `IP` with the port apart, where 0 means no server.
fn server(setting: &Setting, port: u16) -> Result<Option<SocketAddr>, OptionsError> {
    let expected = "want IP:PORT (an IPv6 address in brackets), with a port from 1 to 65535";
    let text = setting.text();
    if text.is_empty() || port == 0 {
        return Ok(None);
    }
    let address = match text.parse::<SocketAddr>() {
        Ok(address) => address,
        Err(_) => match text.strip_prefix(':').and_then(|port| port.parse().ok()) {
            // Go takes :PORT for every address, although the original's own check then refuses it.
            Some(port) => SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), port),
            None => SocketAddr::new(text.parse().map_err(|_| setting.refuse(expected))?, port),
        },
    };
    if address.port() == 0 { Err(setting.refuse(expected)) } else { Ok(Some(address)) }
}

/// The text was checked when it was read: see [`goflags::Kind::Duration`].
fn time(setting: &Setting) -> Duration {
    duration::parse(setting.text()).unwrap_or_default()
}

fn within(setting: &Setting, least: i64, most: i64) -> Result<i64, OptionsError> {
    setting.within(least, most)
}
