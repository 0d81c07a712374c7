//! Where would this packet go, and why?
//!
//! [`ask`] answers for the first packet of a new connection, from the table alone: what every backend must do.
//! [`explain`] adds what a person wants to know, from the objects.

mod near;
mod ping;
mod print;

use std::net::IpAddr;
use std::sync::Arc;

use ipnet::IpNet;

pub use near::{Hint, NotServed};
pub use ping::{Ping, Target, ping};

use crate::cluster::Cluster;
use crate::endpoints::{LeftOut, candidates, choose};
use crate::names::{Family, Protocol};
use crate::table::{
    Action, Branch, Endpoint, Frontend, FrontendAddress, FrontendKind, Masquerade, NodeView, PodSource,
    Scope, ServicePort, ServiceTable, Source,
};

/// The first packet of a connection, as this node meets it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub port: u16,
    pub protocol: Protocol,
    pub from: Origin,
}

/// Where a packet comes onto this node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// From a pod of this node, by the pods' interface.
    Pod,
    /// From this node itself.
    Node,
    /// By any other interface: another node, its pods, the world.
    Outside,
}

impl Origin {
    /// The likely origin of a source address.
    pub fn of(src: IpAddr, node: &NodeView) -> Self {
        if src.is_loopback() || node.addresses.contains(&src) {
            Origin::Node
        } else if node.pod_cidrs.iter().any(|net| net.contains(&src)) {
            Origin::Pod
        } else {
            Origin::Outside
        }
    }
}

/// What becomes of a packet.
#[derive(Clone, Debug, PartialEq)]
pub enum Answer {
    /// The proxy has nothing to do with it: routed as it is.
    Pass,
    /// It has come to a service's frontend.
    Frontend(AtFrontend),
    /// A ClusterIP, but no port of it: refused.
    WrongPort,
    /// Within a ServiceCIDR, but nobody's ClusterIP: dropped.
    Unallocated(IpNet),
}

/// A packet at a frontend.
#[derive(Clone, Debug, PartialEq)]
pub struct AtFrontend {
    pub service: Arc<ServicePort>,
    pub frontend: Frontend,
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The source is not among the frontend's: dropped.
    SourceRefused,
    Branch(Branch, Option<Balance>),
}

/// What a balancing branch does.
#[derive(Clone, Debug, PartialEq)]
pub struct Balance {
    pub scope: Scope,
    /// Each as likely as the others, unless affinity remembers the client.
    pub endpoints: Vec<Endpoint>,
    pub masquerade: Masqueraded,
}

/// Whether the endpoint sees the node's address instead of the client's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Masqueraded {
    Yes(Why),
    No,
    /// Only if the client is chosen as its own endpoint.
    IfHairpin,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// `masqueradeAll`.
    All,
    /// To a ClusterIP, from what is not known to be a pod.
    NotAPod,
    /// From outside to an endpoint that may be on another node, which would answer past this one.
    External,
    /// From this node, whose address may be the very one it asked for.
    FromNode,
    /// The client is the only endpoint.
    Hairpin,
}

/// In one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Deliver,
    Reject,
    Drop,
    Pass,
}

impl Verdict {
    pub const fn as_str(self) -> &'static str {
        match self {
            Verdict::Deliver => "deliver",
            Verdict::Reject => "reject",
            Verdict::Drop => "drop",
            Verdict::Pass => "pass",
        }
    }
}

impl Answer {
    pub fn verdict(&self) -> Verdict {
        match self {
            Answer::Pass => Verdict::Pass,
            Answer::WrongPort => Verdict::Reject,
            Answer::Unallocated(_) => Verdict::Drop,
            Answer::Frontend(at) => match at.outcome {
                Outcome::SourceRefused => Verdict::Drop,
                Outcome::Branch(Branch { action, .. }, _) => match action {
                    Action::Balance { .. } => Verdict::Deliver,
                    Action::Reject => Verdict::Reject,
                    Action::Drop => Verdict::Drop,
                },
            },
        }
    }

    /// Set where the packet is delivered.
    pub fn balance(&self) -> Option<&Balance> {
        match self {
            Answer::Frontend(AtFrontend { outcome: Outcome::Branch(_, balance), .. }) => balance.as_ref(),
            _ => None,
        }
    }

    pub fn endpoints(&self) -> &[Endpoint] {
        self.balance().map(|balance| &*balance.endpoints).unwrap_or_default()
    }
}

impl Masqueraded {
    pub const fn as_str(self) -> &'static str {
        match self {
            Masqueraded::Yes(_) => "yes",
            Masqueraded::No => "no",
            Masqueraded::IfHairpin => "hairpin",
        }
    }
}

/// What the table says of a packet.
pub fn ask(table: &ServiceTable, packet: &Packet) -> Answer {
    let family = Family::of(packet.dst);
    if let Some((service, frontend)) = frontend(table, packet) {
        return Answer::Frontend(at_frontend(table, packet, service, frontend));
    }
    if table.is_cluster_ip(packet.dst) {
        return Answer::WrongPort;
    }
    let cidrs = &table.node.family(family).service_cidrs;
    if is_this_node(table, packet.dst) {
        return Answer::Pass;
    }
    match cidrs.iter().find(|net| net.contains(&packet.dst)) {
        Some(net) => Answer::Unallocated(*net),
        None => Answer::Pass,
    }
}

/// An address of its own comes before a node port at the same address.
fn frontend<'a>(table: &'a ServiceTable, packet: &Packet) -> Option<(&'a Arc<ServicePort>, &'a Frontend)> {
    let family = Family::of(packet.dst);
    let here = is_this_node(table, packet.dst) && table.node.family(family).node_ports.covers(packet.dst);
    let find = |wanted: FrontendAddress| {
        let services =
            table.ports.iter().filter(|((of, name), _)| *of == family && name.protocol == packet.protocol);
        let mut frontends = services
            .flat_map(|(_, service)| service.frontends.iter().map(move |frontend| (service, frontend)));
        frontends.find(|(_, frontend)| frontend.address == wanted && frontend.port == packet.port)
    };
    find(FrontendAddress::Ip(packet.dst)).or_else(|| here.then(|| find(FrontendAddress::NodePorts)).flatten())
}

fn is_this_node(table: &ServiceTable, ip: IpAddr) -> bool {
    ip.is_loopback() || table.node.addresses.contains(&ip)
}

fn at_frontend(
    table: &ServiceTable,
    packet: &Packet,
    service: &Arc<ServicePort>,
    frontend: &Frontend,
) -> AtFrontend {
    let at = |outcome| AtFrontend { service: service.clone(), frontend: frontend.clone(), outcome };
    if frontend.sources.as_ref().is_some_and(|nets| !nets.iter().any(|net| net.contains(&packet.src))) {
        return at(Outcome::SourceRefused);
    }
    let from_pod = from_pod(table, packet);
    let matches = |branch: &&Branch| match branch.source {
        Source::Pods => from_pod,
        Source::Node => packet.from == Origin::Node,
        Source::Any => true,
    };
    let any = Branch { source: Source::Any, action: Action::Drop };
    let branch = frontend.branches.iter().find(matches).copied().unwrap_or(any);
    let balance = match branch.action {
        Action::Balance { scope, masquerade } => {
            let endpoints = service.group(scope).to_vec();
            let masquerade = masqueraded(packet, frontend, branch, masquerade, from_pod, &endpoints);
            Some(Balance { scope, endpoints, masquerade })
        }
        Action::Reject | Action::Drop => None,
    };
    at(Outcome::Branch(branch, balance))
}

/// What detect-local says of a packet.
fn from_pod(table: &ServiceTable, packet: &Packet) -> bool {
    match &table.node.family(Family::of(packet.dst)).pods {
        PodSource::Unknown => false,
        PodSource::Nets(nets) => nets.iter().any(|net| net.contains(&packet.src)),
        PodSource::Interface(_) | PodSource::InterfacePrefix(_) => packet.from == Origin::Pod,
    }
}

fn masqueraded(
    packet: &Packet,
    frontend: &Frontend,
    branch: Branch,
    masquerade: Masquerade,
    from_pod: bool,
    endpoints: &[Endpoint],
) -> Masqueraded {
    let always = match (branch.source, frontend.kind) {
        (Source::Node, _) => Why::FromNode,
        (_, FrontendKind::ClusterIp) => Why::All,
        _ => Why::External,
    };
    let itself = endpoints.iter().filter(|endpoint| endpoint.ip == packet.src).count();
    match masquerade {
        Masquerade::Always => Masqueraded::Yes(always),
        Masquerade::UnlessPods if !from_pod => Masqueraded::Yes(Why::NotAPod),
        _ if itself == 0 => Masqueraded::No,
        _ if itself == endpoints.len() => Masqueraded::Yes(Why::Hairpin),
        _ => Masqueraded::IfHairpin,
    }
}

/// An answer with everything that a person may ask next. Prints itself.
#[derive(Clone, Debug, PartialEq)]
pub struct Explanation {
    pub packet: Packet,
    pub answer: Answer,
    /// The endpoints of the service port that get none of this, and why.
    pub left_out: Vec<(Endpoint, LeftOut)>,
    /// What the packet nearly met.
    pub hints: Vec<Hint>,
}

pub fn explain(table: &ServiceTable, cluster: &Cluster, packet: &Packet) -> Explanation {
    let answer = ask(table, packet);
    let left_out = match &answer {
        Answer::Frontend(AtFrontend { service, outcome: Outcome::Branch(branch, _), .. }) => {
            // Without any endpoint there is no policy to blame, and a drop is for want of local ones.
            let scope = branch.action.scope().unwrap_or(if branch.action == Action::Drop {
                Scope::Local
            } else {
                Scope::Cluster
            });
            left_out(table, cluster, service, scope)
        }
        _ => Vec::new(),
    };
    let hints = near::hints(table, cluster, packet, &answer);
    Explanation { packet: *packet, answer, left_out, hints }
}

fn left_out(
    table: &ServiceTable,
    cluster: &Cluster,
    service: &ServicePort,
    scope: Scope,
) -> Vec<(Endpoint, LeftOut)> {
    let place = table.node.place();
    let mut found = candidates(cluster.slices(&service.name.service).map(|slice| &**slice), place);
    let port = (service.family, &*service.name.port, service.protocol());
    let all = found.remove(&port).unwrap_or_default();
    let (clashes, rest): (Vec<_>, Vec<_>) =
        all.into_iter().partition(|candidate| table.is_cluster_ip(candidate.endpoint.ip));
    let clashes = clashes.into_iter().map(|candidate| (candidate.endpoint, LeftOut::IsClusterIp));
    let judged = rest.iter().zip(choose(&rest, scope, place));
    let judged = judged.filter_map(|(candidate, why)| Some((candidate.endpoint, why?)));
    let mut left_out: Vec<_> = judged.chain(clashes).collect();
    left_out.sort_by_key(|(endpoint, _)| *endpoint);
    left_out
}
