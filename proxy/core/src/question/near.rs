//! What a packet nearly met: the ports that an address has, a node port that is served elsewhere, slices that name
//! another port than the service wants.
//!
//! Only what the table and the objects say. Prints itself as the sentences of an explanation.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::cluster::Cluster;
use crate::names::{Family, Name, PortName, Protocol, ServiceName};
use crate::question::{Answer, AtFrontend, Outcome, Packet};
use crate::table::{Action, Branch, FrontendAddress, NodeView, ServicePort, ServiceTable};

/// One near miss.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The address has other ports than the one asked for; sorted.
    Ports { at: IpAddr, of: BTreeMap<ServiceName, BTreeSet<(u16, Protocol)>> },
    /// A node port, but not there.
    NodePort { service: ServiceName, port: u16, protocol: Protocol, why: NotServed },
    /// The packet goes to an endpoint itself.
    Endpoint { service: PortName, at: SocketAddr },
    /// The service has no slices at all.
    NoSlices(ServiceName),
    /// Its slices are of the other family.
    OtherFamily(ServiceName, Family),
    /// Its slices have ports, but not the one that the service port leads to.
    SlicePorts { wanted: (Name, Protocol), found: BTreeSet<(Name, Protocol)> },
    /// Its slices have the port, and no endpoint.
    NoEndpoints(ServiceName),
}

/// Why a node port is not served at an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotServed {
    /// At a loopback address.
    Loopback(IpAddr),
    /// At an address of this node outside of those for node ports.
    Elsewhere(IpAddr, Vec<IpNet>),
    /// At another node, which serves its node ports itself.
    OtherNode(IpAddr, Name),
    /// For this protocol.
    Protocol(Protocol),
}

/// What comes near this answer.
pub(super) fn hints(table: &ServiceTable, cluster: &Cluster, packet: &Packet, answer: &Answer) -> Vec<Hint> {
    match answer {
        Answer::Pass | Answer::WrongPort | Answer::Unallocated(_) => {
            let found = [
                ports_of(table, packet.dst),
                node_port(table, cluster, packet),
                endpoint(table, cluster, packet),
            ];
            found.into_iter().flatten().collect()
        }
        Answer::Frontend(AtFrontend {
            service,
            outcome: Outcome::Branch(Branch { action: Action::Reject, .. }, _),
            ..
        }) => slices(cluster, service).into_iter().collect(),
        Answer::Frontend(_) => Vec::new(),
    }
}

/// The ports that services have at an address of their own.
pub(super) fn ports_of(table: &ServiceTable, at: IpAddr) -> Option<Hint> {
    let mut of: BTreeMap<ServiceName, BTreeSet<(u16, Protocol)>> = BTreeMap::new();
    for port in table.ports.values().filter(|port| port.family == Family::of(at)) {
        let here = port.frontends.iter().filter(|frontend| frontend.address == FrontendAddress::Ip(at));
        for frontend in here {
            of.entry(port.name.service.clone()).or_default().insert((frontend.port, port.protocol()));
        }
    }
    (!of.is_empty()).then_some(Hint::Ports { at, of })
}

fn node_port(table: &ServiceTable, cluster: &Cluster, packet: &Packet) -> Option<Hint> {
    let is_it = |port: &ServicePort| {
        let mut frontends = port.frontends.iter();
        frontends
            .any(|frontend| frontend.address == FrontendAddress::NodePorts && frontend.port == packet.port)
    };
    let family = Family::of(packet.dst);
    let all = || table.ports.values().filter(|port| port.family == family && is_it(port));
    let same = all().find(|port| port.protocol() == packet.protocol);
    let port = same.or_else(|| all().next())?;
    let why = not_served(&table.node, cluster, packet.dst)
        .or_else(|| same.is_none().then_some(NotServed::Protocol(packet.protocol)))?;
    Some(Hint::NodePort {
        service: port.name.service.clone(),
        port: packet.port,
        protocol: port.protocol(),
        why,
    })
}

/// None: node ports are served there, or it is nobody's address that is known.
fn not_served(node: &NodeView, cluster: &Cluster, at: IpAddr) -> Option<NotServed> {
    let node_ports = &node.family(Family::of(at)).node_ports;
    if node_ports.covers(at) && (at.is_loopback() || node.addresses.contains(&at)) {
        return None;
    }
    if at.is_loopback() {
        return Some(NotServed::Loopback(at));
    }
    if node.addresses.contains(&at) {
        return Some(NotServed::Elsewhere(at, node_ports.within.clone().unwrap_or_default()));
    }
    let mut others = cluster.nodes().filter(|other| other.name != node.name);
    let other = others.find(|other| other.addresses.contains(&at))?;
    Some(NotServed::OtherNode(at, other.name.clone()))
}

/// The service, if the packet goes to one of its endpoints without passing it.
fn endpoint(table: &ServiceTable, cluster: &Cluster, packet: &Packet) -> Option<Hint> {
    let leads_there = |service: &ServicePort| {
        let mut slices = cluster.slices(&service.name.service);
        slices.any(|slice| {
            let mut ports = slice.ports.iter();
            let port = ports.any(|port| {
                (port.port, port.protocol, &port.name) == (packet.port, packet.protocol, &service.name.port)
            });
            port && slice.endpoints.iter().any(|endpoint| endpoint.ip == packet.dst)
        })
    };
    let service = table.ports.values().find(|service| leads_there(service))?;
    let at = SocketAddr::new(packet.dst, packet.port);
    Some(Hint::Endpoint { service: service.name.clone(), at })
}

/// Why a service port has no endpoint, as far as its slices tell.
fn slices(cluster: &Cluster, service: &ServicePort) -> Option<Hint> {
    let name = &service.name.service;
    let all: Vec<_> = cluster.slices(name).collect();
    let here: Vec<_> = all.iter().filter(|slice| slice.family == service.family).collect();
    if all.is_empty() {
        return Some(Hint::NoSlices(name.clone()));
    }
    if here.is_empty() {
        return Some(Hint::OtherFamily(name.clone(), service.family));
    }
    let wanted = (service.name.port.clone(), service.protocol());
    let ports = here.iter().flat_map(|slice| slice.ports.iter());
    let found: BTreeSet<_> = ports.map(|port| (port.name.clone(), port.protocol)).collect();
    if !found.contains(&wanted) && !found.is_empty() {
        return Some(Hint::SlicePorts { wanted, found });
    }
    let none = here.iter().all(|slice| slice.endpoints.is_empty());
    none.then(|| Hint::NoEndpoints(name.clone()))
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Hint::Ports { at, of } => {
                let ports = |ports: &BTreeSet<(u16, Protocol)>| {
                    list(ports.iter().map(|(port, protocol)| format!("{port}/{protocol}")))
                };
                let of: Vec<_> = of.iter().map(|(name, of)| format!("{} of {name}", ports(of))).collect();
                write!(f, "{at} has {}", of.join("; "))
            }
            Hint::NodePort { service, port, protocol, why } => {
                write!(f, "node port {port}/{protocol} of {service} is not served {why}")
            }
            Hint::Endpoint { service, at } => {
                write!(f, "{at} is an endpoint of {service} itself: on the way to a pod no service is passed")
            }
            Hint::NoSlices(service) => {
                write!(f, "{service} has no EndpointSlice: does its selector match the labels of a pod?")
            }
            Hint::OtherFamily(service, family) => {
                write!(f, "{service} has no EndpointSlice of {family}: do its pods have such addresses?")
            }
            Hint::SlicePorts { wanted, found } if found.iter().any(|(name, _)| *name == wanted.0) => {
                let found = found.iter().filter(|(name, _)| *name == wanted.0);
                let of = list(found.map(|(_, protocol)| protocol.to_string()));
                write!(
                    f,
                    "the slices have port {} for {of}, the service wants {}",
                    quoted(&wanted.0),
                    wanted.1
                )
            }
            Hint::SlicePorts { wanted, found } => {
                let have: BTreeSet<_> = found.iter().map(|(name, _)| quoted(name)).collect();
                write!(
                    f,
                    "the slices have {} {}, the service wants {}",
                    if have.len() == 1 { "port" } else { "ports" },
                    list(have.into_iter()),
                    quoted(&wanted.0)
                )
            }
            Hint::NoEndpoints(service) => {
                write!(f, "the EndpointSlices of {service} are empty: is a pod of it running?")
            }
        }
    }
}

impl fmt::Display for NotServed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            NotServed::Loopback(at) if at.is_ipv6() => {
                write!(f, "at {at}: the kernel does not route loopback addresses of IPv6")
            }
            NotServed::Loopback(at) => write!(
                f,
                "at {at}: loopback has node ports in iptables mode only, with --iptables-localhost-nodeports and where \
                 --nodeport-addresses covers it"
            ),
            NotServed::Elsewhere(at, within) => {
                write!(f, "at {at}, but within {}", list(within.iter().map(ToString::to_string)))
            }
            NotServed::OtherNode(at, node) => {
                write!(f, "by this node at {at}: that is node {node}, which serves node ports itself")
            }
            NotServed::Protocol(protocol) => write!(f, "for {protocol}"),
        }
    }
}

fn quoted(name: &str) -> String {
    if name.is_empty() { "without a name".to_owned() } else { format!("`{name}`") }
}

/// The first of them, and how many more there are.
fn list(mut items: impl Iterator<Item = String>) -> String {
    let shown: Vec<_> = items.by_ref().take(8).collect();
    match (shown.is_empty(), items.count()) {
        (true, _) => "nothing".to_owned(),
        (false, 0) => shown.join(", "),
        (false, more) => format!("{} and {more} more", shown.join(", ")),
    }
}
