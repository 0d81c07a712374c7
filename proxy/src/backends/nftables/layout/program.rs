//! Rules by registers: the keys that nft's own way of choosing registers has no room for.
//!
//! The sixteen registers hold four bytes each: the key of a service in the first ones, what completes it behind.
//! Nothing that a lookup yields becomes part of another key: nft 1.0.6 dies on an assertion when it lists such rules.

use host::nftables::build::Statement;
use host::nftables::expr::{
    Base, Ct, Direction, DynsetOp, Expr, Found, Meta, NatFlags, NatKind, NumgenKind, Reg,
};
use host::nftables::{Data, Port};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use proxy_core::names::Family;
use proxy_core::table::Scope;

use super::shape::{Affinity, AffinityKey, By};
use super::{Kept, SCOPES, affinity, nft_family};

/// A rule in the making.
pub(super) struct Program {
    family: Family,
    exprs: Vec<Expr>,
    /// The first register behind what has been loaded.
    next: usize,
}

fn reg(index: usize) -> Reg {
    Reg::FIRST.after(4 * index)
}

impl Program {
    pub fn new(family: Family) -> Self {
        Self { family, exprs: Vec::new(), next: 0 }
    }

    /// The registers that an address takes.
    fn addr(&self) -> usize {
        if self.family == Family::V4 { 1 } else { 4 }
    }

    fn push(mut self, words: usize, load: impl FnOnce(Reg) -> Expr) -> Self {
        self.exprs.push(load(reg(self.next)));
        self.next += words;
        self
    }

    fn address(self, source: bool) -> Self {
        let (offset, len) = match (self.family, source) {
            (Family::V4, true) => (12, 4),
            (Family::V4, false) => (16, 4),
            (Family::V6, true) => (8, 16),
            (Family::V6, false) => (24, 16),
        };
        let words = self.addr();
        self.push(words, |to| Expr::Payload { base: Base::Network, offset, len, to })
    }

    fn port(self) -> Self {
        self.push(1, |to| Expr::Payload { base: Base::Transport, offset: 2, len: 2, to })
    }

    fn protocol(self) -> Self {
        self.push(1, |to| Expr::Meta { key: Meta::L4Proto, to })
    }

    fn client(self) -> Self {
        self.address(true)
    }

    /// The frontend that the packet asks for.
    fn frontend(self) -> Self {
        self.address(false).protocol().port()
    }

    /// The frontend that the packet's connection asked for, now that it is translated.
    fn frontend_before(self) -> Self {
        let (key, words) = if self.family == Family::V4 { (Ct::DstIp, 1) } else { (Ct::DstIp6, 4) };
        let direction = Some(Direction::Original);
        self.push(words, |to| Expr::Ct { key, direction, to }).port_before()
    }

    fn port_before(self) -> Self {
        let direction = Some(Direction::Original);
        self.protocol().push(1, |to| Expr::Ct { key: Ct::ProtoDst, direction, to })
    }

    fn remembered_by(self, key: AffinityKey) -> Self {
        let words = self.addr();
        let address = Data::from(key.address.unwrap_or(match self.family {
            Family::V4 => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            Family::V6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        }));
        let port = Data::from(Port(key.port));
        self.push(words, |to| Expr::Immediate { value: address, to })
            .protocol()
            .push(1, |to| Expr::Immediate { value: port, to })
    }

    /// Under what the clients of the frontend that the packet asks for are remembered.
    fn remembered(self, sticky: Affinity) -> Self {
        match sticky {
            Affinity::At(key) => self.remembered_by(key),
            Affinity::Here | Affinity::No => self.frontend(),
        }
    }

    /// The same, now that the packet is translated.
    fn remembered_before(self, sticky: Affinity) -> Self {
        match sticky {
            Affinity::At(key) => self.remembered_by(key),
            Affinity::Here | Affinity::No => self.frontend_before(),
        }
    }

    /// Where the packet goes, translated.
    fn endpoint(self) -> Self {
        self.address(false).port()
    }

    fn lookup(mut self, set: &str, found: Found) -> Self {
        self.exprs.push(Expr::Lookup { set: set.to_owned(), key: reg(0), found });
        self
    }

    /// To what a map holds for the key that is loaded; the rule ends where it holds nothing.
    fn dnat(mut self, map: &str) -> Statement {
        let (addr, port) = (reg(0), reg(self.addr()));
        self = self.lookup(map, Found::Data(addr));
        self.exprs.push(Expr::Nat {
            kind: NatKind::Dnat,
            family: nft_family(self.family).code(),
            addr: Some((addr, addr)),
            port: Some((port, port)),
            flags: NatFlags::default(),
        });
        Statement(self.exprs)
    }

    /// To the endpoint in a random slot.
    pub fn balance(self, by: By, endpoints: Kept, modulus: u32) -> Statement {
        let frontend = match by {
            By::Destination => self.frontend(),
            By::NodePort => self.protocol().port(),
        };
        let draw = |to| Expr::Numgen { kind: NumgenKind::Random, modulus, offset: 0, to };
        frontend.push(1, draw).dnat(endpoints.name())
    }

    /// To the endpoint that the client had.
    pub fn again(self, sticky: Affinity, scope: Scope) -> Statement {
        self.remembered(sticky).client().dnat(affinity(scope))
    }

    /// Says what to do with an answered connection by the frontend that it asked for.
    pub fn asked_for(self, by: By, map: Kept) -> Statement {
        let frontend = match by {
            By::Destination => self.frontend_before(),
            By::NodePort => self.port_before(),
        };
        Statement(frontend.lookup(map.name(), Found::Verdict).exprs)
    }

    /// Whether the connection goes to an endpoint of this group of its service port.
    pub fn rightly(self, sticky: Affinity, scope: Scope) -> Statement {
        let known = self.remembered_before(sticky).endpoint();
        Statement(known.lookup(Kept::sticky(scope).name(), Found::Member).exprs)
    }

    /// Whether it goes to one of no group.
    pub fn wrongly(self, sticky: Affinity) -> Statement {
        let known = self.remembered_before(sticky).endpoint();
        let unknown = |known: Self, scope| known.lookup(Kept::sticky(scope).name(), Found::NotMember);
        Statement(SCOPES.into_iter().fold(known, unknown).exprs)
    }

    /// Remembers the client's endpoint, or for longer. A value that is there stays.
    pub fn remember(self, sticky: Affinity, scope: Scope, timeout: u64) -> Statement {
        self.affinity(DynsetOp::Update, sticky, scope, Some(timeout))
    }

    /// nf_tables asks for the value even to delete a key.
    pub fn forget(self, sticky: Affinity, scope: Scope) -> Statement {
        self.affinity(DynsetOp::Delete, sticky, scope, None)
    }

    fn affinity(self, op: DynsetOp, sticky: Affinity, scope: Scope, timeout: Option<u64>) -> Statement {
        let mut whole = self.remembered_before(sticky).client();
        let data = Some(reg(whole.next));
        whole = whole.endpoint();
        let set = affinity(scope).to_owned();
        whole.exprs.push(Expr::Dynset { op, set, key: reg(0), data, timeout, with: Vec::new() });
        Statement(whole.exprs)
    }

    /// Source and destination are the same: byte by byte, the last first, because rules cannot compare two fields.
    pub fn hairpin(mut self) -> Statement {
        let (source, destination, len) = if self.family == Family::V4 { (12, 16, 4) } else { (8, 24, 16) };
        for byte in (0..len).rev() {
            for (start, to) in [(source, reg(0)), (destination, reg(1))] {
                self.exprs.push(Expr::Payload { base: Base::Network, offset: start + byte, len: 1, to });
            }
            self = self.lookup(Kept::EqualBytes.name(), Found::Member);
        }
        Statement(self.exprs)
    }
}
