//! Which UDP flows the kernel still sends where nothing serves them any more.
//!
//! The kernel translates a flow once and then goes by its conntrack entry. TCP notices when its end is gone; UDP does not,
//! so that such entries must be deleted. As kube-proxy does, a flow stays while its endpoint serves, whatever policies
//! and hints say meanwhile. Beyond kube-proxy 1.36: a service that lost its last endpoint counts, so does a deleted one,
//! and a frontend that is new (a client that sent before would never get through); a node port is one only at an address
//! for node ports, and those may change; and where nothing can be stale nobody need look.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;

use crate::names::{Family, Protocol};
use crate::table::{FrontendAddress, Group, NodePortsAt, NodeView, ServicePort, ServiceTable, TableDelta};

/// A UDP conntrack entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Flow {
    /// Source of the original direction.
    pub client: SocketAddr,
    /// Destination of the original direction.
    pub frontend: SocketAddr,
    /// Source of the reply direction: `frontend` itself where nothing was translated.
    pub server: SocketAddr,
}

/// Where stale flows may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StaleFlows {
    frontends: BTreeMap<Destination, Outlook>,
    /// Where node ports were until now.
    node_ports_before: Vec<(Family, NodePortsAt)>,
    /// Within these, whatever is translated but is at no frontend at all belongs to a service that is gone.
    orphans: Vec<IpNet>,
}

/// The destination of some flows: an address, or the node port addresses of a family; and the port.
pub type Destination = (Family, FrontendAddress, u16);

/// What becomes of the flows to a frontend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Outlook {
    /// Flows to one of these stay, all others go. None: the frontend is gone.
    now: Option<Group>,
    /// Where flows went before. Of a frontend that is gone those go; others are somebody else's.
    before: Vec<Group>,
}

impl StaleFlows {
    /// After a change that made this table.
    pub fn of(delta: &TableDelta, table: &ServiceTable) -> Self {
        let mut stale_flows = StaleFlows::default();
        stale_flows.add(delta, table);
        stale_flows
    }

    /// Adds those of a later change, where those of earlier ones could not be looked for yet.
    pub fn add(&mut self, delta: &TableDelta, table: &ServiceTable) {
        let udp = || delta.ports.iter().filter(|change| change.key.1.protocol == Protocol::Udp);
        for (old, new) in udp().filter_map(|change| Some((change.old.as_ref()?, change.new.as_ref()))) {
            let kept: Vec<_> = new.map(|new| destinations(new).collect()).unwrap_or_default();
            for frontend in destinations(old).filter(|frontend| !kept.contains(frontend)) {
                let fate = self.fate(frontend);
                fate.now = None;
                fate.before.push(old.serving.clone());
            }
        }
        // After what went: a frontend may have gone from one service to another.
        for (old, new) in udp().filter_map(|change| Some((change.old.as_ref(), change.new.as_ref()?))) {
            let known: Vec<_> = old.map(|old| destinations(old).collect()).unwrap_or_default();
            let lost =
                old.is_some_and(|old| old.serving.iter().any(|endpoint| !new.serving.contains(endpoint)));
            // Without endpoints nothing is translated; a flow may have come about that way.
            let revived = old.is_some_and(|old| old.serving.is_empty()) && !new.serving.is_empty();
            for frontend in destinations(new) {
                if !(lost || revived || !known.contains(&frontend) || self.frontends.contains_key(&frontend))
                {
                    continue;
                }
                let fate = self.fate(frontend);
                fate.now = Some(new.serving.clone());
                fate.before.extend(old.map(|old| old.serving.clone()));
            }
        }
        if let Some(node) = &delta.node_before {
            self.node_ports_moved(node, table);
        }
    }

    /// Node ports may be at other addresses now.
    fn node_ports_moved(&mut self, before: &NodeView, table: &ServiceTable) {
        for family in Family::BOTH {
            let at = &before.family(family).node_ports;
            if *at == table.node.family(family).node_ports {
                continue;
            }
            self.node_ports_before.push((family, at.clone()));
            let ports = table.ports.values().filter(|port| port.family == family);
            for port in ports.filter(|port| port.protocol() == Protocol::Udp) {
                for frontend in
                    destinations(port).filter(|(_, address, _)| *address == FrontendAddress::NodePorts)
                {
                    let fate = self.fate(frontend);
                    fate.now = Some(port.serving.clone());
                    fate.before.push(port.serving.clone());
                }
            }
        }
    }

    /// When nobody knows what was before: after a start, after somebody else's changes.
    pub fn all(table: &ServiceTable) -> Self {
        let mut stale_flows = StaleFlows::default();
        stale_flows.add_all(table);
        stale_flows
    }

    /// Adds whatever is at a frontend, or at what may have been one.
    pub fn add_all(&mut self, table: &ServiceTable) {
        for port in table.ports.values().filter(|port| port.protocol() == Protocol::Udp) {
            for frontend in destinations(port) {
                self.fate(frontend).now = Some(port.serving.clone());
            }
        }
        let views = Family::BOTH.map(|family| table.node.family(family));
        self.orphans = views.iter().flat_map(|view| view.service_cidrs.iter().copied()).collect();
    }

    /// The flows of this family were looked for.
    pub fn forget(&mut self, family: Family) {
        self.frontends.retain(|(of, ..), _| *of != family);
        self.node_ports_before.retain(|(of, _)| *of != family);
        self.orphans.retain(|net| Family::of(net.addr()) != family);
    }

    /// The same, but for those to node ports: which those are nobody could tell without this node's addresses.
    pub fn forget_all_but_node_ports(&mut self, family: Family) {
        self.frontends.retain(|(of, address, _), _| *of != family || *address == FrontendAddress::NodePorts);
        self.orphans.retain(|net| Family::of(net.addr()) != family);
    }

    fn fate(&mut self, frontend: Destination) -> &mut Outlook {
        self.frontends.entry(frontend).or_default()
    }

    pub fn is_empty(&self) -> bool {
        self.frontends.is_empty() && self.orphans.is_empty()
    }

    /// The only destinations to ask the kernel about; none: all of them.
    pub fn destinations(&self) -> Option<impl Iterator<Item = Destination>> {
        self.orphans.is_empty().then(|| self.frontends.keys().copied())
    }

    /// Whether the flow must go. `is_local`: whether an address is this node's, as the kernel has it.
    pub fn stale(&self, flow: &Flow, node: &NodeView, is_local: impl Fn(IpAddr) -> bool) -> bool {
        let (ip, port) = (flow.frontend.ip(), flow.frontend.port());
        let family = Family::of(ip);
        let at = |address| self.frontends.get(&(family, address, port));
        let node_port = |covered: bool| {
            let here = covered && is_local(ip);
            here.then(|| at(FrontendAddress::NodePorts)).flatten()
        };
        let goes_to = |group: &Group| {
            group.iter().any(|endpoint| SocketAddr::new(endpoint.ip, endpoint.port) == flow.server)
        };
        let covered = node.family(family).node_ports.covers(ip);
        match at(FrontendAddress::Ip(ip)).or_else(|| node_port(covered)) {
            Some(Outlook { now: Some(serving), .. }) => return !goes_to(serving),
            Some(Outlook { now: None, before }) => return before.iter().any(goes_to),
            None => {}
        }
        let mut views = self.node_ports_before.iter();
        let covered_before = !covered && views.any(|(of, at)| *of == family && at.covers(ip));
        match node_port(covered_before) {
            Some(Outlook { before, .. }) => before.iter().any(goes_to),
            None => flow.server != flow.frontend && self.orphans.iter().any(|net| net.contains(&ip)),
        }
    }
}

fn destinations(port: &ServicePort) -> impl Iterator<Item = Destination> {
    port.frontends.iter().map(|frontend| (port.family, frontend.address, frontend.port))
}
