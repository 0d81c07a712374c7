//! What is ours. Nothing else may ever be deleted.

use std::collections::BTreeSet;
use std::net::IpAddr;

use ipnet::IpNet;

use super::LinkName;

/// The route protocol number of flanneld's routes (`ip route show proto 87`).
/// Not assigned in the kernel's `rtnetlink.h` nor in iproute2's `rt_protos`.
pub const PROTOCOL: u8 = 87;

/// The protocol number of routes that the kernel made by itself (`RTPROT_KERNEL`).
const KERNEL_PROTOCOL: u8 = 2;

/// Tells our kernel objects from those of others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ownership {
    /// The links that carry the overlay: nobody else has a reason to configure them.
    pub overlay_links: BTreeSet<LinkName>,
    /// The bridge for the pods, where flanneld keeps one. It is shared with the container runtime.
    pub bridge: Option<LinkName>,
    /// The whole networks that subnets are leased from, and those that they were leased from before the configuration
    /// changed. Two daemons with two networks can share a host.
    pub networks: Vec<IpNet>,
}

/// A route as far as it tells whose it is.
#[derive(Clone, Copy, Debug)]
pub struct SeenRoute<'a> {
    pub destination: IpNet,
    pub dev: Option<&'a LinkName>,
    pub via: Option<IpAddr>,
    pub onlink: bool,
    /// `RTPROT_*`.
    pub protocol: u8,
}

impl Ownership {
    /// A link that we may change, or delete and make again.
    pub fn overlay_link(&self, name: &LinkName) -> bool {
        self.overlay_links.contains(name)
    }

    /// An address that we may remove: of our network, on a link of ours. On a tunnel of ours also each address without
    /// a network of its own: that is how flanneld puts them there, and the network may have been another one then.
    pub fn address(&self, link: &LinkName, address: &IpNet) -> bool {
        let ip = address.addr();
        if self.overlay_link(link) {
            let alone = address.prefix_len() == address.max_prefix_len();
            return self.in_network(ip) || (alone && is_global(ip));
        }
        self.bridge.as_ref() == Some(link) && self.in_network(ip)
    }

    /// A route that we may remove. Through a tunnel of ours: each that bears our protocol number, leads into our
    /// network, or has the form that flannel gives its own, which carry no mark (`SUBNET via SUBNET's first address
    /// onlink`). Elsewhere: into our network, with our protocol number.
    pub fn route(&self, route: &SeenRoute<'_>) -> bool {
        if route.protocol == KERNEL_PROTOCOL {
            return false;
        }
        let inside = self.networks.iter().any(|network| network.contains(&route.destination));
        let marked = route.protocol == PROTOCOL;
        if route.dev.is_some_and(|dev| self.overlay_link(dev)) {
            let of_flannel = route.onlink && route.via == Some(route.destination.network());
            return marked || inside || of_flannel;
        }
        marked && inside
    }

    /// A route that comes and goes with an address of ours, so that it is in nobody's way.
    pub fn goes_with_address(&self, route: &SeenRoute<'_>) -> bool {
        let ours = route.dev.is_some_and(|dev| self.overlay_link(dev) || self.bridge.as_ref() == Some(dev));
        route.protocol == KERNEL_PROTOCOL && ours && self.in_network(route.destination.network())
    }

    /// A permanent neighbour entry that we may remove: all those of our own tunnels.
    pub fn neighbour(&self, link: &LinkName, ip: IpAddr) -> bool {
        self.overlay_link(link) && is_global(ip)
    }

    /// A permanent FDB entry that we may remove: all those of our own VXLAN links.
    pub fn fdb(&self, link: &LinkName) -> bool {
        self.overlay_link(link)
    }

    fn in_network(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }
}

/// Neither the kernel's own (link-local) nor a group.
fn is_global(ip: IpAddr) -> bool {
    let local = match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    };
    !local && !ip.is_multicast()
}
