//! What is made for a lab, in order. Pure: the same spec gives the same steps.
//!
//! A step prints itself as the command of iproute2 that does the same, so that a plan can be read, and done by
//! hand. Begin at [`Plan::of`].

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::error::LabError;
pub use crate::flanneld::POD_BRIDGE;
use crate::spec::{Spec, Topology};

/// The switch's name inside the hub.
pub const SWITCH: &str = "switch";
/// etcd's port.
pub const ETCD_PORT: u16 = 2379;

/// One change to one namespace of the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A new namespace, with its loopback up.
    Namespace(String),
    /// A key below `/proc/sys`, with slashes.
    Sysctl {
        netns: String,
        key: String,
        value: String,
    },
    /// A bridge, up.
    Bridge {
        netns: String,
        name: String,
        mtu: u32,
    },
    /// A pair of virtual Ethernet ports, both up.
    Veth {
        a: Port,
        b: Port,
        mtu: u32,
    },
    Address {
        netns: String,
        link: String,
        net: IpNet,
    },
    /// A default route.
    Default {
        netns: String,
        via: IpAddr,
    },
}

/// One end of a veth pair.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    pub netns: String,
    pub name: String,
    /// The bridge that it is a port of.
    pub bridge: Option<String>,
    /// Sends back what came in by it, as CNI's bridge plugin has it for pods: otherwise one that asks a service and is
    /// itself the endpoint gets no answer where `bridge-nf-call-iptables` is on.
    pub hairpin: bool,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Namespace(name) => write!(f, "ip netns add {name}; ip -n {name} link set lo up"),
            Self::Sysctl { netns, key, value } => {
                write!(f, "ip netns exec {netns} sysctl -w {}={value}", key.replace('/', "."))
            }
            Self::Bridge { netns, name, mtu } => {
                write!(f, "ip -n {netns} link add {name} mtu {mtu} up type bridge")
            }
            Self::Veth { a, b, mtu } => {
                let (netns, name, peer, peer_netns) = (&a.netns, &a.name, &b.name, &b.netns);
                write!(f, "ip -n {netns} link add {name} mtu {mtu} type veth ")?;
                write!(f, "peer name {peer} mtu {mtu} netns {peer_netns}")?;
                for Port { netns, name, bridge, hairpin } in [a, b] {
                    let master = bridge.as_ref().map(|b| format!("master {b} ")).unwrap_or_default();
                    write!(f, "; ip -n {netns} link set {name} {master}up")?;
                    if *hairpin {
                        write!(f, "; bridge -n {netns} link set dev {name} hairpin on")?;
                    }
                }
                Ok(())
            }
            Self::Address { netns, link, net } => write!(f, "ip -n {netns} address add {net} dev {link}"),
            Self::Default { netns, via } => write!(f, "ip -n {netns} route add default via {via}"),
        }
    }
}

/// Names, addresses and wires of a lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    pub hub: String,
    /// etcd as the nodes see it.
    pub etcd_endpoint: String,
    pub nodes: Vec<NodePlan>,
    /// In the order in which they are made.
    pub steps: Vec<Step>,
}

/// A node's place in the lab.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodePlan {
    /// `n1`.
    pub name: String,
    pub netns: String,
    /// Its address on eth0, which it publishes to its peers.
    pub underlay: Ipv4Net,
    pub underlay_ipv6: Option<Ipv6Net>,
    pub pods: Vec<PodPlan>,
}

/// A pod's place in the lab. Its address depends on the lease that the node takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodPlan {
    /// `n1-p1`.
    pub name: String,
    pub netns: String,
    /// The node's end of its wire: `veth-p1`.
    pub port: String,
    /// 1 for the first pod of the node.
    pub index: u16,
}

impl Plan {
    /// Plans everything that can be made before the first lease is taken.
    pub fn of(spec: &Spec) -> Self {
        let hub = spec.name.hub_namespace();
        let nodes: Vec<NodePlan> = (1..=spec.nodes).map(|i| NodePlan::of(spec, i)).collect();
        let mut steps = vec![Step::Namespace(hub.clone())];
        steps.extend(quick_ipv6(&hub));
        steps.push(Step::Bridge { netns: hub.clone(), name: SWITCH.to_owned(), mtu: spec.mtu });
        let hub_address = match spec.topology {
            Topology::Switch => Ipv4Addr::new(172, 30, 0, 1),
            Topology::Direct => Ipv4Addr::new(172, 31, 0, 1),
        };
        steps.push(address(&hub, SWITCH, v4(hub_address)));
        if spec.ipv6 && spec.topology == Topology::Switch {
            steps.push(address(&hub, SWITCH, v6(1)));
        }
        for node in &nodes {
            node.namespaces(spec, &mut steps);
        }
        match spec.topology {
            Topology::Switch => nodes.iter().for_each(|node| node.join_switch(spec, &hub, &mut steps)),
            Topology::Direct => join_directly(spec, &hub, &nodes, &mut steps),
        }
        Self { hub, etcd_endpoint: format!("http://{hub_address}:{ETCD_PORT}"), nodes, steps }
    }
}

impl NodePlan {
    fn of(spec: &Spec, i: u16) -> Self {
        let name = format!("n{i}");
        let pods = (1..=spec.pods).map(|index| {
            let name = format!("{name}-p{index}");
            PodPlan { netns: spec.name.member_namespace(&name), name, port: format!("veth-p{index}"), index }
        });
        Self {
            netns: spec.name.member_namespace(&name),
            underlay: v4(node_address(i)),
            underlay_ipv6: spec.ipv6.then(|| v6(10 + i)),
            pods: pods.collect(),
            name,
        }
    }

    fn namespaces(&self, spec: &Spec, steps: &mut Vec<Step>) {
        steps.push(Step::Namespace(self.netns.clone()));
        steps.extend(quick_ipv6(&self.netns));
        // Docker or the kubelet does this on a real node; flanneld does not.
        steps.push(sysctl(&self.netns, "net/ipv4/ip_forward", "1"));
        if spec.ipv6 {
            steps.push(sysctl(&self.netns, "net/ipv6/conf/all/forwarding", "1"));
        }
        steps.push(anybody_may_ping(&self.netns));
        for pod in &self.pods {
            steps.push(Step::Namespace(pod.netns.clone()));
            steps.extend(quick_ipv6(&pod.netns));
            steps.push(anybody_may_ping(&pod.netns));
        }
    }

    fn join_switch(&self, spec: &Spec, hub: &str, steps: &mut Vec<Step>) {
        let a = Port { netns: self.netns.clone(), name: "eth0".to_owned(), bridge: None, hairpin: false };
        let b = Port {
            netns: hub.to_owned(),
            name: self.name.clone(),
            bridge: Some(SWITCH.to_owned()),
            hairpin: false,
        };
        steps.push(Step::Veth { a, b, mtu: spec.mtu });
        steps.push(address(&self.netns, "eth0", self.underlay));
        steps.push(Step::Default { netns: self.netns.clone(), via: Ipv4Addr::new(172, 30, 0, 1).into() });
        if let Some(net) = self.underlay_ipv6 {
            steps.push(address(&self.netns, "eth0", net));
            steps.push(Step::Default { netns: self.netns.clone(), via: v6(1).addr().into() });
        }
    }

    /// The steps that put this node's pods behind its bridge. With `bridge`, the bridge is made first, as a node
    /// needs whose flanneld makes none.
    ///
    /// # Errors
    /// A subnet that is too small for the pods.
    pub fn pod_steps(&self, network: &PodNetwork, bridge: bool) -> Result<Vec<Step>, LabError> {
        let mut steps = Vec::new();
        if bridge {
            steps.push(Step::Bridge {
                netns: self.netns.clone(),
                name: POD_BRIDGE.to_owned(),
                mtu: network.mtu,
            });
            for gateway in network.gateways() {
                steps.push(address(&self.netns, POD_BRIDGE, gateway));
            }
        }
        for pod in &self.pods {
            let a = Port { netns: pod.netns.clone(), name: "eth0".to_owned(), bridge: None, hairpin: false };
            let b = Port {
                netns: self.netns.clone(),
                name: pod.port.clone(),
                bridge: Some(POD_BRIDGE.to_owned()),
                hairpin: true,
            };
            steps.push(Step::Veth { a, b, mtu: network.mtu });
            for (gateway, net) in network.gateways().into_iter().zip(network.addresses(pod.index)?) {
                steps.push(address(&pod.netns, "eth0", net));
                steps.push(Step::Default { netns: pod.netns.clone(), via: gateway.addr() });
            }
        }
        Ok(steps)
    }
}

/// Where the pods of a node live: what `subnet.env` says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PodNetwork {
    /// The bridge's address and the subnet's length: `10.244.7.1/24`.
    pub gateway: Ipv4Net,
    pub gateway_ipv6: Option<Ipv6Net>,
    /// MTU of bridge and pods.
    pub mtu: u32,
}

impl PodNetwork {
    /// The bridge's addresses, IPv4 first.
    pub fn gateways(&self) -> Vec<IpNet> {
        std::iter::once(IpNet::V4(self.gateway)).chain(self.gateway_ipv6.map(IpNet::V6)).collect()
    }

    /// The addresses of the node's pod number `index` (from 1), in the order of [`PodNetwork::gateways`].
    ///
    /// # Errors
    /// A subnet that has no such address.
    pub fn addresses(&self, index: u16) -> Result<Vec<IpNet>, LabError> {
        let full = |net: IpNet| LabError::BadSpec(format!("{} has no room for {index} pods", net.trunc()));
        let ip = Ipv4Addr::from(u32::from(self.gateway.addr()).saturating_add(u32::from(index)));
        if !self.gateway.contains(&ip) || ip == self.gateway.broadcast() {
            return Err(full(self.gateway.into()));
        }
        let mut addresses = vec![IpNet::V4(Ipv4Net::new_assert(ip, self.gateway.prefix_len()))];
        if let Some(gateway) = self.gateway_ipv6 {
            let ip = Ipv6Addr::from(u128::from(gateway.addr()).saturating_add(u128::from(index)));
            if !gateway.contains(&ip) {
                return Err(full(gateway.into()));
            }
            addresses.push(IpNet::V6(Ipv6Net::new_assert(ip, gateway.prefix_len())));
        }
        Ok(addresses)
    }
}

/// eth0 to eth0, and eth1 of each to the hub, which is there for etcd alone.
fn join_directly(spec: &Spec, hub: &str, nodes: &[NodePlan], steps: &mut Vec<Step>) {
    let [first, second] = nodes else { return };
    let end = |node: &NodePlan| Port {
        netns: node.netns.clone(),
        name: "eth0".to_owned(),
        bridge: None,
        hairpin: false,
    };
    steps.push(Step::Veth { a: end(first), b: end(second), mtu: spec.mtu });
    for (i, (node, peer)) in [(first, second), (second, first)].into_iter().enumerate() {
        steps.push(address(&node.netns, "eth0", node.underlay));
        steps.push(Step::Default { netns: node.netns.clone(), via: peer.underlay.addr().into() });
        if let (Some(net), Some(peer)) = (node.underlay_ipv6, peer.underlay_ipv6) {
            steps.push(address(&node.netns, "eth0", net));
            steps.push(Step::Default { netns: node.netns.clone(), via: peer.addr().into() });
        }
        let a = Port { netns: node.netns.clone(), name: "eth1".to_owned(), bridge: None, hairpin: false };
        let b = Port {
            netns: hub.to_owned(),
            name: node.name.clone(),
            bridge: Some(SWITCH.to_owned()),
            hairpin: false,
        };
        steps.push(Step::Veth { a, b, mtu: spec.mtu });
        let last = u8::try_from(11 + i).unwrap_or(u8::MAX);
        steps.push(address(&node.netns, "eth1", v4(Ipv4Addr::new(172, 31, 0, last))));
    }
}

fn node_address(i: u16) -> Ipv4Addr {
    Ipv4Addr::new(172, 30, 0, u8::try_from(10 + i).unwrap_or(u8::MAX))
}

fn v4(address: Ipv4Addr) -> Ipv4Net {
    Ipv4Net::new_assert(address, 24)
}

/// `fd30::N/64`, where N reads like the last number of the IPv4 address: `fd30::11`.
fn v6(last: u16) -> Ipv6Net {
    let digits = u16::from_str_radix(&last.to_string(), 16).unwrap_or(u16::MAX);
    Ipv6Net::new_assert(Ipv6Addr::new(0xfd30, 0, 0, 0, 0, 0, 0, digits), 64)
}

fn address(netns: &str, link: &str, net: impl Into<IpNet>) -> Step {
    Step::Address { netns: netns.to_owned(), link: link.to_owned(), net: net.into() }
}

fn sysctl(netns: &str, key: &str, value: &str) -> Step {
    Step::Sysctl { netns: netns.to_owned(), key: key.to_owned(), value: value.to_owned() }
}

/// No duplicate address detection: it would keep every IPv6 address unusable for a second.
fn quick_ipv6(netns: &str) -> [Step; 2] {
    // The kernel looks for other holders of an address unless both say no.
    ["all", "default"].map(|scope| sysctl(netns, &format!("net/ipv6/conf/{scope}/accept_dad"), "0"))
}

/// Ping sockets for every group, so that `check` and people need no raw socket.
fn anybody_may_ping(netns: &str) -> Step {
    sysctl(netns, "net/ipv4/ping_group_range", "0 2147483647")
}

#[cfg(test)]
mod tests;
