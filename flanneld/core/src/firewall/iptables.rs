//! The rules as text for `iptables-restore --noflush`, with flannel's chain names and comments, so that
//! either daemon replaces what the other left.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use ipnet::IpNet;

use super::{Match, Rule, Rules, Verdict};
use crate::network_id::NetworkId;

/// flannel's chain for source NAT, in table `nat`.
pub const POSTROUTING_CHAIN: &str = "FLANNEL-POSTRTG";
/// flannel's chain for forwarding, in table `filter`.
pub const FORWARD_CHAIN: &str = "FLANNEL-FWD";

const MASQUERADE_COMMENT: &str = "flanneld masq";
const FORWARD_COMMENT: &str = "flanneld forward";

/// One of our chains with the built-in chain that jumps to it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    table: &'static str,
    hook: &'static str,
    chain: String,
    comment: &'static str,
}

/// The chains of one network: flannel's own for the default one, so that either daemon replaces what the other left.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chains {
    postrouting: Place,
    forward: Place,
}

impl Chains {
    pub fn of(id: &NetworkId) -> Self {
        Self {
            postrouting: Place {
                table: "nat",
                hook: "POSTROUTING",
                chain: id.name(POSTROUTING_CHAIN),
                comment: MASQUERADE_COMMENT,
            },
            forward: Place {
                table: "filter",
                hook: "FORWARD",
                chain: id.name(FORWARD_CHAIN),
                comment: FORWARD_COMMENT,
            },
        }
    }

    fn all(&self) -> [&Place; 2] {
        [&self.postrouting, &self.forward]
    }
}

impl Default for Chains {
    fn default() -> Self {
        Self::of(&NetworkId::default())
    }
}

/// What is in the tables now: our two chains, and the rules that concern them. Others are not kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Saved {
    ours: Chains,
    chains: BTreeSet<String>,
    /// Lines `-A CHAIN ...` in their order, by our chain.
    lines: BTreeMap<String, Vec<String>>,
}

impl Saved {
    pub fn of(chains: &Chains) -> Self {
        Self { ours: chains.clone(), ..Self::default() }
    }

    /// Takes note of a chain.
    pub fn chain(&mut self, table: &str, name: &str) {
        let ours = self.ours.all().into_iter().find(|place| place.table == table && place.chain == name);
        self.chains.extend(ours.map(|place| place.chain.clone()));
    }

    /// Takes note of a rule, as `iptables-save` writes it behind `-A CHAIN `.
    pub fn rule(&mut self, table: &str, chain: &str, spec: &str) {
        let ours = self.ours.all().into_iter().find(|place| {
            let jump = chain == place.hook && spec.split_whitespace().any(|word| word == place.chain);
            place.table == table && (jump || chain == place.chain)
        });
        if let Some(place) = ours {
            self.lines.entry(place.chain.clone()).or_default().push(format!("-A {chain} {spec}"));
        }
    }

    /// Whether these chains hold the rules of one network and of no other: what an earlier release, or the original,
    /// left under the default names for a network that has names of its own now.
    pub fn is_only_of(&self, network: IpNet) -> bool {
        let networks = |line: &str| -> Vec<IpNet> {
            let words: Vec<&str> = line.split_whitespace().collect();
            let operand = |pair: &[&str]| ["-s", "-d"].contains(&pair[0]).then(|| pair[1].parse().ok());
            words.windows(2).filter_map(operand).flatten().collect()
        };
        let multicast = |net: &IpNet| net.addr().is_multicast();
        let all: Vec<IpNet> = self
            .lines
            .values()
            .flatten()
            .flat_map(|line| networks(line))
            .filter(|net| !multicast(net))
            .collect();
        all.contains(&network) && all.iter().all(|net| network.contains(net))
    }

    fn lines_of(&self, place: &Place) -> &[String] {
        self.lines.get(&place.chain).map_or(&[], Vec::as_slice)
    }
}

/// The input for `iptables-restore --noflush` that makes our chains what `want` says, or `None` where they
/// are so already. One transaction for each table; nothing of others is named in it.
pub fn restore(want: &Rules, have: &Saved) -> Option<String> {
    let mut text = String::new();
    let Chains { postrouting, forward } = &have.ours;
    for (place, rules) in [(postrouting, &want.postrouting), (forward, &want.forward)] {
        let lines = lines(place, rules);
        let exists = have.chains.contains(&place.chain);
        if normalised(have.lines_of(place)) == normalised(&lines) && (exists || lines.is_empty()) {
            continue;
        }
        let _ = writeln!(text, "*{}", place.table);
        if exists || !lines.is_empty() {
            // Naming a chain makes it, or empties it.
            let _ = writeln!(text, ":{} - [0:0]", place.chain);
        }
        for jump in
            have.lines_of(place).iter().filter(|line| line.starts_with(&format!("-A {} ", place.hook)))
        {
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
        saved_of(&Chains::default(), text)
    }

    fn saved_of(chains: &Chains, text: &str) -> Saved {
        let (mut saved, mut table) = (Saved::of(chains), "");
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

    #[test]
    fn two_networks_have_chains_of_their_own_and_touch_nothing_of_one_another() {
        let two = Chains::of(&NetworkId::of_etcd_prefix("/two"));
        let rules = Rules::of_family("10.43.0.0/16".parse().unwrap(), "10.43.3.0/24".parse().unwrap(), ALL);
        let text = restore(&rules, &saved_of(&two, SAVED)).unwrap();
        assert!(
            text.contains(":FLANNEL-POSTRTG-16d846ac - [0:0]") && text.contains("-j FLANNEL-FWD-16d846ac\n")
        );
        let ours = |line: &str| line.starts_with(['*', 'C']) || line.contains("-16d846ac");
        assert!(text.lines().all(ours), "{text}");
        assert_eq!(restore(&rules, &saved_of(&two, &format!("{SAVED}{text}"))), None);
        // And the other way round: the default network's daemon sees none of the second's.
        assert_eq!(restore(&self::rules(ALL), &saved(&format!("{SAVED}{text}"))), None);
    }

    #[test]
    fn rules_under_the_default_names_are_told_by_their_network() {
        let only_of = |network: &str, text: &str| saved(text).is_only_of(network.parse().unwrap());
        assert!(only_of("10.42.0.0/16", SAVED));
        assert!(!only_of("10.43.0.0/16", SAVED));
        let shared = "-A FLANNEL-FWD -s 10.43.0.0/16 -m comment --comment \"flanneld forward\" -j ACCEPT";
        assert!(!only_of("10.42.0.0/16", &format!("{SAVED}*filter\n{shared}\n")));
        assert!(!only_of("10.42.0.0/16", ""));
    }
}
