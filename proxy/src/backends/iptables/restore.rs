//! From what is there to what should be, as text for `iptables-restore --noflush`: pure, with as few lines as it takes.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;

use host::iptables::Saved;

use super::dispatch::{Chains, Dispatch};
use super::frame::Ensured;
use super::names::{ENDS_IN, FIREWALL, SERVICES, Table, is_of_ipvs, is_owned};
use super::render::{At, Part, Place, Shared, Wanted};

/// Changes of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Text {
    tables: BTreeMap<Table, Changes>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Changes {
    /// Chains to be emptied or made, and filled.
    whole: BTreeMap<String, Vec<String>>,
    /// Single rules, and chains made without being emptied, in this order.
    lines: Vec<String>,
    /// Chains to be deleted.
    gone: BTreeSet<String>,
}

impl Text {
    fn table(&mut self, table: Table) -> &mut Changes {
        self.tables.entry(table).or_default()
    }

    fn whole(&mut self, table: Table, chain: &str, rules: impl IntoIterator<Item = impl Into<String>>) {
        let rules = rules.into_iter().map(Into::into).collect();
        self.table(table).whole.insert(chain.to_owned(), rules);
    }

    fn gone(&mut self, table: Table, chain: &str) {
        self.table(table).gone.insert(chain.to_owned());
    }

    fn line(&mut self, table: Table, line: String) {
        self.table(table).lines.push(line);
    }

    pub fn is_empty(&self) -> bool {
        self.tables.is_empty()
    }

    /// Rules written, and chains deleted.
    pub fn writes(&self) -> usize {
        let of = |changes: &Changes| {
            let rules: usize = changes.whole.values().map(|rules| rules.len().max(1)).sum();
            rules + changes.lines.len() + changes.gone.len()
        };
        self.tables.values().map(of).sum()
    }

    /// Rules written to each table.
    pub fn rules(&self) -> impl Iterator<Item = (Table, usize)> {
        let adds = |line: &&String| line.starts_with("-A ") || line.starts_with("-I ");
        self.tables.iter().map(move |(table, changes)| {
            let whole: usize = changes.whole.values().map(Vec::len).sum();
            (*table, whole + changes.lines.iter().filter(adds).count())
        })
    }

    /// The same in several texts, to be restored one after the other: each with at most `limit` rules of chains that
    /// belong to services, or one such chain; what they lead to before what leads to them, and all that many share in the
    /// last. The nft flavour takes time with the square of what one text carries.
    pub fn parts(mut self, limit: usize) -> Vec<Text> {
        let Some(nat) = self.tables.get_mut(&Table::Nat) else { return vec![self] };
        if nat.whole.values().map(|rules| lines(rules)).sum::<usize>() <= limit {
            return vec![self];
        }
        let whole = std::mem::take(&mut nat.whole).into_iter();
        let (mut own, last): (Vec<_>, Vec<_>) = whole.partition(|(chain, _)| depth(chain).0 < SHARED);
        nat.whole = last.into_iter().collect();
        own.sort_by_key(|(chain, _)| depth(chain));
        let mut parts = Vec::new();
        let (mut part, mut size) = (Changes::default(), 0);
        for (chain, rules) in own {
            if size + lines(&rules) > limit && size > 0 {
                parts.push(std::mem::take(&mut part));
                size = 0;
            }
            size += lines(&rules);
            part.whole.insert(chain, rules);
        }
        parts.push(part);
        let parts = parts.into_iter().map(|part| Text { tables: [(Table::Nat, part)].into() });
        parts.chain([self]).collect()
    }
}

/// Of a chain: its rules, and the line that makes it.
fn lines(rules: &[String]) -> usize {
    rules.len() + 1
}

const SHARED: u8 = 6;

/// How far from the kernel's own chains, the farthest first. What every service's chain may jump to comes before all.
fn depth(chain: &str) -> (u8, Reverse<usize>) {
    if let Some(digits) = chain.strip_prefix(ENDS_IN) {
        return (SHARED - 1, Reverse(digits.len()));
    }
    let prefixes = ["KUBE-MARK-", "KUBE-SEP-", "KUBE-SV", "KUBE-EXT-", "KUBE-FW-"];
    let known = (0..SHARED).zip(prefixes).find(|(_, prefix)| chain.starts_with(prefix));
    (known.map_or(SHARED, |(depth, _)| depth), Reverse(0))
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (table, changes) in &self.tables {
            writeln!(f, "*{}", table.as_str())?;
            for chain in changes.whole.keys().chain(&changes.gone) {
                writeln!(f, ":{chain} - [0:0]")?;
            }
            for (chain, rules) in &changes.whole {
                rules.iter().try_for_each(|rule| writeln!(f, "-A {chain} {rule}"))?;
            }
            changes.lines.iter().try_for_each(|line| writeln!(f, "{line}"))?;
            changes.gone.iter().try_for_each(|chain| writeln!(f, "-X {chain}"))?;
            writeln!(f, "COMMIT")?;
        }
        Ok(())
    }
}

/// What is there, by table and chain.
struct Have<'a> {
    chains: HashMap<(Table, &'a str), Vec<&'a str>>,
    /// Chains of ours to which rules of others lead, with those rules.
    led_to: Vec<(Table, &'a str, &'a str, String)>,
}

impl<'a> Have<'a> {
    fn of(saved: &'a Saved) -> Self {
        let mut have = Have { chains: HashMap::new(), led_to: Vec::new() };
        for name in Table::ALL {
            let Some(table) = saved.table(name.as_str()) else { continue };
            for chain in &table.chains {
                have.chains.insert((name, &chain.name), Vec::new());
            }
            for rule in &table.rules {
                have.chains.entry((name, &rule.chain)).or_default().push(&rule.spec);
                if is_owned(&rule.chain) {
                    continue;
                }
                let target = rule.argument("-j").or_else(|| rule.argument("-g"));
                if let Some(target) = target.filter(|target| is_owned(target)) {
                    have.led_to.push((name, &rule.chain, &rule.spec, target));
                }
            }
        }
        have
    }

    fn owned(&self) -> impl Iterator<Item = (Table, &'a str)> {
        self.chains.keys().copied().filter(|(_, chain)| is_owned(chain))
    }
}

/// Empty where nothing is to be done. Chains and rules of others stay as they are.
pub fn converge(want: &Wanted, saved: &Saved) -> Text {
    let have = Have::of(saved);
    let chains = want.chains();
    let mut text = Text::default();
    for ((table, chain), rules) in &chains {
        if have.chains.get(&(*table, *chain)) != Some(rules) {
            text.whole(*table, chain, rules.iter().copied());
        }
    }
    // The last first: each goes to the head.
    for Ensured { table, chain, rule } in want.ensured.iter().rev() {
        let there = have.chains.get(&(*table, *chain));
        if there.is_some_and(|rules| rules.contains(&rule.as_str())) {
            continue;
        }
        text.line(*table, format!("-I {chain} 1 {rule}"));
    }
    let made = |ensured: &Ensured| {
        ensured.chain == FIREWALL && !have.chains.contains_key(&(ensured.table, ensured.chain))
    };
    if want.ensured.iter().any(made) {
        text.table(Table::Filter).lines.insert(0, format!("-N {FIREWALL}"));
    }
    for (table, chain, rule, _) in have.led_to.iter().filter(|(_, _, _, target)| is_of_ipvs(target)) {
        text.line(*table, format!("-D {chain} {rule}"));
    }
    for (table, chain) in have.owned().filter(|place| !chains.contains_key(place)) {
        let in_use = have.led_to.iter().any(|(of, _, _, target)| *of == table && target == chain);
        if !in_use || is_of_ipvs(chain) {
            text.gone(table, chain);
        } else if have.chains.get(&(table, chain)).is_some_and(|rules| !rules.is_empty()) {
            // Somebody's rule leads here. Without it the chain could go; emptied it does no harm.
            text.whole(table, chain, [""; 0]);
        }
    }
    text
}

/// A text that names all these rules.
pub fn check(want: &Wanted) -> String {
    let mut text = String::new();
    for table in Table::ALL {
        text += &format!("*{}\n", table.as_str());
        let ensured = want.ensured.iter().filter(|ensured| ensured.table == table);
        ensured.for_each(|rule| text += &format!("-C {} {}\n", rule.chain, rule.rule));
        for ((_, chain), rules) in want.chains().into_iter().filter(|((of, _), _)| *of == table) {
            rules.into_iter().for_each(|rule| text += &format!("-C {chain} {rule}\n"));
        }
        text += "COMMIT\n";
    }
    text
}

/// Takes away all that is the service proxy's, and what leads to it.
pub fn removal(saved: &Saved) -> Text {
    let have = Have::of(saved);
    let mut text = Text::default();
    for (table, chain, rule, _) in &have.led_to {
        text.line(*table, format!("-D {chain} {rule}"));
    }
    for (table, chain) in have.owned() {
        text.gone(table, chain);
    }
    text
}

/// Follows service ports from what they needed to what they need, in the text and in what is known of shared chains.
pub fn change(
    shared: &mut BTreeMap<Place, Shared>,
    dispatch: &mut Dispatch,
    parts: Vec<(Part, Part)>,
) -> Text {
    let mut text = Text::default();
    let before = lead(dispatch, &parts);
    let mut edits: BTreeMap<Place, Edits> = BTreeMap::new();
    let mut come = Vec::new();
    for (old, new) in parts {
        for (chain, rules) in &new.own {
            if old.own.get(chain) != Some(rules) {
                text.whole(Table::Nat, chain, rules.iter().cloned());
            }
        }
        for chain in old.own.keys().filter(|chain| !new.own.contains_key(*chain)) {
            text.gone(Table::Nat, chain);
        }
        for entry in old.shared.iter().filter(|entry| !new.shared.contains(entry)) {
            let (place, at, rule) = entry;
            let chain = shared.entry(*place).or_default();
            if drop_one(chain, at) {
                edits.entry(*place).or_default().gone.push(rule.clone());
            }
        }
        come.extend(new.shared.into_iter().filter(|entry| !old.shared.contains(entry)));
    }
    if let Some((before, after)) = before {
        let tail = shared.get(&(Table::Nat, SERVICES)).into_iter().flat_map(|chain| chain.values());
        let tail: Vec<&str> = tail.map(|(rule, _)| rule.as_str()).collect();
        follow(&before, &after, &tail, &mut text);
    }
    for (place, at, rule) in come {
        let chain = shared.entry(place).or_default();
        let entry = chain.entry(at.clone()).or_insert((rule, 0));
        entry.1 += 1;
        if entry.1 == 1 {
            edits.entry(place).or_default().come.insert(at);
        }
    }
    for ((table, name), edits) in edits {
        let chain = &shared[&(table, name)];
        if edits.count() > FEW + chain.len() / 4 {
            text.whole(table, name, chain.values().map(|(rule, _)| rule.clone()));
            continue;
        }
        for rule in &edits.gone {
            text.line(table, format!("-D {name} {rule}"));
        }
        // From the first on, so that each finds all before it in place.
        let mut left = edits.come.iter().peekable();
        for (index, (at, (rule, _))) in (1..).zip(chain) {
            if left.next_if(|next| *next == at).is_some() {
                text.line(table, format!("-I {name} {index} {rule}"));
            }
            if left.peek().is_none() {
                break;
            }
        }
    }
    text
}

/// Takes frontends into the tree; the chains around them before and after, where anything is to be done.
fn lead(dispatch: &mut Dispatch, parts: &[(Part, Part)]) -> Option<(Chains, Chains)> {
    let changed = |(old, new): &&(Part, Part)| old.frontends != new.frontends;
    let of = |(old, new): &(Part, Part)| -> Vec<IpAddr> {
        old.frontends.iter().chain(&new.frontends).map(|(ip, _, _)| *ip).collect()
    };
    let ips: BTreeSet<IpAddr> = parts.iter().filter(changed).flat_map(of).collect();
    if ips.is_empty() {
        return None;
    }
    let before = dispatch.around(ips.iter().copied());
    for (old, _) in parts.iter().filter(changed) {
        old.frontends.iter().for_each(|(ip, at, _)| dispatch.remove(*ip, at));
    }
    for (_, new) in parts.iter().filter(changed) {
        new.frontends.iter().for_each(|(ip, at, rule)| dispatch.put(*ip, at.clone(), rule.clone()));
    }
    Some((before, dispatch.around(ips)))
}

/// From the chains of a tree before to those after. `tail`: what else is in the root.
fn follow(before: &Chains, after: &Chains, tail: &[&str], text: &mut Text) {
    for chain in before.keys().filter(|chain| !after.contains_key(*chain)) {
        text.gone(Table::Nat, chain);
    }
    for (chain, rules) in after {
        let lines = before.get(chain).map(|old| edits(chain, old, rules));
        if let Some(Some(lines)) = lines {
            lines.into_iter().for_each(|line| text.line(Table::Nat, line));
            continue;
        }
        let tail = if chain == SERVICES { tail } else { &[] };
        text.whole(Table::Nat, chain, rules.iter().map(String::as_str).chain(tail.iter().copied()));
    }
}

/// Single lines that make one of the other; none where the whole chain is better. What is in both is in the same order.
fn edits(chain: &str, old: &[String], new: &[String]) -> Option<Vec<String>> {
    let (had, has): (BTreeSet<&String>, BTreeSet<&String>) = (old.iter().collect(), new.iter().collect());
    let gone = old.iter().filter(|rule| !has.contains(rule));
    let come = (1..).zip(new).filter(|(_, rule)| !had.contains(rule));
    let mut lines: Vec<String> = gone.map(|rule| format!("-D {chain} {rule}")).collect();
    lines.extend(come.map(|(index, rule)| format!("-I {chain} {index} {rule}")));
    (lines.len() <= FEW + new.len() / 4).then_some(lines)
}

/// So many rules are changed one by one in however small a chain.
const FEW: usize = 8;

#[derive(Default)]
struct Edits {
    gone: Vec<String>,
    come: BTreeSet<At>,
}

impl Edits {
    fn count(&self) -> usize {
        self.gone.len() + self.come.len()
    }
}

/// Whether nobody wants the rule any more.
fn drop_one(chain: &mut Shared, at: &At) -> bool {
    let Some((_, count)) = chain.get_mut(at) else { return false };
    *count -= 1;
    let last = *count == 0;
    if last {
        chain.remove(at);
    }
    last
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_written_are_counted_by_table() {
        let mut text = Text::default();
        text.whole(Table::Nat, "KUBE-SVC-A", ["-j RETURN", "-j DROP"]);
        text.line(Table::Nat, "-I KUBE-SERVICES 1 -j KUBE-SVC-A".to_owned());
        text.line(Table::Nat, "-D KUBE-SERVICES -j KUBE-SVC-B".to_owned());
        text.line(Table::Filter, "-A KUBE-FORWARD -j ACCEPT".to_owned());
        text.gone(Table::Nat, "KUBE-SVC-B");
        assert_eq!(text.rules().collect::<Vec<_>>(), [(Table::Filter, 1), (Table::Nat, 3)]);
    }
}
