//! What a rule is made of: the kernel's expressions, each an instruction of a small register machine.
//!
//! The names and fields follow linux/netfilter/nf_tables.h. Rules are not written by hand in these terms:
//! see [`super::build`].

use super::data::{Data, Type};

/// One of the sixteen 32-bit registers, 0..=15. A longer value takes those that follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reg(pub(super) u8);

impl Reg {
    pub const FIRST: Reg = Reg(0);

    /// Which of the sixteen, 0..=15.
    pub fn index(self) -> usize {
        self.0.into()
    }

    /// The register behind a value of `bytes` bytes that lies here.
    pub fn after(self, bytes: usize) -> Reg {
        Reg(self.0.saturating_add(bytes.div_ceil(4).min(16) as u8))
    }

    /// The register behind such a value that starts on a boundary of 16 bytes, where nft puts the second
    /// value that an expression takes.
    pub fn after_aligned(self, bytes: usize) -> Reg {
        Reg(self.after(bytes).0.next_multiple_of(4))
    }
}

/// What becomes of the packet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Verdict {
    Accept,
    Drop,
    Continue,
    Return,
    Jump(String),
    Goto(String),
    /// A verdict that we never use (break, queue, stolen), by its code.
    Other(i32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Base {
    Link,
    Network,
    Transport,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Meta {
    Mark,
    Iif,
    Oif,
    IifName,
    OifName,
    NfProto,
    L4Proto,
    /// Another key, by its number.
    Other(u32),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ct {
    State,
    Direction,
    Status,
    Mark,
    /// Addresses of either family, as old kernels have them: inet tables use the following ones.
    Src,
    Dst,
    ProtoSrc,
    ProtoDst,
    SrcIp,
    DstIp,
    SrcIp6,
    DstIp6,
    /// Another key, by its number.
    Other(u32),
}

/// Which of a connection's two tuples.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    Original,
    Reply,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CmpOp {
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FibResult {
    Oif,
    OifName,
    Type,
}

/// What a fib lookup takes from the packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct FibFlags {
    pub saddr: bool,
    pub daddr: bool,
    pub mark: bool,
    pub iif: bool,
    pub oif: bool,
    /// Ask only whether there is a result.
    pub present: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NumgenKind {
    Incremental,
    Random,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NatKind {
    Snat,
    Dnat,
}

/// `NF_NAT_RANGE_*` (linux/netfilter/nf_nat.h) as far as a caller chooses; the kernel's two flags that say
/// which of address and port are given follow from the registers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct NatFlags {
    pub random: bool,
    pub fully_random: bool,
    pub persistent: bool,
}

/// A first and a last value, in registers.
pub type RegRange = (Reg, Reg);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reject {
    /// ICMP (or, in an ip6 table, ICMPv6) destination unreachable with this code.
    Icmp(u8),
    TcpReset,
    /// Either, by the packet's family: code of `enum nft_reject_inet_code`. For inet tables.
    Icmpx(u8),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DynsetOp {
    Add,
    Update,
    Delete,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LimitUnit {
    Packets,
    Bytes,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Limit {
    pub rate: u64,
    /// The time for which the rate is given, in seconds: 1, 60, 3600, 86400 or 604800.
    pub per: u64,
    pub burst: u32,
    pub unit: LimitUnit,
    /// Match what is above the rate.
    pub over: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Default)]
pub struct Log {
    pub prefix: Option<String>,
    /// syslog level, 0..=7; `None` is 4, warning, and the only one with a group.
    pub level: Option<u32>,
    /// nfnetlink_log group instead of the kernel's log.
    pub group: Option<u16>,
}

/// What a lookup in a set does with the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Found {
    /// Go on if the key is there.
    Member,
    /// Go on if it is not.
    NotMember,
    /// Do as the map says.
    Verdict,
    /// Load what the map holds.
    Data(Reg),
}

/// One expression of a rule.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Expr {
    Payload {
        base: Base,
        offset: u32,
        len: u32,
        to: Reg,
    },
    Meta {
        key: Meta,
        to: Reg,
    },
    SetMeta {
        key: Meta,
        from: Reg,
    },
    Ct {
        key: Ct,
        direction: Option<Direction>,
        to: Reg,
    },
    SetCt {
        key: Ct,
        from: Reg,
    },
    Fib {
        result: FibResult,
        flags: FibFlags,
        to: Reg,
    },
    Numgen {
        kind: NumgenKind,
        modulus: u32,
        offset: u32,
        to: Reg,
    },
    Jhash {
        from: Reg,
        len: u32,
        modulus: u32,
        seed: Option<u32>,
        offset: u32,
        to: Reg,
    },
    Symhash {
        modulus: u32,
        offset: u32,
        to: Reg,
    },
    /// `to = (from & mask) ^ xor`
    Bitwise {
        from: Reg,
        to: Reg,
        mask: Data,
        xor: Data,
    },
    /// Turns numbers of `size` bytes, `len` bytes in all, from the host's to network order.
    ToNetworkOrder {
        from: Reg,
        to: Reg,
        len: u32,
        size: u32,
    },
    Immediate {
        value: Data,
        to: Reg,
    },
    Cmp {
        op: CmpOp,
        reg: Reg,
        value: Data,
    },
    Range {
        inverted: bool,
        reg: Reg,
        first: Data,
        last: Data,
    },
    Lookup {
        set: String,
        key: Reg,
        found: Found,
    },
    Verdict(Verdict),
    /// Counts packets and bytes. Its numbers are not part of the rule: see [`super::ListedRule::counts`].
    Counter,
    /// A named object; 1 is a counter.
    Object {
        kind: u32,
        name: String,
    },
    /// An object chosen by a map.
    ObjectMap {
        set: String,
        key: Reg,
    },
    Nat {
        kind: NatKind,
        family: u8,
        addr: Option<RegRange>,
        port: Option<RegRange>,
        flags: NatFlags,
    },
    Masquerade {
        port: Option<RegRange>,
        flags: NatFlags,
    },
    Redirect {
        port: Option<RegRange>,
        flags: NatFlags,
    },
    Reject(Reject),
    /// Writes an element; `timeout` in milliseconds. `with` holds counters or limits kept in each element.
    Dynset {
        op: DynsetOp,
        set: String,
        key: Reg,
        data: Option<Reg>,
        timeout: Option<u64>,
        with: Vec<Expr>,
    },
    Limit(Limit),
    Log(Log),
    Notrack,
    /// An expression that we do not know, or know with attributes that we do not: its name and its bytes.
    Unknown {
        name: String,
        data: Data,
    },
}

impl Meta {
    /// The type of its value.
    pub(super) fn kind(self) -> Option<Type> {
        Some(match self {
            Meta::Mark => Type::Mark,
            Meta::Iif | Meta::Oif => Type::IfIndex,
            Meta::IifName | Meta::OifName => Type::IfName,
            Meta::NfProto => Type::NfProto,
            Meta::L4Proto => Type::InetProto,
            Meta::Other(_) => return None,
        })
    }
}

impl Ct {
    /// The type of its value.
    pub(super) fn kind(self) -> Option<Type> {
        Some(match self {
            Ct::State => Type::CtState,
            Ct::Direction => Type::CtDirection,
            Ct::Status => Type::CtStatus,
            Ct::Mark => Type::Mark,
            Ct::ProtoSrc | Ct::ProtoDst => Type::InetService,
            Ct::SrcIp | Ct::DstIp => Type::Ipv4Addr,
            Ct::SrcIp6 | Ct::DstIp6 => Type::Ipv6Addr,
            Ct::Src | Ct::Dst | Ct::Other(_) => return None,
        })
    }
}
