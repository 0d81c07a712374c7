//! What each backend wants of the kernel, given the network, this node and the leases of the others.
//!
//! Owns: the overlay's links, addresses, routes, neighbours and FDB entries, and the MTUs.
//! Begin at [`wanted`].
//! Never: looks at the kernel; an answer that only the kernel has ([`View::direct`]) is handed in.

mod bridge;
mod host_gw;
mod mtu;
#[cfg(test)]
mod tests;
mod udp;
mod vxlan;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::config::{Backend, NetworkConfig};
use crate::lease::{LeaseAttrs, RawJson, Subnets};
use crate::mac::Mac;
use crate::tables::{BadLinkName, LinkName, Ownership, Route, RouteKey, Tables};

pub use mtu::{pod_mtu, too_small};

/// This node: where it stands in the underlay and what it leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    pub underlay: Underlay,
    /// What the other nodes send to. Differs from the underlay's address behind NAT.
    pub public_ip: Ipv4Addr,
    pub public_ipv6: Option<Ipv6Addr>,
    pub subnets: Subnets,
    /// MAC addresses of the VXLAN end points, as published in our lease.
    pub vtep: Option<Mac>,
    pub vtep_v6: Option<Mac>,
    /// Bridge for the pods to keep (`--bridge`).
    pub bridge: Option<LinkName>,
    /// Keep a blackhole route for our own subnet (`--ip-blackhole-route`).
    pub blackhole: bool,
}

/// The interface that carries the overlay's packets, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    pub name: LinkName,
    pub index: u32,
    pub mtu: u32,
    pub ip: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    /// Addresses of this host on any interface: a public address that is not among them lies behind NAT.
    pub local: BTreeSet<IpAddr>,
}

/// What the kernel said about the peers.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Public addresses that are reached without a gateway. Asked only for `DirectRouting`.
    pub direct: BTreeSet<IpAddr>,
}

/// The wanted state of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub tables: Tables,
    /// The udp backend's peers. They live in its data path and not in a kernel table.
    pub udp_peers: BTreeMap<Ipv4Net, Ipv4Addr>,
    /// Leases that this node cannot use, with the reason.
    pub ignored: Vec<(Subnets, Ignored)>,
}

/// Why a peer's lease is of no use to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It speaks another backend.
    OtherBackend(String),
    /// Its backend data are missing or malformed.
    BadData(String),
    /// It has no public address of the family that the subnet needs.
    NoAddress,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherBackend(kind) if kind.is_empty() => {
                f.write_str("its node names no backend (udp or alloc)")
            }
            Self::OtherBackend(kind) => write!(f, "its node runs backend {kind:?}"),
            Self::BadData(reason) => write!(f, "its backend data are unusable: {reason}"),
            Self::NoAddress => f.write_str("its node publishes no address of that family"),
        }
    }
}

/// One family of a peer: a subnet, and where to send its packets.
struct Reach<'a> {
    subnet: IpNet,
    public: IpAddr,
    data: Option<&'a RawJson>,
}

/// What this node wants, given everybody's leases. `peers` holds neither the node's own lease nor another one
/// with its address: see [`crate::book::LeaseBook`].
///
/// # Errors
/// Only where a link cannot be named: VNI above 99999 with IPv6.
pub fn wanted<'a>(
    config: &NetworkConfig,
    node: &Node,
    peers: impl IntoIterator<Item = (&'a Subnets, &'a LeaseAttrs)>,
    view: &View,
) -> Result<Wanted, BadLinkName> {
    let mut wanted = Wanted::default();
    let mtus = mtu::of_node(config, &node.underlay);
    match &config.backend {
        Backend::Udp(_) => udp::node(&mut wanted, config, node, mtus.v4),
        Backend::Vxlan(vxlan) => vxlan::node(&mut wanted, vxlan, node, mtus)?,
        Backend::HostGw | Backend::Alloc => {}
    }
    if let Some(name) = &node.bridge {
        bridge::node(&mut wanted.tables, name, &node.subnets, pod_mtu(config, &node.underlay));
    }
    if node.blackhole {
        blackhole(&mut wanted.tables, &node.subnets);
    }
    for (subnets, attrs) in peers {
        if let Err(reason) = peer(&mut wanted, config, node, (subnets, attrs), view) {
            wanted.ignored.push((*subnets, reason));
        }
    }
    Ok(wanted)
}

/// Which kernel objects belong to this daemon.
///
/// # Errors
/// As [`wanted`].
pub fn ownership(config: &NetworkConfig, bridge: Option<&LinkName>) -> Result<Ownership, BadLinkName> {
    let overlay_links = match &config.backend {
        Backend::Udp(_) => BTreeSet::from([LinkName::tun()]),
        Backend::Vxlan(vxlan) => vxlan::links(vxlan, config.v6.is_some())?,
        Backend::HostGw | Backend::Alloc => BTreeSet::new(),
    };
    let networks = [&config.v4, &config.v6].into_iter().flatten().map(|pool| pool.network).collect();
    Ok(Ownership { overlay_links, bridge: bridge.cloned(), networks })
}

fn peer(
    wanted: &mut Wanted,
    config: &NetworkConfig,
    node: &Node,
    (subnets, attrs): (&Subnets, &LeaseAttrs),
    view: &View,
) -> Result<(), Ignored> {
    let expected = match &config.backend {
        // udp nodes publish no type, and accept every lease whatever its type (as flannel).
        Backend::Udp(_) => {
            wanted.udp_peers.insert(subnets.v4, attrs.public_ip);
            return Ok(());
        }
        Backend::Alloc => return Ok(()),
        Backend::Vxlan(_) => "vxlan",
        Backend::HostGw => "host-gw",
    };
    if attrs.backend_type != expected {
        return Err(Ignored::OtherBackend(attrs.backend_type.clone()));
    }
    let v4 = config.v4.is_some().then(|| Reach {
        subnet: subnets.v4.into(),
        public: attrs.public_ip.into(),
        data: attrs.backend_data.as_ref(),
    });
    let v6 = match (config.v6.is_some(), subnets.v6) {
        (true, Some(subnet)) => Some(Reach {
            subnet: subnet.into(),
            public: attrs.public_ipv6.ok_or(Ignored::NoAddress)?.into(),
            data: attrs.backend_v6_data.as_ref(),
        }),
        _ => None,
    };
    for reach in v4.into_iter().chain(v6) {
        match &config.backend {
            Backend::Vxlan(vxlan) => vxlan::peer(&mut wanted.tables, vxlan, node, &reach, view)?,
            _ => host_gw::peer(&mut wanted.tables, node, &reach),
        }
    }
    Ok(())
}

/// Behind every other route to the same subnet, so that a bridge's own route wins (flannel's has metric 0
/// and excludes a bridge).
const BLACKHOLE_METRIC: u32 = 4096;

fn blackhole(tables: &mut Tables, subnets: &Subnets) {
    for subnet in [Some(IpNet::from(subnets.v4)), subnets.v6.map(IpNet::from)].into_iter().flatten() {
        tables.routes.insert(RouteKey::with_metric(subnet, BLACKHOLE_METRIC), Route::Blackhole);
    }
}

/// The one-address network that an overlay link gets: no broadcast route comes with it, and packets of the
/// host itself to pods have a source address of the overlay.
fn host_net(ip: IpAddr) -> IpNet {
    IpNet::from(ip)
}
