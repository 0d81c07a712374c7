//! Expressions from netlink attributes. What is not understood whole is kept as [`Expr::Unknown`].

use super::attr::{Attr, Attrs};
use super::data::Data;
use super::encode::*;
use super::expr::*;

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
        Self { bytes: a.u64(1).unwrap_or(0), packets: a.u64(2).unwrap_or(0) }
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
                counts.push(Counts::read(item.nested().nested(2)));
            }
            expr
        })
        .collect();
    (exprs, counts)
}

fn expression(attrs: Attrs) -> Expr {
    let name = attrs.string(1).unwrap_or_default();
    let fields = attrs.get(2);
    known(&name, fields.map_or(Attrs(&[]), |f| f.nested()))
        .unwrap_or_else(|| Expr::Unknown { name, data: Data::new(fields.map_or(&[], |f| f.value)) })
}

fn known(name: &str, a: Attrs) -> Option<Expr> {
    let reg = |kind| a.u32(kind).and_then(Reg::from_code);
    Some(match name {
        // A payload with a source register writes to the packet: not known here.
        "payload" if reg(5).is_none() => {
            Expr::Payload { base: of_code(BASE, a.u32(2)?)?, offset: a.u32(3)?, len: a.u32(4)?, to: reg(1)? }
        }
        "meta" => {
            let key = a.u32(2)?;
            let key = of_code(META, key).unwrap_or(Meta::Other(key));
            match reg(3) {
                Some(from) => Expr::SetMeta { key, from },
                None => Expr::Meta { key, to: reg(1)? },
            }
        }
        "ct" => {
            let key = a.u32(2)?;
            let key = of_code(CT, key).unwrap_or(Ct::Other(key));
            match reg(4) {
                Some(from) => Expr::SetCt { key, from },
                None => Expr::Ct { key, direction: direction(a.get(3))?, to: reg(1)? },
            }
        }
        "fib" => Expr::Fib {
            result: of_code(FIB_RESULT, a.u32(2)?)?,
            flags: FibFlags::from_code(a.u32(3)?),
            to: reg(1)?,
        },
        "numgen" => Expr::Numgen {
            kind: of_code(NUMGEN, a.u32(3)?)?,
            modulus: a.u32(2)?,
            offset: a.u32(4).unwrap_or(0),
            to: reg(1)?,
        },
        "hash" => {
            let (modulus, offset, to) = (a.u32(4)?, a.u32(6).unwrap_or(0), reg(2)?);
            match a.u32(7)? {
                0 => Expr::Jhash { from: reg(1)?, len: a.u32(3)?, modulus, seed: a.u32(5), offset, to },
                _ => Expr::Symhash { modulus, offset, to },
            }
        }
        // Operation 0 is mask and xor; 1 and 2 are shifts, and later kernels have more.
        "bitwise" if a.u32(6).unwrap_or(0) == 0 => {
            Expr::Bitwise { from: reg(1)?, to: reg(2)?, mask: value(a.get(4))?, xor: value(a.get(5))? }
        }
        "byteorder" if a.u32(3)? == 1 => {
            Expr::ToNetworkOrder { from: reg(1)?, to: reg(2)?, len: a.u32(4)?, size: a.u32(5)? }
        }
        "immediate" => match a.u32(1)? {
            0 => Expr::Verdict(verdict(a.nested(2))?),
            _ => Expr::Immediate { value: value(a.get(2))?, to: reg(1)? },
        },
        "cmp" => Expr::Cmp { op: of_code(CMP, a.u32(2)?)?, reg: reg(1)?, value: value(a.get(3))? },
        "range" => Expr::Range {
            inverted: a.u32(2)? != 0,
            reg: reg(1)?,
            first: value(a.get(3))?,
            last: value(a.get(4))?,
        },
        "lookup" => {
            let found = match (a.u32(3), a.u32(5).unwrap_or(0)) {
                (None, 0) => Found::Member,
                (None, _) => Found::NotMember,
                (Some(0), _) => Found::Verdict,
                (Some(_), _) => Found::Data(reg(3)?),
            };
            Expr::Lookup { set: a.string(1)?, key: reg(2)?, found }
        }
        "counter" => Expr::Counter,
        "objref" => match reg(3) {
            Some(key) => Expr::ObjectMap { set: a.string(4)?, key },
            None => Expr::Object { kind: a.u32(1)?, name: a.string(2)? },
        },
        "nat" => Expr::Nat {
            kind: if a.u32(1)? == 0 { NatKind::Snat } else { NatKind::Dnat },
            family: a.u32(2)? as u8,
            addr: range(a, 3),
            port: range(a, 5),
            flags: NatFlags::from_code(a.u32(7).unwrap_or(0)),
        },
        "masq" => Expr::Masquerade { port: range(a, 2), flags: NatFlags::from_code(a.u32(1).unwrap_or(0)) },
        "redir" => Expr::Redirect { port: range(a, 1), flags: NatFlags::from_code(a.u32(3).unwrap_or(0)) },
        "reject" => {
            let code = a.get(2).map_or(0, |code| code.u8());
            Expr::Reject(match a.u32(1)? {
                0 => Reject::Icmp(code),
                1 => Reject::TcpReset,
                _ => Reject::Icmpx(code),
            })
        }
        "dynset" => Expr::Dynset {
            op: of_code(DYNSET, a.u32(3)?)?,
            set: a.string(1)?,
            key: reg(4)?,
            data: reg(5),
            timeout: a.u64(6).filter(|&timeout| timeout != 0),
            with: stateful(a),
        },
        "limit" => Expr::Limit(Limit {
            rate: a.u64(1)?,
            per: a.u64(2)?,
            burst: a.u32(3).unwrap_or(0),
            unit: if a.u32(4).unwrap_or(0) == 0 { LimitUnit::Packets } else { LimitUnit::Bytes },
            over: a.u32(5).unwrap_or(0) & 1 != 0,
        }),
        // Attributes 3 and 6 are the copied length and what else to log: not known here.
        "log" if a.u32(3).unwrap_or(0) == 0 && a.u32(6).unwrap_or(0) == 0 => Expr::Log(Log {
            prefix: a.string(2),
            level: a.u32(5).filter(|&level| level != DEFAULT_LOG_LEVEL),
            group: a.get(1).map(|group| group.u16()),
        }),
        "notrack" => Expr::Notrack,
        _ => return None,
    })
}

/// What a dynset keeps in each element: one expression, or since kernel 5.11 a list.
fn stateful(a: Attrs) -> Vec<Expr> {
    match a.get(7) {
        Some(one) => vec![expression(one.nested())],
        None => expressions(a.nested(10)).0,
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
    Some(Data::new(attr?.nested().get(1)?.value))
}

/// The verdict of `NFTA_DATA_VERDICT` among attributes.
pub(super) fn verdict(data: Attrs) -> Option<Verdict> {
    let a = data.get(2)?.nested();
    Some(match a.u32(1)? as i32 {
        0 => Verdict::Drop,
        1 => Verdict::Accept,
        -1 => Verdict::Continue,
        -3 => Verdict::Jump(a.string(2)?),
        -4 => Verdict::Goto(a.string(2)?),
        -5 => Verdict::Return,
        code => Verdict::Other(code),
    })
}
