//! What the tables of one family should hold: pure, the same for the same table.
//!
//! Begin at [`Wanted::of`]. Chains of one service port are whole; chains that many ports add to keep for each rule
//! who it is from, so that a change of one port is a change of its own rules.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use proxy_core::names::{Family, PortName};
use proxy_core::table::{FamilyView, NodeView, ServicePort, ServiceTable};

use super::dispatch::{Chains, Dispatch};
use super::frame::Ensured;
use super::names::Table;

/// From so many endpoints on, rules within a service's own chains have no comments, as kube-proxy's do not.
pub const MANY_ENDPOINTS: usize = 1000;

/// What the rules depend on besides the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Style {
    pub family: Family,
    /// The bit that says "to be masqueraded".
    pub mark: u32,
    /// Whether this iptables knows `--random-fully`.
    pub random_fully: bool,
    /// Off where the kernel is lenient with TCP windows (`nf_conntrack_tcp_be_liberal`).
    pub drop_invalid: bool,
    /// In chains of services.
    pub comments: bool,
    /// Whether one rule finds all clients that are their own endpoints (xt_bpf), else there is one for each endpoint.
    pub hairpin_at_once: bool,
}

/// Whether chains of services get comments.
pub fn has_comments(table: &ServiceTable) -> bool {
    let endpoints = table.ports.values().map(|port| port.cluster.len().max(port.local.len()));
    endpoints.sum::<usize>() <= MANY_ENDPOINTS
}

/// Where a rule stands in a chain that many add to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum At {
    /// A service port's, by number.
    Port(PortName, u16),
    /// The same for all who want it.
    Net(IpNet),
    /// The same for all who want it.
    Ip(IpAddr),
    /// The same for all who want it.
    Number(u16),
    Tail(u16),
}

/// A chain that many add to: rules, and how many want each.
pub type Shared = BTreeMap<At, (String, u32)>;

pub type Place = (Table, &'static str);

/// What one service port needs.
#[derive(Clone, Debug, Default)]
pub struct Part {
    pub shared: Vec<(Place, At, String)>,
    /// In the table nat, for addresses.
    pub frontends: Vec<(IpAddr, At, String)>,
    /// In the table nat.
    pub own: BTreeMap<String, Vec<String>>,
}

/// One family's tables.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    pub shared: BTreeMap<Place, Shared>,
    pub dispatch: Dispatch,
    /// What the dispatch comes to.
    tree: Chains,
    pub own: BTreeMap<(Table, String), Vec<String>>,
    pub ensured: Vec<Ensured>,
}

impl Wanted {
    pub fn of(table: &ServiceTable, style: &Style) -> Self {
        let view = table.node.family(style.family);
        let mut wanted = Wanted::none(&table.node, style);
        for (_, port) in table.ports.iter().filter(|((family, _), _)| *family == style.family) {
            wanted.add(Part::of(port, view, style));
        }
        wanted.tree = wanted.dispatch.chains();
        wanted
    }

    /// For no service.
    pub fn none(node: &NodeView, style: &Style) -> Self {
        let mut wanted = Wanted::default();
        wanted.frame(node, style);
        wanted
    }

    fn add(&mut self, part: Part) {
        for ((table, chain), at, rule) in part.shared {
            self.put(table, chain, at, rule);
        }
        part.frontends.into_iter().for_each(|(ip, at, rule)| self.dispatch.put(ip, at, rule));
        self.own.extend(part.own.into_iter().map(|(chain, rules)| ((Table::Nat, chain), rules)));
    }

    pub(super) fn shared(&mut self, table: Table, chain: &'static str) -> &mut Shared {
        self.shared.entry((table, chain)).or_default()
    }

    pub(super) fn put(&mut self, table: Table, chain: &'static str, at: At, rule: String) {
        self.shared(table, chain).entry(at).or_insert((rule, 0)).1 += 1;
    }

    pub(super) fn own(&mut self, table: Table, chain: &str, rules: Vec<String>) {
        self.own.insert((table, chain.to_owned()), rules);
    }

    /// Every chain that is ours alone, with its rules.
    pub fn chains(&self) -> BTreeMap<(Table, &str), Vec<&str>> {
        let tree = self.tree.iter().map(|(chain, rules)| ((Table::Nat, chain.as_str()), rules));
        let mut all: BTreeMap<(Table, &str), Vec<&str>> =
            tree.map(|(place, rules)| (place, rules.iter().map(String::as_str).collect())).collect();
        // Behind what is for single addresses, where both are in one chain.
        for (place, rules) in &self.shared {
            all.entry(*place).or_default().extend(rules.values().map(|(rule, _)| rule.as_str()));
        }
        let own = self.own.iter().map(|((table, chain), rules)| {
            ((*table, chain.as_str()), rules.iter().map(String::as_str).collect())
        });
        all.extend(own);
        all
    }
}

/// As `iptables-save` would print it on an otherwise empty machine, without the chains of the kernel.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chains = self.chains();
        for table in Table::ALL {
            let here = || chains.iter().filter(|((of, _), _)| *of == table);
            writeln!(f, "*{}", table.as_str())?;
            here().try_for_each(|((_, chain), _)| writeln!(f, ":{chain} - [0:0]"))?;
            for ensured in self.ensured.iter().filter(|ensured| ensured.table == table) {
                writeln!(f, "-A {} {}", ensured.chain, ensured.rule)?;
            }
            for ((_, chain), rules) in here() {
                rules.iter().try_for_each(|rule| writeln!(f, "-A {chain} {rule}"))?;
            }
            writeln!(f, "COMMIT")?;
        }
        Ok(())
    }
}

/// What a port needs; nothing for none.
pub fn part(port: Option<&ServicePort>, view: &FamilyView, style: &Style) -> Part {
    port.map(|port| Part::of(port, view, style)).unwrap_or_default()
}
