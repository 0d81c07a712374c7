//! The meaning of the flags: typed values, checked once, trusted afterwards.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use goflags::{Error as OptionsError, Setting, Settings, Source};

use super::PROGRAM;

/// What flanneld is asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Be the daemon.
    Run,
    /// Remove what a stopped daemon left, and exit.
    Cleanup,
    /// Print [`super::help`] to standard output, exit 0.
    Help,
    /// Print [`super::version`] to standard error, exit 0.
    Version,
}

/// Who holds the masquerade and forward rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FirewallChoice {
    /// nftables, unless the network configuration says `EnableNFTables: false` explicitly.
    Auto,
    Nftables,
    Iptables,
}

/// Whose reading of `/metrics` makes the kernel count the packets of each peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerAccounting {
    /// A reader's on this host. Others could make every packet dearer.
    Local,
    Any,
    Off,
}

impl PeerAccounting {
    /// Whether a reader switches it on. `local`: it is on this host.
    pub fn is_for(self, local: bool) -> bool {
        match self {
            Self::Local => local,
            Self::Any => true,
            Self::Off => false,
        }
    }
}

/// A text that is never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the one place that sends it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// How to reach etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdOptions {
    /// As written, at least one, none empty.
    pub endpoints: Vec<String>,
    /// As written; [`crate::leases::etcd::Prefix`] gives it its meaning.
    pub prefix: String,
    pub keyfile: Option<PathBuf>,
    pub certfile: Option<PathBuf>,
    pub cafile: Option<PathBuf>,
    pub username: Option<String>,
    pub password: Option<Secret>,
}

/// The whole configuration from flags and environment. `Display` is one line without secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    pub action: Action,
    pub etcd: EtcdOptions,
    /// Time to live of this node's lease: 2 s to a year.
    pub lease_ttl: Duration,
    /// Renewal comes this long before the end of the lease; always less than `lease_ttl`.
    pub renew_margin: Duration,
    /// Names or addresses, in the order of preference.
    pub iface: Vec<String>,
    /// Patterns, in the order of preference.
    pub iface_regex: Vec<String>,
    pub iface_can_reach: Option<IpAddr>,
    pub public_ip: Option<Ipv4Addr>,
    pub public_ipv6: Option<Ipv6Addr>,
    pub subnet_file: PathBuf,
    /// A legal interface name of at most 15 bytes.
    pub bridge: Option<String>,
    pub cni_conf: Option<PathBuf>,
    pub ip_masq: bool,
    /// False: `--ip-masq-fully-random-disable` was given.
    pub masq_random_fully: bool,
    pub forward_rules: bool,
    /// Period of the look at iptables rules, at least 1 s.
    pub iptables_resync: Duration,
    pub blackhole_route: bool,
    pub firewall: FirewallChoice,
    pub check_source: bool,
    pub bpf_pin_dir: PathBuf,
    /// None: no probes.
    pub probe_interval: Option<Duration>,
    pub peer_accounting: PeerAccounting,
    /// Where health and metrics are served; None: nowhere.
    pub healthz: Option<SocketAddr>,
    /// klog's level, as in `-v 2`.
    pub verbosity: i32,
    /// The texts behind the values, for the log at start.
    pub settings: Settings,
}

/// Longest lease that may be asked for: a year.
const MAX_TTL: u32 = 31_536_000;

impl Options {
    /// Nothing but an action, with every value at its default.
    pub(super) fn only(action: Action) -> Result<Self, OptionsError> {
        Ok(Self { action, ..Self::from_settings(PROGRAM.defaults())? })
    }

    pub(super) fn from_settings(settings: Settings) -> Result<Self, OptionsError> {
        let get = |name: &str| settings.get(name);
        let (lease_ttl, renew_margin) =
            lease_times(get("subnet-lease-ttl"), get("subnet-lease-renew-margin"))?;
        let probe = within(get("probe-interval"), 0, 3600)?;
        Ok(Self {
            action: action(&settings),
            etcd: etcd(&settings)?,
            lease_ttl,
            renew_margin,
            iface: non_empty_list(get("iface"))?,
            iface_regex: non_empty_list(get("iface-regex"))?,
            iface_can_reach: address(get("iface-can-reach"), "an IPv4 or IPv6 address")?,
            public_ip: address(get("public-ip"), "an IPv4 address")?,
            public_ipv6: address(get("public-ipv6"), "an IPv6 address")?,
            subnet_file: path(get("subnet-file"))
                .ok_or_else(|| get("subnet-file").refuse("want a file name"))?,
            bridge: interface_name(get("bridge"))?,
            cni_conf: path(get("cni-conf")),
            ip_masq: get("ip-masq").truth(),
            masq_random_fully: !get("ip-masq-fully-random-disable").truth(),
            forward_rules: get("iptables-forward-rules").truth(),
            iptables_resync: Duration::from_secs(within(get("iptables-resync"), 1, 86_400)?),
            blackhole_route: get("ip-blackhole-route").truth(),
            firewall: firewall(get("firewall"))?,
            check_source: get("check-source").truth(),
            bpf_pin_dir: absolute(get("bpf-pin-dir"))?,
            probe_interval: (probe > 0).then(|| Duration::from_secs(probe)),
            peer_accounting: peer_accounting(get("peer-accounting"))?,
            healthz: healthz(get("healthz-ip"), get("healthz-port"))?,
            verbosity: verbosity(get("v"))?,
            settings,
        })
    }

    /// The level of our logs that klog's `-v` stands for: `info`, `debug` or `trace`.
    pub fn log_level(&self) -> &'static str {
        match self.verbosity {
            ..=0 => "info",
            1..=4 => "debug",
            5.. => "trace",
        }
    }

    /// One sentence for each flag that was given and does nothing: for a warning at start.
    pub fn without_effect(&self) -> Vec<String> {
        self.settings.without_effect()
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.settings.fmt(f)
    }
}

fn action(settings: &Settings) -> Action {
    if settings.get("version").truth() {
        Action::Version
    } else if settings.get("cleanup").truth() {
        Action::Cleanup
    } else {
        Action::Run
    }
}

fn etcd(settings: &Settings) -> Result<EtcdOptions, OptionsError> {
    let get = |name: &str| settings.get(name);
    let text = |name: &str| Some(get(name).text().to_owned()).filter(|text| !text.is_empty());
    let endpoints: Vec<String> = get("etcd-endpoints")
        .text()
        .split(',')
        .map(|endpoint| endpoint.trim().to_owned())
        .filter(|endpoint| !endpoint.is_empty())
        .collect();
    if endpoints.is_empty() {
        return Err(get("etcd-endpoints").refuse("want at least one address, like http://10.0.0.1:2379"));
    }
    let (keyfile, certfile) = (path(get("etcd-keyfile")), path(get("etcd-certfile")));
    if keyfile.is_some() != certfile.is_some() {
        let (given, missing) = match keyfile {
            Some(_) => ("etcd-keyfile", "etcd-certfile"),
            None => ("etcd-certfile", "etcd-keyfile"),
        };
        return Err(OptionsError::Conflict(format!(
            "-{given} without -{missing}: a client certificate is a key and a certificate; give both or neither"
        )));
    }
    let (username, password) = (text("etcd-username"), text("etcd-password").map(Secret::new));
    if username.is_none() && password.is_some() {
        return Err(OptionsError::Conflict(
            "-etcd-password without -etcd-username: give both or neither".into(),
        ));
    }
    Ok(EtcdOptions {
        endpoints,
        prefix: get("etcd-prefix").text().to_owned(),
        keyfile,
        certfile,
        cafile: path(get("etcd-cafile")),
        username,
        password,
    })
}

/// Time to live and margin. flannel's bounds for the margin hold even where the lease is longer than a day.
fn lease_times(ttl: &Setting, margin: &Setting) -> Result<(Duration, Duration), OptionsError> {
    let live = Duration::from_secs(within(ttl, 2, MAX_TTL)?);
    let renew = Duration::from_secs(60 * within(margin, 1, 1439)?);
    match margin.source {
        Source::Default => Ok((live, renew.min(live / 3))),
        _ if renew < live => Ok((live, renew)),
        _ => Err(OptionsError::Conflict(format!(
            "{} is {} minutes, and the lease lives for {} seconds: the margin must be shorter than the lease",
            margin.origin(),
            margin.number(),
            live.as_secs(),
        ))),
    }
}

fn healthz(ip: &Setting, port: &Setting) -> Result<Option<SocketAddr>, OptionsError> {
    let number = within(port, 0, 65_535)?;
    // Go's JoinHostPort with no host listens on every address of both families.
    let address = match ip.text() {
        "" => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        text => text.parse().map_err(|_| ip.refuse("want an IPv4 or IPv6 address"))?,
    };
    let port = u16::try_from(number).map_err(|_| port.refuse("want a port"))?;
    Ok((port > 0).then(|| SocketAddr::new(address, port)))
}

fn firewall(setting: &Setting) -> Result<FirewallChoice, OptionsError> {
    match setting.text() {
        "auto" => Ok(FirewallChoice::Auto),
        "nftables" => Ok(FirewallChoice::Nftables),
        "iptables" => Ok(FirewallChoice::Iptables),
        _ => Err(setting.refuse("want auto, nftables or iptables")),
    }
}

fn peer_accounting(setting: &Setting) -> Result<PeerAccounting, OptionsError> {
    match setting.text() {
        "local" => Ok(PeerAccounting::Local),
        "any" => Ok(PeerAccounting::Any),
        "off" => Ok(PeerAccounting::Off),
        _ => Err(setting.refuse("want local, any or off")),
    }
}

/// klog reads its level as a decimal number of 32 bits.
fn verbosity(setting: &Setting) -> Result<i32, OptionsError> {
    setting.text().parse().map_err(|_| setting.refuse("want a whole number, like 2"))
}

/// The kernel's rule for interface names (dev_valid_name): 1 to 15 bytes, no slash, colon or blank, not . or ..
fn interface_name(setting: &Setting) -> Result<Option<String>, OptionsError> {
    let name = setting.text();
    if name.is_empty() {
        return Ok(None);
    }
    let bad = |letter: char| letter == '/' || letter == ':' || letter.is_whitespace();
    if name.len() > 15 || name == "." || name == ".." || name.contains(bad) {
        return Err(setting.refuse("want an interface name: at most 15 bytes, without /, : and blanks"));
    }
    Ok(Some(name.to_owned()))
}

fn address<T: FromStr>(setting: &Setting, what: &str) -> Result<Option<T>, OptionsError> {
    match setting.text() {
        "" => Ok(None),
        text => text.parse().map(Some).map_err(|_| setting.refuse(format!("want {what}"))),
    }
}

fn non_empty_list(setting: &Setting) -> Result<Vec<String>, OptionsError> {
    match setting.list().any(str::is_empty) {
        true => Err(setting.refuse("an empty name matches nothing; leave the flag out")),
        false => Ok(setting.list().map(str::to_owned).collect()),
    }
}

fn absolute(setting: &Setting) -> Result<PathBuf, OptionsError> {
    path(setting).filter(|path| path.is_absolute()).ok_or_else(|| setting.refuse("want an absolute path"))
}

fn path(setting: &Setting) -> Option<PathBuf> {
    Some(setting.text()).filter(|text| !text.is_empty()).map(PathBuf::from)
}

fn within(setting: &Setting, least: u32, most: u32) -> Result<u64, OptionsError> {
    Ok(setting.within(least.into(), most.into())?.unsigned_abs())
}
