//! Which UDP flows the kernel still sends where nothing serves them any more.
//!
//! The kernel translates a flow once and then goes by its conntrack entry. TCP notices when its end is gone; UDP does not,
//! so that such entries must be deleted. As kube-proxy does, a flow stays while its endpoint serves, whatever policies
//! and hints say meanwhile. Beyond kube-proxy 1.36: a service that lost its last endpoint counts, so does a deleted one,
//! and a front that is new (a client that sent before would never get through); a node port is one only at an address
//! for node ports; and where nothing can be stale nobody need look.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::names::{Family, Protocol};
use crate::table::{FrontAddress, Group, NodeView, ServicePort, ServiceTable, TableDelta};

/// A UDP conntrack entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Source of the original direction.
    pub client: SocketAddr,
    /// Destination of the original direction.
    pub front: SocketAddr,
    /// Source of the reply direction: `front` itself where nothing was translated.
    pub server: SocketAddr,
}

/// Where stale flows may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Suspects {
    fronts: BTreeMap<Destination, Fate>,
    /// Within these, whatever is translated but is at no front at all belongs to a service that is gone.
    orphans: Vec<IpNet>,
}

/// The destination of some flows: an address, or the node port addresses of a family; and the port.
pub type Destination = (Family, FrontAddress, u16);

/// What becomes of the flows to a front.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Fate {
    /// Those to one of these stay.
    Stay(Group),
    /// The front is gone: those to one of these go. Others are somebody else's.
    Go(Group),
}

impl Suspects {
    /// After a change of the table.
    pub fn of(delta: &TableDelta) -> Self {
        let udp = || delta.ports.iter().filter(|change| change.key.1.protocol == Protocol::Udp);
        let mut fronts = BTreeMap::new();
        for (old, new) in udp().filter_map(|change| Some((change.old.as_ref()?, change.new.as_ref()))) {
            let kept: Vec<_> = new.map(|new| destinations(new).collect()).unwrap_or_default();
            let gone = destinations(old).filter(|front| !kept.contains(front));
            fronts.extend(gone.map(|front| (front, Fate::Go(old.serving.clone()))));
        }
        // After what went: a front may have gone from one service to another.
        for (old, new) in udp().filter_map(|change| Some((change.old.as_ref(), change.new.as_ref()?))) {
            let known: Vec<_> = old.map(|old| destinations(old).collect()).unwrap_or_default();
            let lost =
                old.is_some_and(|old| old.serving.iter().any(|endpoint| !new.serving.contains(endpoint)));
            // Without endpoints nothing is translated; a flow may have come about that way.
            let revived = old.is_some_and(|old| old.serving.is_empty()) && !new.serving.is_empty();
            let suspect = destinations(new).filter(|front| lost || revived || !known.contains(front));
            fronts.extend(suspect.map(|front| (front, Fate::Stay(new.serving.clone()))));
        }
        Suspects { fronts, orphans: Vec::new() }
    }

    /// After a start, when nobody knows what was before.
    pub fn all(table: &ServiceTable) -> Self {
        let ports = table.ports.values().filter(|port| port.protocol() == Protocol::Udp);
        let fronts =
            ports.flat_map(|port| destinations(port).map(|front| (front, Fate::Stay(port.serving.clone()))));
        let views = Family::BOTH.map(|family| table.node.family(family));
        Suspects {
            fronts: fronts.collect(),
            orphans: views.iter().flat_map(|view| view.service_cidrs.iter().copied()).collect(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.fronts.is_empty() && self.orphans.is_empty()
    }

    /// The only destinations to ask the kernel about; none: all of them.
    pub fn destinations(&self) -> Option<impl Iterator<Item = Destination>> {
        self.orphans.is_empty().then(|| self.fronts.keys().copied())
    }

    /// Whether the flow must go. `is_local`: whether an address is this node's, as the kernel has it.
    pub fn stale(&self, flow: &Flow, node: &NodeView, is_local: impl Fn(IpAddr) -> bool) -> bool {
        let (ip, port) = (flow.front.ip(), flow.front.port());
        let family = Family::of(ip);
        let at = |address| self.fronts.get(&(family, address, port));
        let node_port = || {
            let here = node.family(family).node_ports.covers(ip) && is_local(ip);
            here.then(|| at(FrontAddress::NodePorts)).flatten()
        };
        let goes_to = |group: &Group| {
            group.iter().any(|endpoint| SocketAddr::new(endpoint.ip, endpoint.port) == flow.server)
        };
        match at(FrontAddress::Ip(ip)).or_else(node_port) {
            Some(Fate::Stay(serving)) => !goes_to(serving),
            Some(Fate::Go(served)) => goes_to(served),
            None => flow.server != flow.front && self.orphans.iter().any(|net| net.contains(&ip)),
        }
    }
}

fn destinations(port: &ServicePort) -> impl Iterator<Item = Destination> {
    port.fronts.iter().map(|front| (port.family, front.address, front.port))
}
