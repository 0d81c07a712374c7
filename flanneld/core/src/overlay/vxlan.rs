//! vxlan: one tunnel end point for each family; per peer a neighbour entry, an FDB entry and a route.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::mtu::Mtus;
use super::{Ignored, Node, Reach, View, Wanted, host_net};
use crate::config::Vxlan;
use crate::lease::VxlanData;
use crate::tables::{BadLinkName, Link, LinkKind, LinkName, Route, RouteKey, Tables, VxlanLink};

/// The kernel's default UDP port for VXLAN, older than IANA's 4789.
const KERNEL_PORT: u16 = 8472;

pub(super) fn links(config: &Vxlan, v6: bool) -> Result<BTreeSet<LinkName>, BadLinkName> {
    let mut names = BTreeSet::from([LinkName::vxlan(config.vni)]);
    if v6 {
        names.insert(LinkName::vxlan_v6(config.vni)?);
    }
    Ok(names)
}

pub(super) fn node(wanted: &mut Wanted, config: &Vxlan, node: &Node, mtus: Mtus) -> Result<(), BadLinkName> {
    let subnets = &node.subnets;
    if let Some(ip) = node.underlay.ip {
        let local = tunnel_source(node, node.public_ip.into(), ip.into());
        let link = link(config, node, local, mtus.v4, node.vtep);
        add(&mut wanted.tables, LinkName::vxlan(config.vni), link, subnets.v4.network().into());
    }
    if let (Some(subnet), Some(ip)) = (subnets.v6, node.underlay.ipv6) {
        let public = node.public_ipv6.unwrap_or(ip);
        let link = link(config, node, tunnel_source(node, public.into(), ip.into()), mtus.v6, node.vtep_v6);
        add(&mut wanted.tables, LinkName::vxlan_v6(config.vni)?, link, subnet.network().into());
    }
    Ok(())
}

pub(super) fn peer(
    tables: &mut Tables,
    config: &Vxlan,
    node: &Node,
    reach: &Reach<'_>,
    view: &View,
) -> Result<(), Ignored> {
    let data = reach.data.ok_or_else(|| Ignored::BadData("none published".to_owned()))?;
    let data = VxlanData::parse(data).map_err(|error| Ignored::BadData(error.to_string()))?;
    let dev = match reach.public {
        IpAddr::V4(_) => LinkName::vxlan(config.vni),
        IpAddr::V6(_) => {
            LinkName::vxlan_v6(config.vni).map_err(|error| Ignored::BadData(error.to_string()))?
        }
    };
    // The peer's end point answers to the first address of its subnet, which is also its address there.
    let gateway = reach.subnet.network();
    let route = if config.direct_routing && view.direct.contains(&reach.public) {
        Route::Out { dev: node.underlay.name.clone(), via: Some(reach.public), onlink: false }
    } else {
        tables.neighbours.insert((dev.clone(), gateway), data.vtep_mac);
        tables.fdb.insert((dev.clone(), data.vtep_mac), reach.public);
        Route::Out { dev, via: Some(gateway), onlink: true }
    };
    tables.routes.insert(RouteKey::new(reach.subnet), route);
    Ok(())
}

/// Packets leave with the public address where the host has it; behind NAT with the interface's own, which
/// the NAT rewrites. (flannel always takes the public one, and its packets then have no way back.)
fn tunnel_source(node: &Node, public: IpAddr, own: IpAddr) -> IpAddr {
    if node.underlay.local.contains(&public) { public } else { own }
}

fn link(config: &Vxlan, node: &Node, local: IpAddr, mtu: u32, mac: Option<crate::mac::Mac>) -> Link {
    let kind = LinkKind::Vxlan(VxlanLink {
        vni: config.vni,
        port: config.port.unwrap_or(KERNEL_PORT),
        local,
        underlay: node.underlay.index,
        learning: config.learning,
        gbp: config.gbp,
    });
    Link { kind, mac, mtu: Some(mtu), up: true }
}

fn add(tables: &mut Tables, name: LinkName, link: Link, ip: IpAddr) {
    tables.addresses.insert((name.clone(), host_net(ip)));
    tables.links.insert(name, link);
}
