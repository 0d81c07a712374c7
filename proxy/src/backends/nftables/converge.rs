//! From whatever is there to what should be: pure, with as few writes as it takes.

use std::collections::{BTreeMap, BTreeSet};

use host::nftables::{Batch, Chain, Data, Element, ListedElement, ListedRule, Op, Rule, Set, Table, Value};

use super::layout::Kept;
use super::render::{Elements, Held, Owners, Wanted};

/// One family's table as the kernel has it.
#[derive(Clone, Debug, Default)]
pub struct Observed {
    /// None: there is no such table.
    pub table: Option<Table>,
    pub chains: Vec<Chain>,
    pub rules: Vec<ListedRule>,
    pub sets: Vec<Set>,
    /// Elements of those sets that are as we declare them.
    pub elements: Elements,
    /// Of other sets that are not for rules to write: by name, sorted.
    pub others: BTreeMap<String, BTreeMap<Data, Held>>,
}

impl Observed {
    /// Adds the elements of a set; of a set that is not ours they do not matter.
    pub fn put(&mut self, kept: Kept, listed: Vec<ListedElement>) {
        self.elements.extend(
            listed.into_iter().map(|listed| ((kept, listed.element.key.clone()), held(listed.element))),
        );
    }

    /// The same of a set that some service ports need.
    pub fn put_other(&mut self, name: &str, listed: Vec<ListedElement>) {
        self.others.insert(name.to_owned(), by_key(listed.into_iter().map(|listed| listed.element)));
    }
}

fn by_key(elements: impl Iterator<Item = Element>) -> BTreeMap<Data, Held> {
    elements.map(|element| (element.key.clone(), held(element))).collect()
}

fn held(element: Element) -> Held {
    let Element { last, value, .. } = element;
    match (last, value) {
        (Some(last), _) => Held::UpTo(last),
        (None, Some(Value::Data(data))) => Held::Data(data),
        (None, Some(Value::Verdict(verdict))) => Held::Verdict(verdict),
        (None, _) => Held::Nothing,
    }
}

/// Writes everything, whether there was a table or not.
pub fn afresh(want: &Wanted) -> Batch {
    let mut batch = Batch::new();
    batch.fresh_table(want.table());
    fill(&mut batch, want, &Observed::default(), &Owners::new());
    batch
}

/// Empty where nothing is to be done. Falls back on [`afresh`] where the frame is not ours: another version's.
///
/// `before`: which service port had which frontend when somebody last knew. A frontend that has gone to another port is
/// written again, equal as it may be, for what it has counted is not this one's.
pub fn converge(want: &Wanted, have: &Observed, before: &Owners) -> Batch {
    let mut batch = Batch::new();
    match &have.table {
        None => {
            batch.add_table(want.table());
        }
        Some(table) if *table != want.table() || !same_frame(want, have) => return afresh(want),
        Some(_) => {}
    }
    fill(&mut batch, want, have, before);
    batch
}

/// Whether what is there of our sets and base chains is as we declare it.
fn same_frame(want: &Wanted, have: &Observed) -> bool {
    let sets: BTreeMap<&str, &Set> = want.all_sets().map(|set| (set.name.as_str(), &**set)).collect();
    let chain_fits = |chain: &Chain| match want.chains.get(&chain.name) {
        Some((wanted, _)) => wanted.base == chain.base,
        None => true,
    };
    have.sets.iter().all(|set| sets.get(set.name.as_str()).is_none_or(|wanted| *wanted == set))
        && have.chains.iter().all(chain_fits)
}

fn fill(batch: &mut Batch, want: &Wanted, have: &Observed, before: &Owners) {
    let table = &want.layout.table;
    let sets: BTreeSet<&str> = have.sets.iter().map(|set| set.name.as_str()).collect();
    for set in want.all_sets().filter(|set| !sets.contains(set.name.as_str())) {
        batch.add_set(set);
    }
    let chains: BTreeSet<&str> = have.chains.iter().map(|chain| chain.name.as_str()).collect();
    for (chain, _) in want.chains.values().filter(|(chain, _)| !chains.contains(chain.name.as_str())) {
        batch.add_chain(chain.clone());
    }
    let mut rules: BTreeMap<&str, Vec<&Rule>> = BTreeMap::new();
    for listed in &have.rules {
        rules.entry(&listed.rule.chain).or_default().push(&listed.rule);
    }
    let nobody = |chain: &&Chain| !want.chains.contains_key(&chain.name);
    for chain in have.chains.iter().filter(nobody) {
        batch.push(Op::FlushChain(table.clone(), chain.name.clone()));
    }
    for (name, (_, wanted)) in &want.chains {
        let there = rules.get(name.as_str()).map_or(&[][..], Vec::as_slice);
        if there.iter().copied().eq(wanted) {
            continue;
        }
        if !there.is_empty() {
            batch.flush_chain(table, name);
        }
        for rule in wanted {
            batch.add_rule(rule.clone());
        }
    }
    for (set, elements) in want.sets.values() {
        let there = have.others.get(&set.name);
        // What rules write to is none of our business.
        if set.dynamic || there.is_some_and(|there| *there == by_key(elements.iter().cloned())) {
            continue;
        }
        if there.is_some_and(|there| !there.is_empty()) {
            batch.push(Op::FlushSet(set.clone()));
        }
        if !elements.is_empty() {
            batch.add_elements(set, elements.clone());
        }
    }
    elements(batch, want, have, before);
    for chain in have.chains.iter().filter(nobody) {
        batch.delete_chain(table, &chain.name);
    }
    let ours: BTreeSet<&str> = want.all_sets().map(|set| set.name.as_str()).collect();
    for set in have.sets.iter().filter(|set| !ours.contains(set.name.as_str())) {
        batch.push(Op::DeleteSet(set.clone().into()));
    }
}

fn elements(batch: &mut Batch, want: &Wanted, have: &Observed, before: &Owners) {
    let moved = |of| match (before.get(of), want.owners.get(of)) {
        (Some(before), Some(now)) => before != now,
        _ => false,
    };
    let (mut gone, mut come) = (Grouped::new(), Grouped::new());
    let (mut wanted, mut there) = (want.elements.iter().peekable(), have.elements.iter().peekable());
    // Both are sorted: one walk finds the differences.
    loop {
        let order = match (wanted.peek(), there.peek()) {
            (None, None) => break,
            (Some(_), None) => std::cmp::Ordering::Less,
            (None, Some(_)) => std::cmp::Ordering::Greater,
            (Some(a), Some(b)) => a.0.cmp(b.0),
        };
        let a = if order.is_le() { wanted.next() } else { None };
        let b = if order.is_ge() { there.next() } else { None };
        if a.map(|(_, held)| held) == b.map(|(_, held)| held) && !a.is_some_and(|(of, _)| moved(of)) {
            continue;
        }
        for (side, list) in [(b, &mut gone), (a, &mut come)] {
            if let Some(((kept, key), held)) = side {
                push(list, *kept, key, held);
            }
        }
    }
    for (kept, elements) in gone {
        batch.delete_elements(want.layout.set(kept), elements);
    }
    for (kept, elements) in come {
        batch.add_elements(want.layout.set(kept), elements);
    }
}

type Grouped = BTreeMap<Kept, Vec<Element>>;

fn push(list: &mut Grouped, kept: Kept, key: &Data, held: &Held) {
    list.entry(kept).or_default().push(held.element(key));
}
