//! Expressions as netlink attributes. The values in tables are those of linux/netfilter/nf_tables.h.

use super::data::Data;
use super::expr::*;
use super::numbers::*;
use crate::wire::{NLA_F_NESTED, Writer};

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
        w.nested(data::VERDICT, |w| {
            w.u32(verdict::CODE, self.code() as u32);
            if let Verdict::Jump(chain) | Verdict::Goto(chain) = self {
                w.string(verdict::CHAIN, chain);
            }
        });
    }
}

/// As `NFTA_DATA_VALUE` within attribute `kind`.
pub(super) fn write_data(w: &mut Writer, kind: u16, value: &Data) {
    w.nested(kind, |w| w.raw(data::VALUE, value.bytes()));
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
        w.nested(list::ELEM, |w| self.write_named(w));
    }

    pub(super) fn write_named(&self, w: &mut Writer) {
        w.string(expr::NAME, self.name());
        match self {
            // Verbatim: what we do not know we do not rewrite.
            Expr::Unknown { data, .. } => w.raw(expr::DATA | NLA_F_NESTED, data.bytes()),
            _ => w.nested(expr::DATA, |w| self.write_fields(w)),
        }
    }

    fn write_fields(&self, w: &mut Writer) {
        match self {
            Expr::Payload { base, offset, len, to } => {
                w.u32(payload::DREG, to.code());
                w.u32(payload::BASE, code_of(BASE, base));
                w.u32(payload::OFFSET, *offset);
                w.u32(payload::LEN, *len);
            }
            Expr::Meta { key, to } => {
                w.u32(meta::DREG, to.code());
                w.u32(meta::KEY, key.code());
            }
            Expr::SetMeta { key, from } => {
                w.u32(meta::KEY, key.code());
                w.u32(meta::SREG, from.code());
            }
            Expr::Ct { key, direction, to } => {
                w.u32(ct::DREG, to.code());
                w.u32(ct::KEY, key.code());
                if let Some(direction) = direction {
                    w.u8(ct::DIRECTION, code_of(DIRECTION, direction) as u8);
                }
            }
            Expr::SetCt { key, from } => {
                w.u32(ct::KEY, key.code());
                w.u32(ct::SREG, from.code());
            }
            Expr::Fib { result, flags, to } => {
                w.u32(fib::DREG, to.code());
                w.u32(fib::RESULT, code_of(FIB_RESULT, result));
                w.u32(fib::FLAGS, flags.code());
            }
            Expr::Numgen { kind, modulus, offset, to } => {
                w.u32(numgen::DREG, to.code());
                w.u32(numgen::MODULUS, *modulus);
                w.u32(numgen::TYPE, code_of(NUMGEN, kind));
                w.u32(numgen::OFFSET, *offset);
            }
            Expr::Jhash { from, len, modulus, seed, offset, to } => {
                w.u32(hash::SREG, from.code());
                w.u32(hash::DREG, to.code());
                w.u32(hash::LEN, *len);
                w.u32(hash::MODULUS, *modulus);
                if let Some(seed) = seed {
                    w.u32(hash::SEED, *seed);
                }
                w.u32(hash::OFFSET, *offset);
                w.u32(hash::TYPE, 0);
            }
            Expr::Symhash { modulus, offset, to } => {
                w.u32(hash::DREG, to.code());
                w.u32(hash::MODULUS, *modulus);
                w.u32(hash::OFFSET, *offset);
                w.u32(hash::TYPE, 1);
            }
            Expr::Bitwise { from, to, mask, xor } => {
                w.u32(bitwise::SREG, from.code());
                w.u32(bitwise::DREG, to.code());
                w.u32(bitwise::LEN, mask.len() as u32);
                write_data(w, bitwise::MASK, mask);
                write_data(w, bitwise::XOR, xor);
            }
            Expr::ToNetworkOrder { from, to, len, size } => {
                w.u32(byteorder::SREG, from.code());
                w.u32(byteorder::DREG, to.code());
                w.u32(byteorder::OP, 1);
                w.u32(byteorder::LEN, *len);
                w.u32(byteorder::SIZE, *size);
            }
            Expr::Immediate { value, to } => {
                w.u32(immediate::DREG, to.code());
                write_data(w, immediate::DATA, value);
            }
            Expr::Verdict(verdict) => {
                w.u32(immediate::DREG, 0);
                w.nested(immediate::DATA, |w| verdict.write(w));
            }
            Expr::Cmp { op, reg, value } => {
                w.u32(cmp::SREG, reg.code());
                w.u32(cmp::OP, code_of(CMP, op));
                write_data(w, cmp::DATA, value);
            }
            Expr::Range { inverted, reg, first, last } => {
                w.u32(range::SREG, reg.code());
                w.u32(range::OP, (*inverted).into());
                write_data(w, range::FROM, first);
                write_data(w, range::TO, last);
            }
            Expr::Lookup { set, key, found } => {
                w.string(lookup::SET, set);
                w.u32(lookup::SREG, key.code());
                match found {
                    Found::Member => {}
                    Found::NotMember => w.u32(lookup::FLAGS, 1),
                    Found::Verdict => w.u32(lookup::DREG, 0),
                    Found::Data(to) => w.u32(lookup::DREG, to.code()),
                }
            }
            Expr::Counter => {
                w.u64(counter::BYTES, 0);
                w.u64(counter::PACKETS, 0);
            }
            Expr::Object { kind, name } => {
                w.u32(objref::TYPE, *kind);
                w.string(objref::NAME, name);
            }
            Expr::ObjectMap { set, key } => {
                w.u32(objref::SET_SREG, key.code());
                w.string(objref::SET_NAME, set);
            }
            Expr::Nat { kind, family, addr, port, flags } => {
                w.u32(nat::TYPE, if *kind == NatKind::Snat { 0 } else { 1 });
                w.u32(nat::FAMILY, (*family).into());
                write_range(w, nat::ADDR_MIN, *addr);
                write_range(w, nat::PROTO_MIN, *port);
                w.u32(nat::FLAGS, flags.code(addr.is_some(), port.is_some()));
            }
            Expr::Masquerade { port, flags } => {
                w.u32(masq::FLAGS, flags.code(false, port.is_some()));
                write_range(w, masq::PROTO_MIN, *port);
            }
            Expr::Redirect { port, flags } => {
                write_range(w, redir::PROTO_MIN, *port);
                w.u32(redir::FLAGS, flags.code(false, port.is_some()));
            }
            Expr::Reject(reject) => {
                let (kind, code) = match *reject {
                    Reject::Icmp(code) => (0, code),
                    Reject::TcpReset => (1, 0),
                    Reject::Icmpx(code) => (2, code),
                };
                w.u32(reject::TYPE, kind);
                w.u8(reject::CODE, code);
            }
            Expr::Dynset { op, set, key, data, timeout, with } => {
                w.string(dynset::SET, set);
                w.u32(dynset::OP, code_of(DYNSET, op));
                w.u32(dynset::KEY, key.code());
                if let Some(data) = data {
                    w.u32(dynset::DATA, data.code());
                }
                if let Some(timeout) = timeout {
                    w.u64(dynset::TIMEOUT, *timeout);
                }
                match &with[..] {
                    [] => {}
                    [one] => w.nested(dynset::EXPR, |w| one.write_named(w)),
                    many => w.nested(dynset::EXPRESSIONS, |w| many.iter().for_each(|expr| expr.write(w))),
                }
            }
            Expr::Limit(limit) => {
                w.u64(limit::RATE, limit.rate);
                w.u64(limit::PER, limit.per);
                w.u32(limit::BURST, limit.burst);
                w.u32(limit::TYPE, if limit.unit == LimitUnit::Packets { 0 } else { 1 });
                w.u32(limit::FLAGS, limit.over.into());
            }
            Expr::Log(log) => {
                if let Some(group) = log.group {
                    w.u16(log::GROUP, group);
                }
                if let Some(prefix) = &log.prefix {
                    w.string(log::PREFIX, prefix);
                }
                if let Some(level) = log.level {
                    w.u32(log::LEVEL, level);
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
