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
//! affinity), made when the first service needs it: see [`shape`]. Only a service port with affinity and several frontends
//! has chains of its own, which say under which of them its clients are remembered.
//!
//! What a packet meets: source ranges at -110, before anything is translated; translation at -100; refusal of what
//! was not translated at 0; masquerading at 100. All but masquerading concerns a connection's first packet only.

mod program;
mod rules;
pub mod shape;

use std::sync::Arc;

use host::nftables::{Chain, ChainType, Family as NftFamily, Hook, Rule, Set, TableId, Type, priority};
use proxy_core::names::Family;
use proxy_core::table::{FamilyView, PodSource, Scope};

use shape::By;
pub use shape::{Shape, Slots};

/// The table's name, in both families.
pub const TABLE: &str = "weft-proxy";

/// Before anybody translates addresses, and behind conntrack (-200).
const BEFORE_DSTNAT: i32 = priority::DSTNAT - 10;

pub(super) const SCOPES: [Scope; 2] = [Scope::Cluster, Scope::Local];

/// Clients with affinity that a node remembers, per family. A client beyond these is served without it.
const AFFINITY_SIZE: u32 = 1 << 20;

/// The sets and maps whose elements are ours. Those of affinity are not
/// among them: their elements are the kernel's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kept {
    ClusterIps,
    EqualBytes,
    ServiceCidrs,
    Pods,
    NodePortAddresses,
    Restricted,
    SourceRanges,
    Refused,
    RefusedNodePorts,
    Endpoints,
    LocalEndpoints,
    NodePortEndpoints,
    NodePortLocalEndpoints,
    StickyEndpoints,
    StickyLocalEndpoints,
    StickyServices,
    StickyNodePorts,
    NodePorts,
    Services,
}

impl Kept {
    pub const ALL: [Kept; 19] = [
        Kept::ClusterIps,
        Kept::EqualBytes,
        Kept::ServiceCidrs,
        Kept::Pods,
        Kept::NodePortAddresses,
        Kept::Restricted,
        Kept::SourceRanges,
        Kept::Refused,
        Kept::RefusedNodePorts,
        Kept::Endpoints,
        Kept::LocalEndpoints,
        Kept::NodePortEndpoints,
        Kept::NodePortLocalEndpoints,
        Kept::StickyEndpoints,
        Kept::StickyLocalEndpoints,
        Kept::StickyServices,
        Kept::StickyNodePorts,
        Kept::NodePorts,
        Kept::Services,
    ];

    /// Where affinity finds out whether an endpoint is one still.
    pub(super) fn sticky(scope: Scope) -> Self {
        match scope {
            Scope::Cluster => Kept::StickyEndpoints,
            Scope::Local => Kept::StickyLocalEndpoints,
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
            Kept::EqualBytes => "equal-bytes",
            Kept::ServiceCidrs => "service-cidrs",
            Kept::Pods => "pods",
            Kept::NodePortAddresses => "node-port-addresses",
            Kept::Restricted => "restricted",
            Kept::SourceRanges => "source-ranges",
            Kept::Refused => "refused",
            Kept::RefusedNodePorts => "refused-node-ports",
            Kept::Endpoints => "endpoints",
            Kept::LocalEndpoints => "local-endpoints",
            Kept::NodePortEndpoints => "node-port-endpoints",
            Kept::NodePortLocalEndpoints => "node-port-local-endpoints",
            Kept::StickyEndpoints => "sticky-endpoints",
            Kept::StickyLocalEndpoints => "sticky-local-endpoints",
            Kept::StickyServices => "sticky-services",
            Kept::StickyNodePorts => "sticky-node-ports",
            Kept::NodePorts => "node-ports",
            Kept::Services => "services",
        }
    }
}

/// Who was served by which endpoint, where all are balanced over and where this node's alone: a client keeps one of
/// each, and the same where it can. All frontends of a service port share it, as in kube-proxy. The rules write these maps,
/// we only declare them.
pub(super) fn affinity(scope: Scope) -> &'static str {
    match scope {
        Scope::Cluster => "affinity",
        Scope::Local => "local-affinity",
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
    affinity: [Arc<Set>; 2],
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
        let (addr, frontend) = types(family);
        let client: Vec<Type> = frontend.iter().copied().chain([addr]).collect();
        let affinity = SCOPES.map(|scope| {
            let set = Set::map(&table, affinity(scope), &client, &[addr, Type::InetService]);
            let about = "first frontend of a service port . client : its endpoint; written by the rules";
            Arc::new(set.dynamic().timeouts().size(AFFINITY_SIZE).comment(about))
        });
        Self { table, family, view: view.clone(), settings, sets, affinity }
    }

    /// Declared and filled by us.
    pub fn set(&self, kept: Kept) -> &Arc<Set> {
        &self.sets[kept as usize]
    }

    /// Declared by us and filled by the rules.
    pub fn affinity(&self, scope: Scope) -> &Arc<Set> {
        &self.affinity[scope as usize]
    }

    /// Everything that has to be declared.
    pub fn sets(&self) -> impl Iterator<Item = &Arc<Set>> {
        self.sets.iter().chain(&self.affinity)
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
            (self.regular("source-ranges-check", "only who is listed may pass"), self.source_ranges()),
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
        // Single bytes: nft has no neutral name for a type of that length.
        Kept::EqualBytes => Set::new(table, name, &[Type::NfProto, Type::NfProto])
            .comment("pairs of equal bytes, to find packets whose source is their destination"),
        Kept::ServiceCidrs => {
            Set::new(table, name, &[addr]).interval().comment("no new connection to what is no service's")
        }
        Kept::Pods => Set::new(table, name, &[addr]).interval().comment("sources that are pods"),
        Kept::NodePortAddresses => Set::new(table, name, &[addr])
            .interval()
            .comment("where node ports are served, if not everywhere"),
        Kept::Restricted => {
            Set::new(table, name, &frontend).comment("frontends with loadBalancerSourceRanges")
        }
        Kept::SourceRanges => {
            Set::new(table, name, &with(&[addr])).interval().comment("frontend . source: who may use them")
        }
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
        Kept::StickyEndpoints => Set::new(table, name, &with(&end))
            .comment("first frontend of a service port . endpoint: where affinity may lead to"),
        Kept::StickyLocalEndpoints => {
            Set::new(table, name, &with(&end)).comment("the same, of this node alone")
        }
        Kept::StickyServices => {
            Set::verdict_map(table, name, &frontend).comment("frontends with affinity, and for how long")
        }
        Kept::StickyNodePorts => {
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
