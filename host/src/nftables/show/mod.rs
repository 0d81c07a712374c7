//! Rules in nft's syntax: runs a rule's expressions on registers that hold words in place of values.
//!
//! What nft would print from the same expressions, with two freedoms: `meta l4proto tcp th dport 80` stays as
//! it was loaded, where nft writes `tcp dport 80`; and a mark is never split into a name.

mod words;

pub(super) use words::time;
use words::*;

use super::data::{Data, Type};
use super::expr::*;
use super::family::Family;
use super::object::Rule;

pub(super) fn rule(rule: &Rule) -> String {
    let mut printer = Printer { family: rule.table.family, ..Printer::default() };
    let mut exprs = rule.exprs.as_slice();
    while let [expr, rest @ ..] = exprs {
        exprs = match (expr, rest) {
            // A range is two comparisons of one register.
            (
                Expr::Cmp { op: CmpOp::Ge, reg: a, value: first },
                [Expr::Cmp { op: CmpOp::Le, reg: b, value: last }, rest @ ..],
            ) if a == b => {
                printer.range("", *a, first, last);
                rest
            }
            _ => {
                printer.step(expr);
                rest
            }
        }
    }
    printer.words.join(" ")
}

struct Printer {
    family: Family,
    words: Vec<String>,
    registers: [Option<Word>; 16],
}

impl Default for Printer {
    fn default() -> Self {
        Self { family: Family::Inet, words: Vec::new(), registers: Default::default() }
    }
}

impl Printer {
    fn step(&mut self, expr: &Expr) {
        match expr {
            Expr::Payload { base, offset, len, to } => {
                let word = self.payload(*base, *offset, *len);
                self.load(*to, word);
            }
            Expr::Meta { key, to } => self.load(*to, word(key.text(), key.kind(), 4)),
            Expr::Ct { key, direction, to } => {
                let text = ct(*key, *direction);
                self.load(*to, word(text, key.kind(), 4));
            }
            Expr::Fib { result, flags, to } => self.load(*to, fib(*result, *flags)),
            Expr::Numgen { kind, modulus, offset, to } => {
                let kind = if *kind == NumgenKind::Random { "random" } else { "inc" };
                self.load(*to, number(format!("numgen {kind} mod {modulus}{}", shifted(*offset))));
            }
            Expr::Jhash { from, len, modulus, seed, offset, to } => {
                let of = self.fields(*from, Some(*len as usize), None);
                let seed = seed.map_or(String::new(), |seed| format!(" seed 0x{seed:x}"));
                self.load(*to, number(format!("jhash {of} mod {modulus}{seed}{}", shifted(*offset))));
            }
            Expr::Symhash { modulus, offset, to } => {
                self.load(*to, number(format!("symhash mod {modulus}{}", shifted(*offset))));
            }
            Expr::Bitwise { from, to, mask, xor } => {
                let mut word = self.take(*from);
                word.bits = Some((mask.clone(), xor.clone()));
                self.load(*to, word);
            }
            Expr::ToNetworkOrder { from, to, .. } => {
                let mut word = self.take(*from);
                word.swapped = true;
                self.load(*to, word);
            }
            Expr::Immediate { value, to } => {
                let constant = Some(value.clone());
                self.load(*to, Word { len: value.len(), constant, ..Word::default() });
            }
            Expr::Cmp { op, reg, value } => self.compare(*op, *reg, value),
            Expr::Range { inverted, reg, first, last } => {
                self.range(if *inverted { "!= " } else { "" }, *reg, first, last);
            }
            Expr::Lookup { set, key, found } => self.lookup(set, *key, *found),
            Expr::Dynset { op, set, key, data, timeout, with } => {
                self.dynset(*op, set, *key, *data, *timeout, with);
            }
            Expr::Nat { kind, addr, port, flags, family } => {
                let verb = if *kind == NatKind::Snat { "snat" } else { "dnat" };
                let to = self.nat_target(*addr, *port, *family);
                self.say(format!("{verb}{to}{}", nat_flags(*flags)));
            }
            Expr::Masquerade { port, flags } => {
                let to = port.map_or(String::new(), |port| format!(" to :{}", self.ports(port)));
                self.say(format!("masquerade{to}{}", nat_flags(*flags)));
            }
            Expr::Redirect { port, flags } => {
                let to = port.map_or(String::new(), |port| format!(" to :{}", self.ports(port)));
                self.say(format!("redirect{to}{}", nat_flags(*flags)));
            }
            Expr::SetMeta { key, from } => {
                let value = self.value(*from, key.kind());
                self.say(format!("{} set {value}", key.text()));
            }
            Expr::SetCt { key, from } => {
                let value = self.value(*from, key.kind());
                self.say(format!("{} set {value}", ct(*key, None)));
            }
            Expr::ObjectMap { set, key } => {
                let key = self.fields(*key, None, None);
                self.say(format!("counter name {key} map @{set}"));
            }
            Expr::Reject(reject) => {
                let text = self.reject(*reject);
                self.say(text);
            }
            Expr::Verdict(verdict) => self.say(verdict.to_string()),
            other => self.say(stateless(other)),
        }
    }

    /// Ends a statement.
    fn say(&mut self, text: String) {
        self.words.push(text);
        self.registers.iter_mut().flatten().for_each(|word| word.fresh = false);
    }

    fn load(&mut self, to: Reg, word: Word) {
        let behind = if word.map { self.registers.len() } else { to.after(word.len).0.into() };
        for register in self.registers.iter_mut().take(behind).skip(usize::from(to.0) + 1) {
            *register = None;
        }
        if let Some(register) = self.registers.get_mut(usize::from(to.0)) {
            *register = Some(Word { fresh: true, ..word });
        }
    }

    fn take(&mut self, from: Reg) -> Word {
        self.registers.get(usize::from(from.0)).cloned().flatten().unwrap_or_else(|| Word {
            text: format!("reg{}", from.0),
            len: 4,
            ..Word::default()
        })
    }

    /// The fields that were loaded from a register on: `a . b . c`, up to `len` bytes or a register.
    fn fields(&mut self, from: Reg, len: Option<usize>, stop: Option<Reg>) -> String {
        let mut texts = Vec::new();
        let (mut at, mut bytes) = (from, 0);
        while stop != Some(at) && len.is_none_or(|len| bytes < len) {
            let Some(word) = self.registers.get(usize::from(at.0)).cloned().flatten() else { break };
            if !word.fresh && at != from {
                break;
            }
            bytes += word.len.next_multiple_of(4);
            texts.push(self.value(at, word.kind));
            self.registers[usize::from(at.0)].as_mut().expect("just read").fresh = false;
            at = at.after(word.len.max(1));
        }
        texts.join(" . ")
    }

    /// A register's value where one is used.
    fn value(&mut self, from: Reg, kind: Option<Type>) -> String {
        let word = self.take(from);
        if let Some(constant) = &word.constant {
            let kind = kind.or((constant.len() == 4).then_some(Type::Mark));
            return kind.map_or(format!("{constant:?}"), |kind| kind.show(constant.bytes()));
        }
        match &word.bits {
            Some((mask, xor)) => bits(&word, mask, xor),
            None => word.text,
        }
    }

    fn compare(&mut self, op: CmpOp, reg: Reg, value: &Data) {
        let word = self.take(reg);
        let flags = matches!(word.kind, Some(Type::CtState | Type::CtStatus));
        let text = match (&word.bits, op) {
            (Some((mask, _)), CmpOp::Ne) if flags && is_zero(value) => {
                format!("{} {}", word.text, word.show(mask))
            }
            (Some((mask, xor)), _) => match prefix_len(mask).filter(|_| word.is_address() && is_zero(xor)) {
                Some(bits) => format!("{} {}{}/{bits}", word.text, op.text(), word.show(value)),
                None => {
                    let op = if op == CmpOp::Eq { "== " } else { op.text() };
                    format!("{} {op}{}", bits(&word, mask, xor), word.show(value))
                }
            },
            (None, _) if word.cut => {
                let whole = pad(value, word.kind.map_or(0, Type::size));
                format!("{} {}{}/{}", word.text, op.text(), word.show(&whole), value.len() * 8)
            }
            (None, _) => format!("{} {}{}", word.text, op.text(), word.show(value)),
        };
        self.say(text);
    }

    fn range(&mut self, op: &str, reg: Reg, first: &Data, last: &Data) {
        let word = self.take(reg);
        self.say(format!("{} {op}{}-{}", word.text, word.show(first), word.show(last)));
    }

    fn lookup(&mut self, set: &str, key: Reg, found: Found) {
        let key = self.fields(key, None, None);
        match found {
            Found::Member => self.say(format!("{key} @{set}")),
            Found::NotMember => self.say(format!("{key} != @{set}")),
            Found::Verdict => self.say(format!("{key} vmap @{set}")),
            Found::Data(to) => {
                let text = format!("{key} map @{set}");
                self.load(to, Word { text, len: 4, map: true, ..Word::default() });
            }
        }
    }

    fn dynset(
        &mut self,
        op: DynsetOp,
        set: &str,
        key: Reg,
        data: Option<Reg>,
        timeout: Option<u64>,
        with: &[Expr],
    ) {
        let verb = match op {
            DynsetOp::Add => "add",
            DynsetOp::Update => "update",
            DynsetOp::Delete => "delete",
        };
        let mut inner = self.fields(key, None, data);
        if let Some(timeout) = timeout {
            inner.push_str(&format!(" timeout {}", time(timeout)));
        }
        for expr in with {
            inner.push_str(&format!(" {}", stateless(expr)));
        }
        if let Some(data) = data {
            inner.push_str(&format!(" : {}", self.fields(data, None, None)));
        }
        self.say(format!("{verb} @{set} {{ {inner} }}"));
    }

    fn nat_target(&mut self, addr: Option<RegRange>, port: Option<RegRange>, family: u8) -> String {
        let Some((first, last)) = addr else {
            return port.map_or(String::new(), |port| format!(" to :{}", self.ports(port)));
        };
        let family = Family::from_code(family).unwrap_or(self.family);
        let word = self.take(first);
        let kind = if family == Family::Ip6 { Type::Ipv6Addr } else { Type::Ipv4Addr };
        if word.constant.is_none() {
            let by_map = if port.is_some() { format!(" {family} addr . port") } else { String::new() };
            return format!("{by_map} to {}", self.value(first, Some(kind)));
        }
        let mut text = self.value(first, Some(kind));
        if last != first {
            text = format!("{text}-{}", self.value(last, Some(kind)));
        }
        if let Some(port) = port {
            let bracketed = if kind == Type::Ipv6Addr { format!("[{text}]") } else { text };
            text = format!("{bracketed}:{}", self.ports(port));
        }
        let named = if self.family == Family::Inet { format!(" {family}") } else { String::new() };
        format!("{named} to {text}")
    }

    fn ports(&mut self, (first, last): RegRange) -> String {
        let from = self.value(first, Some(Type::InetService));
        if first == last { from } else { format!("{from}-{}", self.value(last, Some(Type::InetService))) }
    }

    fn payload(&self, base: Base, offset: u32, len: u32) -> Word {
        const IP: &[(u32, &str, Type)] = &[
            (9, "ip protocol", Type::InetProto),
            (12, "ip saddr", Type::Ipv4Addr),
            (16, "ip daddr", Type::Ipv4Addr),
        ];
        const IP6: &[(u32, &str, Type)] =
            &[(8, "ip6 saddr", Type::Ipv6Addr), (24, "ip6 daddr", Type::Ipv6Addr)];
        const TH: &[(u32, &str, Type)] =
            &[(0, "th sport", Type::InetService), (2, "th dport", Type::InetService)];
        let named = |fields: &[(u32, &'static str, Type)]| {
            fields
                .iter()
                .find(|(at, _, kind)| *at == offset && (len as usize) <= kind.size())
                .map(|&(_, name, kind)| (name, kind))
        };
        let found = match (base, self.family) {
            (Base::Network, Family::Ip) => named(IP),
            (Base::Network, Family::Ip6) => named(IP6),
            // The offsets of the addresses tell the families apart.
            (Base::Network, _) => named(&IP[1..]).or_else(|| named(IP6)),
            (Base::Transport, _) => named(TH).filter(|_| len == 2),
            (Base::Link, _) => None,
        };
        match found {
            Some((name, kind)) => Word {
                text: name.to_owned(),
                kind: Some(kind),
                len: len as usize,
                cut: (len as usize) < kind.size(),
                ..Word::default()
            },
            None => {
                let header = match base {
                    Base::Link => "ll",
                    Base::Network => "nh",
                    Base::Transport => "th",
                };
                word(
                    format!("@{header},{},{}", u64::from(offset) * 8, u64::from(len) * 8),
                    None,
                    len as usize,
                )
            }
        }
    }

    fn reject(&self, reject: Reject) -> String {
        const ICMP: &[(u8, &str)] = &[
            (0, "net-unreachable"),
            (1, "host-unreachable"),
            (2, "prot-unreachable"),
            (3, "port-unreachable"),
            (9, "net-prohibited"),
            (10, "host-prohibited"),
            (13, "admin-prohibited"),
        ];
        const ICMPV6: &[(u8, &str)] = &[
            (0, "no-route"),
            (1, "admin-prohibited"),
            (3, "addr-unreachable"),
            (4, "port-unreachable"),
            (5, "policy-fail"),
            (6, "reject-route"),
        ];
        const ICMPX: &[(u8, &str)] =
            &[(0, "no-route"), (1, "port-unreachable"), (2, "host-unreachable"), (3, "admin-prohibited")];
        // In an inet table only a rule that has asked for the family can name its codes.
        let six = self.family == Family::Ip6 || self.words.iter().any(|word| word == "meta nfproto ipv6");
        let (protocol, names, code, usual) = match reject {
            Reject::TcpReset => return "reject with tcp reset".to_owned(),
            Reject::Icmp(code) if six => ("icmpv6", ICMPV6, code, self.family == Family::Ip6 && code == 4),
            Reject::Icmp(code) => ("icmp", ICMP, code, self.family == Family::Ip && code == 3),
            Reject::Icmpx(code) => ("icmpx", ICMPX, code, self.family == Family::Inet && code == 1),
        };
        if usual {
            return "reject".to_owned();
        }
        let name =
            names.iter().find(|(known, _)| *known == code).map_or(code.to_string(), |row| row.1.to_owned());
        format!("reject with {protocol} {name}")
    }
}
