//! udp: the whole network is routed to a TUN; its data path knows the peers.

use super::{Node, Wanted, host_net};
use crate::config::NetworkConfig;
use crate::tables::{Link, LinkKind, LinkName, Route, RouteKey};

pub(super) fn node(wanted: &mut Wanted, config: &NetworkConfig, node: &Node, mtu: u32) {
    let tun = LinkName::tun();
    let tables = &mut wanted.tables;
    tables.links.insert(tun.clone(), Link { kind: LinkKind::Tun, mac: None, mtu: Some(mtu), up: true });
    tables.addresses.insert((tun.clone(), host_net(node.subnets.v4.network().into())));
    if let Some(pool) = &config.v4 {
        let route = Route::Out { dev: tun, via: None, onlink: false };
        tables.routes.insert(RouteKey::new(pool.network), route);
    }
}
