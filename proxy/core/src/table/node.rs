//! What the node does apart from any one service.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::cluster::Cluster;
use crate::endpoints::Place;
use crate::names::Family;
use crate::objects::NodeInfo;
use crate::options::{DetectLocal, NodePortAddresses, Options};
use crate::table::{FamilyView, NodePortsAt, NodeView, PodSource};

impl NodeView {
    /// `service_cidrs`: the ranges of ClusterIPs that overlap with nothing.
    pub(super) fn new(cluster: &Cluster, options: &Options, service_cidrs: &[IpNet]) -> Self {
        let node = cluster.node(&options.node_name);
        let addresses = addresses(node, options);
        let family = |family| FamilyView {
            pods: pods(node, options, family),
            node_ports: node_ports(&addresses, options, family),
            service_cidrs: of(family, service_cidrs),
        };
        NodeView {
            name: options.node_name.clone(),
            zone: node.and_then(|node| node.zone.clone()).or_else(|| options.zone.clone()),
            pod_cidrs: node.map(|node| node.pod_cidrs.to_vec()).unwrap_or_default(),
            masquerade_all: options.masquerade_all,
            v4: family(Family::V4),
            v6: family(Family::V6),
            addresses,
        }
    }

    pub fn place(&self) -> Place<'_> {
        Place { node: &self.name, zone: self.zone.as_deref() }
    }

    /// The node's first address of a family.
    pub fn primary(&self, family: Family) -> Option<IpAddr> {
        self.addresses.iter().copied().find(|ip| Family::of(*ip) == family)
    }

    /// Whether `other` would make other service ports from the same objects.
    pub(super) fn serves_alike(&self, other: &NodeView) -> bool {
        let alike = |family| {
            let known = |view: &NodeView| view.family(family).pods == PodSource::Unknown;
            known(self) == known(other) && self.primary(family) == other.primary(family)
        };
        (&self.name, &self.zone, self.masquerade_all) == (&other.name, &other.zone, other.masquerade_all)
            && Family::BOTH.into_iter().all(alike)
    }
}

impl NodePortsAt {
    /// Whether node ports are served at this address, if it is one of this node's.
    pub fn covers(&self, ip: IpAddr) -> bool {
        if ip.is_loopback() {
            return self.loopback && ip.is_ipv4();
        }
        self.within.as_ref().is_none_or(|nets| nets.iter().any(|net| net.contains(&ip)))
    }
}

/// The options' addresses; of a family that they leave out, the Node object's.
fn addresses(node: Option<&NodeInfo>, options: &Options) -> Vec<IpAddr> {
    let mut found = options.node_ips.clone();
    for family in Family::BOTH.into_iter().filter(|family| options.primary(*family).is_none()) {
        let written = node.into_iter().flat_map(|node| &node.addresses);
        found.extend(written.copied().filter(|ip| Family::of(*ip) == family));
    }
    found
}

fn of(family: Family, nets: &[IpNet]) -> Vec<IpNet> {
    nets.iter().copied().filter(|net| Family::of(net.addr()) == family).collect()
}

fn pods(node: Option<&NodeInfo>, options: &Options, family: Family) -> PodSource {
    let within = |nets: &[IpNet]| match of(family, nets) {
        nets if nets.is_empty() => PodSource::Unknown,
        nets => PodSource::Nets(nets),
    };
    match &options.detect_local {
        DetectLocal::None => PodSource::Unknown,
        DetectLocal::ClusterCidr(nets) => within(nets),
        DetectLocal::NodeCidr => within(node.map(|node| &*node.pod_cidrs).unwrap_or_default()),
        DetectLocal::Bridge(name) => PodSource::Interface(name.clone()),
        DetectLocal::InterfacePrefix(prefix) => PodSource::InterfacePrefix(prefix.clone()),
    }
}

fn node_ports(addresses: &[IpAddr], options: &Options, family: Family) -> NodePortsAt {
    let within = match &options.nodeport_addresses {
        NodePortAddresses::All => None,
        NodePortAddresses::Primary => {
            let primary = addresses.iter().copied().find(|ip| Family::of(*ip) == family);
            Some(primary.into_iter().map(IpNet::from).collect())
        }
        NodePortAddresses::Cidrs(nets) => {
            let nets = of(family, nets);
            let everywhere = nets.is_empty() || nets.iter().any(|net| net.prefix_len() == 0);
            (!everywhere).then_some(nets)
        }
    };
    let loopback =
        |nets: &Vec<IpNet>| nets.iter().any(|net| net.contains(&LOOPBACK) || net.addr().is_loopback());
    NodePortsAt {
        loopback: options.localhost_nodeports && family == Family::V4 && within.as_ref().is_none_or(loopback),
        within,
    }
}

const LOOPBACK: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
