//! What can be loaded: fields of the packet, its metadata, its connection, and what is computed from them.

use crate::nftables::data::{Data, Type};
use crate::nftables::expr::*;
use crate::nftables::family::Family;

/// Something that can be loaded into registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Load {
    Payload {
        base: Base,
        offset: u32,
        len: u32,
    },
    Meta(Meta),
    Ct(Ct, Option<Direction>),
    Fib(FibResult, FibFlags),
    Numgen {
        kind: NumgenKind,
        modulus: u32,
        offset: u32,
    },
    Jhash {
        of: Box<Load>,
        modulus: u32,
        seed: Option<u32>,
        offset: u32,
    },
    Symhash {
        modulus: u32,
        offset: u32,
    },
    /// `(load & mask) ^ xor`
    Bits {
        of: Box<Load>,
        mask: Data,
        xor: Data,
    },
    Value(Data),
    Concat(Vec<Load>),
    /// What the map `set` holds for the key.
    Map {
        key: Box<Load>,
        set: String,
    },
}

pub fn ip_saddr() -> Load {
    Load::Payload { base: Base::Network, offset: 12, len: 4 }
}

pub fn ip_daddr() -> Load {
    Load::Payload { base: Base::Network, offset: 16, len: 4 }
}

pub fn ip6_saddr() -> Load {
    Load::Payload { base: Base::Network, offset: 8, len: 16 }
}

pub fn ip6_daddr() -> Load {
    Load::Payload { base: Base::Network, offset: 24, len: 16 }
}

/// The source address in a table of this family; an inet table has to ask for [`nfproto`] first.
pub fn saddr(family: Family) -> Load {
    if family == Family::Ip6 { ip6_saddr() } else { ip_saddr() }
}

/// The destination address, likewise.
pub fn daddr(family: Family) -> Load {
    if family == Family::Ip6 { ip6_daddr() } else { ip_daddr() }
}

/// The source port of TCP, UDP or SCTP: match [`l4proto`] first, or load it beside this.
pub fn th_sport() -> Load {
    Load::Payload { base: Base::Transport, offset: 0, len: 2 }
}

pub fn th_dport() -> Load {
    Load::Payload { base: Base::Transport, offset: 2, len: 2 }
}

pub fn mark() -> Load {
    Load::Meta(Meta::Mark)
}

pub fn l4proto() -> Load {
    Load::Meta(Meta::L4Proto)
}

pub fn nfproto() -> Load {
    Load::Meta(Meta::NfProto)
}

pub fn iif() -> Load {
    Load::Meta(Meta::Iif)
}

pub fn oif() -> Load {
    Load::Meta(Meta::Oif)
}

pub fn iifname() -> Load {
    Load::Meta(Meta::IifName)
}

pub fn oifname() -> Load {
    Load::Meta(Meta::OifName)
}

pub fn ct_state() -> Load {
    Load::Ct(Ct::State, None)
}

pub fn ct_status() -> Load {
    Load::Ct(Ct::Status, None)
}

pub fn ct_mark() -> Load {
    Load::Ct(Ct::Mark, None)
}

pub fn ct_direction() -> Load {
    Load::Ct(Ct::Direction, None)
}

/// The destination address of the connection's first packet, before any NAT.
pub fn ct_original_daddr(family: Family) -> Load {
    Load::Ct(if family == Family::Ip6 { Ct::DstIp6 } else { Ct::DstIp }, Some(Direction::Original))
}

/// The source address of the connection's first packet.
pub fn ct_original_saddr(family: Family) -> Load {
    Load::Ct(if family == Family::Ip6 { Ct::SrcIp6 } else { Ct::SrcIp }, Some(Direction::Original))
}

/// The destination port of the connection's first packet.
pub fn ct_original_proto_dst() -> Load {
    Load::Ct(Ct::ProtoDst, Some(Direction::Original))
}

/// Bits of [`ct_state`] for [`Load::has`].
pub mod state {
    pub const INVALID: u32 = 1;
    pub const ESTABLISHED: u32 = 2;
    pub const RELATED: u32 = 4;
    pub const NEW: u32 = 8;
    pub const UNTRACKED: u32 = 64;
}

/// Bits of [`ct_status`] for [`Load::has`].
pub mod status {
    /// The connection's first packet has left.
    pub const CONFIRMED: u32 = 8;
    pub const SNAT: u32 = 16;
    pub const DNAT: u32 = 32;
}

/// Values of [`fib_saddr_type`] and [`fib_daddr_type`] (`RTN_*`).
pub mod addr_type {
    pub const UNICAST: u32 = 1;
    pub const LOCAL: u32 = 2;
    pub const BROADCAST: u32 = 3;
    pub const MULTICAST: u32 = 5;
}

/// What the routing table says of the packet.
pub fn fib(result: FibResult, of: FibFlags) -> Load {
    Load::Fib(result, of)
}

pub fn fib_saddr_type() -> Load {
    Load::Fib(FibResult::Type, FibFlags { saddr: true, ..FibFlags::default() })
}

pub fn fib_daddr_type() -> Load {
    Load::Fib(FibResult::Type, FibFlags { daddr: true, ..FibFlags::default() })
}

/// A number in `0..modulus`, at random for each packet.
pub fn numgen_random(modulus: u32) -> Load {
    Load::Numgen { kind: NumgenKind::Random, modulus, offset: 0 }
}

/// The numbers in `0..modulus` in turn.
pub fn numgen_inc(modulus: u32) -> Load {
    Load::Numgen { kind: NumgenKind::Incremental, modulus, offset: 0 }
}

/// A number in `0..modulus` that depends on `of` alone. Without a seed the kernel draws one per rule.
pub fn jhash(of: Load, modulus: u32, seed: Option<u32>) -> Load {
    Load::Jhash { of: Box::new(of), modulus, seed, offset: 0 }
}

/// A number in `0..modulus` by the flow, the same in both directions.
pub fn symhash(modulus: u32) -> Load {
    Load::Symhash { modulus, offset: 0 }
}

/// A key or value of several fields, `a . b . c`.
pub fn concat(fields: impl Into<Vec<Load>>) -> Load {
    Load::Concat(fields.into())
}

/// A constant.
pub fn value(data: impl Into<Data>) -> Load {
    Load::Value(data.into())
}

impl Load {
    /// Adds a number to what `numgen`, `jhash` or `symhash` made; without effect on anything else.
    pub fn offset(mut self, by: u32) -> Load {
        match &mut self {
            Load::Numgen { offset, .. } | Load::Jhash { offset, .. } | Load::Symhash { offset, .. } => {
                *offset = by
            }
            _ => {}
        }
        self
    }

    /// `load & mask` for loads of four bytes in the host's order, such as marks.
    pub fn and(self, mask: u32) -> Load {
        self.bits(mask, 0)
    }

    /// `load | bits`
    pub fn or(self, bits: u32) -> Load {
        self.bits(!bits, bits)
    }

    /// `load ^ bits`
    pub fn xor(self, bits: u32) -> Load {
        self.bits(u32::MAX, bits)
    }

    fn bits(self, mask: u32, xor: u32) -> Load {
        Load::Bits { of: Box::new(self), mask: mask.into(), xor: xor.into() }
    }

    /// What the map holds for this key. Nothing found: the rule ends here.
    pub fn map(self, set: &str) -> Load {
        Load::Map { key: Box::new(self), set: set.to_owned() }
    }

    pub(super) fn host_order(&self) -> bool {
        match self {
            Load::Meta(key) => key.kind().is_some_and(Type::host_order),
            Load::Ct(key, _) => key.kind().is_some_and(Type::host_order),
            Load::Numgen { .. } | Load::Jhash { .. } | Load::Symhash { .. } | Load::Fib(..) => true,
            Load::Bits { of, .. } => of.host_order(),
            Load::Payload { .. } | Load::Value(_) | Load::Concat(_) | Load::Map { .. } => false,
        }
    }

    /// The bytes that it takes, each field of a concatenation padded. A map's are not known here: one address.
    pub(super) fn len(&self) -> usize {
        match self {
            Load::Payload { len, .. } => *len as usize,
            Load::Meta(key) => key.kind().map_or(4, Type::size),
            Load::Ct(key, _) => key.kind().map_or(4, Type::size),
            Load::Fib(FibResult::OifName, _) => 16,
            Load::Value(data) => data.len(),
            Load::Bits { of, .. } => of.len(),
            Load::Concat(fields) => fields.iter().map(|field| field.len().next_multiple_of(4)).sum(),
            _ => 4,
        }
    }

    pub(super) fn load(&self) -> Vec<Expr> {
        let mut exprs = Vec::new();
        self.load_to(Reg::FIRST, &mut exprs);
        exprs
    }

    pub(super) fn load_to(&self, to: Reg, out: &mut Vec<Expr>) {
        match self {
            &Load::Payload { base, offset, len } => out.push(Expr::Payload { base, offset, len, to }),
            &Load::Meta(key) => out.push(Expr::Meta { key, to }),
            &Load::Ct(key, direction) => out.push(Expr::Ct { key, direction, to }),
            &Load::Fib(result, flags) => out.push(Expr::Fib { result, flags, to }),
            &Load::Numgen { kind, modulus, offset } => out.push(Expr::Numgen { kind, modulus, offset, to }),
            Load::Jhash { of, modulus, seed, offset } => {
                let from = to.after_aligned(4);
                of.load_to(from, out);
                let len = of.len() as u32;
                out.push(Expr::Jhash { from, len, modulus: *modulus, seed: *seed, offset: *offset, to });
            }
            &Load::Symhash { modulus, offset } => out.push(Expr::Symhash { modulus, offset, to }),
            Load::Bits { of, mask, xor } => {
                of.load_to(to, out);
                out.push(Expr::Bitwise { from: to, to, mask: mask.clone(), xor: xor.clone() });
            }
            Load::Value(value) => out.push(Expr::Immediate { value: value.clone(), to }),
            Load::Concat(fields) => {
                let mut next = to;
                for field in fields {
                    field.load_to(next, out);
                    next = next.after(field.len());
                }
            }
            Load::Map { key, set } => {
                key.load_to(to, out);
                out.push(Expr::Lookup { set: set.clone(), key: to, found: Found::Data(to) });
            }
        }
    }
}
