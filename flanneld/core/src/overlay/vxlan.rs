//! vxlan: the kernel's VXLAN. One tunnel end point for each family; per peer a neighbour entry, an FDB entry and a
//! route.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::backend::Overlay;
use super::wanted::{Ignored, Wanted};
use super::{Node, PerFamily, Reach, View, host_net};
use crate::config::fields::{Fields, bad};
use crate::config::{ConfigError, Vni};
use crate::lease::{RawJson, VxlanData};
use crate::mac::Mac;
use crate::tables::{BadLinkName, Link, LinkKind, LinkName, Route, RouteKey, Tables, VxlanLink};

pub(super) const NAME: &str = "vxlan";

/// The kernel's default UDP port for VXLAN, older than IANA's 4789.
const KERNEL_PORT: u16 = 8472;
/// Outer IPv4 (20), UDP (8), VXLAN (8), inner Ethernet (14). RFC 7348.
const OVERHEAD: u32 = 50;
/// The same over IPv6 (40). flannel subtracts 50 here too, and fragments (flannel issue 1781).
const OVERHEAD_V6: u32 = 70;

/// The smallest MTU that every IPv4 host must cope with, RFC 791.
const LEAST_MTU: u32 = 576;
/// IPv6 needs 1280 inside (RFC 8200), and VXLAN over IPv6 adds 70.
const LEAST_MTU_WITH_IPV6: u32 = 1350;

/// The options.
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

pub(super) fn read(options: &Fields<'_>, ipv6: bool) -> Result<Vxlan, ConfigError> {
    let vni = options
        .number("Backend.VNI", 1..=Vni::MAX)?
        .map_or(Vni::DEFAULT, |vni| Vni::new(vni).expect("the range has been checked"));
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

impl Overlay for Vxlan {
    fn lease_type(&self) -> &'static str {
        NAME
    }

    fn underlay_mtu(&self) -> Option<u32> {
        self.mtu
    }

    fn links(&self, v6: bool, _: &LinkName) -> Result<BTreeSet<LinkName>, BadLinkName> {
        let mut names = BTreeSet::from([LinkName::vxlan(self.vni)]);
        if v6 {
            names.insert(LinkName::vxlan_v6(self.vni)?);
        }
        Ok(names)
    }

    fn vteps(&self, v6: bool) -> PerFamily<Option<LinkName>> {
        let v6 = if v6 { LinkName::vxlan_v6(self.vni).ok() } else { None };
        PerFamily { v4: Some(LinkName::vxlan(self.vni)), v6 }
    }

    fn data(&self, mac: Option<Mac>) -> Option<RawJson> {
        Some(VxlanData { vni: self.vni, vtep_mac: mac? }.render())
    }

    fn published_mac(&self, data: &RawJson) -> Option<Mac> {
        VxlanData::parse(data).ok().map(|data| data.vtep_mac)
    }

    fn mtus(&self, underlay: u32) -> PerFamily<u32> {
        let outer = self.mtu.unwrap_or(underlay);
        PerFamily { v4: outer.saturating_sub(OVERHEAD), v6: outer.saturating_sub(OVERHEAD_V6) }
    }

    fn asks_direct(&self) -> bool {
        self.direct_routing
    }

    fn answers_inside(&self) -> bool {
        true
    }

    fn node(&self, wanted: &mut Wanted, _: PerFamily<Option<IpNet>>, node: &Node) -> Result<(), BadLinkName> {
        let subnets = &node.subnets;
        let mtus = self.mtus(node.underlay.mtu);
        if let Some(ip) = node.underlay.ip {
            let local = tunnel_source(node, node.public_ip.into(), ip.into());
            let link = self.link(node, local, mtus.v4, node.vtep);
            add(&mut wanted.tables, LinkName::vxlan(self.vni), link, subnets.v4.network().into());
        }
        if let (Some(subnet), Some(ip)) = (subnets.v6, node.underlay.ipv6) {
            let public = node.public_ipv6.unwrap_or(ip);
            let link = self.link(node, tunnel_source(node, public.into(), ip.into()), mtus.v6, node.vtep_v6);
            add(&mut wanted.tables, LinkName::vxlan_v6(self.vni)?, link, subnet.network().into());
        }
        Ok(())
    }

    fn peer(&self, wanted: &mut Wanted, node: &Node, reach: &Reach<'_>, view: &View) -> Result<(), Ignored> {
        let tables = &mut wanted.tables;
        let data = reach.data.ok_or_else(|| Ignored::BadData("none published".to_owned()))?;
        let data = VxlanData::parse(data).map_err(|error| Ignored::BadData(error.to_string()))?;
        let dev = match reach.public {
            IpAddr::V4(_) => LinkName::vxlan(self.vni),
            IpAddr::V6(_) => {
                LinkName::vxlan_v6(self.vni).map_err(|error| Ignored::BadData(error.to_string()))?
            }
        };
        // The peer's end point answers to the first address of its subnet, which is also its address there.
        let gateway = reach.subnet.network();
        let route = if self.direct_routing && view.direct.contains(&reach.public) {
            Route::Out { dev: node.underlay.name.clone(), via: Some(reach.public), onlink: false }
        } else {
            tables.neighbours.insert((dev.clone(), gateway), data.vtep_mac);
            tables.fdb.insert((dev.clone(), data.vtep_mac), reach.public);
            Route::Out { dev, via: Some(gateway), onlink: true }
        };
        tables.routes.insert(RouteKey::new(reach.subnet), route);
        Ok(())
    }
}

impl Vxlan {
    fn link(&self, node: &Node, local: IpAddr, mtu: u32, mac: Option<Mac>) -> Link {
        let kind = LinkKind::Vxlan(VxlanLink {
            vni: self.vni,
            port: self.port.unwrap_or(KERNEL_PORT),
            local,
            underlay: node.underlay.index,
            learning: self.learning,
            gbp: self.gbp,
        });
        Link { kind, mac, mtu: Some(mtu), up: true, alias: Some(node.id.mark()) }
    }
}

/// Packets leave with the public address where the host has it; behind NAT with the interface's own, which
/// the NAT rewrites. (flannel always takes the public one, and its packets then have no way back.)
fn tunnel_source(node: &Node, public: IpAddr, own: IpAddr) -> IpAddr {
    if node.underlay.local.contains(&public) { public } else { own }
}

fn add(tables: &mut Tables, name: LinkName, link: Link, ip: IpAddr) {
    tables.addresses.insert((name.clone(), host_net(ip)));
    tables.links.insert(name, link);
}

impl fmt::Display for Vxlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, " (VNI {}, port {}", self.vni, self.port.unwrap_or(KERNEL_PORT))?;
        if let Some(mtu) = self.mtu {
            write!(f, ", underlay MTU {mtu}")?;
        }
        let flags = [(self.gbp, "GBP"), (self.learning, "learning"), (self.direct_routing, "direct routing")];
        for (_, name) in flags.into_iter().filter(|(on, _)| *on) {
            write!(f, ", {name}")?;
        }
        f.write_str(")")
    }
}
