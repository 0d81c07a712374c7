//! What an operator should know: options and settings with which some traffic silently goes another way than meant.
//!
//! Owns: which of it holds now. Begin at [`advise`]. Prints itself with what follows from it and what to do.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;

use crate::names::{Family, Name};
use crate::options::{DetectLocal, NodePortAddresses, Options};
use crate::table::{NodeView, PodSource, ServiceTable};

/// A bridge of the node, whoever made it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bridge {
    pub name: Name,
    /// The node's own addresses on it.
    pub addresses: Vec<IpAddr>,
    /// Links that are its ports.
    pub ports: usize,
    /// Whether what it passes from port to port meets the rules: `net.bridge.bridge-nf-call-iptables`, or its own
    /// setting; the same for IPv6.
    pub calls: Calls,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Calls {
    pub v4: bool,
    pub v6: bool,
}

impl Calls {
    fn family(self, family: Family) -> bool {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }
}

/// Something to know. The order is that in which it is said.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Advice {
    /// Nothing tells pods from others.
    NoPods,
    /// The networks of pods are of the other family only.
    NoPodsOf(Family),
    /// The networks for node ports are of the other family only.
    NodePortsEverywhere(Family),
    /// Pods behind one bridge do not reach one another by services.
    Bridge(Name, Family),
}

/// What holds now. `None` for `bridges`: nobody knows them.
pub fn advise(options: &Options, table: &ServiceTable, bridges: Option<&[Bridge]>) -> BTreeSet<Advice> {
    // All of IPv4 comes first in the table.
    let ends = [table.ports.first_key_value(), table.ports.last_key_value()];
    let served: BTreeSet<Family> = ends.into_iter().flatten().map(|((family, _), _)| *family).collect();
    let mut found = BTreeSet::new();
    if options.detect_local == DetectLocal::None {
        found.insert(Advice::NoPods);
    }
    for family in served {
        let unknown = table.node.family(family).pods == PodSource::Unknown;
        // Without the Node object nobody knows its networks yet.
        let settled = match &options.detect_local {
            DetectLocal::ClusterCidr(_) => true,
            DetectLocal::NodeCidr => !table.node.pod_cidrs.is_empty(),
            DetectLocal::None | DetectLocal::Bridge(_) | DetectLocal::InterfacePrefix(_) => false,
        };
        if unknown && settled {
            found.insert(Advice::NoPodsOf(family));
        }
        if let NodePortAddresses::Cidrs(nets) = &options.nodeport_addresses
            && !nets.iter().any(|net| Family::of(net.addr()) == family)
        {
            found.insert(Advice::NodePortsEverywhere(family));
        }
        for bridge in bridges.unwrap_or_default() {
            // What a pod sends to itself goes up to the node in any case.
            if bridge.ports > 1
                && !bridge.calls.family(family)
                && has_pods(bridge, family, options, &table.node)
            {
                found.insert(Advice::Bridge(bridge.name.clone(), family));
            }
        }
    }
    found
}

fn has_pods(bridge: &Bridge, family: Family, options: &Options, node: &NodeView) -> bool {
    let named = |name: &Name| options.detect_local == DetectLocal::Bridge(name.clone());
    let pods: &[_] = match &node.family(family).pods {
        PodSource::Nets(nets) => nets,
        _ => &[],
    };
    let mut addresses = bridge.addresses.iter().filter(|ip| Family::of(**ip) == family);
    addresses.any(|ip| named(&bridge.name) || pods.iter().chain(&node.pod_cidrs).any(|net| net.contains(ip)))
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Advice::NoPods => f.write_str(
                "no --cluster-cidr: nothing tells pods from others, so that clients outside the cluster that use a \
                 ClusterIP are not masqueraded and get no answer where pods live on another node, and a pod that uses a load \
                 balancer's address with policy Local is dropped where this node has no endpoint; give --cluster-cidr or \
                 another --detect-local-mode",
            ),
            Advice::NoPodsOf(family) => write!(
                f,
                "services of {family}, and no network of pods of {family}: nothing tells pods from others there; give \
                 --cluster-cidr one network of each family"
            ),
            Advice::NodePortsEverywhere(family) => write!(
                f,
                "--nodeport-addresses has no network of {family}: node ports of {family} are served at every address of \
                 this node; give networks of both families, or primary"
            ),
            Advice::Bridge(bridge, family) => {
                let key = match family {
                    Family::V4 => "net.bridge.bridge-nf-call-iptables",
                    Family::V6 => "net.bridge.bridge-nf-call-ip6tables",
                };
                write!(
                    f,
                    "pods behind the bridge {bridge} do not reach one another by services of {family}: what the bridge \
                     passes from port to port meets no rules, so that answers come from a stranger; load the module \
                     br_netfilter and set {key}=1 (in /etc/sysctl.d, to keep it)"
                )
            }
        }
    }
}
