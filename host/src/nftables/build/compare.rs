//! Matches: a load compared with a pattern, or looked up in a set.

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use super::{Load, Statement};
use crate::nftables::data::Data;
use crate::nftables::expr::*;

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

impl Load {
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
