//! The rules as text for `iptables-restore --noflush`, with flannel's chain names and comments, so that
//! either daemon replaces what the other left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use super::{Match, Rule, Rules, Verdict};

/// flannel's chain for source NAT, in table `nat`.
pub const POSTROUTING_CHAIN: &str = "FLANNEL-POSTRTG";
/// flannel's chain for forwarding, in table `filter`.
pub const FORWARD_CHAIN: &str = "FLANNEL-FWD";

const MASQUERADE_COMMENT: &str = "flanneld masq";
const FORWARD_COMMENT: &str = "flanneld forward";

/// One of our chains with the built-in chain that jumps to it.
struct Place {
    table: &'static str,
    hook: &'static str,
    chain: &'static str,
    comment: &'static str,
}

const POSTROUTING: Place =
    Place { table: "nat", hook: "POSTROUTING", chain: POSTROUTING_CHAIN, comment: MASQUERADE_COMMENT };
const FORWARD: Place =
    Place { table: "filter", hook: "FORWARD", chain: FORWARD_CHAIN, comment: FORWARD_COMMENT };
const PLACES: [Place; 2] = [POSTROUTING, FORWARD];

/// What is in the tables now: our two chains, and the rules that concern them. Others are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    chains: BTreeSet<&'static str>,
    /// Lines `-A CHAIN ...` in their order, by our chain.
    lines: BTreeMap<&'static str, Vec<String>>,
}

impl Saved {
    /// Takes note of a chain.
    pub fn chain(&mut self, table: &str, name: &str) {
        let ours = PLACES.iter().find(|place| place.table == table && place.chain == name);
        self.chains.extend(ours.map(|place| place.chain));
    }

    /// Takes note of a rule, as `iptables-save` writes it behind `-A CHAIN `.
    pub fn rule(&mut self, table: &str, chain: &str, spec: &str) {
        let ours = PLACES.iter().find(|place| {
            let jump = chain == place.hook && spec.split_whitespace().any(|word| word == place.chain);
            place.table == table && (jump || chain == place.chain)
        });
        if let Some(place) = ours {
            self.lines.entry(place.chain).or_default().push(format!("-A {chain} {spec}"));
        }
    }

    fn of(&self, place: &Place) -> &[String] {
        self.lines.get(place.chain).map_or(&[], Vec::as_slice)
    }
}

/// The input for `iptables-restore --noflush` that makes our chains what `want` says, or `None` where they
/// are so already. One transaction for each table; nothing of others is named in it.
pub fn restore(want: &Rules, have: &Saved) -> Option<String> {
    let mut text = String::new();
    for (place, rules) in [(POSTROUTING, &want.postrouting), (FORWARD, &want.forward)] {
        let lines = lines(&place, rules);
        let exists = have.chains.contains(place.chain);
        if normalised(have.of(&place)) == normalised(&lines) && (exists || lines.is_empty()) {
            continue;
        }
        let _ = writeln!(text, "*{}", place.table);
        if exists || !lines.is_empty() {
            // Naming a chain makes it, or empties it.
            let _ = writeln!(text, ":{} - [0:0]", place.chain);
        }
        for jump in have.of(&place).iter().filter(|line| line.starts_with(&format!("-A {} ", place.hook))) {
            let _ = writeln!(text, "-D{}", &jump[2..]);
        }
        for line in &lines {
            let _ = writeln!(text, "{line}");
        }
        if lines.is_empty() && exists {
            let _ = writeln!(text, "-X {}", place.chain);
        }
        let _ = writeln!(text, "COMMIT");
    }
    (!text.is_empty()).then_some(text)
}

/// The `-A` lines of a place: the jump and our chain's rules.
fn lines(place: &Place, rules: &[Rule]) -> Vec<String> {
    if rules.is_empty() {
        return Vec::new();
    }
    let jump = format!("-A {} -m comment --comment \"{}\" -j {}", place.hook, place.comment, place.chain);
    std::iter::once(jump).chain(rules.iter().map(|rule| Line(place, rule).to_string())).collect()
}

/// The order of a rule's parts differs between the tools' output and flannel's text: compare the words.
/// A built-in chain's other rules may stand between, so the order of chains does not count either.
fn normalised(lines: &[String]) -> Vec<Vec<&str>> {
    let mut all: Vec<Vec<&str>> = lines
        .iter()
        .map(|line| {
            let mut words: Vec<&str> = line.split_whitespace().map(|word| word.trim_matches('"')).collect();
            words[2..].sort_unstable();
            words
        })
        .collect();
    all.sort_by(|a, b| a[1].cmp(b[1]));
    all
}

struct Line<'a>(&'a Place, &'a Rule);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "-A {} ", self.0.chain)?;
        write_rule(f, self.1, Some(self.0.comment))
    }
}

/// A rule's arguments, in flannel's order: matches, comment, target.
pub(super) fn write_rule(f: &mut fmt::Formatter<'_>, rule: &Rule, comment: Option<&str>) -> fmt::Result {
    for part in &rule.matches {
        match part {
            Match::Mark(mask) => write!(f, "-m mark --mark {mask:#x}/{mask:#x} ")?,
            Match::Source(net) => write!(f, "-s {net} ")?,
            Match::NotSource(net) => write!(f, "! -s {net} ")?,
            Match::Destination(net) => write!(f, "-d {net} ")?,
            Match::NotDestination(net) => write!(f, "! -d {net} ")?,
        }
    }
    if let Some(comment) = comment {
        write!(f, "-m comment --comment \"{comment}\" ")?;
    }
    match rule.verdict {
        Verdict::Accept => f.write_str("-j ACCEPT"),
        Verdict::Return => f.write_str("-j RETURN"),
        Verdict::Masquerade { random_fully: true } => f.write_str("-j MASQUERADE --random-fully"),
        Verdict::Masquerade { random_fully: false } => f.write_str("-j MASQUERADE"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Wishes;
    use super::*;

    const ALL: Wishes = Wishes { masquerade: true, forward: true, random_fully: true };

    fn rules(wishes: Wishes) -> Rules {
        Rules::of_family("10.42.0.0/16".parse().unwrap(), "10.42.3.0/24".parse().unwrap(), wishes)
    }

    #[test]
    fn a_fresh_host_gets_flannels_rules() {
        insta::assert_snapshot!(restore(&rules(ALL), &Saved::default()).unwrap(), @r#"
        *nat
        :FLANNEL-POSTRTG - [0:0]
        -A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
        -A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
        -A FLANNEL-POSTRTG -s 10.42.3.0/24 -d 10.42.0.0/16 -m comment --comment "flanneld masq" -j RETURN
        -A FLANNEL-POSTRTG -s 10.42.0.0/16 -d 10.42.3.0/24 -m comment --comment "flanneld masq" -j RETURN
        -A FLANNEL-POSTRTG ! -s 10.42.0.0/16 -d 10.42.3.0/24 -m comment --comment "flanneld masq" -j RETURN
        -A FLANNEL-POSTRTG -s 10.42.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
        -A FLANNEL-POSTRTG ! -s 10.42.0.0/16 -d 10.42.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
        COMMIT
        *filter
        :FLANNEL-FWD - [0:0]
        -A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
        -A FLANNEL-FWD -s 10.42.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
        -A FLANNEL-FWD -d 10.42.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
        COMMIT
        "#);
    }

    fn saved(text: &str) -> Saved {
        let (mut saved, mut table) = (Saved::default(), "");
        for line in text.lines() {
            if let Some(name) = line.strip_prefix('*') {
                table = name;
            } else if let Some(chain) = line.strip_prefix(':') {
                saved.chain(table, chain.split(' ').next().unwrap());
            } else if let Some((chain, spec)) = line.strip_prefix("-A ").and_then(|rule| rule.split_once(' '))
            {
                saved.rule(table, chain, spec);
            }
        }
        saved
    }

    /// As `iptables-save` of 1.8.9 prints them.
    const SAVED: &str = r#"
*filter
:FORWARD DROP [0:0]
:DOCKER - [0:0]
:FLANNEL-FWD - [0:0]
-A FORWARD -j DOCKER
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A DOCKER -j RETURN
-A FLANNEL-FWD -s 10.42.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d 10.42.0.0/16 -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
*nat
:POSTROUTING ACCEPT [0:0]
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.42.3.0/24 -d 10.42.0.0/16 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.42.0.0/16 -d 10.42.3.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG ! -s 10.42.0.0/16 -d 10.42.3.0/24 -m comment --comment "flanneld masq" -j RETURN
-A FLANNEL-POSTRTG -s 10.42.0.0/16 ! -d 224.0.0.0/4 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s 10.42.0.0/16 -d 10.42.0.0/16 -m comment --comment "flanneld masq" -j MASQUERADE --random-fully
COMMIT
"#;

    #[test]
    fn rules_that_are_there_are_left_alone() {
        assert_eq!(restore(&rules(ALL), &saved(SAVED)), None);
    }

    #[test]
    fn a_lost_jump_is_put_back_without_touching_the_other_table() {
        let cut = SAVED.replace("-A FORWARD -m comment --comment \"flanneld forward\" -j FLANNEL-FWD\n", "");
        let text = restore(&rules(ALL), &saved(&cut)).unwrap();
        assert!(text.starts_with("*filter\n:FLANNEL-FWD - [0:0]\n-A FORWARD "), "{text}");
        assert!(!text.contains("*nat"), "{text}");
    }

    #[test]
    fn a_changed_order_is_noticed() {
        let first = "-A FLANNEL-POSTRTG -s 10.42.3.0/24 -d 10.42.0.0/16 -m comment --comment \"flanneld masq\" -j RETURN\n";
        let moved = SAVED.replace(first, "");
        let moved = moved.trim_end().trim_end_matches("COMMIT").to_owned() + first + "COMMIT\n";
        assert!(restore(&rules(ALL), &saved(&moved)).unwrap().contains("-D POSTROUTING "));
    }

    #[test]
    fn nothing_wanted_removes_chains_and_jumps_and_nothing_else() {
        let none = rules(Wishes { masquerade: false, forward: false, random_fully: true });
        insta::assert_snapshot!(restore(&none, &saved(SAVED)).unwrap(), @r#"
        *nat
        :FLANNEL-POSTRTG - [0:0]
        -D POSTROUTING -m comment --comment "flanneld masq" -j FLANNEL-POSTRTG
        -X FLANNEL-POSTRTG
        COMMIT
        *filter
        :FLANNEL-FWD - [0:0]
        -D FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
        -X FLANNEL-FWD
        COMMIT
        "#);
        assert_eq!(restore(&none, &Saved::default()), None);
    }
}
