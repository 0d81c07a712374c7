//! Wanted service handling of one node: the contract between semantics and backends.
//!
//! Owns: policies, masquerading, refusals, source ranges, who gets a contested address. Begin at
//! [`ServiceTable::build`]. A backend renders frontends and branches as they stand; it never looks at a Service.

mod build;
mod index;
mod node;
mod overlap;
mod port;

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use index::Index;
use ipnet::IpNet;
use overlap::WithNodes;
pub use overlap::{Overlap, Taken};

pub use crate::endpoints::{Endpoint, Scope};
use crate::names::{Family, Name, PortName, Protocol, ServiceName};

/// Every service port is in here once per family that it serves.
#[derive(Clone, Debug, Default)]
pub struct ServiceTable {
    pub ports: BTreeMap<PortKey, Arc<ServicePort>>,
    pub node: NodeView,
    /// Health-check node ports, one answer for all ports of a service.
    pub health: BTreeMap<(Family, ServiceName), HealthCheck>,
    /// What cannot be done as written.
    pub reports: BTreeMap<ServiceName, Vec<Report>>,
    /// Ranges of ClusterIPs that are not in [`FamilyView::service_cidrs`].
    pub overlaps: Vec<Overlap>,
    with_nodes: Option<WithNodes>,
    index: Index,
}

/// What load balancers ask a node about a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HealthCheck {
    pub node_port: u16,
    /// Addresses of ready endpoints on this node.
    pub local_ready: usize,
}

/// `(family, name)`: all of IPv4 comes first, and the ports of one service are neighbours.
pub type PortKey = (Family, PortName);

/// What the node does apart from any one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeView {
    pub name: Name,
    pub zone: Option<Name>,
    /// The node's own addresses as far as known. Backends ask the kernel instead (`fib`, `addrtype`).
    pub addresses: Vec<IpAddr>,
    /// Networks of this node's pods as far as known, to tell where a packet starts.
    pub pod_cidrs: Vec<IpNet>,
    /// Masquerade all traffic to ClusterIPs (already in the branches).
    pub masquerade_all: bool,
    pub v4: FamilyView,
    pub v6: FamilyView,
}

/// One family's part of [`NodeView`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FamilyView {
    pub pods: PodSource,
    pub node_ports: NodePortsAt,
    /// From ServiceCIDR objects, without those in [`ServiceTable::overlaps`]. New connections to an address within, which
    /// is neither a service's ClusterIP nor this node's own (backends ask the kernel), are dropped; never what was translated.
    pub service_cidrs: Vec<IpNet>,
}

impl NodeView {
    pub fn family(&self, family: Family) -> &FamilyView {
        match family {
            Family::V4 => &self.v4,
            Family::V6 => &self.v6,
        }
    }
}

/// What [`Source::Pods`] and [`Masquerade::UnlessPods`] mean.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum PodSource {
    /// Nothing is known to be a pod's: no [`Source::Pods`] branch exists in such a family, and
    /// [`Masquerade::UnlessPods`] does not either.
    #[default]
    Unknown,
    /// Source address within one of these; never empty.
    Nets(Vec<IpNet>),
    /// Arrived by this interface.
    Interface(Name),
    /// Arrived by an interface whose name begins so.
    InterfacePrefix(Name),
}

/// The destination addresses of node ports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodePortsAt {
    /// `None`: every local address. `Some`: local addresses within one of these. Loopback never counts here.
    pub within: Option<Vec<IpNet>>,
    /// 127.0.0.0/8 too (needs `route_localnet`); never set for IPv6.
    pub loopback: bool,
}

/// One port of a Service in one family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort {
    pub name: PortName,
    pub family: Family,
    /// In the order of [`FrontendKind`], then address. Contested addresses are already with their owner: no two ports
    /// of a table share a frontend's address, protocol and port.
    pub frontends: Vec<Frontend>,
    /// What [`Scope::Cluster`] balances over; empty where no branch asks for it.
    pub cluster: Group,
    /// What [`Scope::Local`] balances over; empty where no branch asks for it.
    pub local: Group,
    /// `ClientIP` affinity: how long a client keeps its endpoint after its last new connection. By whichever of the
    /// frontends it comes; another port of the same Service is another matter (kube-proxy keeps its lists per service port
    /// and endpoint).
    pub affinity: Option<Duration>,
    pub health_check_node_port: Option<u16>,
    /// Whether proxies may announce the load balancer's addresses on the network.
    pub announced: bool,
    /// Whether there is a usable endpoint anywhere, on whatever node.
    pub any_endpoints: bool,
    /// UDP only: every ready or serving endpoint, whatever the policies say. A flow to one of these stays, as a TCP
    /// connection does.
    pub serving: Group,
}

impl ServicePort {
    pub fn key(&self) -> PortKey {
        (self.family, self.name.clone())
    }

    pub fn protocol(&self) -> Protocol {
        self.name.protocol
    }

    pub fn group(&self, scope: Scope) -> &Group {
        match scope {
            Scope::Cluster => &self.cluster,
            Scope::Local => &self.local,
        }
    }

    pub fn frontend(&self, kind: FrontendKind) -> impl Iterator<Item = &Frontend> {
        self.frontends.iter().filter(move |frontend| frontend.kind == kind)
    }

    pub fn cluster_ip(&self) -> Option<IpAddr> {
        self.frontend(FrontendKind::ClusterIp).find_map(|frontend| frontend.address.ip())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrontendKind {
    ClusterIp,
    ExternalIp,
    LoadBalancer,
    NodePort,
}

impl fmt::Display for FrontendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            FrontendKind::ClusterIp => "ClusterIP",
            FrontendKind::ExternalIp => "external IP",
            FrontendKind::LoadBalancer => "load balancer IP",
            FrontendKind::NodePort => "node port",
        })
    }
}

/// A destination that clients use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frontend {
    pub kind: FrontendKind,
    pub address: FrontendAddress,
    pub port: u16,
    /// Some: everybody else is dropped, before anything in `branches` (refusals too). Load balancers only; where the
    /// address itself is admitted it is in here.
    pub sources: Option<Arc<[IpNet]>>,
    /// The first whose `source` matches decides; the last is always [`Source::Any`].
    pub branches: Vec<Branch>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FrontendAddress {
    Ip(IpAddr),
    /// The addresses of [`FamilyView::node_ports`].
    NodePorts,
}

impl FrontendAddress {
    pub fn ip(self) -> Option<IpAddr> {
        match self {
            FrontendAddress::Ip(ip) => Some(ip),
            FrontendAddress::NodePorts => None,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Branch {
    pub source: Source,
    pub action: Action,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// [`FamilyView::pods`] says so.
    Pods,
    /// The source is an address of this node.
    Node,
    Any,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The group is never empty.
    Balance {
        scope: Scope,
        masquerade: Masquerade,
    },
    /// TCP reset or ICMP port unreachable.
    Reject,
    Drop,
}

/// Whether the source address becomes the node's. Beyond this, a packet whose source is the chosen endpoint itself
/// (hairpin) is always masqueraded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masquerade {
    Always,
    /// Unless [`FamilyView::pods`] says that a pod sent it.
    UnlessPods,
    Never,
}

/// Endpoints to balance over evenly: sorted, unique.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group(pub Arc<[Endpoint]>);

impl std::ops::Deref for Group {
    type Target = [Endpoint];

    fn deref(&self) -> &[Endpoint] {
        &self.0
    }
}

impl FromIterator<Endpoint> for Group {
    fn from_iter<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        let mut endpoints: Vec<Endpoint> = endpoints.into_iter().collect();
        endpoints.sort_unstable();
        endpoints.dedup();
        if endpoints.is_empty() { Group::default() } else { Group(endpoints.into()) }
    }
}

/// What [`ServiceTable::rebuild`] changed.
#[derive(Clone, Debug, Default)]
pub struct TableDelta {
    /// In the order of their keys.
    pub ports: Vec<PortChange>,
    /// The node's view before, where it changed: the rules that are no one service's are to be written again.
    pub node_before: Option<NodeView>,
    /// Which addresses began or ceased to be ClusterIPs.
    pub cluster_ips: Turned,
    /// Health checks that came, went or changed.
    pub health: Vec<(Family, ServiceName)>,
    /// What is wrong now and was not before.
    pub reports: Vec<Report>,
    /// How many service ports were worked out again, changed or not: the cost of it all.
    pub looked: usize,
}

impl TableDelta {
    pub fn is_empty(&self) -> bool {
        let TableDelta { ports, node_before, cluster_ips, health, reports, looked: _ } = self;
        let kernel = ports.is_empty() && node_before.is_none() && *cluster_ips == Turned::default();
        kernel && health.is_empty() && reports.is_empty()
    }
}

/// Addresses that are something now, and that no longer are; sorted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turned {
    pub new: Vec<IpAddr>,
    pub gone: Vec<IpAddr>,
}

/// A port that came (`old` is none), went (`new` is none) or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortChange {
    pub key: PortKey,
    pub old: Option<Arc<ServicePort>>,
    pub new: Option<Arc<ServicePort>>,
}

/// Something in the objects that cannot be done as written, for the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Report {
    /// Another service had this address, protocol and port first.
    Contested {
        loser: ServiceName,
        owner: ServiceName,
        frontend: FrontendAddress,
        port: u16,
        protocol: Protocol,
    },
    /// An endpoint of this service is some service's ClusterIP: left out.
    EndpointIsClusterIp { service: ServiceName, endpoint: IpAddr },
    /// A range of ClusterIPs has addresses of something else.
    Overlap(Overlap),
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Contested { loser, owner, frontend: FrontendAddress::Ip(ip), port, protocol } => {
                let place = std::net::SocketAddr::new(*ip, *port);
                write!(f, "service {loser} does not get {place}/{protocol}: service {owner} has it")
            }
            Report::Contested { loser, owner, frontend: FrontendAddress::NodePorts, port, protocol } => {
                write!(f, "service {loser} does not get node port {port}/{protocol}: service {owner} has it")
            }
            Report::EndpointIsClusterIp { service, endpoint } => {
                write!(f, "endpoint {endpoint} of service {service} is left out: it is a ClusterIP")
            }
            Report::Overlap(overlap) => overlap.fmt(f),
        }
    }
}
