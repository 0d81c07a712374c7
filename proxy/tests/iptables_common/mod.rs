//! What becomes of a packet by rules as iptables prints them, every branch followed.
#![allow(dead_code, reason = "each test uses its part")]

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};

use ipnet::IpNet;
use proxy::backends::iptables::render::{Style, Wanted, has_comments};
use proxy_core::cases::{Masquerade, Want, world};
use proxy_core::names::Family;
use proxy_core::question::{Origin, Packet, Verdict};
use proxy_core::table::ServiceTable;

pub fn style(family: Family, table: &ServiceTable) -> Style {
    Style {
        family,
        mark: 0x4000,
        random_fully: true,
        drop_invalid: true,
        comments: has_comments(table),
        hairpin_at_once: true,
    }
}

/// Rules of one family by table and chain, each as words.
pub struct Rules {
    chains: BTreeMap<(String, String), Vec<Vec<String>>>,
    family: Family,
}

/// A packet on its way.
#[derive(Clone, Debug)]
struct Going {
    packet: Packet,
    marked: bool,
    masqueraded: bool,
    /// Where it was translated to.
    to: Option<SocketAddr>,
    /// From this node itself.
    local: bool,
}

/// How the walk through a chain ends.
#[derive(Clone, Debug, PartialEq)]
enum End {
    Return,
    Accept,
    Drop,
    Reject,
}

impl Rules {
    pub fn of(table: &ServiceTable, style: &Style) -> Self {
        let family = style.family;
        let text = Wanted::of(table, style).to_string();
        let saved = host::iptables::Saved::parse(&text).unwrap();
        let mut chains: BTreeMap<(String, String), Vec<Vec<String>>> = BTreeMap::new();
        for of in &saved.tables {
            for chain in &of.chains {
                chains.entry((of.name.clone(), chain.name.clone())).or_default();
            }
            for rule in &of.rules {
                let chain = (of.name.clone(), rule.chain.clone());
                chains.entry(chain).or_default().push(rule.arguments());
            }
        }
        Rules { chains, family }
    }

    /// All that can become of the first packet of a connection.
    pub fn trace(&self, packet: Packet) -> Want {
        let local = packet.from == Origin::Node;
        let to_here = |ip: IpAddr| {
            ip.is_loopback()
                || world::node_of(ip).is_some_and(|node| {
                    let own = node.primary.iter().chain(&node.secondary);
                    node.name == world::NODE
                        && own.into_iter().any(|own| own.parse::<IpAddr>().unwrap() == ip)
                })
        };
        let start = Going { packet, marked: false, masqueraded: false, to: None, local };
        let mut ends = Vec::new();
        let hook = if local { "OUTPUT" } else { "PREROUTING" };
        for (going, end) in self.walk("nat", hook, start) {
            assert!(matches!(end, End::Return | End::Accept), "nat only translates");
            let here = to_here(going.packet.dst);
            let hooks: &[&str] = match (local, here) {
                (true, true) => &["OUTPUT", "INPUT"],
                (true, false) => &["OUTPUT"],
                (false, true) => &["INPUT"],
                (false, false) => &["FORWARD"],
            };
            let mut verdict = End::Accept;
            for hook in hooks {
                let mut all = self.walk("filter", hook, going.clone());
                assert_eq!(all.len(), 1, "filter does not throw dice");
                let (_, end) = all.remove(0);
                if !matches!(end, End::Return | End::Accept) {
                    verdict = end;
                    break;
                }
            }
            if verdict != End::Accept {
                ends.push((going, verdict));
                continue;
            }
            let mut all = self.walk("nat", "POSTROUTING", going);
            assert_eq!(all.len(), 1, "no dice when a packet leaves");
            let (going, _) = all.remove(0);
            assert!(
                !(going.masqueraded && going.marked),
                "a packet that comes by again is not to be taken again"
            );
            ends.push((going, verdict));
        }
        conclude(ends)
    }

    /// Every way through a chain.
    fn walk(&self, table: &str, chain: &str, going: Going) -> Vec<(Going, End)> {
        let key = (table.to_owned(), chain.to_owned());
        let none = Vec::new();
        let kernels = ["INPUT", "OUTPUT", "FORWARD", "PREROUTING", "POSTROUTING", "KUBE-FIREWALL"];
        let rules = self.chains.get(&key).unwrap_or_else(|| {
            assert!(kernels.contains(&chain), "there is no chain {chain} in {table}");
            &none
        });
        let mut alive = vec![going];
        let mut ends = Vec::new();
        for rule in rules {
            let mut next = Vec::new();
            for going in alive {
                let (certain, matched) = self.matches(rule, &going);
                if !matched || !certain {
                    next.push(going.clone());
                }
                if !matched {
                    continue;
                }
                for (going, end) in self.act(table, rule, going) {
                    match end {
                        None => next.push(going),
                        Some(end) => ends.push((going, end)),
                    }
                }
            }
            alive = next;
        }
        ends.extend(alive.into_iter().map(|going| (going, End::Return)));
        ends
    }

    /// Whether a rule is sure to decide as it does, and whether it matches.
    fn matches(&self, rule: &[String], going: &Going) -> (bool, bool) {
        let packet = &going.packet;
        let (mut certain, mut matched, mut not) = (true, true, false);
        let mut words = rule.iter().map(String::as_str);
        while let Some(word) = words.next() {
            let mut value = || words.next().unwrap_or_else(|| panic!("{word} of {rule:?} has no value"));
            let fits = match word {
                "!" => {
                    not = true;
                    continue;
                }
                "-s" => within(packet.src, value()),
                "-d" => within(packet.dst, value()),
                "--bytecode" => same_by_program(value(), packet),
                "-i" => {
                    let name = value();
                    let by = if packet.from == Origin::Pod { world::BRIDGE } else { "eth0" };
                    let by = if going.local { "" } else { by };
                    name.strip_suffix('+').map_or(name == by, |prefix| by.starts_with(prefix) && !going.local)
                }
                "-p" => value() == packet.protocol.as_str(),
                "--dport" => value().parse::<u16>().unwrap() == packet.port,
                "--src-type" => {
                    assert_eq!(value(), "LOCAL");
                    going.local
                }
                "--dst-type" => {
                    assert_eq!(value(), "LOCAL");
                    packet.dst.is_loopback()
                        || world::node_of(packet.dst).is_some_and(|node| {
                            node.name == world::NODE && !pods_of(node).any(|net| net.contains(&packet.dst))
                        })
                }
                "--ctstate" => {
                    let states: Vec<&str> = value().split(',').collect();
                    assert!(!states.contains(&"INVALID") || states.len() == 1);
                    states.contains(&"NEW") || states.contains(&"DNAT") && going.to.is_some()
                }
                "--mark" => {
                    assert_eq!(value(), "0x4000/0x4000");
                    going.marked
                }
                "--probability" => {
                    value();
                    certain = false;
                    true
                }
                // Somebody may be known or not.
                "--rcheck" | "--update" => {
                    certain = false;
                    true
                }
                "-m" | "--comment" | "--mode" | "--seconds" | "--name" => {
                    value();
                    continue;
                }
                "--mask" => {
                    value();
                    continue;
                }
                "--reap" | "--rsource" | "--set" => continue,
                "-j" => break,
                other => panic!("the tracer does not know {other} of {rule:?}"),
            };
            matched &= fits != not;
            not = false;
        }
        (certain, matched)
    }

    fn act(&self, table: &str, rule: &[String], mut going: Going) -> Vec<(Going, Option<End>)> {
        let Some(at) = rule.iter().position(|word| word == "-j") else { return vec![(going, None)] };
        match rule[at + 1].as_str() {
            "ACCEPT" => vec![(going, Some(End::Accept))],
            "DROP" => vec![(going, Some(End::Drop))],
            "REJECT" => vec![(going, Some(End::Reject))],
            "RETURN" => vec![(going, Some(End::Return))],
            "MARK" => {
                assert_eq!(rule[at + 2], "--set-xmark");
                going.marked = match rule[at + 3].as_str() {
                    "0x4000/0x4000" => true,
                    "0x4000/0x0" => !going.marked,
                    other => panic!("{other}"),
                };
                vec![(going, None)]
            }
            "MASQUERADE" => {
                going.masqueraded = true;
                vec![(going, Some(End::Accept))]
            }
            "DNAT" => {
                let to: SocketAddr = rule[at + 3].parse().unwrap();
                assert_eq!(Family::of(to.ip()), self.family);
                going.to = Some(to);
                (going.packet.dst, going.packet.port) = (to.ip(), to.port());
                vec![(going, Some(End::Accept))]
            }
            chain => {
                let ends = self.walk(table, chain, going).into_iter();
                ends.map(|(going, end)| (going, (end != End::Return).then_some(end))).collect()
            }
        }
    }

    /// Names of the chains of a table.
    pub fn chains(&self, table: &str) -> BTreeSet<&str> {
        let here = self.chains.keys().filter(|(of, _)| of == table);
        here.map(|(_, chain)| chain.as_str()).collect()
    }
}

/// An address and what it is masked with: a prefix's length, or any bits.
fn within(ip: IpAddr, text: &str) -> bool {
    let bits = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip),
    };
    let (value, mask) = text.split_once('/').unwrap();
    match (mask.parse::<IpAddr>(), value.parse::<IpAddr>().unwrap()) {
        (Ok(mask), value) => value.is_ipv4() == ip.is_ipv4() && bits(ip) & bits(mask) == bits(value),
        (Err(_), _) => text.parse::<IpNet>().unwrap().contains(&ip),
    }
}

/// Runs a program for xt_bpf on a header.
fn same_by_program(program: &str, packet: &Packet) -> bool {
    let header = match (packet.src, packet.dst) {
        (IpAddr::V4(src), IpAddr::V4(dst)) => [[0; 12].as_slice(), &src.octets(), &dst.octets()].concat(),
        (IpAddr::V6(src), IpAddr::V6(dst)) => [[0; 8].as_slice(), &src.octets(), &dst.octets()].concat(),
        _ => panic!("{packet:?}"),
    };
    let numbers = |line: &str| -> Vec<usize> { line.split(' ').map(|word| word.parse().unwrap()).collect() };
    let (count, lines) = program.split_once(',').unwrap();
    let lines: Vec<Vec<usize>> = lines.split(',').map(numbers).collect();
    assert_eq!(lines.len(), count.parse::<usize>().unwrap());
    let (mut at, mut kept, mut loaded) = (0, [0; 4], [0; 4]);
    loop {
        let [code, yes, no, value] = lines[at][..] else { panic!("{program}") };
        at += 1;
        match code {
            0x20 => loaded.copy_from_slice(&header[value..value + 4]),
            0x07 => kept = loaded,
            0x1d => at += if kept == loaded { yes } else { no },
            0x06 => return value > 0,
            _ => panic!("{code:#x} of {program}"),
        }
    }
}

fn pods_of(node: &world::WorldNode) -> impl Iterator<Item = IpNet> {
    node.pods.iter().map(|net| net.parse().unwrap())
}

/// One answer of all that can happen; what does not fit together is a fault of the rules.
fn conclude(ends: Vec<(Going, End)>) -> Want {
    let verdict = |(going, end): &(Going, End)| match end {
        End::Drop => Verdict::Drop,
        End::Reject => Verdict::Reject,
        _ if going.to.is_some() => Verdict::Deliver,
        _ => Verdict::Pass,
    };
    let verdicts: BTreeSet<&str> = ends.iter().map(|end| verdict(end).as_str()).collect();
    assert_eq!(verdicts.len(), 1, "{ends:?}");
    let (hairpins, others): (Vec<_>, Vec<_>) = ends
        .iter()
        .filter(|(going, _)| going.to.is_some())
        .partition(|(going, _)| going.to.unwrap().ip() == going.packet.src);
    assert!(hairpins.iter().all(|(going, _)| going.masqueraded), "{ends:?}");
    let marked: BTreeSet<bool> = others.iter().map(|(going, _)| going.masqueraded).collect();
    assert!(marked.len() <= 1, "{ends:?}");
    let masquerade = match (marked.first(), hairpins.is_empty()) {
        (Some(true), _) | (None, false) => Masquerade::Yes,
        (Some(false), false) => Masquerade::Hairpin,
        (Some(false), true) | (None, true) => Masquerade::No,
    };
    let verdict = verdict(&ends[0]);
    let endpoints = ends.iter().filter_map(|(going, _)| going.to).collect();
    Want { verdict, endpoints, masquerade }
}
