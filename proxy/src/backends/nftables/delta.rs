//! From changed service ports to changed elements: pure, at the cost of the change.

use std::collections::BTreeMap;

use host::nftables::{Batch, Data, Element, Op, Place};
use proxy_core::names::{Family, PortName};
use proxy_core::table::{FamilyView, PortChange, ServicePort};

use super::layout::{Kept, Layout, OwnSet, Shape};
use super::render::{Elements, Held, Needs, Uses, affinity, counted_at, itself, service_cidrs};

/// What has to be written for some changes.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// All of it at once.
    pub batch: Batch,
    /// Afterwards: chains and sets that nobody needs any more. On its own, because kernels before 6.2 keep a chain busy
    /// for a while after the element that led to it; it can be left for later.
    pub tidy: Batch,
    pub counters: Vec<Counted>,
    /// Maps of clients whose timeouts are other ones now.
    pub retimed: Vec<Retimed>,
}

/// What becomes of what an element of a counting map has counted, which goes away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counted {
    pub kept: Kept,
    pub key: Data,
    /// The service port still has this frontend, so that its count goes on. Else another may have it one day.
    pub goes_on: bool,
}

/// Clients remembered for another time, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retimed {
    pub set: OwnSet,
    pub before: u64,
    pub now: u64,
}

/// Of a frontend, before and after: which service port has it.
type Turnover = BTreeMap<(Kept, Data), [Option<PortName>; 2]>;

/// Changes of uses, by what is used.
#[derive(Default)]
struct Turned {
    cluster_ips: BTreeMap<std::net::IpAddr, isize>,
    endpoints: BTreeMap<std::net::IpAddr, isize>,
    /// By how much, and what it was and is.
    shapes: BTreeMap<String, (isize, [Option<Shape>; 2])>,
    sets: BTreeMap<String, (isize, OwnSet)>,
}

impl Turned {
    fn add(&mut self, needs: Needs, sign: isize, own: &mut Elements) {
        own.extend(needs.own);
        needs.cluster_ips.into_iter().for_each(|ip| *self.cluster_ips.entry(ip).or_default() += sign);
        needs.endpoints.into_iter().for_each(|ip| *self.endpoints.entry(ip).or_default() += sign);
        for (name, shape) in needs.shapes {
            let (by, shapes) = self.shapes.entry(name).or_default();
            *by += sign;
            shapes[usize::from(sign > 0)] = Some(shape);
        }
        for (name, set) in needs.sets {
            self.sets.entry(name).or_insert((0, set)).0 += sign;
        }
    }
}

/// The node is as it was, as far as rules depend on it.
pub fn same_rules(layout: &Layout, view: &FamilyView) -> bool {
    let FamilyView { pods, node_ports, service_cidrs: _ } = view;
    (pods, node_ports) == (&layout.view.pods, &layout.view.node_ports)
}

impl Delta {
    /// Changes `layout` and `uses` as well, to what holds when the batch is carried out. `view`: the node as it is now;
    /// the rules have to be the [same](same_rules).
    pub fn of(layout: &mut Layout, view: &FamilyView, uses: &mut Uses, changes: &[PortChange]) -> Self {
        let (mut old, mut new) = (Elements::new(), Elements::new());
        if layout.view != *view {
            old = service_cidrs(layout);
            layout.view = view.clone();
            new = service_cidrs(layout);
        }
        let layout = &*layout;
        let mut delta = Delta::default();
        let (mut turned, mut owners) = (Turned::default(), Turnover::new());
        for PortChange { old: before, new: now, .. } in
            changes.iter().filter(|change| change.key.0 == layout.family)
        {
            for (index, port, sign, own) in [(0, before, -1, &mut old), (1, now, 1, &mut new)] {
                if let Some(port) = port {
                    turned.add(Needs::of(port), sign, own);
                    own_frontends(port, index, &mut owners);
                }
            }
            if let (Some(before), Some(now)) = (before, now) {
                delta.retime(before, now);
            }
        }
        for (ip, by) in turned.cluster_ips {
            let key = (Kept::ClusterIps, ip.into());
            shared(count(&mut uses.cluster_ips, ip, by), key, &mut old, &mut new);
        }
        for (ip, by) in turned.endpoints {
            shared(count(&mut uses.endpoints, ip, by), itself(ip), &mut old, &mut new);
        }
        // Chains name sets, so sets come first and go last.
        let mut unused = Vec::new();
        for (name, (by, set)) in turned.sets {
            match count(&mut uses.sets, name, by) {
                Turn::Comes => {
                    let (set, elements) = layout.own_set(&set);
                    // It may be there still, as a chain may.
                    delta.batch.add_set(&set).push(Op::FlushSet(set.clone()));
                    if !elements.is_empty() {
                        delta.batch.add_elements(&set, elements);
                    }
                }
                Turn::Goes => unused.push(layout.own_set(&set).0),
                Turn::Stays => {}
            }
        }
        // Chains may lead to one another: all are there before any has rules.
        let (mut come, mut gone) = (Vec::new(), Vec::new());
        for (name, (by, [before, now])) in turned.shapes {
            let turn = count(&mut uses.shapes, name.clone(), by);
            match (turn, now) {
                (Turn::Comes, Some(now)) => come.push(layout.chain(&now)),
                (Turn::Goes, _) => gone.push(name),
                // The rules of a chain with affinity change in their place.
                (Turn::Stays, Some(now)) if before.is_some_and(|before| before != now) => {
                    come.push(layout.chain(&now));
                }
                _ => {}
            }
        }
        for (chain, _) in &come {
            // It may be there still, from a time when it could not be deleted.
            delta.batch.add_chain(chain.clone()).flush_chain(&layout.table, &chain.name);
        }
        for rule in come.into_iter().flat_map(|(_, rules)| rules) {
            delta.batch.push(Op::AddRule(rule, Place::Last));
        }
        for name in &gone {
            delta.tidy.flush_chain(&layout.table, name);
        }
        for name in &gone {
            delta.tidy.delete_chain(&layout.table, name);
        }
        delta.tidy.ops.extend(unused.into_iter().map(Op::DeleteSet));
        delta.elements(layout, &old, &new, &owners);
        delta
    }

    /// Clients that stay remembered are so for another time.
    fn retime(&mut self, port_before: &ServicePort, port: &ServicePort) {
        let (Some((_, old)), Some((_, new))) = (affinity(port_before), affinity(port)) else { return };
        if old == new {
            return;
        }
        let clients = |port: &ServicePort| {
            let sets = Needs::of(port).sets.into_values();
            sets.filter(|set| matches!(set, OwnSet::Clients(_))).collect::<Vec<_>>()
        };
        let there = clients(port_before);
        let (before, now) = (old.as_millis() as u64, new.as_millis() as u64);
        let stay = clients(port).into_iter().filter(|set| there.contains(set));
        self.retimed.extend(stay.map(|set| Retimed { set, before, now }));
    }

    fn elements(&mut self, layout: &Layout, old: &Elements, new: &Elements, owners: &Turnover) {
        let goes_on = |of: &(Kept, Data)| owners.get(of).is_none_or(|[before, now]| before == now);
        let mut gone: BTreeMap<Kept, Vec<Element>> = BTreeMap::new();
        let mut come: BTreeMap<Kept, Vec<Element>> = BTreeMap::new();
        for (of @ (kept, key), held) in old {
            if new.get(of) != Some(held) || !goes_on(of) {
                gone.entry(*kept).or_default().push(held.element(key));
                if layout.set(*kept).counting {
                    self.counters.push(Counted { kept: *kept, key: key.clone(), goes_on: goes_on(of) });
                }
            }
        }
        for (of @ (kept, key), held) in new {
            if old.get(of) != Some(held) || !goes_on(of) {
                come.entry(*kept).or_default().push(held.element(key));
            }
        }
        for (kept, elements) in gone {
            self.batch.delete_elements(layout.set(kept), elements);
        }
        for (kept, elements) in come {
            self.batch.add_elements(layout.set(kept), elements);
        }
    }
}

fn own_frontends(port: &ServicePort, index: usize, owners: &mut Turnover) {
    counted_at(port).for_each(|of| owners.entry(of).or_default()[index] = Some(port.name.clone()));
}

/// An element that several service ports need.
fn shared(turn: Turn, of: (Kept, Data), old: &mut Elements, new: &mut Elements) {
    match turn {
        Turn::Comes => drop(new.insert(of, Held::Nothing)),
        Turn::Goes => drop(old.insert(of, Held::Nothing)),
        Turn::Stays => {}
    }
}

enum Turn {
    Comes,
    Goes,
    Stays,
}

/// Counts one use up or down.
fn count<K: Ord>(uses: &mut BTreeMap<K, usize>, key: K, by: isize) -> Turn {
    let before = uses.get(&key).copied().unwrap_or(0);
    let after = before.saturating_add_signed(by);
    if after == 0 {
        uses.remove(&key);
    } else {
        uses.insert(key, after);
    }
    match (before, after) {
        (0, 0) => Turn::Stays,
        (0, _) => Turn::Comes,
        (_, 0) => Turn::Goes,
        _ => Turn::Stays,
    }
}

/// Whether any of the changes is of this family.
pub fn concerns(family: Family, changes: &[PortChange]) -> bool {
    changes.iter().any(|change| change.key.0 == family)
}
