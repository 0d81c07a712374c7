//! What would cut this node off, or leave it unreachable, is refused before anything is changed.
//!
//! Begin at [`check`]. It sees what the shell observed and never asks the kernel. What an interface must be to carry
//! the overlay at all, [`crate::iface`] knows.

mod refusal;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;

use crate::config::{NetworkConfig, Pool};
use crate::iface::Underlay;
use crate::tables::LinkName;

pub use refusal::Refusal;

/// The node as it is, and what is asked of it.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    pub config: &'a NetworkConfig,
    /// The choice of [`crate::iface::choose`].
    pub underlay: &'a Underlay,
    /// `--bridge`.
    pub bridge: Option<&'a str>,
    pub links: &'a [Link],
    /// With the length of their networks, beside the index of their links.
    pub addresses: &'a [(u32, IpNet)],
    /// The next hops of the default routes, and their interfaces.
    pub gateways: &'a [(Option<IpAddr>, Option<u32>)],
    /// The etcd endpoints that are named by address.
    pub etcd: &'a [IpAddr],
}

/// A link of this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    pub index: u32,
    pub name: String,
    /// As `ip -d link` calls it; empty for a device of its own.
    pub kind: String,
    /// What it is a port of.
    pub master: Option<u32>,
    /// What it stands on: of a VLAN, the link below.
    pub below: Option<u32>,
}

/// Checks everything.
///
/// # Errors
/// The first thing that must not be.
pub fn check(facts: &Facts<'_>) -> Result<(), Refusal> {
    if let Some(bridge) = facts.bridge {
        pods_bridge(facts, bridge)?;
    }
    for (family, public, own) in ends(facts.underlay) {
        public_address(facts, family, public)?;
        if facts.config.backend.overlay().peers_are_gateways() {
            gateway_address(facts, public, own)?;
        }
    }
    inside_the_network(facts)?;
    mtu(facts)
}

/// The flag of each family in use, the address that peers are told, and that of the interface.
fn ends(underlay: &Underlay) -> impl Iterator<Item = (&'static str, IpAddr, IpAddr)> {
    let v4 = underlay.v4.map(|end| ("--public-ip", end.ext_addr.into(), end.iface_addr.into()));
    let v6 = underlay.v6.map(|end| ("--public-ipv6", end.ext_addr.into(), end.iface_addr.into()));
    v4.into_iter().chain(v6)
}

/// The pods' bridge gets an address of the pods and their MTU: it must be a bridge, and nobody's way to the outside.
fn pods_bridge(facts: &Facts<'_>, name: &str) -> Result<(), Refusal> {
    let underlay = &facts.underlay.name;
    if name == underlay {
        return Err(Refusal::BridgeIsUnderlay { bridge: name.to_owned() });
    }
    let v6 = facts.config.v6.is_some();
    let tunnels = facts.config.backend.overlay().links(v6, &LinkName::tun(0)).unwrap_or_default();
    if tunnels.iter().any(|tunnel| tunnel.as_str() == name) {
        return Err(Refusal::BridgeIsTunnel { bridge: name.to_owned() });
    }
    let Some(link) = facts.links.iter().find(|link| link.name == name) else { return Ok(()) };
    let bridge = || name.to_owned();
    if link.kind != "bridge" {
        let kind = if link.kind.is_empty() { "device".to_owned() } else { link.kind.clone() };
        return Err(Refusal::NoBridge { bridge: bridge(), kind });
    }
    if related(facts.links, facts.underlay.index).contains(&link.index) {
        return Err(Refusal::BridgeCarriesUnderlay { bridge: bridge(), underlay: underlay.clone() });
    }
    if facts.gateways.iter().any(|(_, dev)| *dev == Some(link.index)) {
        return Err(Refusal::BridgeHasDefaultRoute { bridge: bridge() });
    }
    if let Some(master) = link.master {
        let name = facts.links.iter().find(|link| link.index == master).map(|link| link.name.clone());
        return Err(Refusal::BridgeIsPort {
            bridge: bridge(),
            master: name.unwrap_or_else(|| master.to_string()),
        });
    }
    Ok(())
}

/// The links that packets of a link pass through: what it is a port of, and what it stands on.
fn related(links: &[Link], index: u32) -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    let mut next = vec![index];
    while let Some(index) = next.pop() {
        if found.insert(index)
            && let Some(link) = links.iter().find(|link| link.index == index)
        {
            next.extend([link.master, link.below].into_iter().flatten());
        }
    }
    found
}

/// What a peer would have to send to.
fn public_address(facts: &Facts<'_>, flag: &'static str, address: IpAddr) -> Result<(), Refusal> {
    let refuse = |what| Err(Refusal::PublicAddress { flag, address, what });
    if address.is_unspecified() || matches!(address, IpAddr::V4(ip) if ip.octets()[0] == 0) {
        return refuse("no host has it");
    }
    if address.is_loopback() {
        return refuse("every host is itself there");
    }
    if address.is_multicast() {
        return refuse("it is a multicast group");
    }
    if is_link_local(address) {
        return refuse("it is link-local, and no router forwards to it");
    }
    let is_broadcast =
        |net: &IpNet| address == net.broadcast() && net.prefix_len() < 31 && net.addr().is_ipv4();
    let on_link = facts.addresses.iter().filter(|(index, _)| *index == facts.underlay.index);
    if address == IpAddr::V4(Ipv4Addr::BROADCAST) || on_link.map(|(_, net)| net).any(is_broadcast) {
        return refuse("it is a broadcast address");
    }
    Ok(())
}

/// With host-gw peers route to the public address as to a neighbour.
fn gateway_address(facts: &Facts<'_>, public: IpAddr, own: IpAddr) -> Result<(), Refusal> {
    let on_link =
        |ip| facts.addresses.iter().any(|(at, net)| *at == facts.underlay.index && net.addr() == ip);
    if public == own || on_link(public) {
        return Ok(());
    }
    Err(Refusal::NoGateway {
        backend: facts.config.backend.name(),
        public,
        underlay: facts.underlay.name.clone(),
        own,
    })
}

/// A subnet that a peer may lease is routed to that peer, with all that is in it.
fn inside_the_network(facts: &Facts<'_>) -> Result<(), Refusal> {
    let ours = ends(facts.underlay).flat_map(|(_, public, own)| {
        [("this node's public address", public), ("this node's own address", own)]
    });
    let gateways = facts.gateways.iter().filter_map(|(via, _)| Some(("the default gateway", (*via)?)));
    let etcd = facts.etcd.iter().map(|ip| ("the etcd endpoint", *ip));
    for (what, address) in ours.chain(gateways).chain(etcd) {
        let pools = [&facts.config.v4, &facts.config.v6];
        if let Some(pool) = pools.into_iter().flatten().find(|pool| leases(pool, address)) {
            return Err(Refusal::InsideNetwork { network: pool.network, what, address });
        }
    }
    Ok(())
}

/// Whether a node may lease the subnet that an address lies in.
fn leases(pool: &Pool, address: IpAddr) -> bool {
    IpNet::new(address, pool.subnet_len).is_ok_and(|net| pool.admits(net.trunc()))
}

fn mtu(facts: &Facts<'_>) -> Result<(), Refusal> {
    match facts.config.backend.overlay().underlay_mtu() {
        Some(mtu) if mtu > facts.underlay.mtu => {
            Err(Refusal::Mtu { mtu, underlay: facts.underlay.name.clone(), carries: facts.underlay.mtu })
        }
        _ => Ok(()),
    }
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}
