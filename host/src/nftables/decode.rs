//! Expressions from netlink attributes. What is not understood whole is kept as [`Expr::Unknown`].

use super::data::Data;
use super::encode::*;
use super::expr::*;
use super::numbers::*;
use crate::wire::{Attr, Attrs};

/// Warning: the kernel reports it where none was given.
const DEFAULT_LOG_LEVEL: u32 = 4;

/// Packets and bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    pub packets: u64,
    pub bytes: u64,
}

impl Counts {
    /// From the attributes of a counter.
    pub(super) fn read(a: Attrs) -> Self {
        Self { bytes: a.u64(counter::BYTES).unwrap_or(0), packets: a.u64(counter::PACKETS).unwrap_or(0) }
    }
}

/// A list of expressions, and the numbers of the counters in it, in order.
pub(super) fn expressions(list: Attrs) -> (Vec<Expr>, Vec<Counts>) {
    let mut counts = Vec::new();
    let exprs = list
        .into_iter()
        .map(|item| {
            let expr = expression(item.nested());
            if expr == Expr::Counter {
                counts.push(Counts::read(item.nested().nested(expr::DATA)));
            }
            expr
        })
        .collect();
    (exprs, counts)
}

fn expression(attrs: Attrs) -> Expr {
    let name = attrs.string(expr::NAME).unwrap_or_default();
    let fields = attrs.get(expr::DATA);
    known(&name, fields.map_or(Attrs(&[]), |f| f.nested()))
        .unwrap_or_else(|| Expr::Unknown { name, data: Data::new(fields.map_or(&[], |f| f.value)) })
}

fn known(name: &str, a: Attrs) -> Option<Expr> {
    let reg = |kind| a.u32(kind).and_then(Reg::from_code);
    Some(match name {
        // A payload with a source register writes to the packet: not known here.
        "payload" if reg(payload::SREG).is_none() => Expr::Payload {
            base: of_code(BASE, a.u32(payload::BASE)?)?,
            offset: a.u32(payload::OFFSET)?,
            len: a.u32(payload::LEN)?,
            to: reg(payload::DREG)?,
        },
        "meta" => {
            let key = a.u32(meta::KEY)?;
            let key = of_code(META, key).unwrap_or(Meta::Other(key));
            match reg(meta::SREG) {
                Some(from) => Expr::SetMeta { key, from },
                None => Expr::Meta { key, to: reg(meta::DREG)? },
            }
        }
        "ct" => {
            let key = a.u32(ct::KEY)?;
            let key = of_code(CT, key).unwrap_or(Ct::Other(key));
            match reg(ct::SREG) {
                Some(from) => Expr::SetCt { key, from },
                None => Expr::Ct { key, direction: direction(a.get(ct::DIRECTION))?, to: reg(ct::DREG)? },
            }
        }
        "fib" => Expr::Fib {
            result: of_code(FIB_RESULT, a.u32(fib::RESULT)?)?,
            flags: FibFlags::from_code(a.u32(fib::FLAGS)?),
            to: reg(fib::DREG)?,
        },
        "numgen" => Expr::Numgen {
            kind: of_code(NUMGEN, a.u32(numgen::TYPE)?)?,
            modulus: a.u32(numgen::MODULUS)?,
            offset: a.u32(numgen::OFFSET).unwrap_or(0),
            to: reg(numgen::DREG)?,
        },
        "hash" => {
            let (modulus, offset, to) =
                (a.u32(hash::MODULUS)?, a.u32(hash::OFFSET).unwrap_or(0), reg(hash::DREG)?);
            match a.u32(hash::TYPE)? {
                0 => Expr::Jhash {
                    from: reg(hash::SREG)?,
                    len: a.u32(hash::LEN)?,
                    modulus,
                    seed: a.u32(hash::SEED),
                    offset,
                    to,
                },
                _ => Expr::Symhash { modulus, offset, to },
            }
        }
        // Operation 0 is mask and xor; 1 and 2 are shifts, and later kernels have more.
        "bitwise" if a.u32(bitwise::OP).unwrap_or(0) == 0 => Expr::Bitwise {
            from: reg(bitwise::SREG)?,
            to: reg(bitwise::DREG)?,
            mask: value(a.get(bitwise::MASK))?,
            xor: value(a.get(bitwise::XOR))?,
        },
        "byteorder" if a.u32(byteorder::OP)? == 1 => Expr::ToNetworkOrder {
            from: reg(byteorder::SREG)?,
            to: reg(byteorder::DREG)?,
            len: a.u32(byteorder::LEN)?,
            size: a.u32(byteorder::SIZE)?,
        },
        "immediate" => match a.u32(immediate::DREG)? {
            0 => Expr::Verdict(verdict(a.nested(immediate::DATA))?),
            _ => Expr::Immediate { value: value(a.get(immediate::DATA))?, to: reg(immediate::DREG)? },
        },
        "cmp" => Expr::Cmp {
            op: of_code(CMP, a.u32(cmp::OP)?)?,
            reg: reg(cmp::SREG)?,
            value: value(a.get(cmp::DATA))?,
        },
        "range" => Expr::Range {
            inverted: a.u32(range::OP)? != 0,
            reg: reg(range::SREG)?,
            first: value(a.get(range::FROM))?,
            last: value(a.get(range::TO))?,
        },
        "lookup" => {
            let found = match (a.u32(lookup::DREG), a.u32(lookup::FLAGS).unwrap_or(0)) {
                (None, 0) => Found::Member,
                (None, _) => Found::NotMember,
                (Some(0), _) => Found::Verdict,
                (Some(_), _) => Found::Data(reg(lookup::DREG)?),
            };
            Expr::Lookup { set: a.string(lookup::SET)?, key: reg(lookup::SREG)?, found }
        }
        "counter" => Expr::Counter,
        "objref" => match reg(objref::SET_SREG) {
            Some(key) => Expr::ObjectMap { set: a.string(objref::SET_NAME)?, key },
            None => Expr::Object { kind: a.u32(objref::TYPE)?, name: a.string(objref::NAME)? },
        },
        "nat" => Expr::Nat {
            kind: if a.u32(nat::TYPE)? == 0 { NatKind::Snat } else { NatKind::Dnat },
            family: a.u32(nat::FAMILY)? as u8,
            addr: range(a, nat::ADDR_MIN),
            port: range(a, nat::PROTO_MIN),
            flags: NatFlags::from_code(a.u32(nat::FLAGS).unwrap_or(0)),
        },
        "masq" => Expr::Masquerade {
            port: range(a, masq::PROTO_MIN),
            flags: NatFlags::from_code(a.u32(masq::FLAGS).unwrap_or(0)),
        },
        "redir" => Expr::Redirect {
            port: range(a, redir::PROTO_MIN),
            flags: NatFlags::from_code(a.u32(redir::FLAGS).unwrap_or(0)),
        },
        "reject" => {
            let code = a.get(reject::CODE).map_or(0, |code| code.u8());
            Expr::Reject(match a.u32(reject::TYPE)? {
                0 => Reject::Icmp(code),
                1 => Reject::TcpReset,
                _ => Reject::Icmpx(code),
            })
        }
        "dynset" => Expr::Dynset {
            op: of_code(DYNSET, a.u32(dynset::OP)?)?,
            set: a.string(dynset::SET)?,
            key: reg(dynset::KEY)?,
            data: reg(dynset::DATA),
            timeout: a.u64(dynset::TIMEOUT).filter(|&timeout| timeout != 0),
            with: stateful(a),
        },
        "limit" => Expr::Limit(Limit {
            rate: a.u64(limit::RATE)?,
            per: a.u64(limit::PER)?,
            burst: a.u32(limit::BURST).unwrap_or(0),
            unit: if a.u32(limit::TYPE).unwrap_or(0) == 0 { LimitUnit::Packets } else { LimitUnit::Bytes },
            over: a.u32(limit::FLAGS).unwrap_or(0) & 1 != 0,
        }),
        // Attributes 3 and 6 are the copied length and what else to log: not known here.
        "log" if a.u32(log::SNAPLEN).unwrap_or(0) == 0 && a.u32(log::FLAGS).unwrap_or(0) == 0 => {
            Expr::Log(Log {
                prefix: a.string(log::PREFIX),
                level: a.u32(log::LEVEL).filter(|&level| level != DEFAULT_LOG_LEVEL),
                group: a.get(log::GROUP).map(|group| group.u16()),
            })
        }
        "notrack" => Expr::Notrack,
        _ => return None,
    })
}

/// What a dynset keeps in each element: one expression, or since kernel 5.11 a list.
fn stateful(a: Attrs) -> Vec<Expr> {
    match a.get(dynset::EXPR) {
        Some(one) => vec![expression(one.nested())],
        None => expressions(a.nested(dynset::EXPRESSIONS)).0,
    }
}

fn direction(attr: Option<Attr>) -> Option<Option<Direction>> {
    attr.map_or(Some(None), |attr| of_code(DIRECTION, attr.u8().into()).map(Some))
}

fn range(a: Attrs, first: u16) -> Option<RegRange> {
    let from = a.u32(first).and_then(Reg::from_code)?;
    Some((from, a.u32(first + 1).and_then(Reg::from_code).unwrap_or(from)))
}

/// The value of `NFTA_DATA_VALUE` in an attribute.
pub(super) fn value(attr: Option<Attr>) -> Option<Data> {
    Some(Data::new(attr?.nested().get(data::VALUE)?.value))
}

/// The verdict of `NFTA_DATA_VERDICT` among attributes.
pub(super) fn verdict(value: Attrs) -> Option<Verdict> {
    let a = value.get(data::VERDICT)?.nested();
    Some(match a.u32(verdict::CODE)? as i32 {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -1 => Verdict::Continue,
        -3 => Verdict::Jump(a.string(verdict::CHAIN)?),
        -4 => Verdict::Goto(a.string(verdict::CHAIN)?),
        -5 => Verdict::Return,
        code => Verdict::Other(code),
    })
}
