//! A look at the kernel: what may have changed is read again, and all of it becomes what the core knows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use flanneld_core::attention::{Attention, Parts};
use flanneld_core::config::Vni;
use flanneld_core::mac::Mac;
use flanneld_core::overlay::ForeignRoute;
use flanneld_core::tables::{
    IpipLink, Link, LinkKind, LinkName, Ownership, Route, RouteKey, SeenRoute, Tables, VxlanLink,
};
use host::error::HostError;
use host::netlink::{self, Netlink, RouteKind};
use ipnet::IpNet;

/// What a look saw.
pub struct Observed {
    /// Our part of the tables: what a plan may change.
    pub tables: Tables,
    /// All links, ours and others'.
    pub links: BTreeMap<LinkName, netlink::Link>,
    /// All addresses of the host.
    pub addresses: Vec<netlink::Address>,
    /// Routes of others into our networks, as far as one of ours could have the same destination.
    pub foreign: BTreeMap<IpNet, Vec<ForeignRoute>>,
    /// The gateways of default routes.
    pub gateways: BTreeSet<IpAddr>,
}

impl Observed {
    /// The bridge with an address in `subnet`, whoever made it: the pods' bridge.
    pub fn bridge_in(&self, subnet: IpNet) -> Option<u32> {
        let in_subnet =
            |index| self.addresses.iter().any(|a| a.index == index && subnet.contains(&a.net.addr()));
        let bridges = self.links.values().filter(|link| matches!(link.kind, netlink::LinkKind::Bridge));
        bridges.map(|link| link.index).find(|index| in_subnet(*index))
    }

    /// The networks that a link is part of by its addresses.
    pub fn networks_of(&self, index: u32) -> Vec<IpNet> {
        let of_link = self.addresses.iter().filter(|address| address.index == index);
        of_link.map(|address| address.net.trunc()).collect()
    }

    /// Addresses of this host that are not of our making, with the name of their link.
    pub fn addresses_of_others(&self, ours: &Ownership) -> impl Iterator<Item = (IpAddr, &LinkName)> {
        let name = |index| self.links.iter().find(|(_, link)| link.index == index).map(|(name, _)| name);
        let named = self.addresses.iter().filter_map(move |a| Some((a.net, name(a.index)?)));
        named.filter(|(net, name)| !ours.address(name, net)).map(|(net, name)| (net.addr(), name))
    }

    /// The addresses that a packet to this host can have.
    pub fn local(&self) -> BTreeSet<IpAddr> {
        self.addresses.iter().map(|address| address.net.addr()).collect()
    }
}

/// The tables as they were read last.
#[derive(Debug, Default)]
pub struct Raw {
    links: Vec<netlink::Link>,
    addresses: Vec<netlink::Address>,
    routes: Vec<netlink::Route>,
    /// Of the overlay's VXLAN links, by their index.
    neighbours: BTreeMap<u32, Vec<netlink::Neighbour>>,
    fdb: BTreeMap<u32, Vec<netlink::FdbEntry>>,
}

impl Raw {
    /// Reads again what has changed.
    ///
    /// # Errors
    /// The kernel does not answer, or is too busy to let a table be read in one piece. What was read is then of different
    /// times.
    pub async fn read(&mut self, netlink: &Netlink, ours: &Ownership, parts: Parts) -> Result<(), HostError> {
        if parts.links {
            (self.links, self.addresses) = tokio::try_join!(netlink.links(), netlink.addresses())?;
        }
        if parts.routes {
            self.routes = netlink.routes().await?;
        }
        let end_points: BTreeSet<u32> = self.end_points(ours).collect();
        self.neighbours.retain(|index, _| end_points.contains(index));
        self.fdb.retain(|index, _| end_points.contains(index));
        for index in end_points {
            if parts.neighbours || !self.neighbours.contains_key(&index) {
                self.neighbours.insert(index, netlink.neighbours(index).await?);
            }
            if parts.fdb || !self.fdb.contains_key(&index) {
                self.fdb.insert(index, netlink.fdb(index).await?);
            }
        }
        Ok(())
    }

    fn end_points(&self, ours: &Ownership) -> impl Iterator<Item = u32> {
        let is_ours = |link: &&netlink::Link| link.name.parse().is_ok_and(|name| ours.overlay_link(&name));
        let vxlan = |link: &&netlink::Link| matches!(link.kind, netlink::LinkKind::Vxlan(_));
        self.links.iter().filter(vxlan).filter(is_ours).map(|link| link.index)
    }

    /// What the next change means after this look.
    pub fn attention(&self, ours: &Ownership, underlay: &LinkName) -> Attention {
        let named = |wanted: &dyn Fn(&LinkName) -> bool| -> BTreeSet<u32> {
            let is_it = |link: &&netlink::Link| link.name.parse().is_ok_and(|name| wanted(&name));
            self.links.iter().filter(is_it).map(|link| link.index).collect()
        };
        let into_ours = |route: &&netlink::Route| {
            route.dst.prefix_len() == 0 || ours.networks.iter().any(|network| network.contains(&route.dst))
        };
        Attention {
            known: self.links.iter().map(|link| link.index).collect(),
            overlay: named(&|name| ours.overlay_link(name)),
            ours: named(&|name| {
                ours.overlay_link(name) || ours.bridge.as_ref() == Some(name) || name == underlay
            }),
            routed: self.routes.iter().filter(into_ours).filter_map(|route| route.dev).collect(),
            networks: ours.networks.clone(),
            all_routes: false,
            bridge_ports: false,
        }
    }
}

/// What is in the tables that were read.
pub fn observed(raw: &Raw, ours: &Ownership) -> Observed {
    let Raw { links, addresses, routes, neighbours, fdb } = raw;
    let names: BTreeMap<u32, LinkName> =
        links.iter().filter_map(|link| Some((link.index, link.name.parse().ok()?))).collect();
    let mut tables = Tables::default();

    for link in links {
        let Some(name) = names.get(&link.index) else { continue };
        if ours.overlay_link(name) || ours.bridge.as_ref() == Some(name) {
            tables.links.insert(name.clone(), self::link(link));
        }
        for neighbour in neighbours.get(&link.index).into_iter().flatten() {
            if neighbour.permanent && ours.neighbour(name, neighbour.ip) {
                let mac = Mac(neighbour.mac.unwrap_or_default());
                tables.neighbours.insert((name.clone(), neighbour.ip), mac);
            }
        }
        for entry in fdb.get(&link.index).into_iter().flatten() {
            if entry.permanent && ours.fdb(name) {
                tables.fdb.insert((name.clone(), Mac(entry.mac)), entry.dst);
            }
        }
    }
    for address in addresses {
        let Some(name) = names.get(&address.index) else { continue };
        if ours.address(name, &address.net) {
            tables.addresses.insert((name.clone(), address.net));
        }
    }
    let mut foreign: BTreeMap<IpNet, Vec<ForeignRoute>> = BTreeMap::new();
    let mut gateways = BTreeSet::new();
    for route in routes {
        let dev = route.dev.and_then(|index| names.get(&index));
        let seen = SeenRoute {
            destination: route.dst,
            dev,
            via: route.via,
            onlink: route.onlink,
            protocol: route.protocol,
        };
        if route.dst.prefix_len() == 0 {
            gateways.extend(route.via);
        }
        let found = self::route(route, dev);
        if ours.route(&seen) {
            tables.routes.extend(found.map(|found| (RouteKey::with_metric(route.dst, route.metric), found)));
        } else if ours.networks.iter().any(|network| network.contains(&route.dst))
            && !ours.goes_with_address(&seen)
        {
            let metric = RouteKey::with_metric(route.dst, route.metric).metric;
            let text = described(route, dev);
            let protocol = route.protocol;
            let found = ForeignRoute { metric, route: found, protocol, text };
            foreign.entry(route.dst.trunc()).or_default().push(found);
        }
    }
    let named = |link: &netlink::Link| Some((names.get(&link.index)?.clone(), link.clone()));
    let links = links.iter().filter_map(named).collect();
    Observed { tables, links, addresses: addresses.clone(), foreign, gateways }
}

/// As `ip route` shows it.
fn described(route: &netlink::Route, dev: Option<&LinkName>) -> String {
    let text = netlink::Route { dev: None, ..route.clone() }.to_string();
    match dev {
        Some(dev) => text.replacen(" proto ", &format!(" dev {dev} proto "), 1),
        None => text,
    }
}

fn link(link: &netlink::Link) -> Link {
    Link {
        kind: kind(&link.kind),
        mac: link.mac.map(Mac),
        mtu: Some(link.mtu),
        up: link.up,
        alias: link.alias.clone(),
    }
}

fn kind(kind: &netlink::LinkKind) -> LinkKind {
    match kind {
        netlink::LinkKind::Vxlan(vxlan) => vxlan_link(vxlan)
            .map_or_else(|| LinkKind::Other("vxlan without an identifier".to_owned()), LinkKind::Vxlan),
        netlink::LinkKind::Tun(tun) if tun.tap => LinkKind::Other("tap".to_owned()),
        netlink::LinkKind::Tun(_) => LinkKind::Tun,
        netlink::LinkKind::Ipip(ipip) => LinkKind::Ipip(IpipLink {
            local: ipip.local.unwrap_or(Ipv4Addr::UNSPECIFIED),
            underlay: ipip.dev.unwrap_or_default(),
        }),
        netlink::LinkKind::Wireguard => LinkKind::Wireguard,
        netlink::LinkKind::Dummy => LinkKind::Dummy,
        netlink::LinkKind::Bridge => LinkKind::Bridge,
        netlink::LinkKind::Veth => LinkKind::Other("veth".to_owned()),
        netlink::LinkKind::Other(kind) => LinkKind::Other(kind.clone()),
    }
}

/// A VXLAN link without a source address or a device is no link of flanneld's making; it shows as one with
/// unusable parameters, so that the plan replaces it.
fn vxlan_link(vxlan: &netlink::VxlanLink) -> Option<VxlanLink> {
    Some(VxlanLink {
        vni: Vni::new(vxlan.vni).ok()?,
        port: vxlan.port,
        local: vxlan.local.unwrap_or(IpAddr::from([0, 0, 0, 0])),
        underlay: vxlan.dev.unwrap_or_default(),
        learning: vxlan.learning,
        gbp: vxlan.gbp,
    })
}

fn route(route: &netlink::Route, dev: Option<&LinkName>) -> Option<Route> {
    match route.kind {
        RouteKind::Blackhole => Some(Route::Blackhole),
        RouteKind::Unicast => Some(Route::Out { dev: dev?.clone(), via: route.via, onlink: route.onlink }),
        _ => None,
    }
}
