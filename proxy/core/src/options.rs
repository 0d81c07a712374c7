//! What this node's operator chose: the options that change what a packet meets, apart from any backend.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::names::{Family, Name};

/// How a packet from a pod of this cluster is known (kube-proxy's `detectLocalMode`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum DetectLocal {
    /// It is not: nothing counts as pod traffic.
    #[default]
    None,
    /// Source address within these; a family without a network detects nothing.
    ClusterCidr(Vec<IpNet>),
    /// Source address within this Node's `spec.podCIDRs`.
    NodeCidr,
    /// Arrived by this interface.
    Bridge(Name),
    /// Arrived by an interface whose name begins so.
    InterfacePrefix(Name),
}

/// Where node ports are served (kube-proxy's `nodePortAddresses`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum NodePortAddresses {
    /// At every address of this node, loopback apart: see [`Options::localhost_nodeports`].
    #[default]
    All,
    /// At the first of [`Options::node_ips`] of each family.
    Primary,
    /// At this node's addresses within these. A family that none of them belongs to is served everywhere,
    /// as kube-proxy does.
    Cidrs(Vec<IpNet>),
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    pub node_name: Name,
    /// This node's own addresses; the first of a family is its primary one.
    /// Where a family has none, the Node object's addresses are taken.
    pub node_ips: Vec<IpAddr>,
    /// Used where the Node object has no `topology.kubernetes.io/zone` label.
    pub zone: Option<Name>,
    /// Masquerade all traffic to ClusterIPs.
    pub masquerade_all: bool,
    pub detect_local: DetectLocal,
    pub nodeport_addresses: NodePortAddresses,
    /// Serve node ports at 127.0.0.0/8 too, where `nodeport_addresses` covers it. IPv4 only: the kernel has no
    /// `route_localnet` for IPv6.
    pub localhost_nodeports: bool,
}

impl Options {
    /// The primary address of a family, as far as the options say.
    pub fn primary(&self, family: Family) -> Option<IpAddr> {
        self.node_ips.iter().copied().find(|ip| Family::of(*ip) == family)
    }
}
