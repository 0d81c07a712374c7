//! What `check` found, for a person: a matrix of round-trip times, then every pair that failed and what to look at.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use super::{PairResult, Probe};
use crate::call;
use crate::name::LabName;
use crate::table::Table;

/// The widest matrix that is printed; above that only failures are.
const WIDEST: usize = 16;
/// How many failing pairs are explained.
const EXPLAINED: usize = 10;

/// The report of a whole check.
pub fn render(lab: &LabName, results: &[PairResult]) -> String {
    let mut text = String::new();
    let names = in_order(results);
    if names.len() <= WIDEST {
        text.push_str(&matrix(&names, results));
        text.push('\n');
    }
    let failed: Vec<&PairResult> = results.iter().filter(|result| !result.passed()).collect();
    let words = Probe::ALL.map(Probe::word).join(", ");
    if failed.is_empty() {
        let _ = writeln!(text, "{} pairs, each by {words}: everything gets through", results.len());
        return text;
    }
    let _ = writeln!(text, "{} of {} pairs fail ({words}):", failed.len(), results.len());
    for result in failed.iter().take(EXPLAINED) {
        let _ = writeln!(text, "  {} -> {} ({})", result.from, result.to, result.address);
        for (probe, reason) in result.failures() {
            let _ = writeln!(text, "    {:<5}{reason}", probe.word());
        }
    }
    if failed.len() > EXPLAINED {
        let _ = writeln!(text, "  and {} more", failed.len() - EXPLAINED);
    }
    text.push_str(&advice(lab, &failed));
    text
}

/// Microseconds of the ping where all passed, else what failed. The worst of the families, where there are two.
fn matrix(names: &[&str], results: &[PairResult]) -> String {
    let mut cells: BTreeMap<(&str, &str), String> = BTreeMap::new();
    for result in results {
        let cell = if result.passed() {
            result.round_trip().map_or_else(String::new, |time| time.as_micros().to_string())
        } else {
            let failed: Vec<&str> = result.failures().map(|(probe, _)| probe.word()).collect();
            if failed.len() == Probe::ALL.len() {
                "FAIL".to_owned()
            } else {
                format!("no {}", failed.join(","))
            }
        };
        let known = cells.entry((&result.from, &result.to)).or_default();
        // A failure says more than any time.
        if known.is_empty() || !result.passed() {
            *known = cell;
        }
    }
    let head = std::iter::once("ping, µs").chain(names.iter().copied());
    let mut table = Table::new(head);
    for from in names {
        let row = names.iter().map(|to| match cells.remove(&(*from, *to)) {
            Some(cell) => cell,
            None => "-".to_owned(),
        });
        table.row(std::iter::once((*from).to_owned()).chain(row));
    }
    table.align_right(1..=names.len());
    table.to_string()
}

/// Names in the order in which they were tried.
fn in_order(results: &[PairResult]) -> Vec<&str> {
    let mut seen = BTreeSet::new();
    let names = results.iter().map(|result| result.from.as_str());
    names.filter(|name| seen.insert(*name)).collect()
}

/// Commands that show where the first failing pair's packets end.
fn advice(lab: &LabName, failed: &[&PairResult]) -> String {
    let Some(first) = failed.first() else { return String::new() };
    let node = |end: &str| end.split('-').next().unwrap_or(end).to_owned();
    let (from, to, address) = (node(&first.from), node(&first.to), first.address);
    let (call, name) = (call::lab(), crate::name::name_flag(lab));
    let exec = format!("{call} exec{name}");
    let kinds: BTreeSet<Probe> = failed.iter().flat_map(|r| r.failures().map(|(probe, _)| probe)).collect();
    let guess = match kinds.iter().collect::<Vec<_>>()[..] {
        [Probe::Mtu] => "Only full-sized packets are lost: an MTU on the way is smaller than the pods'.\n",
        [Probe::Udp] => {
            "Only fragments are lost: something on the way drops what is not the first fragment.\n"
        }
        _ => "",
    };
    format!(
        "{guess}What to look at:\n  \
         {call} status{name}\n  \
         {exec} {from} -- ip route get {address}\n  \
         {exec} {to} -- tcpdump -ni eth0\n  \
         {exec} {to} -- nft list ruleset\n  \
         tail {dir}/{lab}/nodes/{from}/flanneld.log {dir}/{lab}/nodes/{to}/flanneld.log\n",
        dir = crate::state::DIRECTORY,
    )
}

#[cfg(test)]
mod tests {
    use super::super::Outcome;
    use super::*;

    fn result(from: &str, to: &str, mtu: Outcome) -> PairResult {
        let passed = |probe| (probe, Outcome::Passed(42));
        let mut probes: BTreeMap<Probe, Outcome> = Probe::ALL.map(passed).into();
        probes.insert(Probe::Mtu, mtu);
        PairResult {
            from: from.to_owned(),
            to: to.to_owned(),
            address: "10.244.7.2".parse().unwrap(),
            probes,
        }
    }

    #[test]
    fn all_well() {
        let results =
            [result("n1-p1", "n2-p1", Outcome::Passed(50)), result("n2-p1", "n1-p1", Outcome::Passed(50))];
        assert_eq!(
            render(&LabName::new("lab").unwrap(), &results),
            "\
ping, µs  n1-p1  n2-p1
n1-p1         -     42
n2-p1        42      -

2 pairs, each by ping, tcp, udp, mtu: everything gets through
"
        );
    }

    #[test]
    fn a_failure_is_shown_and_guessed_at() {
        let failed = Outcome::Failed("no answer".to_owned());
        let results = [result("n1-p1", "n2-p1", failed), result("n2-p1", "n1-p1", Outcome::Passed(50))];
        let text = render(&LabName::new("lab").unwrap(), &results);
        for part in [
            "n1-p1         -  no mtu",
            "1 of 2 pairs fail",
            "n1-p1 -> n2-p1 (10.244.7.2)\n    mtu  no answer",
            "an MTU on the way is smaller",
            " lab exec n1 -- ip route get 10.244.7.2",
        ] {
            assert!(text.contains(part), "{part} is missing in\n{text}");
        }
    }
}
