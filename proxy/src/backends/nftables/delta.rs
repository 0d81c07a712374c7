//! From changed service ports to changed elements: pure, at the cost of the change.

use std::collections::BTreeMap;

use host::nftables::{Batch, Data, Element, Op, Place};
use proxy_core::names::Family;
use proxy_core::table::PortChange;

use super::layout::{Kept, Layout, Shape};
use super::render::{Elements, Held, Needs, Uses};

/// What has to be written for some changes.
#[derive(Clone, Debug, Default)]
pub struct Delta {
    /// All of it at once.
    pub batch: Batch,
    /// Afterwards: chains that nobody needs any more. On its own, because kernels before 6.2 keep a chain busy
    /// for a while after the element that led to it; it can be left for later.
    pub tidy: Batch,
    /// Elements of counting maps that go away, with what they have counted.
    pub counters: Vec<(Kept, Data)>,
}

impl Delta {
    /// Changes `uses` as well, to what holds when the batch is carried out.
    pub fn of(layout: &Layout, uses: &mut Uses, changes: &[PortChange]) -> Self {
        let (mut old, mut new) = (Elements::new(), Elements::new());
        let mut shapes: BTreeMap<String, (isize, Shape)> = BTreeMap::new();
        let mut cluster_ips = BTreeMap::new();
        let ours = |change: &&PortChange| change.key.0 == layout.family;
        for change in changes.iter().filter(ours) {
            for (port, sign, elements) in [(&change.old, -1, &mut old), (&change.new, 1, &mut new)] {
                let Some(port) = port else { continue };
                let needs = Needs::of(port);
                elements.extend(needs.own);
                for ip in needs.cluster_ips {
                    *cluster_ips.entry(ip).or_default() += sign;
                }
                for (name, shape) in needs.shapes {
                    shapes.entry(name).or_insert((0, shape)).0 += sign;
                }
            }
        }
        for (ip, by) in cluster_ips {
            let key = (Kept::ClusterIps, ip.into());
            match count(&mut uses.cluster_ips, ip, by) {
                Turn::Comes => drop(new.insert(key, Held::Nothing)),
                Turn::Goes => drop(old.insert(key, Held::Nothing)),
                Turn::Stays => {}
            }
        }
        let mut delta = Delta::default();
        for (name, (by, shape)) in shapes {
            match count(&mut uses.shapes, name.clone(), by) {
                Turn::Comes => {
                    let (chain, rules) = layout.chain(&shape);
                    // It may be there still, from a time when it could not be deleted.
                    delta.batch.add_chain(chain).flush_chain(&layout.table, &name);
                    for rule in rules {
                        delta.batch.push(Op::AddRule(rule, Place::Last));
                    }
                }
                Turn::Goes => {
                    delta.tidy.flush_chain(&layout.table, &name).delete_chain(&layout.table, &name);
                }
                Turn::Stays => {}
            }
        }
        delta.elements(layout, &old, &new);
        delta
    }

    fn elements(&mut self, layout: &Layout, old: &Elements, new: &Elements) {
        let mut gone: BTreeMap<Kept, Vec<Element>> = BTreeMap::new();
        for ((kept, key), held) in old {
            if new.get(&(*kept, key.clone())) != Some(held) {
                gone.entry(*kept).or_default().push(held.element(key));
                if layout.set(*kept).counting {
                    self.counters.push((*kept, key.clone()));
                }
            }
        }
        let mut come: BTreeMap<Kept, Vec<Element>> = BTreeMap::new();
        for ((kept, key), held) in new {
            if old.get(&(*kept, key.clone())) != Some(held) {
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
