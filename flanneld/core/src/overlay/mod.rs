//! What each backend wants of the kernel, given the network, this node and the leases of the others.
//!
//! Owns: the backends with their options, the overlay's links, addresses, routes, neighbours and FDB entries, and the
//! MTUs. Begin at [`wanted()`]; the list of backends is in [`backend`].
//! Never: looks at the kernel; an answer that only the kernel has ([`View::direct`]) is handed in.

mod admit;
mod alloc;
pub mod backend;
mod bridge;
mod host_gw;
mod mtu;
mod node;
#[cfg(test)]
mod tests;
mod udp;
mod vxlan;
mod wanted;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::config::NetworkConfig;
use crate::lease::{LeaseAttrs, Subnets};
use crate::mac::Mac;
use crate::tables::{BadLinkName, Ownership, Route, RouteKey, Tables};

pub use alloc::Alloc;
pub use backend::Backend;
pub use host_gw::HostGw;
pub use mtu::{pod_mtu, too_small};
pub use node::{ForeignRoute, Node, PerFamily, Reach, Underlay, View};
pub use udp::{Datapath, SeenTun, Udp, choose_tun};
pub use vxlan::Vxlan;
pub use wanted::{Ignored, Wanted};

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
    config.backend.overlay().node(&mut wanted, config.networks(), node)?;
    if let Some(name) = &node.bridge {
        bridge::node(&mut wanted.tables, name, &node.subnets, pod_mtu(config, &node.underlay));
    }
    if node.blackhole {
        blackhole(&mut wanted.tables, &node.subnets);
    }
    admit::own_routes(&mut wanted, view);
    let peers: Vec<_> = peers.into_iter().collect();
    let guards = admit::Guards::new(config, view, peers.iter().map(|(_, attrs)| *attrs));
    for (subnets, attrs) in peers {
        if let Err(reason) = peer(&mut wanted, config, node, (subnets, attrs), view, &guards) {
            wanted.ignored.push((*subnets, reason));
        }
    }
    Ok(wanted)
}

/// Which kernel objects belong to this daemon. `former` are the networks of its earlier configurations, as far as
/// they are known.
///
/// # Errors
/// As [`wanted()`].
pub fn ownership(
    config: &NetworkConfig,
    node: &Node,
    former: impl IntoIterator<Item = IpNet>,
) -> Result<Ownership, BadLinkName> {
    let overlay_links = config.backend.overlay().links(config.v6.is_some(), &node.tun)?;
    let PerFamily { v4, v6 } = config.networks();
    let mut networks: Vec<IpNet> = v4.into_iter().chain(v6).collect();
    networks.extend(former.into_iter().filter(|network| Some(*network) != v4 && Some(*network) != v6));
    Ok(Ownership { overlay_links, bridge: node.bridge.clone(), networks })
}

/// What this node publishes in its lease: flannel's bytes.
pub fn lease_attrs(
    config: &NetworkConfig,
    public_ip: Ipv4Addr,
    public_ipv6: Option<Ipv6Addr>,
    macs: PerFamily<Option<Mac>>,
) -> LeaseAttrs {
    let overlay = config.backend.overlay();
    LeaseAttrs {
        public_ip,
        public_ipv6,
        backend_type: overlay.lease_type().to_owned(),
        backend_data: overlay.data(macs.v4),
        backend_v6_data: overlay.data(macs.v6),
    }
}

fn peer(
    wanted: &mut Wanted,
    config: &NetworkConfig,
    node: &Node,
    (subnets, attrs): (&Subnets, &LeaseAttrs),
    view: &View,
    guards: &admit::Guards<'_>,
) -> Result<(), Ignored> {
    let overlay = config.backend.overlay();
    if overlay.needs_same_type() && attrs.backend_type != overlay.lease_type() {
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
    let reaches: Vec<Reach<'_>> = v4.into_iter().chain(v6).collect();
    // Of a lease with two families either both are used or none.
    let mut parts = Wanted::default();
    reaches.iter().try_for_each(|reach| overlay.peer(&mut parts, node, reach, view))?;
    admit::claim(&mut parts, view)?;
    reaches.iter().try_for_each(|reach| guards.admit(reach.subnet))?;
    wanted.join(parts);
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
