//! Follows a packet through rendered rules and maps, by every number that `numgen` may draw.
//!
//! An interpreter of nf_tables' expressions as far as we render them; anything else is a panic, so that no rule goes
//! unread. Connections are new, and nobody has affinity yet.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use host::nftables::expr::*;
use host::nftables::{Data, Rule, Set};
use proxy::backends::nftables::layout::{Kept, Settings};
use proxy::backends::nftables::render::{Held, Wanted};
use proxy_core::cases::{Masquerade, Want};
use proxy_core::names::Family;
use proxy_core::question::{Origin, Packet, Verdict as Outcome};
use proxy_core::table::ServiceTable;

/// A packet on its way.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    dst: IpAddr,
    port: u16,
    mark: u32,
    translated: bool,
    masqueraded: bool,
}

/// How a rule or a chain ends for a packet.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum End {
    Next,
    Return,
    Accept,
    Drop,
    Reject,
    Jump(String),
    Goto(String),
}

pub struct Tracer<'a> {
    want: Wanted,
    packet: Packet,
    /// The node's own addresses.
    own: &'a [IpAddr],
    /// The interface of its pods.
    bridge: &'a str,
}

/// What becomes of a packet by the rules that nftables would get for this table.
pub fn trace(table: &ServiceTable, packet: Packet, own: &[IpAddr], bridge: &str) -> Want {
    let want = Wanted::of(table, Family::of(packet.dst), Settings::default());
    Tracer { want, packet, own, bridge }.run()
}

fn put(regs: &mut [u8; 64], to: Reg, bytes: &[u8]) {
    let at = 4 * to.index();
    regs[at..at + bytes.len().next_multiple_of(4)].fill(0);
    regs[at..at + bytes.len()].copy_from_slice(bytes);
}

fn octets(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

impl Tracer<'_> {
    fn is_local(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.own.contains(&ip)
    }

    fn run(&self) -> Want {
        let Packet { dst, port, from, .. } = self.packet;
        let start = State { dst, port, mark: 0, translated: false, masqueraded: false };
        let first: &[&str] = match from {
            Origin::Node => &["filter-output-first", "nat-output", "filter-output", "nat-postrouting"],
            _ => &["filter-prerouting", "nat-prerouting"],
        };
        let mut ends = BTreeSet::new();
        let mut states = BTreeSet::from([start]);
        for hook in first {
            states = self.hook(hook, states, &mut ends);
        }
        for state in states {
            let local = self.is_local(state.dst);
            let rest: &[&str] = match (from, local) {
                (_, true) => &["filter-input"],
                (Origin::Node, false) => &[],
                (_, false) => &["filter-forward", "nat-postrouting"],
            };
            let mut left = BTreeSet::from([state]);
            for hook in rest {
                left = self.hook(hook, left, &mut ends);
            }
            ends.extend(left.into_iter().map(|state| (End::Accept, Some(state))));
        }
        self.judge(ends)
    }

    fn hook(
        &self,
        chain: &str,
        states: BTreeSet<State>,
        ends: &mut BTreeSet<(End, Option<State>)>,
    ) -> BTreeSet<State> {
        let mut on = BTreeSet::new();
        for (state, end) in states.into_iter().flat_map(|state| self.chain(chain, state)) {
            match end {
                End::Drop | End::Reject => drop(ends.insert((end, None))),
                _ => drop(on.insert(state)),
            }
        }
        on
    }

    fn judge(&self, ends: BTreeSet<(End, Option<State>)>) -> Want {
        let none = |verdict| Want { verdict, endpoints: BTreeSet::new(), masquerade: Masquerade::No };
        let kinds: BTreeSet<&End> = ends.iter().map(|(end, _)| end).collect();
        assert_eq!(kinds.len(), 1, "not one verdict: {ends:?}");
        match kinds.first().unwrap() {
            End::Drop => return none(Outcome::Drop),
            End::Reject => return none(Outcome::Reject),
            _ => {}
        }
        let states: Vec<&State> = ends.iter().filter_map(|(_, state)| state.as_ref()).collect();
        if states.iter().all(|state| !state.translated) {
            return none(Outcome::Pass);
        }
        assert!(states.iter().all(|state| state.translated), "{states:?}");
        // What stays on the node is never masqueraded, but asked to be.
        let masqueraded = |state: &State| state.masqueraded || state.mark != 0;
        let itself = |state: &State| state.dst == self.packet.src;
        let masquerade = if states.iter().all(|state| masqueraded(state)) {
            Masquerade::Yes
        } else {
            let as_due = states.iter().all(|state| masqueraded(state) == itself(state));
            assert!(as_due, "masqueraded at random: {states:?}");
            if states.iter().any(|state| itself(state)) { Masquerade::Hairpin } else { Masquerade::No }
        };
        let endpoints = states.iter().map(|state| SocketAddr::new(state.dst, state.port)).collect();
        Want { verdict: Outcome::Deliver, endpoints, masquerade }
    }

    /// All ways in which a chain can end; `Next` where it came to its end.
    fn chain(&self, name: &str, state: State) -> BTreeSet<(State, End)> {
        let (_, rules) = self.want.chains.get(name).unwrap_or_else(|| panic!("no chain {name}"));
        let mut out = BTreeSet::new();
        let mut states = BTreeSet::from([state]);
        for rule in rules {
            let mut on = BTreeSet::new();
            for (state, end) in states.into_iter().flat_map(|state| self.rule(rule, state)) {
                match end {
                    End::Next => drop(on.insert(state)),
                    End::Jump(chain) => {
                        for (state, end) in self.chain(&chain, state) {
                            match end {
                                End::Next => drop(on.insert(state)),
                                end => drop(out.insert((state, end))),
                            }
                        }
                    }
                    End::Goto(chain) => out.extend(self.chain(&chain, state)),
                    End::Return => drop(out.insert((state, End::Next))),
                    end => drop(out.insert((state, end))),
                }
            }
            states = on;
        }
        out.extend(states.into_iter().map(|state| (state, End::Next)));
        out
    }

    fn rule(&self, rule: &Rule, state: State) -> Vec<(State, End)> {
        let mut out = Vec::new();
        self.step(&rule.exprs, [0; 64], state, &mut out);
        out
    }

    fn set(&self, name: &str) -> &Set {
        self.want.all_sets().find(|set| set.name == name).unwrap_or_else(|| panic!("no set {name}"))
    }

    fn find(&self, name: &str, regs: &[u8]) -> Option<Held> {
        let set = self.set(name);
        let len = match &set.key[..] {
            [one] => one.size(),
            many => many.iter().map(|kind| kind.size().next_multiple_of(4)).sum(),
        };
        let key = &regs[..len];
        let held = self.held(name);
        if let Some(held) = held.get(&Data::new(key)) {
            return Some(held.clone());
        }
        let within = |first: &[u8], last: &[u8]| {
            let mut at = 0;
            set.key.iter().all(|kind| {
                let field = at..at + kind.size();
                at += kind.size().next_multiple_of(4);
                (&first[field.clone()]..=&last[field.clone()]).contains(&&key[field])
            })
        };
        held.iter().find_map(|(first, held)| match held {
            Held::UpTo(last) if set.interval && within(first.bytes(), last.bytes()) => Some(Held::Nothing),
            _ => None,
        })
    }

    /// The elements of a set.
    fn held(&self, name: &str) -> BTreeMap<Data, Held> {
        if let Some(kept) = Kept::ALL.into_iter().find(|kept| kept.name() == name) {
            return self.want.of_set(kept).map(|(key, held)| (key.clone(), held.clone())).collect();
        }
        let elements = self.want.sets[name].1.iter().cloned();
        elements.map(|element| (element.key, element.last.map_or(Held::Nothing, Held::UpTo))).collect()
    }

    fn step(&self, exprs: &[Expr], mut regs: [u8; 64], mut state: State, out: &mut Vec<(State, End)>) {
        let mut end = End::Next;
        for (n, expr) in exprs.iter().enumerate() {
            let passes = match expr {
                Expr::Payload { base, offset, len, to } => {
                    put(&mut regs, *to, &self.payload(*base, &state)[*offset as usize..][..*len as usize]);
                    true
                }
                Expr::Meta { key, to } => {
                    put(&mut regs, *to, &self.meta(*key, &state));
                    true
                }
                Expr::SetMeta { key: Meta::Mark, from } => {
                    state.mark = u32::from_ne_bytes(regs[4 * from.index()..][..4].try_into().unwrap());
                    true
                }
                Expr::Ct { key, to, .. } => {
                    put(&mut regs, *to, &self.ct(*key, &state));
                    true
                }
                Expr::Fib { result: FibResult::Type, flags, to } => {
                    let ip = if flags.saddr { self.packet.src } else { state.dst };
                    put(&mut regs, *to, &if self.is_local(ip) { 2u32 } else { 1 }.to_ne_bytes());
                    true
                }
                Expr::Numgen { modulus, to, .. } => {
                    for draw in 0..*modulus {
                        let mut regs = regs;
                        regs[4 * to.index()..][..4].copy_from_slice(&draw.to_ne_bytes());
                        self.step(&exprs[n + 1..], regs, state.clone(), out);
                    }
                    return;
                }
                Expr::Bitwise { from, to, mask, xor } => {
                    let (from, to) = (4 * from.index(), 4 * to.index());
                    for (i, (mask, xor)) in mask.bytes().iter().zip(xor.bytes()).enumerate() {
                        regs[to + i] = (regs[from + i] & mask) ^ xor;
                    }
                    true
                }
                Expr::Immediate { value, to } => {
                    put(&mut regs, *to, value.bytes());
                    true
                }
                Expr::Cmp { op, reg, value } => {
                    let equal = &regs[4 * reg.index()..][..value.len()] == value.bytes();
                    match op {
                        CmpOp::Eq => equal,
                        CmpOp::Ne => !equal,
                        _ => panic!("{expr:?}"),
                    }
                }
                Expr::Lookup { set, key, found } => match (self.find(set, &regs[4 * key.index()..]), found) {
                    (held, Found::Member) => held.is_some(),
                    (held, Found::NotMember) => held.is_none(),
                    (None, _) => false,
                    (Some(Held::Verdict(verdict)), Found::Verdict) => {
                        end = ending(&verdict);
                        true
                    }
                    (Some(Held::Data(data)), Found::Data(to)) => {
                        put(&mut regs, *to, data.bytes());
                        true
                    }
                    (held, _) => panic!("{expr:?} found {held:?}"),
                },
                Expr::Verdict(verdict) => {
                    end = ending(verdict);
                    true
                }
                Expr::Nat { kind: NatKind::Dnat, addr: Some((addr, _)), port: Some((port, _)), .. } => {
                    let addr = &regs[4 * addr.index()..];
                    state.dst = match self.packet.dst {
                        IpAddr::V4(_) => IpAddr::from(<[u8; 4]>::try_from(&addr[..4]).unwrap()),
                        IpAddr::V6(_) => Ipv6Addr::from(<[u8; 16]>::try_from(&addr[..16]).unwrap()).into(),
                    };
                    state.port = u16::from_be_bytes(regs[4 * port.index()..][..2].try_into().unwrap());
                    state.translated = true;
                    end = End::Accept;
                    true
                }
                Expr::Masquerade { .. } => {
                    state.masqueraded = true;
                    end = End::Accept;
                    true
                }
                Expr::Reject(_) => {
                    end = End::Reject;
                    true
                }
                // Nobody has affinity yet, and what becomes of it later is not this packet's matter.
                Expr::Dynset { .. } => true,
                other => panic!("the tracer does not know {other:?}"),
            };
            if !passes {
                return out.push((state, End::Next));
            }
            if end != End::Next {
                break;
            }
        }
        out.push((state, end));
    }

    fn payload(&self, base: Base, state: &State) -> [u8; 64] {
        let mut bytes = [0; 64];
        let (src, dst) = (octets(self.packet.src), octets(state.dst));
        match base {
            Base::Network => {
                let at = if src.len() == 4 { 12 } else { 8 };
                bytes[at..at + src.len()].copy_from_slice(&src);
                bytes[at + src.len()..][..dst.len()].copy_from_slice(&dst);
            }
            Base::Transport => bytes[2..4].copy_from_slice(&state.port.to_be_bytes()),
            Base::Link => panic!("no rule looks at the link layer"),
        }
        bytes
    }

    fn meta(&self, key: Meta, state: &State) -> Vec<u8> {
        match key {
            Meta::Mark => state.mark.to_ne_bytes().into(),
            Meta::L4Proto => vec![self.packet.protocol.number()],
            Meta::IifName => {
                let name = match self.packet.from {
                    Origin::Pod => self.bridge,
                    Origin::Outside => "eth0",
                    Origin::Node => "",
                };
                Data::ifname(name).bytes().into()
            }
            other => panic!("the tracer does not know {other:?}"),
        }
    }

    fn ct(&self, key: Ct, state: &State) -> Vec<u8> {
        match key {
            Ct::State => 8u32.to_ne_bytes().into(),
            Ct::Status => if state.translated { 32u32 } else { 0 }.to_ne_bytes().into(),
            Ct::ProtoDst => self.packet.port.to_be_bytes().into(),
            Ct::DstIp | Ct::DstIp6 => octets(self.packet.dst),
            other => panic!("the tracer does not know {other:?}"),
        }
    }
}

fn ending(verdict: &Verdict) -> End {
    match verdict {
        Verdict::Accept => End::Accept,
        Verdict::Drop => End::Drop,
        Verdict::Return => End::Return,
        Verdict::Continue => End::Next,
        Verdict::Jump(chain) => End::Jump(chain.clone()),
        Verdict::Goto(chain) => End::Goto(chain.clone()),
        Verdict::Other(code) => panic!("verdict {code}"),
    }
}
