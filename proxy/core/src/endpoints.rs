//! Which endpoints traffic goes to, and why not to the others.
//!
//! The rules are those of kube-proxy's `CategorizeEndpoints`: ready endpoints near by where the hints allow it; without
//! any ready one, those that still serve while they terminate.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use crate::names::{Family, Name, Protocol};
use crate::objects::{EndpointSlice, Hints, SliceEndpoint};

/// Which of a port's two groups.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Cluster,
    Local,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Endpoint {
    pub ip: IpAddr,
    pub port: u16,
    /// On this node.
    pub is_local: bool,
}

/// `10.244.1.7:80`, `[fd00::7]:80`.
impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        std::net::SocketAddr::new(self.ip, self.port).fmt(f)
    }
}

/// An endpoint before any choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate<'a> {
    pub endpoint: Endpoint,
    pub ready: bool,
    pub serving: bool,
    pub terminating: bool,
    pub hints: Option<&'a Hints>,
}

impl Candidate<'_> {
    /// May be used where nothing is ready.
    fn still_serving(&self) -> bool {
        self.serving && self.terminating
    }

    pub fn usable(&self) -> bool {
        self.ready || self.still_serving()
    }
}

/// Where this node is.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    pub node: &'a str,
    pub zone: Option<&'a str>,
}

/// A service port's family, name and protocol.
pub type PortId<'a> = (Family, &'a str, Protocol);

/// All endpoints of a service, by port; each address and port once.
pub fn candidates<'a>(
    slices: impl Iterator<Item = &'a EndpointSlice>,
    place: Place,
) -> BTreeMap<PortId<'a>, Vec<Candidate<'a>>> {
    let mut found: BTreeMap<PortId, BTreeMap<(IpAddr, u16), Candidate>> = BTreeMap::new();
    for slice in slices {
        for port in &slice.ports {
            let known = found.entry((slice.family, &*port.name, port.protocol)).or_default();
            for endpoint in &slice.endpoints {
                let candidate = candidate(endpoint, port.port, place);
                let best = known.entry((endpoint.ip, port.port)).or_insert(candidate);
                if rank(&candidate) < rank(best) {
                    *best = candidate;
                }
            }
        }
    }
    found.into_iter().map(|(port, known)| (port, known.into_values().collect())).collect()
}

fn candidate<'a>(endpoint: &'a SliceEndpoint, port: u16, place: Place) -> Candidate<'a> {
    let is_local = endpoint.node.as_deref().is_some_and(|node| !node.is_empty() && node == place.node);
    Candidate {
        endpoint: Endpoint { ip: endpoint.ip, port, is_local },
        ready: endpoint.ready,
        serving: endpoint.serving,
        terminating: endpoint.terminating,
        hints: endpoint.hints.as_deref(),
    }
}

/// Of two slices with one endpoint the one that says that it is on this node counts; kube-proxy takes whichever its map
/// yields. Of two pods with one address, while the first of them goes, the living one does.
fn rank(candidate: &Candidate) -> (bool, bool, bool) {
    (!candidate.endpoint.is_local, candidate.terminating, !candidate.ready)
}

/// Why an endpoint gets no traffic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeftOut {
    NotReady,
    /// Others are ready.
    Terminating,
    /// Terminating, and it no longer serves.
    Gone,
    /// The policy is Local.
    NotLocal,
    /// Meant for other nodes, and some are meant for this one.
    OtherNodes(Vec<Name>),
    /// Meant for other zones, and some are meant for this one.
    OtherZones(Vec<Name>),
    /// Its address is a service's ClusterIP.
    IsClusterIp,
}

impl fmt::Display for LeftOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LeftOut::NotReady => f.write_str("not ready"),
            LeftOut::Terminating => f.write_str("terminating, while others are ready"),
            LeftOut::Gone => f.write_str("terminating, and no longer serving"),
            LeftOut::NotLocal => f.write_str("on another node, and the traffic policy is Local"),
            LeftOut::OtherNodes(nodes) => write!(f, "meant for node {}", nodes.join(", ")),
            LeftOut::OtherZones(zones) => write!(f, "meant for zone {}", zones.join(", ")),
            LeftOut::IsClusterIp => f.write_str("its address is a ClusterIP"),
        }
    }
}

/// What is chosen from.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    Ready(Near),
    StillServing,
}

/// How the hints narrow the choice.
#[derive(Clone, Copy, PartialEq)]
enum Near {
    Anywhere,
    SameNode,
    SameZone,
}

/// For each candidate, in order: none if traffic goes to it, else why not.
pub fn choose<'a>(
    candidates: &'a [Candidate<'a>],
    scope: Scope,
    place: Place<'a>,
) -> impl Iterator<Item = Option<LeftOut>> + 'a {
    let eligible = move |candidate: &&Candidate| scope == Scope::Cluster || candidate.endpoint.is_local;
    let pool = || candidates.iter().filter(eligible);
    let stage = if !pool().any(|candidate| candidate.ready) {
        Stage::StillServing
    } else if scope == Scope::Local {
        Stage::Ready(Near::Anywhere)
    } else {
        Stage::Ready(near(candidates, place))
    };
    candidates.iter().map(move |candidate| {
        if eligible(&candidate) { judge(candidate, stage, place) } else { Some(LeftOut::NotLocal) }
    })
}

/// Hints count only if every ready endpoint has one, and one of them is for us: otherwise a half-written set of hints
/// would overload the few that have theirs. Node hints come before zone hints.
fn near(candidates: &[Candidate], place: Place) -> Near {
    let ready = || candidates.iter().filter(|candidate| candidate.ready);
    let all = |of: fn(&Hints) -> &[Name]| {
        ready().all(|candidate| candidate.hints.is_some_and(|hints| !of(hints).is_empty()))
    };
    let any = |of: fn(&Hints) -> &[Name], us: &str| ready().any(|candidate| meant_for(candidate, of, us));
    if all(nodes) && any(nodes, place.node) {
        return Near::SameNode;
    }
    match place.zone {
        Some(zone) if all(zones) && any(zones, zone) => Near::SameZone,
        _ => Near::Anywhere,
    }
}

fn nodes(hints: &Hints) -> &[Name] {
    &hints.nodes
}

fn zones(hints: &Hints) -> &[Name] {
    &hints.zones
}

fn meant_for(candidate: &Candidate, of: fn(&Hints) -> &[Name], us: &str) -> bool {
    candidate.hints.is_some_and(|hints| of(hints).iter().any(|name| **name == *us))
}

fn judge(candidate: &Candidate, stage: Stage, place: Place) -> Option<LeftOut> {
    let unusable = match (candidate.terminating, candidate.serving) {
        (true, true) => LeftOut::Terminating,
        (true, false) => LeftOut::Gone,
        (false, _) => LeftOut::NotReady,
    };
    let others =
        |of: fn(&Hints) -> &[Name]| candidate.hints.map(|hints| of(hints).to_vec()).unwrap_or_default();
    match stage {
        Stage::StillServing => (!candidate.still_serving()).then_some(unusable),
        Stage::Ready(_) if !candidate.ready => Some(unusable),
        Stage::Ready(Near::SameNode) if !meant_for(candidate, nodes, place.node) => {
            Some(LeftOut::OtherNodes(others(nodes)))
        }
        Stage::Ready(Near::SameZone) if !meant_for(candidate, zones, place.zone.unwrap_or_default()) => {
            Some(LeftOut::OtherZones(others(zones)))
        }
        Stage::Ready(_) => None,
    }
}
