//! From changes of objects to nftables: what deltas make is what a fresh start makes. The second test needs root.

mod nftables_common;
#[path = "../core/tests/common/mod.rs"]
mod objects;

use std::collections::{BTreeMap, BTreeSet};

use host::nftables::{Batch, Chain, Data, Element, Op, Rule, Value, Verdict};
use nftables_common::{in_namespace, open};
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proxy::backends::Backend;
use proxy::backends::nftables::delta::{Delta, same_rules};
use proxy::backends::nftables::layout::{Layout, Settings};
use proxy::backends::nftables::render::{Uses, Wanted};
use proxy_core::cluster::{Change, Cluster, Touched};
use proxy_core::names::Family;
use proxy_core::options::Options;
use proxy_core::table::{ServiceTable, TableDelta};

type Step = (Vec<Change>, Options);

fn steps(most: usize) -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec((prop::collection::vec(objects::change(), 1..4), objects::options()), 1..most)
}

/// Objects and the table that follows them.
#[derive(Default)]
struct Follower {
    cluster: Cluster,
    table: ServiceTable,
}

impl Follower {
    fn step(&mut self, (changes, options): Step) -> TableDelta {
        let mut touched = Touched::default();
        changes.into_iter().for_each(|change| touched.merge(self.cluster.apply(change)));
        self.table.rebuild(&self.cluster, &options, &touched)
    }
}

/// A table of the kernel, as strict as the kernel is.
#[derive(Clone, Debug, Default, PartialEq)]
struct Model {
    /// Those beside the ones that are always there.
    sets: BTreeSet<String>,
    chains: BTreeMap<String, (Chain, Vec<Rule>)>,
    elements: BTreeMap<(String, Data), Element>,
}

impl Model {
    fn of(want: &Wanted) -> Self {
        let others = want.sets.values().flat_map(|(set, elements)| {
            elements.iter().map(|element| ((set.name.clone(), element.key.clone()), element.clone()))
        });
        let elements = want.elements.iter().map(|((kept, key), held)| {
            let mut batch = Batch::new();
            batch.add_elements(want.layout.set(*kept), vec![held.element(key)]);
            let [Op::AddElements(set, elements)] = &batch.ops[..] else { panic!("{batch}") };
            ((set.name.clone(), key.clone()), elements[0].clone())
        });
        let elements = elements.chain(others).collect();
        Self { sets: want.sets.keys().cloned().collect(), chains: want.chains.clone(), elements }
    }

    fn apply(&mut self, batch: &Batch) {
        for op in &batch.ops {
            match op {
                Op::AddChain(chain) => {
                    self.chains.entry(chain.name.clone()).or_insert_with(|| (chain.clone(), Vec::new()));
                }
                Op::FlushChain(_, name) => self.chains.get_mut(name).expect("a chain to flush").1.clear(),
                Op::DeleteChain(_, name) => {
                    let (_, rules) = self.chains.remove(name).expect("a chain to delete");
                    assert!(rules.is_empty(), "{name} has rules");
                }
                Op::AddRule(rule, _) => {
                    self.chains.get_mut(&rule.chain).expect("a rule's chain").1.push(rule.clone())
                }
                Op::AddElements(set, elements) => {
                    for element in elements {
                        let known =
                            self.elements.insert((set.name.clone(), element.key.clone()), element.clone());
                        assert_eq!(known, None, "added twice");
                    }
                }
                Op::DeleteElements(set, elements) => {
                    for element in elements {
                        let key = (set.name.clone(), element.key.clone());
                        assert!(self.elements.remove(&key).is_some(), "not there: {key:?}");
                    }
                }
                Op::AddSet(set) => _ = self.sets.insert(set.name.clone()),
                Op::FlushSet(set) => self.elements.retain(|(name, _), _| *name != set.name),
                Op::DeleteSet(set) => {
                    assert!(self.sets.remove(&set.name), "no set {}", set.name);
                    self.elements.retain(|(name, _), _| *name != set.name);
                    let names = |rule: &Rule| rule.to_string().contains(&format!("@{} ", set.name));
                    assert!(
                        !self.chains.values().any(|(_, rules)| rules.iter().any(names)),
                        "{} is in use",
                        set.name
                    );
                }
                other => panic!("no change needs {other}"),
            }
        }
        for ((set, _), element) in &self.elements {
            if let Some(Value::Verdict(Verdict::Goto(chain) | Verdict::Jump(chain))) = &element.value {
                assert!(self.chains.contains_key(chain), "{set} leads to {chain}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(256) })]

    #[test]
    fn changes_written_one_by_one_make_the_rules_of_a_fresh_start(steps in steps(16)) {
        let mut follower = Follower::default();
        let mut kept: BTreeMap<Family, (Layout, Uses, Model)> = BTreeMap::new();
        for step in steps {
            let delta = follower.step(step);
            for family in Family::BOTH {
                let want = Wanted::of(&follower.table, family, Settings::default());
                let fresh = (want.uses.clone(), Model::of(&want));
                let view = follower.table.node.family(family);
                match kept.get_mut(&family).filter(|(layout, ..)| same_rules(layout, view)) {
                    None => _ = kept.insert(family, (want.layout, fresh.0, fresh.1)),
                    Some((layout, uses, model)) => {
                        let change = Delta::of(layout, view, uses, &delta.ports);
                        model.apply(&change.batch);
                        // Whoever looks between the two, or starts again there, finds everything that is wanted.
                        let missing = fresh.1.elements.iter().find(|(key, held)| model.elements.get(*key) != Some(*held));
                        prop_assert_eq!(missing, None);
                        model.apply(&change.tidy);
                        prop_assert_eq!(&*uses, &fresh.0);
                        prop_assert_eq!(&*model, &fresh.1);
                    }
                }
            }
        }
    }
}

#[test]
fn any_changes_of_objects_end_in_the_kernel_like_a_fresh_start() {
    in_namespace(|| {
        let mut runner =
            TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
        runner
            .run(&steps(10), |steps| {
                let mut follower = Follower::default();
                let mut backend = open();
                for step in steps {
                    let delta = follower.step(step);
                    let applied = backend.sync_delta(&follower.table, &delta).unwrap();
                    if delta.ports.is_empty() && delta.node_before.is_none() && !applied.full {
                        prop_assert_eq!(applied.writes, 0);
                    }
                    let mut other = open();
                    let have = other.observe().unwrap();
                    prop_assert_eq!(other.plan(&follower.table, &have).to_string(), "");
                }
                Ok(())
            })
            .unwrap();
    });
}
