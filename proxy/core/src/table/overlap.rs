//! Ranges of ClusterIPs that meet addresses of something else.
//!
//! A new connection to an address of such a range that no service has is dropped, so that it does not wander about. Where a
//! node, a pod or an endpoint has an address in there, nobody can tell how many others have: nothing is dropped then.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::cluster::Cluster;
use crate::names::{Family, Name};
use crate::options::{DetectLocal, Options};
use crate::table::index::Index;

/// A range of ClusterIPs whose addresses without a service are not dropped, and the first reason for it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Overlap {
    pub cidr: IpNet,
    pub with: Taken,
}

/// What else has addresses in a range.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Taken {
    /// The networks that the operator says are pods'.
    ClusterCidr(IpNet),
    PodCidr(Name, IpNet),
    NodeAddress(Name, IpAddr),
    Endpoint(IpAddr),
}

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Taken::ClusterCidr(net) => write!(f, "the pods' network {net} of --cluster-cidr"),
            Taken::PodCidr(node, net) => write!(f, "the pods' network {net} of node {node}"),
            Taken::NodeAddress(node, ip) => write!(f, "address {ip} of node {node}"),
            Taken::Endpoint(ip) => write!(f, "endpoint {ip}"),
        }
    }
}

impl fmt::Display for Overlap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the range {} of ClusterIPs overlaps with {}: packets to its addresses that no service has are let pass, \
             and a ClusterIP may hide a node or pod; give services a range of their own (ServiceCIDR, \
             --service-cluster-ip-range of kube-apiserver)",
            self.cidr, self.with
        )
    }
}

/// Which ranges overlap with what nodes have. Kept until a Node or a range changes, because there may be thousands of Nodes.
#[derive(Clone, Debug, Default)]
pub(super) struct WithNodes(BTreeMap<IpNet, Taken>);

impl WithNodes {
    pub fn new(cluster: &Cluster, cidrs: &[IpNet]) -> Self {
        let find = |cidr: &IpNet| {
            cluster.nodes().find_map(|node| {
                let pods = node.pod_cidrs.iter().find(|net| meet(cidr, net));
                let pods = pods.map(|net| Taken::PodCidr(node.name.clone(), *net));
                let own = || node.addresses.iter().find(|ip| cidr.contains(*ip));
                pods.or_else(|| own().map(|ip| Taken::NodeAddress(node.name.clone(), *ip)))
            })
        };
        Self(cidrs.iter().filter_map(|cidr| Some((*cidr, find(cidr)?))).collect())
    }
}

/// Which of the ranges overlap with what, in their order.
pub(super) fn overlaps(cidrs: &[IpNet], options: &Options, nodes: &WithNodes, index: &Index) -> Vec<Overlap> {
    let pods = match &options.detect_local {
        DetectLocal::ClusterCidr(nets) => &nets[..],
        _ => &[],
    };
    let overlap = |cidr: &IpNet| {
        let pods = pods.iter().find(|net| meet(cidr, net)).map(|net| Taken::ClusterCidr(*net));
        let own = || options.node_ips.iter().find(|ip| cidr.contains(*ip));
        let own = || own().map(|ip| Taken::NodeAddress(options.node_name.clone(), *ip));
        let endpoint = || index.endpoint_within(*cidr).map(Taken::Endpoint);
        let with = pods.or_else(own).or_else(|| nodes.0.get(cidr).cloned()).or_else(endpoint)?;
        Some(Overlap { cidr: *cidr, with })
    };
    cidrs.iter().filter_map(overlap).collect()
}

fn meet(one: &IpNet, other: &IpNet) -> bool {
    Family::of(one.addr()) == Family::of(other.addr()) && (one.contains(other) || other.contains(one))
}
