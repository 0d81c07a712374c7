//! What a rule does with a packet.

use std::net::IpAddr;

use super::{Load, Statement};
use crate::nftables::data::Port;
use crate::nftables::expr::*;
use crate::nftables::family::Family;

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

/// To a port of this host. Match [`l4proto`](super::l4proto) first.
pub fn redirect_to(port: Port) -> Statement {
    Statement(vec![
        Expr::Immediate { value: port.into(), to: Reg::FIRST },
        Expr::Redirect { port: Some((Reg::FIRST, Reg::FIRST)), flags: NatFlags::default() },
    ])
}

/// A new destination. With a port, match [`l4proto`](super::l4proto) first.
pub fn dnat_to(addr: IpAddr, port: Option<Port>) -> Statement {
    nat_to(NatKind::Dnat, addr, port)
}

/// A new source. With a port, match [`l4proto`](super::l4proto) first.
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

/// A new destination that `to` yields: address and port, one behind the other. Match [`l4proto`](super::l4proto) first.
pub fn dnat_addr_port(family: Family, to: Load) -> Statement {
    nat_loaded(NatKind::Dnat, family, to, true)
}

/// A new destination: an address that `to` yields, and this port. Match [`l4proto`](super::l4proto) first.
pub fn dnat_addr_to_port(family: Family, to: Load, port: Port) -> Statement {
    let mut exprs = to.load();
    let (addr, port_reg) = (Reg::FIRST, Reg::FIRST.after_aligned(16));
    exprs.push(Expr::Immediate { value: port.into(), to: port_reg });
    exprs.push(Expr::Nat {
        kind: NatKind::Dnat,
        family: family.code(),
        addr: Some((addr, addr)),
        port: Some((port_reg, port_reg)),
        flags: NatFlags::default(),
    });
    Statement(exprs)
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

/// Match [`l4proto`](super::l4proto) TCP first.
pub fn reject_tcp_reset() -> Statement {
    Statement(vec![Expr::Reject(Reject::TcpReset)])
}

/// Adds the key to a dynamic set; `timeout` in milliseconds, else the set's own.
pub fn add_to(set: &str, key: Load, timeout: Option<u64>) -> Statement {
    dynset(DynsetOp::Add, set, key, None, timeout)
}

/// The same, and starts the timeout again where the key is there already.
pub fn update(set: &str, key: Load, timeout: Option<u64>) -> Statement {
    dynset(DynsetOp::Update, set, key, None, timeout)
}

/// Writes a key with its value to a dynamic map, and starts its timeout again where it is there already. The
/// value that is there stays (nf_tables never replaces one).
pub fn update_map(set: &str, key: Load, data: Load, timeout: Option<u64>) -> Statement {
    dynset(DynsetOp::Update, set, key, Some(data), timeout)
}

/// Deletes a key from a dynamic map. nf_tables asks for a value even so.
pub fn delete_from_map(set: &str, key: Load, data: Load) -> Statement {
    dynset(DynsetOp::Delete, set, key, Some(data), None)
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
    limit_with(Limit { rate, per: 1, burst, unit: LimitUnit::Packets, over: false })
}

pub fn limit_with(limit: Limit) -> Statement {
    Statement(vec![Expr::Limit(limit)])
}

/// Writes to the kernel's log.
pub fn log(prefix: &str) -> Statement {
    log_with(Log { prefix: Some(prefix.to_owned()), ..Log::default() })
}

pub fn log_with(log: Log) -> Statement {
    Statement(vec![Expr::Log(log)])
}
