//! Rules written as nft writes them.
//!
//! ```
//! use host::nftables::{Family, Proto, Port, Rule, TableId, build::*};
//! let table = TableId::new(Family::Ip, "weft");
//! let rule = Rule::new(&table, "input", [
//!     ip_saddr().is("10.0.0.0/8".parse::<ipnet::IpNet>().unwrap()),
//!     l4proto().is(Proto::TCP),
//!     th_dport().is(Port(80)),
//!     counter(),
//!     accept(),
//! ]);
//! assert_eq!(rule.to_string(), "ip saddr 10.0.0.0/8 meta l4proto tcp th dport 80 counter accept");
//! ```
//!
//! A [`Load`] is what stands on the left of a comparison, in a key, or behind `set`; a [`Statement`] is a part
//! of a rule. Registers are chosen here, as nft chooses them: each statement starts at the first one.

use std::net::IpAddr;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::data::{Data, Port};
use super::expr::*;
use super::object::Family;

/// A part of a rule: a match, or something done to the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement(pub Vec<Expr>);

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

/// What a load is compared with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pattern {
    Exact(Data),
    /// The first bits of a value.
    Prefix(Data, u8),
}

impl<T: Into<Data>> From<T> for Pattern {
    fn from(value: T) -> Self {
        Pattern::Exact(value.into())
    }
}

impl From<IpNet> for Pattern {
    fn from(net: IpNet) -> Self {
        let bytes = Data::from(net.network());
        if net.prefix_len() == net.max_prefix_len() {
            Pattern::Exact(bytes)
        } else {
            Pattern::Prefix(bytes, net.prefix_len())
        }
    }
}

impl From<Ipv4Net> for Pattern {
    fn from(net: Ipv4Net) -> Self {
        IpNet::V4(net).into()
    }
}

impl From<Ipv6Net> for Pattern {
    fn from(net: Ipv6Net) -> Self {
        IpNet::V6(net).into()
    }
}

/// The name of an interface; a trailing `*` stands for any rest.
impl From<&str> for Pattern {
    fn from(name: &str) -> Self {
        Pattern::Exact(Data::ifname(name))
    }
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
pub fn concat<const N: usize>(fields: [Load; N]) -> Load {
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

    pub fn is(self, pattern: impl Into<Pattern>) -> Statement {
        self.compare(CmpOp::Eq, pattern.into())
    }

    pub fn is_not(self, pattern: impl Into<Pattern>) -> Statement {
        self.compare(CmpOp::Ne, pattern.into())
    }

    pub fn less_than(self, value: impl Into<Data>) -> Statement {
        self.ordered([(CmpOp::Lt, value.into())])
    }

    pub fn at_most(self, value: impl Into<Data>) -> Statement {
        self.ordered([(CmpOp::Le, value.into())])
    }

    pub fn more_than(self, value: impl Into<Data>) -> Statement {
        self.ordered([(CmpOp::Gt, value.into())])
    }

    pub fn at_least(self, value: impl Into<Data>) -> Statement {
        self.ordered([(CmpOp::Ge, value.into())])
    }

    /// From `first` to `last`, both included.
    pub fn between(self, first: impl Into<Data>, last: impl Into<Data>) -> Statement {
        self.ordered([(CmpOp::Ge, first.into()), (CmpOp::Le, last.into())])
    }

    /// Outside of `first` to `last`.
    pub fn not_between(self, first: impl Into<Data>, last: impl Into<Data>) -> Statement {
        let host_order = self.host_order();
        let (mut exprs, [first, last]) =
            (self.comparable(), [first.into(), last.into()].map(|v| network(v, host_order)));
        exprs.push(Expr::Range { inverted: true, reg: Reg::FIRST, first, last });
        Statement(exprs)
    }

    /// At least one of the bits is set: `ct state new,established`, `ct status dnat`.
    pub fn has(self, bits: u32) -> Statement {
        self.and(bits).is_not(0)
    }

    /// None of the bits is set.
    pub fn lacks(self, bits: u32) -> Statement {
        self.and(bits).is(0)
    }

    pub fn is_in(self, set: &str) -> Statement {
        self.lookup(set, Found::Member)
    }

    pub fn is_not_in(self, set: &str) -> Statement {
        self.lookup(set, Found::NotMember)
    }

    /// Does what the map of verdicts says for this key. Nothing found: the rule ends here.
    pub fn vmap(self, set: &str) -> Statement {
        self.lookup(set, Found::Verdict)
    }

    fn lookup(self, set: &str, found: Found) -> Statement {
        let mut exprs = self.load();
        exprs.push(Expr::Lookup { set: set.to_owned(), key: Reg::FIRST, found });
        Statement(exprs)
    }

    fn compare(self, op: CmpOp, pattern: Pattern) -> Statement {
        let (load, value) = match (self, pattern) {
            // A prefix of whole bytes is compared by loading only those, as nft does.
            (Load::Payload { base, offset, .. }, Pattern::Prefix(value, bits))
                if bits > 0 && bits.is_multiple_of(8) =>
            {
                let len = bits / 8;
                (Load::Payload { base, offset, len: len.into() }, Data::new(&value.bytes()[..len.into()]))
            }
            (load, Pattern::Prefix(value, bits)) => {
                let mask = prefix_mask(bits, value.len());
                let xor = Data::new(&vec![0; value.len()]);
                (Load::Bits { of: Box::new(load), mask, xor }, value)
            }
            (load, Pattern::Exact(value)) => (load, value),
        };
        let mut exprs = load.load();
        exprs.push(Expr::Cmp { op, reg: Reg::FIRST, value });
        Statement(exprs)
    }

    fn ordered<const N: usize>(self, tests: [(CmpOp, Data); N]) -> Statement {
        let host_order = self.host_order();
        let mut exprs = self.comparable();
        exprs.extend(tests.map(|(op, value)| Expr::Cmp {
            op,
            reg: Reg::FIRST,
            value: network(value, host_order),
        }));
        Statement(exprs)
    }

    /// Loads in network order, in which the kernel compares: byte by byte.
    fn comparable(self) -> Vec<Expr> {
        let (host_order, len) = (self.host_order(), self.len() as u32);
        let mut exprs = self.load();
        if host_order {
            exprs.push(Expr::ToNetworkOrder { from: Reg::FIRST, to: Reg::FIRST, len, size: len });
        }
        exprs
    }

    fn host_order(&self) -> bool {
        match self {
            Load::Meta(key) => key.kind().is_some_and(super::data::Type::host_order),
            Load::Ct(key, _) => key.kind().is_some_and(super::data::Type::host_order),
            Load::Numgen { .. } | Load::Jhash { .. } | Load::Symhash { .. } | Load::Fib(..) => true,
            Load::Bits { of, .. } => of.host_order(),
            Load::Payload { .. } | Load::Value(_) | Load::Concat(_) | Load::Map { .. } => false,
        }
    }

    /// The bytes that it takes, each field of a concatenation padded. A map's are not known here: one address.
    fn len(&self) -> usize {
        match self {
            Load::Payload { len, .. } => *len as usize,
            Load::Meta(key) => key.kind().map_or(4, |kind| kind.len()),
            Load::Ct(key, _) => key.kind().map_or(4, |kind| kind.len()),
            Load::Fib(FibResult::OifName, _) => 16,
            Load::Value(data) => data.len(),
            Load::Bits { of, .. } => of.len(),
            Load::Concat(fields) => fields.iter().map(|field| field.len().next_multiple_of(4)).sum(),
            _ => 4,
        }
    }

    fn load(&self) -> Vec<Expr> {
        let mut exprs = Vec::new();
        self.load_to(Reg::FIRST, &mut exprs);
        exprs
    }

    fn load_to(&self, to: Reg, out: &mut Vec<Expr>) {
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

fn network(value: Data, host_order: bool) -> Data {
    if host_order && cfg!(target_endian = "little") {
        let mut bytes = value.bytes().to_vec();
        bytes.reverse();
        return Data::new(&bytes);
    }
    value
}

fn prefix_mask(bits: u8, len: usize) -> Data {
    let mut mask = vec![0u8; len];
    for bit in 0..usize::from(bits) {
        mask[bit / 8] |= 0x80 >> (bit % 8);
    }
    Data::new(&mask)
}

pub fn accept() -> Statement {
    verdict(Verdict::Accept)
}

/// `drop`, which is taken in Rust.
pub fn discard() -> Statement {
    verdict(Verdict::Drop)
}

/// `return`, which is taken in Rust.
pub fn go_back() -> Statement {
    verdict(Verdict::Return)
}

pub fn jump(chain: &str) -> Statement {
    verdict(Verdict::Jump(chain.to_owned()))
}

pub fn goto(chain: &str) -> Statement {
    verdict(Verdict::Goto(chain.to_owned()))
}

pub fn verdict(verdict: Verdict) -> Statement {
    Statement(vec![Expr::Verdict(verdict)])
}

pub fn counter() -> Statement {
    Statement(vec![Expr::Counter])
}

/// Counts in the named counter of the table.
pub fn counter_named(name: &str) -> Statement {
    Statement(vec![Expr::Object { kind: 1, name: name.to_owned() }])
}

/// Counts in the named counter that the map holds for the key.
pub fn counter_map(key: Load, set: &str) -> Statement {
    let mut exprs = key.load();
    exprs.push(Expr::ObjectMap { set: set.to_owned(), key: Reg::FIRST });
    Statement(exprs)
}

pub fn set_mark(to: Load) -> Statement {
    let mut exprs = to.load();
    exprs.push(Expr::SetMeta { key: Meta::Mark, from: Reg::FIRST });
    Statement(exprs)
}

pub fn set_ct_mark(to: Load) -> Statement {
    let mut exprs = to.load();
    exprs.push(Expr::SetCt { key: Ct::Mark, from: Reg::FIRST });
    Statement(exprs)
}

pub fn notrack() -> Statement {
    Statement(vec![Expr::Notrack])
}

pub fn masquerade() -> Statement {
    masquerade_with(NatFlags::default())
}

pub fn masquerade_fully_random() -> Statement {
    masquerade_with(NatFlags { fully_random: true, ..NatFlags::default() })
}

pub fn masquerade_with(flags: NatFlags) -> Statement {
    Statement(vec![Expr::Masquerade { port: None, flags }])
}

/// To a port of this host. Match [`l4proto`] first.
pub fn redirect_to(port: Port) -> Statement {
    Statement(vec![
        Expr::Immediate { value: port.into(), to: Reg::FIRST },
        Expr::Redirect { port: Some((Reg::FIRST, Reg::FIRST)), flags: NatFlags::default() },
    ])
}

/// A new destination. With a port, match [`l4proto`] first.
pub fn dnat_to(addr: IpAddr, port: Option<Port>) -> Statement {
    nat_to(NatKind::Dnat, addr, port)
}

/// A new source. With a port, match [`l4proto`] first.
pub fn snat_to(addr: IpAddr, port: Option<Port>) -> Statement {
    nat_to(NatKind::Snat, addr, port)
}

fn nat_to(kind: NatKind, addr: IpAddr, port: Option<Port>) -> Statement {
    let mut exprs = vec![Expr::Immediate { value: addr.into(), to: Reg::FIRST }];
    let port_reg = Reg::FIRST.after_aligned(16);
    if let Some(port) = port {
        exprs.push(Expr::Immediate { value: port.into(), to: port_reg });
    }
    let family = if addr.is_ipv4() { Family::Ip } else { Family::Ip6 };
    exprs.push(Expr::Nat {
        kind,
        family: family.code(),
        addr: Some((Reg::FIRST, Reg::FIRST)),
        port: port.map(|_| (port_reg, port_reg)),
        flags: NatFlags::default(),
    });
    Statement(exprs)
}

/// A new destination that `to` yields: an address of `family`, as by [`Load::map`].
pub fn dnat_addr(family: Family, to: Load) -> Statement {
    nat_loaded(NatKind::Dnat, family, to, false)
}

/// A new destination that `to` yields: address and port, one behind the other. Match [`l4proto`] first.
pub fn dnat_addr_port(family: Family, to: Load) -> Statement {
    nat_loaded(NatKind::Dnat, family, to, true)
}

/// A new source address that `to` yields.
pub fn snat_addr(family: Family, to: Load) -> Statement {
    nat_loaded(NatKind::Snat, family, to, false)
}

fn nat_loaded(kind: NatKind, family: Family, to: Load, with_port: bool) -> Statement {
    let mut exprs = to.load();
    let addr = Reg::FIRST;
    let port = addr.after(if family == Family::Ip6 { 16 } else { 4 });
    exprs.push(Expr::Nat {
        kind,
        family: family.code(),
        addr: Some((addr, addr)),
        port: with_port.then_some((port, port)),
        flags: NatFlags::default(),
    });
    Statement(exprs)
}

/// Codes for [`reject_icmp`] (RFC 792).
pub mod icmp {
    pub const NET_UNREACHABLE: u8 = 0;
    pub const HOST_UNREACHABLE: u8 = 1;
    pub const PORT_UNREACHABLE: u8 = 3;
    pub const ADMIN_PROHIBITED: u8 = 13;
}

/// Codes for [`reject_icmpv6`] (RFC 4443).
pub mod icmpv6 {
    pub const NO_ROUTE: u8 = 0;
    pub const ADMIN_PROHIBITED: u8 = 1;
    pub const ADDR_UNREACHABLE: u8 = 3;
    pub const PORT_UNREACHABLE: u8 = 4;
}

/// Port unreachable, in the form of the table's family.
pub fn reject(family: Family) -> Statement {
    match family {
        Family::Ip => reject_icmp(icmp::PORT_UNREACHABLE),
        Family::Ip6 => reject_icmpv6(icmpv6::PORT_UNREACHABLE),
        _ => Statement(vec![Expr::Reject(Reject::Icmpx(1))]),
    }
}

pub fn reject_icmp(code: u8) -> Statement {
    Statement(vec![Expr::Reject(Reject::Icmp(code))])
}

pub fn reject_icmpv6(code: u8) -> Statement {
    Statement(vec![Expr::Reject(Reject::Icmp(code))])
}

/// Match [`l4proto`] TCP first.
pub fn reject_tcp_reset() -> Statement {
    Statement(vec![Expr::Reject(Reject::TcpReset)])
}

/// Adds the key to a dynamic set; `timeout` in milliseconds, else the set's own.
pub fn add_to(set: &str, key: Load, timeout: Option<u64>) -> Statement {
    dynset(DynsetOp::Add, set, key, None, timeout)
}

/// The same, and starts the timeout anew where the key is there already.
pub fn update(set: &str, key: Load, timeout: Option<u64>) -> Statement {
    dynset(DynsetOp::Update, set, key, None, timeout)
}

/// Writes a key with its value to a dynamic map, and starts its timeout anew where it is there already. The
/// value that is there stays (nf_tables never replaces one).
pub fn update_map(set: &str, key: Load, data: Load, timeout: Option<u64>) -> Statement {
    dynset(DynsetOp::Update, set, key, Some(data), timeout)
}

fn dynset(op: DynsetOp, set: &str, key: Load, data: Option<Load>, timeout: Option<u64>) -> Statement {
    let mut exprs = key.load();
    let data_reg = Reg::FIRST.after_aligned(key.len());
    if let Some(data) = &data {
        data.load_to(data_reg, &mut exprs);
    }
    exprs.push(Expr::Dynset {
        op,
        set: set.to_owned(),
        key: Reg::FIRST,
        data: data.map(|_| data_reg),
        timeout,
        with: Vec::new(),
    });
    Statement(exprs)
}

/// Matches up to `rate` packets per second, after `burst` packets at once.
pub fn limit(rate: u64, burst: u32) -> Statement {
    Statement(vec![Expr::Limit(Limit { rate, per: 1, burst, unit: LimitUnit::Packets, over: false })])
}

/// Writes to the kernel's log.
pub fn log(prefix: &str) -> Statement {
    Statement(vec![Expr::Log(Log { prefix: Some(prefix.to_owned()), ..Log::default() })])
}
