//! The `Backend` object: how packets cross from node to node.

use std::fmt;

use super::ConfigError;
use super::fields::{Fields, bad};

/// A backend and its options.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Backend {
    Udp(Udp),
    Vxlan(Vxlan),
    /// Routes by the nodes' own addresses; needs all nodes on one link.
    HostGw,
    /// A lease, and no data path.
    Alloc,
}

/// Bare IPv4 packets in UDP: flannel's first backend, and the default where the config names none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Udp {
    /// The port of every node, 1..=65535. Default 8285.
    pub port: u16,
    pub datapath: Datapath,
}

/// Who makes and unmakes the packets of the udp backend. Not one of flannel's options: it ignores the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Datapath {
    /// `Ebpf` where the kernel can, else `Simple`.
    #[default]
    Auto,
    Ebpf,
    Simple,
}

/// The kernel's VXLAN.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Vxlan {
    /// Default 1.
    pub vni: Vni,
    /// UDP port. Absent means the kernel's default, 8472.
    pub port: Option<u16>,
    /// MTU of the underlay, from which the overhead is taken. Absent means that of the interface.
    pub mtu: Option<u32>,
    /// VXLAN group based policy.
    pub gbp: bool,
    pub learning: bool,
    /// Route to peers on the same link without a tunnel.
    pub direct_routing: bool,
}

impl Backend {
    /// As flannel spells it. The lease of a udp or alloc node has no `BackendType` nevertheless.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Udp(_) => "udp",
            Self::Vxlan(_) => "vxlan",
            Self::HostGw => "host-gw",
            Self::Alloc => "alloc",
        }
    }
}

impl Default for Udp {
    fn default() -> Self {
        Self { port: 8285, datapath: Datapath::Auto }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Udp(Udp { port, datapath }) => write!(f, " (port {port}, datapath {datapath})"),
            Self::Vxlan(Vxlan { vni, port, mtu, gbp, learning, direct_routing }) => {
                write!(f, " (VNI {vni}, port {}", port.unwrap_or(8472))?;
                if let Some(mtu) = mtu {
                    write!(f, ", underlay MTU {mtu}")?;
                }
                let flags = [(gbp, "GBP"), (learning, "learning"), (direct_routing, "direct routing")];
                for (_, name) in flags.into_iter().filter(|(on, _)| **on) {
                    write!(f, ", {name}")?;
                }
                f.write_str(")")
            }
            Self::HostGw | Self::Alloc => Ok(()),
        }
    }
}

impl fmt::Display for Datapath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Ebpf => "ebpf",
            Self::Simple => "simple",
        })
    }
}

/// VXLAN network identifier: 1..=2^24-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vni(u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a VNI (1 to 16777215)")]
pub struct BadVni(pub u32);

impl Vni {
    /// flannel's default.
    pub const DEFAULT: Self = Self(1);
    const MAX: u32 = (1 << 24) - 1;

    /// # Errors
    ///
    /// If the number is 0 or does not fit in 24 bits.
    pub const fn new(number: u32) -> Result<Self, BadVni> {
        match number {
            1..=Self::MAX => Ok(Self(number)),
            _ => Err(BadVni(number)),
        }
    }

    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for Vni {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The smallest MTU that every IPv4 host must cope with, RFC 791.
const LEAST_MTU: u32 = 576;
/// IPv6 needs 1280 inside (RFC 8200), and VXLAN over IPv6 adds 70.
const LEAST_MTU_WITH_IPV6: u32 = 1350;

pub(super) fn read(config: &Fields<'_>, ipv6: bool) -> Result<Backend, ConfigError> {
    // As in flannel, no Backend at all means udp, and a Backend without a Type is a mistake.
    let Some(raw) = config.last("Backend") else { return ipv4_only(Udp::default(), ipv6) };
    let legal = "an object such as {\"Type\":\"vxlan\"}";
    let wrong = |_| bad("Backend", raw.get(), legal, "correct it, or leave it out for udp");
    let options = Fields::parse(raw.get().as_bytes()).map_err(wrong)?;
    let legal = "udp, vxlan, host-gw or alloc";
    let Some(name) = options.text("Backend.Type", legal)? else {
        let example = r#""Backend":{"Type":"vxlan"}"#.to_owned();
        return Err(ConfigError::Missing { key: "Backend.Type", example });
    };
    match name.to_lowercase().as_str() {
        "udp" => ipv4_only(read_udp(&options)?, ipv6),
        "vxlan" => read_vxlan(&options, ipv6).map(Backend::Vxlan),
        "host-gw" => Ok(Backend::HostGw),
        "alloc" => Ok(Backend::Alloc),
        other => Err(unknown(other)),
    }
}

fn ipv4_only(udp: Udp, ipv6: bool) -> Result<Backend, ConfigError> {
    if ipv6 { Err(ConfigError::UdpIsIpv4Only) } else { Ok(Backend::Udp(udp)) }
}

fn read_udp(options: &Fields<'_>) -> Result<Udp, ConfigError> {
    let port = options.number("Backend.Port", 1..=65535)?.map(|port| port as u16);
    let legal = "auto, ebpf or simple";
    let name = options.text("Backend.Datapath", legal)?;
    let datapath = match name.as_deref().map(str::to_lowercase).as_deref() {
        None | Some("auto") => Datapath::Auto,
        Some("ebpf") => Datapath::Ebpf,
        Some("simple") => Datapath::Simple,
        Some(other) => {
            return Err(bad("Backend.Datapath", format!("{other:?}"), legal, "correct it or leave it out"));
        }
    };
    Ok(Udp { port: port.unwrap_or(Udp::default().port), datapath })
}

fn read_vxlan(options: &Fields<'_>, ipv6: bool) -> Result<Vxlan, ConfigError> {
    let vni = options.number("Backend.VNI", 1..=Vni::MAX)?.map_or(Vni::DEFAULT, Vni);
    // 0 is how flannel's own configs say "the default".
    let port = options.number("Backend.Port", 0..=65535)?.filter(|port| *port != 0);
    let mtu = options.number("Backend.MTU", 0..=65535)?.filter(|mtu| *mtu != 0);
    let least = if ipv6 { LEAST_MTU_WITH_IPV6 } else { LEAST_MTU };
    if let Some(small) = mtu.filter(|mtu| *mtu < least) {
        let legal = format!("{least} to 65535{}", if ipv6 { " with IPv6" } else { "" });
        return Err(bad("Backend.MTU", small, legal, "give the MTU of the underlay, or leave it out"));
    }
    Ok(Vxlan {
        vni,
        port: port.map(|port| port as u16),
        mtu,
        gbp: options.flag("Backend.GBP")?.unwrap_or(false),
        learning: options.flag("Backend.Learning")?.unwrap_or(false),
        direct_routing: options.flag("Backend.DirectRouting")?.unwrap_or(false),
    })
}

const HERE: [&str; 4] = ["udp", "vxlan", "host-gw", "alloc"];
const ONLY_IN_FLANNEL: [&str; 5] = ["wireguard", "ipip", "ipsec", "extension", "tencent-vpc"];

fn unknown(name: &str) -> ConfigError {
    if let Some(known) = ONLY_IN_FLANNEL.into_iter().find(|known| *known == name) {
        return ConfigError::MissingBackend(known);
    }
    let nearest = HERE.into_iter().min_by_key(|known| distance(known, name));
    let nearest = nearest.filter(|known| distance(known, name) <= 2);
    ConfigError::UnknownBackend { value: format!("{name:?}"), nearest }
}

/// How many letters have to be added, removed or replaced to make one word of the other.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
