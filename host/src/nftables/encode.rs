//! Expressions as netlink attributes. The numbers are those of linux/netfilter/nf_tables.h.

use super::attr::{NLA_F_NESTED, Writer};
use super::data::Data;
use super::expr::*;

pub(super) const LIST_ELEM: u16 = 1;

impl Reg {
    /// As the kernel writes registers itself: those on a boundary of 16 bytes by their old number.
    pub(super) fn code(self) -> u32 {
        if self.0.is_multiple_of(4) { 1 + u32::from(self.0) / 4 } else { 8 + u32::from(self.0) }
    }

    pub(super) fn from_code(code: u32) -> Option<Self> {
        match code {
            1..=4 => Some(Reg((code as u8 - 1) * 4)),
            8..=23 => Some(Reg(code as u8 - 8)),
            _ => None,
        }
    }
}

/// Finds the code of `value` in a table of pairs.
pub(super) fn code_of<T: PartialEq>(table: &[(T, u32)], value: &T) -> u32 {
    table.iter().find(|(known, _)| known == value).map_or(0, |(_, code)| *code)
}

/// The other way round.
pub(super) fn of_code<T: Copy>(table: &[(T, u32)], code: u32) -> Option<T> {
    table.iter().find(|(_, known)| *known == code).map(|(value, _)| *value)
}

pub(super) const BASE: &[(Base, u32)] = &[(Base::Link, 0), (Base::Network, 1), (Base::Transport, 2)];
pub(super) const META: &[(Meta, u32)] = &[
    (Meta::Mark, 3),
    (Meta::Iif, 4),
    (Meta::Oif, 5),
    (Meta::IifName, 6),
    (Meta::OifName, 7),
    (Meta::NfProto, 15),
    (Meta::L4Proto, 16),
];
pub(super) const CT: &[(Ct, u32)] = &[
    (Ct::State, 0),
    (Ct::Direction, 1),
    (Ct::Status, 2),
    (Ct::Mark, 3),
    (Ct::Src, 8),
    (Ct::Dst, 9),
    (Ct::ProtoSrc, 11),
    (Ct::ProtoDst, 12),
    (Ct::SrcIp, 19),
    (Ct::DstIp, 20),
    (Ct::SrcIp6, 21),
    (Ct::DstIp6, 22),
];
pub(super) const CMP: &[(CmpOp, u32)] =
    &[(CmpOp::Eq, 0), (CmpOp::Ne, 1), (CmpOp::Lt, 2), (CmpOp::Le, 3), (CmpOp::Gt, 4), (CmpOp::Ge, 5)];
pub(super) const FIB_RESULT: &[(FibResult, u32)] =
    &[(FibResult::Oif, 1), (FibResult::OifName, 2), (FibResult::Type, 3)];
pub(super) const NUMGEN: &[(NumgenKind, u32)] = &[(NumgenKind::Incremental, 0), (NumgenKind::Random, 1)];
pub(super) const DYNSET: &[(DynsetOp, u32)] =
    &[(DynsetOp::Add, 0), (DynsetOp::Update, 1), (DynsetOp::Delete, 2)];
pub(super) const DIRECTION: &[(Direction, u32)] = &[(Direction::Original, 0), (Direction::Reply, 1)];

const RANGE_ADDRESSES: u32 = 1;
const RANGE_PORTS: u32 = 2;

impl NatFlags {
    pub(super) fn code(self, addr: bool, port: bool) -> u32 {
        let bit = |set, bit| if set { bit } else { 0 };
        bit(addr, RANGE_ADDRESSES)
            | bit(port, RANGE_PORTS)
            | bit(self.random, 4)
            | bit(self.persistent, 8)
            | bit(self.fully_random, 16)
    }

    pub(super) fn from_code(code: u32) -> Self {
        Self { random: code & 4 != 0, persistent: code & 8 != 0, fully_random: code & 16 != 0 }
    }
}

impl FibFlags {
    pub(super) fn code(self) -> u32 {
        [self.saddr, self.daddr, self.mark, self.iif, self.oif, self.present]
            .iter()
            .enumerate()
            .map(|(n, &set)| u32::from(set) << n)
            .sum()
    }

    pub(super) fn from_code(code: u32) -> Self {
        let bit = |n: u32| code & (1 << n) != 0;
        Self { saddr: bit(0), daddr: bit(1), mark: bit(2), iif: bit(3), oif: bit(4), present: bit(5) }
    }
}

impl Meta {
    pub(super) fn code(self) -> u32 {
        if let Meta::Other(code) = self { code } else { code_of(META, &self) }
    }
}

impl Ct {
    pub(super) fn code(self) -> u32 {
        if let Ct::Other(code) = self { code } else { code_of(CT, &self) }
    }
}

impl Verdict {
    fn code(&self) -> i32 {
        match self {
            Verdict::Drop => 0,
            Verdict::Accept => 1,
            Verdict::Continue => -1,
            Verdict::Jump(_) => -3,
            Verdict::Goto(_) => -4,
            Verdict::Return => -5,
            Verdict::Other(code) => *code,
        }
    }

    /// As `NFTA_DATA_VERDICT`.
    pub(super) fn write(&self, w: &mut Writer) {
        w.nested(2, |w| {
            w.u32(1, self.code() as u32);
            if let Verdict::Jump(chain) | Verdict::Goto(chain) = self {
                w.string(2, chain);
            }
        });
    }
}

/// As `NFTA_DATA_VALUE` within attribute `kind`.
pub(super) fn write_data(w: &mut Writer, kind: u16, data: &Data) {
    w.nested(kind, |w| w.raw(1, data.bytes()));
}

impl Expr {
    fn name(&self) -> &str {
        match self {
            Expr::Payload { .. } => "payload",
            Expr::Meta { .. } | Expr::SetMeta { .. } => "meta",
            Expr::Ct { .. } | Expr::SetCt { .. } => "ct",
            Expr::Fib { .. } => "fib",
            Expr::Numgen { .. } => "numgen",
            Expr::Jhash { .. } | Expr::Symhash { .. } => "hash",
            Expr::Bitwise { .. } => "bitwise",
            Expr::ToNetworkOrder { .. } => "byteorder",
            Expr::Immediate { .. } | Expr::Verdict(_) => "immediate",
            Expr::Cmp { .. } => "cmp",
            Expr::Range { .. } => "range",
            Expr::Lookup { .. } => "lookup",
            Expr::Counter => "counter",
            Expr::Object { .. } | Expr::ObjectMap { .. } => "objref",
            Expr::Nat { .. } => "nat",
            Expr::Masquerade { .. } => "masq",
            Expr::Redirect { .. } => "redir",
            Expr::Reject(_) => "reject",
            Expr::Dynset { .. } => "dynset",
            Expr::Limit(_) => "limit",
            Expr::Log(_) => "log",
            Expr::Notrack => "notrack",
            Expr::Unknown { name, .. } => name,
        }
    }

    /// As an element of a list of expressions.
    pub(super) fn write(&self, w: &mut Writer) {
        w.nested(LIST_ELEM, |w| self.write_named(w));
    }

    fn write_named(&self, w: &mut Writer) {
        w.string(1, self.name());
        match self {
            // Verbatim: what we do not know we do not rewrite.
            Expr::Unknown { data, .. } => w.raw(2 | NLA_F_NESTED, data.bytes()),
            _ => w.nested(2, |w| self.write_fields(w)),
        }
    }

    fn write_fields(&self, w: &mut Writer) {
        match self {
            Expr::Payload { base, offset, len, to } => {
                w.u32(1, to.code());
                w.u32(2, code_of(BASE, base));
                w.u32(3, *offset);
                w.u32(4, *len);
            }
            Expr::Meta { key, to } => {
                w.u32(1, to.code());
                w.u32(2, key.code());
            }
            Expr::SetMeta { key, from } => {
                w.u32(2, key.code());
                w.u32(3, from.code());
            }
            Expr::Ct { key, direction, to } => {
                w.u32(1, to.code());
                w.u32(2, key.code());
                if let Some(direction) = direction {
                    w.u8(3, code_of(DIRECTION, direction) as u8);
                }
            }
            Expr::SetCt { key, from } => {
                w.u32(2, key.code());
                w.u32(4, from.code());
            }
            Expr::Fib { result, flags, to } => {
                w.u32(1, to.code());
                w.u32(2, code_of(FIB_RESULT, result));
                w.u32(3, flags.code());
            }
            Expr::Numgen { kind, modulus, offset, to } => {
                w.u32(1, to.code());
                w.u32(2, *modulus);
                w.u32(3, code_of(NUMGEN, kind));
                w.u32(4, *offset);
            }
            Expr::Jhash { from, len, modulus, seed, offset, to } => {
                w.u32(1, from.code());
                w.u32(2, to.code());
                w.u32(3, *len);
                w.u32(4, *modulus);
                if let Some(seed) = seed {
                    w.u32(5, *seed);
                }
                w.u32(6, *offset);
                w.u32(7, 0);
            }
            Expr::Symhash { modulus, offset, to } => {
                w.u32(2, to.code());
                w.u32(4, *modulus);
                w.u32(6, *offset);
                w.u32(7, 1);
            }
            Expr::Bitwise { from, to, mask, xor } => {
                w.u32(1, from.code());
                w.u32(2, to.code());
                w.u32(3, mask.len() as u32);
                write_data(w, 4, mask);
                write_data(w, 5, xor);
            }
            Expr::ToNetworkOrder { from, to, len, size } => {
                w.u32(1, from.code());
                w.u32(2, to.code());
                w.u32(3, 1);
                w.u32(4, *len);
                w.u32(5, *size);
            }
            Expr::Immediate { value, to } => {
                w.u32(1, to.code());
                write_data(w, 2, value);
            }
            Expr::Verdict(verdict) => {
                w.u32(1, 0);
                w.nested(2, |w| verdict.write(w));
            }
            Expr::Cmp { op, reg, value } => {
                w.u32(1, reg.code());
                w.u32(2, code_of(CMP, op));
                write_data(w, 3, value);
            }
            Expr::Range { inverted, reg, first, last } => {
                w.u32(1, reg.code());
                w.u32(2, (*inverted).into());
                write_data(w, 3, first);
                write_data(w, 4, last);
            }
            Expr::Lookup { set, key, found } => {
                w.string(1, set);
                w.u32(2, key.code());
                match found {
                    Found::Member => {}
                    Found::NotMember => w.u32(5, 1),
                    Found::Verdict => w.u32(3, 0),
                    Found::Data(to) => w.u32(3, to.code()),
                }
            }
            Expr::Counter => {
                w.u64(1, 0);
                w.u64(2, 0);
            }
            Expr::Object { kind, name } => {
                w.u32(1, *kind);
                w.string(2, name);
            }
            Expr::ObjectMap { set, key } => {
                w.u32(3, key.code());
                w.string(4, set);
            }
            Expr::Nat { kind, family, addr, port, flags } => {
                w.u32(1, if *kind == NatKind::Snat { 0 } else { 1 });
                w.u32(2, (*family).into());
                write_range(w, 3, *addr);
                write_range(w, 5, *port);
                w.u32(7, flags.code(addr.is_some(), port.is_some()));
            }
            Expr::Masquerade { port, flags } => {
                w.u32(1, flags.code(false, port.is_some()));
                write_range(w, 2, *port);
            }
            Expr::Redirect { port, flags } => {
                write_range(w, 1, *port);
                w.u32(3, flags.code(false, port.is_some()));
            }
            Expr::Reject(reject) => {
                let (kind, code) = match *reject {
                    Reject::Icmp(code) => (0, code),
                    Reject::TcpReset => (1, 0),
                    Reject::Icmpx(code) => (2, code),
                };
                w.u32(1, kind);
                w.u8(2, code);
            }
            Expr::Dynset { op, set, key, data, timeout, with } => {
                w.string(1, set);
                w.u32(3, code_of(DYNSET, op));
                w.u32(4, key.code());
                if let Some(data) = data {
                    w.u32(5, data.code());
                }
                if let Some(timeout) = timeout {
                    w.u64(6, *timeout);
                }
                match &with[..] {
                    [] => {}
                    [one] => w.nested(7, |w| one.write_named(w)),
                    many => w.nested(10, |w| many.iter().for_each(|expr| expr.write(w))),
                }
            }
            Expr::Limit(limit) => {
                w.u64(1, limit.rate);
                w.u64(2, limit.per);
                w.u32(3, limit.burst);
                w.u32(4, if limit.unit == LimitUnit::Packets { 0 } else { 1 });
                w.u32(5, limit.over.into());
            }
            Expr::Log(log) => {
                if let Some(group) = log.group {
                    w.u16(1, group);
                }
                if let Some(prefix) = &log.prefix {
                    w.string(2, prefix);
                }
                if let Some(level) = log.level {
                    w.u32(5, level);
                }
            }
            Expr::Notrack | Expr::Unknown { .. } => {}
        }
    }
}

fn write_range(w: &mut Writer, first: u16, range: Option<RegRange>) {
    if let Some((from, to)) = range {
        w.u32(first, from.code());
        w.u32(first + 1, to.code());
    }
}
