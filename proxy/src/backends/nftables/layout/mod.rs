//! The form of the table: everything but its elements.
//!
//! ```text
//! services    10.96.0.10 . tcp . 80      : goto lb-2-masquerade-unless-pod
//! endpoints   10.96.0.10 . tcp . 80 . 0  : 10.244.1.7 . 8080
//!             10.96.0.10 . tcp . 80 . 1  : 10.244.2.3 . 8080
//! ```
//!
//! A service is elements of shared maps and nothing else. Its endpoints are kept under its frontend and a slot; a chain
//! draws the slot. So there is one chain for each way of balancing (how many slots, which masquerading, which
//! affinity), made when the first service needs it: see [`shape`]. A service port with affinity has chains of its own and
//! maps of its own, which the rules write: who was served by which endpoint. A list of source ranges has a set of its own,
//! and its frontends share it. So nothing that one service has much of is touched when another changes.
//!
//! An endpoint that is gone is not looked for among the remembered clients. A client that is led there again is forgotten
//! by its first packet, which is dropped: the next one, which the client sends by itself, begins again.
//!
//! All of it reads back through `nft list ruleset` and `nft -f` of nft 1.0.6, which decides how keys are put together: a
//! port asked for before translation stands only beside a matched protocol, and never in a rule that loads another port.
//!
//! What a packet meets: source ranges at -110, before anything is translated; translation at -100; refusal of what
//! was not translated at 0; masquerading at 100. All but masquerading concerns a connection's first packet only.

mod rules;
pub mod shape;

use std::sync::Arc;

use host::nftables::{
    Chain, ChainType, Element, Family as NftFamily, Hook, Rule, Set, TableId, Type, priority,
};
use ipnet::IpNet;
use proxy_core::names::{Family, Protocol};
use proxy_core::table::{FamilyView, PodSource, Scope};

use shape::{By, Sources};
pub use shape::{Shape, Slots};

/// The table's name, in both families.
pub const TABLE: &str = "weft-proxy";

/// Before anybody translates addresses, and behind conntrack (-200).
const BEFORE_DSTNAT: i32 = priority::DSTNAT - 10;

pub(super) const SCOPES: [Scope; 2] = [Scope::Cluster, Scope::Local];

/// Clients with affinity that a node remembers, per family. A client beyond these is served without it.
const AFFINITY_SIZE: u32 = 1 << 20;

/// The sets and maps that are always there. Their elements are ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kept {
    ClusterIps,
    Hairpin,
    ServiceCidrs,
    Pods,
    NodePortAddresses,
    Restricted,
    Refused,
    RefusedNodePorts,
    Endpoints,
    LocalEndpoints,
    NodePortEndpoints,
    NodePortLocalEndpoints,
    StickyEndpoints,
    StickyLocalEndpoints,
    StickyNodePortEndpoints,
    StickyNodePortLocalEndpoints,
    StickyServicesTcp,
    StickyServicesUdp,
    StickyServicesSctp,
    StickyNodePortsTcp,
    StickyNodePortsUdp,
    StickyNodePortsSctp,
    NodePorts,
    Services,
}

impl Kept {
    pub const ALL: [Kept; 24] = [
        Kept::ClusterIps,
        Kept::Hairpin,
        Kept::ServiceCidrs,
        Kept::Pods,
        Kept::NodePortAddresses,
        Kept::Restricted,
        Kept::Refused,
        Kept::RefusedNodePorts,
        Kept::Endpoints,
        Kept::LocalEndpoints,
        Kept::NodePortEndpoints,
        Kept::NodePortLocalEndpoints,
        Kept::StickyEndpoints,
        Kept::StickyLocalEndpoints,
        Kept::StickyNodePortEndpoints,
        Kept::StickyNodePortLocalEndpoints,
        Kept::StickyServicesTcp,
        Kept::StickyServicesUdp,
        Kept::StickyServicesSctp,
        Kept::StickyNodePortsTcp,
        Kept::StickyNodePortsUdp,
        Kept::StickyNodePortsSctp,
        Kept::NodePorts,
        Kept::Services,
    ];

    /// Where affinity finds out whether an endpoint is one still.
    pub(super) fn sticky(by: By, scope: Scope) -> Self {
        match (by, scope) {
            (By::Destination, Scope::Cluster) => Kept::StickyEndpoints,
            (By::Destination, Scope::Local) => Kept::StickyLocalEndpoints,
            (By::NodePort, Scope::Cluster) => Kept::StickyNodePortEndpoints,
            (By::NodePort, Scope::Local) => Kept::StickyNodePortLocalEndpoints,
        }
    }

    /// Which frontends have affinity. One map for each protocol: the kernel follows every element of a map of verdicts from
    /// each rule that names it, whenever a rule changes.
    pub(super) fn remembered(by: By, protocol: Protocol) -> Self {
        match (by, protocol) {
            (By::Destination, Protocol::Tcp) => Kept::StickyServicesTcp,
            (By::Destination, Protocol::Udp) => Kept::StickyServicesUdp,
            (By::Destination, Protocol::Sctp) => Kept::StickyServicesSctp,
            (By::NodePort, Protocol::Tcp) => Kept::StickyNodePortsTcp,
            (By::NodePort, Protocol::Udp) => Kept::StickyNodePortsUdp,
            (By::NodePort, Protocol::Sctp) => Kept::StickyNodePortsSctp,
        }
    }

    /// Where the endpoints of a frontend are.
    pub(super) fn endpoints(by: By, scope: Scope) -> Self {
        match (by, scope) {
            (By::Destination, Scope::Cluster) => Kept::Endpoints,
            (By::Destination, Scope::Local) => Kept::LocalEndpoints,
            (By::NodePort, Scope::Cluster) => Kept::NodePortEndpoints,
            (By::NodePort, Scope::Local) => Kept::NodePortLocalEndpoints,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kept::ClusterIps => "cluster-ips",
            Kept::Hairpin => "hairpin",
            Kept::ServiceCidrs => "service-cidrs",
            Kept::Pods => "pods",
            Kept::NodePortAddresses => "node-port-addresses",
            Kept::Restricted => "restricted",
            Kept::Refused => "refused",
            Kept::RefusedNodePorts => "refused-node-ports",
            Kept::Endpoints => "endpoints",
            Kept::LocalEndpoints => "local-endpoints",
            Kept::NodePortEndpoints => "node-port-endpoints",
            Kept::NodePortLocalEndpoints => "node-port-local-endpoints",
            Kept::StickyEndpoints => "sticky-endpoints",
            Kept::StickyLocalEndpoints => "sticky-local-endpoints",
            Kept::StickyNodePortEndpoints => "sticky-node-port-endpoints",
            Kept::StickyNodePortLocalEndpoints => "sticky-node-port-local-endpoints",
            Kept::StickyServicesTcp => "sticky-services-tcp",
            Kept::StickyServicesUdp => "sticky-services-udp",
            Kept::StickyServicesSctp => "sticky-services-sctp",
            Kept::StickyNodePortsTcp => "sticky-node-ports-tcp",
            Kept::StickyNodePortsUdp => "sticky-node-ports-udp",
            Kept::StickyNodePortsSctp => "sticky-node-ports-sctp",
            Kept::NodePorts => "node-ports",
            Kept::Services => "services",
        }
    }
}

/// A set beside those of [`Kept`], which some service ports need. Its name tells what is in it, or nothing of ours is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OwnSet {
    /// The networks of a list of source ranges, so that a change of one list costs nothing of another.
    Sources(Sources),
    /// Who was served by which endpoint. The rules write it, we only declare it. A client keeps one endpoint where all are
    /// balanced over and one where this node's alone, and the same where it can; all frontends of a service port share them,
    /// as in kube-proxy.
    Clients(String),
}

impl OwnSet {
    pub fn name(&self) -> &str {
        match self {
            OwnSet::Sources(sources) => sources.name(),
            OwnSet::Clients(name) => name,
        }
    }
}

/// What an operator chooses beside the service table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// The one bit of the packet's mark that is ours, from a connection's translation to its masquerading; nobody
    /// else's bit is read or written. kube-proxy's `masqueradeBit` 14 is 0x4000.
    pub masquerade_mark: u32,
    /// Count new connections for each frontend (a few nanoseconds each, and 16 bytes per CPU and frontend).
    pub counters: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { masquerade_mark: 1 << 14, counters: true }
    }
}

/// One family's table without elements and without the chains that depend on services.
#[derive(Clone, Debug)]
pub struct Layout {
    pub table: TableId,
    pub family: Family,
    pub view: FamilyView,
    pub settings: Settings,
    sets: Vec<Arc<Set>>,
}

pub(super) fn nft_family(family: Family) -> NftFamily {
    match family {
        Family::V4 => NftFamily::Ip,
        Family::V6 => NftFamily::Ip6,
    }
}

impl Layout {
    pub fn new(family: Family, view: &FamilyView, settings: Settings) -> Self {
        Self::named(TABLE, family, view, settings)
    }

    /// The same in a table of another name.
    pub(super) fn named(name: &str, family: Family, view: &FamilyView, settings: Settings) -> Self {
        let table = TableId::new(nft_family(family), name);
        let sets = Kept::ALL.map(|kept| Arc::new(declare(&table, kept, settings))).into();
        Self { table, family, view: view.clone(), settings, sets }
    }

    /// Declared and filled by us.
    pub fn set(&self, kept: Kept) -> &Arc<Set> {
        &self.sets[kept as usize]
    }

    /// The sets of [`Kept`].
    pub fn sets(&self) -> impl Iterator<Item = &Arc<Set>> {
        self.sets.iter()
    }

    /// The declaration of another set, and what we write to it.
    pub fn own_set(&self, of: &OwnSet) -> (Arc<Set>, Vec<Element>) {
        let (addr, _) = types(self.family);
        match of {
            OwnSet::Sources(sources) => {
                let set = Set::new(&self.table, sources.name(), &[addr]).interval();
                (Arc::new(set.comment("who may use some frontends")), net_elements(&sources.nets))
            }
            OwnSet::Clients(name) => {
                let set = Set::map(&self.table, name, &[addr], &[addr]);
                let set = set.dynamic().timeouts().size(AFFINITY_SIZE);
                (Arc::new(set.comment("client : its endpoint; written by the rules")), Vec::new())
            }
        }
    }

    fn regular(&self, name: &str, about: &str) -> Chain {
        Chain::regular(&self.table, name).comment(about)
    }

    /// The chains that are always there, with their rules.
    pub fn chains(&self) -> Vec<(Chain, Vec<Rule>)> {
        let base = |name: &str, kind, hook, priority, about: &str| {
            Chain::base(&self.table, name, kind, hook, priority).comment(about)
        };
        use ChainType::{Filter, Nat};
        use Hook::*;
        vec![
            (
                base("filter-prerouting", Filter, Prerouting, BEFORE_DSTNAT, "source ranges"),
                self.admit("filter-prerouting"),
            ),
            (
                base("filter-output-first", Filter, Output, BEFORE_DSTNAT, "source ranges"),
                self.admit("filter-output-first"),
            ),
            (
                base("nat-prerouting", Nat, Prerouting, priority::DSTNAT, "what comes from elsewhere"),
                self.translate("nat-prerouting"),
            ),
            (
                base("nat-output", Nat, Output, priority::DSTNAT, "what this host sends"),
                self.translate("nat-output"),
            ),
            (self.regular("translate", "to an endpoint"), self.translation()),
            (base("filter-input", Filter, Input, priority::FILTER, "refusals"), self.refuse_input()),
            (
                base("filter-forward", Filter, Forward, priority::FILTER, "refusals"),
                self.refuse("filter-forward"),
            ),
            (
                base("filter-output", Filter, Output, priority::FILTER, "refusals"),
                self.refuse("filter-output"),
            ),
            (self.regular("refusals", "services without endpoints"), self.refusals()),
            (self.regular("node-port-refusals", "node ports without endpoints"), self.refuse_node_ports()),
            (self.regular("affinity-check", "who keeps the endpoint just chosen"), self.affinity_check()),
            (
                self.regular("cluster-ips-check", "wrong ports, and addresses that are no service's"),
                self.cluster_ips(),
            ),
            (self.regular("reject-at-once", "refuses at once"), self.reject()),
            (base("nat-postrouting", Nat, Postrouting, priority::SRCNAT, "masquerading"), self.masquerade()),
        ]
    }
}

/// The type of an address, and those of a frontend.
fn types(family: Family) -> (Type, [Type; 3]) {
    let addr = if family == Family::V4 { Type::Ipv4Addr } else { Type::Ipv6Addr };
    (addr, [addr, Type::InetProto, Type::InetService])
}

fn declare(table: &TableId, kept: Kept, settings: Settings) -> Set {
    let family = if table.family == NftFamily::Ip6 { Family::V6 } else { Family::V4 };
    let (addr, frontend) = types(family);
    let port = [Type::InetProto, Type::InetService];
    let end = [addr, Type::InetService];
    let with = |last: &[Type]| -> Vec<Type> { frontend.iter().chain(last).copied().collect() };
    let port_with = |last: &[Type]| -> Vec<Type> { port.iter().chain(last).copied().collect() };
    let name = kept.name();
    let counting = |set: Set| if settings.counters { set.counting() } else { set };
    match kept {
        Kept::ClusterIps => Set::new(table, name, &[addr]).comment("other ports of these are refused"),
        Kept::Hairpin => {
            Set::new(table, name, &[addr, addr]).comment("pairs of equal addresses, one for each endpoint")
        }
        Kept::ServiceCidrs => {
            Set::new(table, name, &[addr]).interval().comment("no new connection to what is no service's")
        }
        Kept::Pods => Set::new(table, name, &[addr]).interval().comment("sources that are pods"),
        Kept::NodePortAddresses => Set::new(table, name, &[addr])
            .interval()
            .comment("where node ports are served, if not everywhere"),
        Kept::Restricted => Set::verdict_map(table, name, &frontend)
            .comment("frontends with loadBalancerSourceRanges, and the chain of each list"),
        Kept::Refused => {
            Set::verdict_map(table, name, &frontend).comment("frontends without an endpoint to serve them")
        }
        Kept::RefusedNodePorts => {
            Set::verdict_map(table, name, &port).comment("node ports without an endpoint to serve them")
        }
        Kept::Endpoints => {
            Set::map(table, name, &with(&[Type::Integer]), &end).comment("frontend . slot : endpoint")
        }
        Kept::LocalEndpoints => {
            Set::map(table, name, &with(&[Type::Integer]), &end).comment("the same, of this node alone")
        }
        Kept::NodePortEndpoints => {
            Set::map(table, name, &port_with(&[Type::Integer]), &end).comment("node port . slot : endpoint")
        }
        Kept::NodePortLocalEndpoints => {
            Set::map(table, name, &port_with(&[Type::Integer]), &end).comment("the same, of this node alone")
        }
        Kept::StickyEndpoints => {
            Set::new(table, name, &with(&[addr])).comment("frontend . endpoint: where affinity may lead to")
        }
        Kept::StickyLocalEndpoints => {
            Set::new(table, name, &with(&[addr])).comment("the same, of this node alone")
        }
        Kept::StickyNodePortEndpoints => Set::new(table, name, &port_with(&[addr]))
            .comment("node port . endpoint: where affinity may lead to"),
        Kept::StickyNodePortLocalEndpoints => {
            Set::new(table, name, &port_with(&[addr])).comment("the same, of this node alone")
        }
        Kept::StickyServicesTcp | Kept::StickyServicesUdp | Kept::StickyServicesSctp => {
            Set::verdict_map(table, name, &frontend).comment("frontends with affinity, and for how long")
        }
        Kept::StickyNodePortsTcp | Kept::StickyNodePortsUdp | Kept::StickyNodePortsSctp => {
            Set::verdict_map(table, name, &port).comment("node ports with affinity, and for how long")
        }
        Kept::NodePorts => {
            counting(Set::verdict_map(table, name, &port)).comment("node ports, and how each is balanced")
        }
        Kept::Services => {
            counting(Set::verdict_map(table, name, &frontend)).comment("frontends, and how each is balanced")
        }
    }
}

/// Whether rules ask [`Kept::Pods`].
fn by_nets(view: &FamilyView) -> bool {
    matches!(view.pods, PodSource::Nets(_))
}

/// Networks that do not overlap, as elements of an interval set.
pub(super) fn net_elements(nets: &[IpNet]) -> Vec<Element> {
    let element = |net: &IpNet| {
        let (first, last) = (net.network(), net.broadcast());
        if first == last { Element::new(first) } else { Element::range(first, last) }
    };
    nets.iter().map(element).collect()
}
