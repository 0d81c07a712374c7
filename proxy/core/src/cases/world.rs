//! Where the cases happen: three nodes, of which the tests are on `here`, and a world outside.

use std::net::IpAddr;

use ipnet::IpNet;
use serde_json::{Value, json};

use crate::names::Family;
use crate::question::Origin;

/// The node under test.
pub const NODE: &str = "here";
/// The interface of its pods.
pub const BRIDGE: &str = "cni0";

/// A node with its zone, its addresses (primary, then secondary) and its pods' networks, IPv4 and IPv6.
pub struct WorldNode {
    pub name: &'static str,
    pub zone: &'static str,
    pub primary: [&'static str; 2],
    pub secondary: [&'static str; 2],
    pub pods: [&'static str; 2],
}

pub const NODES: [WorldNode; 3] = [
    WorldNode {
        name: "here",
        zone: "a",
        primary: ["192.168.0.1", "fd00:192:168::1"],
        secondary: ["172.16.0.1", "fd00:172:16::1"],
        pods: ["10.244.1.0/24", "fd00:10:244:1::/64"],
    },
    WorldNode {
        name: "there",
        zone: "b",
        primary: ["192.168.0.2", "fd00:192:168::2"],
        secondary: ["172.16.0.2", "fd00:172:16::2"],
        pods: ["10.244.2.0/24", "fd00:10:244:2::/64"],
    },
    WorldNode {
        name: "far",
        zone: "c",
        primary: ["192.168.0.3", "fd00:192:168::3"],
        secondary: ["172.16.0.3", "fd00:172:16::3"],
        pods: ["10.244.3.0/24", "fd00:10:244:3::/64"],
    },
];

pub const CLUSTER_CIDRS: [&str; 2] = ["10.244.0.0/16", "fd00:10:244::/48"];
pub const SERVICE_CIDRS: [&str; 2] = ["10.96.0.0/16", "fd00:10:96::/112"];

/// Who can send, by name, IPv4 and IPv6.
pub const SENDERS: [(&str, Origin, [&str; 2]); 6] = [
    ("pod", Origin::Pod, ["10.244.1.200", "fd00:10:244:1::200"]),
    ("other-pod", Origin::Outside, ["10.244.2.200", "fd00:10:244:2::200"]),
    ("node", Origin::Node, ["192.168.0.1", "fd00:192:168::1"]),
    ("other-node", Origin::Outside, ["192.168.0.2", "fd00:192:168::2"]),
    ("outside", Origin::Outside, ["203.0.113.9", "2001:db8:113::9"]),
    ("localhost", Origin::Node, ["127.0.0.1", "::1"]),
];

/// The node whose pod or own address this is.
pub fn node_of(ip: IpAddr) -> Option<&'static WorldNode> {
    NODES.iter().find(|node| {
        let pods = node.pods.iter().any(|net| parse::<IpNet>(net).contains(&ip));
        pods || node.primary.iter().chain(&node.secondary).any(|own| parse::<IpAddr>(own) == ip)
    })
}

/// Where a packet with this source comes onto the node under test.
pub fn origin_of(src: IpAddr) -> Origin {
    match node_of(src) {
        _ if src.is_loopback() => Origin::Node,
        Some(node) if node.name != NODE => Origin::Outside,
        Some(node) if node.pods.iter().any(|net| parse::<IpNet>(net).contains(&src)) => Origin::Pod,
        Some(_) => Origin::Node,
        None => Origin::Outside,
    }
}

/// The Node and ServiceCIDR objects that are in every case.
pub fn objects() -> Vec<Value> {
    let node = |node: &WorldNode| {
        let addresses: Vec<Value> =
            node.primary.iter().map(|ip| json!({"type": "InternalIP", "address": ip})).collect();
        json!({
            "apiVersion": "v1", "kind": "Node",
            "metadata": {"name": node.name, "labels": {"topology.kubernetes.io/zone": node.zone}},
            "spec": {"podCIDRs": node.pods},
            "status": {"addresses": addresses},
        })
    };
    let cidr = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": {"name": "kubernetes"}, "spec": {"cidrs": SERVICE_CIDRS},
    });
    NODES.iter().map(node).chain([cidr]).collect()
}

pub(super) fn sender(name: &str, family: Family) -> Option<(IpAddr, Origin)> {
    let (_, origin, ips) = SENDERS.iter().find(|(known, ..)| *known == name)?;
    Some((parse(ips[usize::from(family == Family::V6)]), *origin))
}

pub(super) fn parse<T: std::str::FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("{text:?} does not parse as {}", std::any::type_name::<T>()))
}
