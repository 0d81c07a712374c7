//! udp: bare IPv4 packets in UDP, flannel's first backend. The whole network is routed to a TUN; its data path knows
//! the peers.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::backend::Overlay;
use super::wanted::{Ignored, Wanted};
use super::{Node, PerFamily, Reach, View, host_net};
use crate::config::ConfigError;
use crate::config::fields::{Fields, bad};
use crate::network_id::{NetworkId, is_mark};
use crate::tables::{BadLinkName, Link, LinkKind, LinkName, Route, RouteKey};

pub(super) const NAME: &str = "udp";

/// Outer IPv4 (20) and UDP (8).
const OVERHEAD: u32 = 28;

/// The options.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Udp {
    /// The port of every node, 1..=65535. Default 8285.
    pub port: u16,
    pub datapath: Datapath,
}

/// What encapsulates the packets of the udp backend. Not one of flannel's options: it ignores the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Datapath {
    /// `Ebpf` where the kernel can, else `Simple`.
    #[default]
    Auto,
    Ebpf,
    Simple,
}

pub(super) fn read(options: &Fields<'_>, ipv6: bool) -> Result<Udp, ConfigError> {
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
    if ipv6 {
        return Err(ConfigError::UdpIsIpv4Only);
    }
    Ok(Udp { port: port.unwrap_or(Udp::default().port), datapath })
}

/// A link called `flannelN`, as it is at the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenTun {
    pub name: String,
    pub tun: bool,
    pub alias: Option<String>,
    pub addresses: Vec<IpAddr>,
}

/// The TUN to adopt, or to make: the one that bears our mark; else one without a mark, of the original or of an
/// earlier release, with an address of our network; else, for the default network, a bare `flannel0`, or something
/// that is no TUN and has to be reported as being in the way; else the first name that is free.
pub fn choose_tun(seen: &[SeenTun], id: &NetworkId, networks: &[IpNet]) -> LinkName {
    let numbered =
        |tun: &&SeenTun| tun.name.strip_prefix("flannel").is_some_and(|n| n.parse::<u32>().is_ok());
    let unmarked = |tun: &SeenTun| !tun.alias.as_deref().is_some_and(is_mark);
    let inside = |ip: &IpAddr| networks.iter().any(|network| network.contains(ip));
    let links = || seen.iter().filter(numbered);
    let ours = links()
        .find(|tun| tun.tun && tun.alias.as_deref() == Some(&id.mark()))
        .or_else(|| links().find(|tun| tun.tun && unmarked(tun) && tun.addresses.iter().any(inside)))
        .or_else(|| {
            links().find(|tun| {
                let bare = !tun.tun || (unmarked(tun) && tun.addresses.is_empty());
                id.is_default() && tun.name == LinkName::tun(0).as_str() && bare
            })
        });
    let first_free =
        || (0..).map(LinkName::tun).find(|name| seen.iter().all(|tun| tun.name != name.as_str()));
    ours.and_then(|tun| tun.name.parse().ok()).or_else(first_free).expect("there are fewer links than names")
}

impl Default for Udp {
    fn default() -> Self {
        Self { port: 8285, datapath: Datapath::Auto }
    }
}

impl Overlay for Udp {
    fn lease_type(&self) -> &'static str {
        ""
    }

    /// udp nodes publish no type, and accept every lease whatever its type (as flannel).
    fn needs_same_type(&self) -> bool {
        false
    }

    fn links(&self, _v6: bool, tun: &LinkName) -> Result<BTreeSet<LinkName>, BadLinkName> {
        Ok(BTreeSet::from([tun.clone()]))
    }

    fn mtus(&self, underlay: u32) -> PerFamily<u32> {
        let mtu = underlay.saturating_sub(OVERHEAD);
        PerFamily { v4: mtu, v6: mtu }
    }

    fn answers_inside(&self) -> bool {
        true
    }

    fn carried_by_kernel(&self) -> bool {
        false
    }

    fn node(
        &self,
        wanted: &mut Wanted,
        networks: PerFamily<Option<IpNet>>,
        node: &Node,
    ) -> Result<(), BadLinkName> {
        let tun = node.tun.clone();
        let mtu = Some(self.mtus(node.underlay.mtu).v4);
        let tables = &mut wanted.tables;
        let alias = Some(node.id.mark());
        tables.links.insert(tun.clone(), Link { kind: LinkKind::Tun, mac: None, mtu, up: true, alias });
        tables.addresses.insert((tun.clone(), host_net(node.subnets.v4.network().into())));
        if let Some(network) = networks.v4 {
            let route = Route::Out { dev: tun, via: None, onlink: false };
            tables.routes.insert(RouteKey::new(network), route);
        }
        Ok(())
    }

    fn peer(&self, wanted: &mut Wanted, _: &Node, reach: &Reach<'_>, _: &View) -> Result<(), Ignored> {
        if let (IpNet::V4(subnet), IpAddr::V4(public)) = (reach.subnet, reach.public) {
            wanted.udp_peers.insert(subnet, public);
        }
        Ok(())
    }
}

impl fmt::Display for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " (port {}, datapath {})", self.port, self.datapath)
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
