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
    /// The whole networks that subnets are leased from. Two daemons with two networks can share a host.
    pub networks: Vec<IpNet>,
}

impl Ownership {
    /// A link that we may change, or delete and make again.
    pub fn overlay_link(&self, name: &LinkName) -> bool {
        self.overlay_links.contains(name)
    }

    /// An address that we may remove: of our network, on a link of ours.
    pub fn address(&self, link: &LinkName, address: &IpNet) -> bool {
        (self.overlay_link(link) || self.bridge.as_ref() == Some(link)) && self.in_network(address.addr())
    }

    /// A route that we may remove: into our network, and either marked with our protocol number or
    /// through our own link. The original's routes through `flannel.1` carry no mark: the link is theirs.
    pub fn route(&self, destination: &IpNet, dev: Option<&LinkName>, protocol: u8) -> bool {
        let through_overlay = dev.is_some_and(|dev| self.overlay_link(dev)) && protocol != KERNEL_PROTOCOL;
        (protocol == PROTOCOL || through_overlay)
            && self.networks.iter().any(|network| network.contains(destination))
    }

    /// A permanent neighbour entry that we may remove.
    pub fn neighbour(&self, link: &LinkName, ip: IpAddr) -> bool {
        self.overlay_link(link) && self.in_network(ip)
    }

    /// A permanent FDB entry that we may remove: all those of our own VXLAN links.
    pub fn fdb(&self, link: &LinkName) -> bool {
        self.overlay_link(link)
    }

    fn in_network(&self, ip: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&ip))
    }
}
