//! Values as the kernel holds them, and the types by which nft prints them.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The bytes of a value: at most 64, in network byte order where the packet has it so, in the host's for
/// marks, interface numbers and what `numgen` and the hashes make. In a concatenation each field is padded
/// to four bytes: `Data::from((ip, Proto::TCP, Port(80)))`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Data(Box<[u8]>);

impl Data {
    pub fn new(bytes: &[u8]) -> Self {
        Self(bytes.into())
    }

    pub fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// One value behind the other, each padded to a multiple of four bytes.
    pub fn concat(fields: &[&Data]) -> Self {
        let mut bytes = Vec::with_capacity(fields.iter().map(|field| field.len().next_multiple_of(4)).sum());
        for field in fields {
            bytes.extend_from_slice(field.bytes());
            bytes.resize(bytes.len().next_multiple_of(4), 0);
        }
        Self(bytes.into())
    }

    /// The name of an interface; a trailing `*` stands for any rest.
    pub fn ifname(name: &str) -> Self {
        match name.strip_suffix('*') {
            Some(prefix) => Self::new(prefix.as_bytes()),
            None => {
                let mut bytes = [0; IFNAMSIZ];
                bytes[..name.len().min(IFNAMSIZ - 1)]
                    .copy_from_slice(&name.as_bytes()[..name.len().min(IFNAMSIZ - 1)]);
                Self::new(&bytes)
            }
        }
    }

    /// The next value, counted as one number in network byte order; none behind the last.
    pub(super) fn successor(&self) -> Option<Self> {
        self.step(0xff, 0, |byte| byte + 1)
    }

    /// The value before this one; none before zero.
    pub(super) fn predecessor(&self) -> Option<Self> {
        self.step(0, 0xff, |byte| byte - 1)
    }

    fn step(&self, carry_at: u8, carried: u8, step: fn(u8) -> u8) -> Option<Self> {
        let mut bytes = self.0.clone();
        for byte in bytes.iter_mut().rev() {
            if *byte != carry_at {
                *byte = step(*byte);
                return Some(Self(bytes));
            }
            *byte = carried;
        }
        None
    }
}

const IFNAMSIZ: usize = 16;

impl fmt::Debug for Data {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("0x")?;
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// An IP protocol number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Proto(pub u8);

impl Proto {
    pub const ICMP: Self = Self(1);
    pub const TCP: Self = Self(6);
    pub const UDP: Self = Self(17);
    pub const ICMPV6: Self = Self(58);
    pub const SCTP: Self = Self(132);
}

impl fmt::Display for Proto {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match *self {
            Self::ICMP => f.write_str("icmp"),
            Self::TCP => f.write_str("tcp"),
            Self::UDP => f.write_str("udp"),
            Self::ICMPV6 => f.write_str("ipv6-icmp"),
            Self::SCTP => f.write_str("sctp"),
            Self(number) => write!(f, "{number}"),
        }
    }
}

/// A port of TCP, UDP or SCTP.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Port(pub u16);

impl From<Ipv4Addr> for Data {
    fn from(ip: Ipv4Addr) -> Self {
        Self::new(&ip.octets())
    }
}

impl From<Ipv6Addr> for Data {
    fn from(ip: Ipv6Addr) -> Self {
        Self::new(&ip.octets())
    }
}

impl From<IpAddr> for Data {
    fn from(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(ip) => ip.into(),
            IpAddr::V6(ip) => ip.into(),
        }
    }
}

impl From<Proto> for Data {
    fn from(proto: Proto) -> Self {
        Self::new(&[proto.0])
    }
}

impl From<Port> for Data {
    fn from(port: Port) -> Self {
        Self::new(&port.0.to_be_bytes())
    }
}

/// A number in the host's byte order: a mark, an interface's index, a slot that `numgen` chose.
impl From<u32> for Data {
    fn from(number: u32) -> Self {
        Self::new(&number.to_ne_bytes())
    }
}

macro_rules! concatenation {
    ($($name:ident),+) => {
        impl<$($name: Into<Data>),+> From<($($name,)+)> for Data {
            #[allow(non_snake_case)]
            fn from(($($name,)+): ($($name,)+)) -> Self {
                Self::concat(&[$(&$name.into()),+])
            }
        }
    };
}
concatenation!(A, B);
concatenation!(A, B, C);
concatenation!(A, B, C, D);
concatenation!(A, B, C, D, E);

/// nft's types. The kernel stores their numbers beside a set for nft to print by (nft's `enum datatypes`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    /// A number of four bytes in the host's order, as `numgen` and the hashes make it. nft has no name for
    /// this type: a set with it is declared by `typeof`.
    Integer,
    NfProto,
    Ipv4Addr,
    Ipv6Addr,
    EtherAddr,
    InetProto,
    InetService,
    Mark,
    /// The index of an interface.
    IfIndex,
    IfName,
    CtState,
    CtDirection,
    CtStatus,
    FibAddrType,
    /// A type of somebody else's set that is not known here: its number, and how many bytes it takes.
    Other(u8, u8),
}

const NAMED: &[(Type, u8, usize, &str)] = &[
    (Type::NfProto, 2, 1, "nf_proto"),
    (Type::Integer, 4, 4, "integer"),
    (Type::Ipv4Addr, 7, 4, "ipv4_addr"),
    (Type::Ipv6Addr, 8, 16, "ipv6_addr"),
    (Type::EtherAddr, 9, 6, "ether_addr"),
    (Type::InetProto, 12, 1, "inet_proto"),
    (Type::InetService, 13, 2, "inet_service"),
    (Type::Mark, 19, 4, "mark"),
    (Type::IfIndex, 20, 4, "iface_index"),
    (Type::CtState, 26, 4, "ct_state"),
    (Type::CtDirection, 27, 1, "ct_dir"),
    (Type::CtStatus, 28, 4, "ct_status"),
    (Type::FibAddrType, 38, 4, "fib_addrtype"),
    (Type::IfName, 41, IFNAMSIZ, "ifname"),
];

const CT_STATE: &[(u32, &str)] =
    &[(1, "invalid"), (2, "established"), (4, "related"), (8, "new"), (64, "untracked")];
const CT_STATUS: &[(u32, &str)] = &[
    (1, "expected"),
    (2, "seen-reply"),
    (4, "assured"),
    (8, "confirmed"),
    (16, "snat"),
    (32, "dnat"),
    (512, "dying"),
];
const FIB_ADDR_TYPE: &[(u32, &str)] = &[
    (0, "unspec"),
    (1, "unicast"),
    (2, "local"),
    (3, "broadcast"),
    (4, "anycast"),
    (5, "multicast"),
    (6, "blackhole"),
    (7, "unreachable"),
    (8, "prohibit"),
];
const NFPROTO: &[(u32, &str)] = &[(2, "ipv4"), (10, "ipv6")];
const DIRECTION: &[(u32, &str)] = &[(0, "original"), (1, "reply")];

impl Type {
    fn row(self) -> Option<&'static (Type, u8, usize, &'static str)> {
        NAMED.iter().find(|row| row.0 == self)
    }

    /// nft's number for the type.
    pub(super) fn id(self) -> u8 {
        match self {
            Type::Other(id, _) => id,
            known => known.row().map_or(0, |row| row.1),
        }
    }

    /// The type of a number; `size` tells apart what nft calls integers of any length.
    pub(super) fn from_id(id: u8, size: Option<usize>) -> Self {
        let known = NAMED.iter().find(|row| row.1 == id && size.is_none_or(|size| size == row.2));
        known.map_or(Type::Other(id, size.unwrap_or(4) as u8), |row| row.0)
    }

    /// The size of a value in bytes, without padding.
    pub fn size(self) -> usize {
        match self {
            Type::Other(_, len) => len.into(),
            known => known.row().map_or(0, |row| row.2),
        }
    }

    /// An expression of the type, for `typeof`: the one that userdata.rs encodes.
    pub(super) fn example(self) -> &'static str {
        match self {
            Type::Ipv4Addr => "ip daddr",
            Type::Ipv6Addr => "ip6 daddr",
            Type::InetService => "th dport",
            Type::InetProto => "meta l4proto",
            Type::NfProto => "meta nfproto",
            Type::IfIndex => "iif",
            Type::IfName => "iifname",
            Type::CtState => "ct state",
            Type::CtDirection => "ct direction",
            Type::CtStatus => "ct status",
            Type::FibAddrType => "fib daddr type",
            Type::Integer => "numgen random mod 65536",
            Type::Mark | Type::EtherAddr | Type::Other(..) => "meta mark",
        }
    }

    /// Whether its numbers lie in the host's byte order.
    pub(super) fn host_order(self) -> bool {
        use Type::*;
        matches!(self, Integer | Mark | IfIndex | IfName | CtState | CtStatus | FibAddrType)
    }

    /// The value in nft's syntax.
    pub fn show(self, bytes: &[u8]) -> String {
        match (self, bytes.len()) {
            (Type::Ipv4Addr, 4) => Ipv4Addr::from(*bytes.first_chunk().expect("4 bytes")).to_string(),
            (Type::Ipv6Addr, 16) => Ipv6Addr::from(*bytes.first_chunk().expect("16 bytes")).to_string(),
            (Type::InetProto, 1) => Proto(bytes[0]).to_string(),
            (Type::IfName, _) => ifname(bytes),
            (Type::EtherAddr, 6) => {
                bytes.iter().map(|byte| format!("{byte:02x}")).collect::<Vec<_>>().join(":")
            }
            _ => match (self, self.number(bytes)) {
                (Type::Mark, Some(number)) => format!("0x{number:08x}"),
                (Type::CtState, Some(bits)) => flags(bits, CT_STATE),
                (Type::CtStatus, Some(bits)) => flags(bits, CT_STATUS),
                (Type::FibAddrType, Some(number)) => symbol(number, FIB_ADDR_TYPE),
                (Type::NfProto, Some(number)) => symbol(number, NFPROTO),
                (Type::CtDirection, Some(number)) => symbol(number, DIRECTION),
                (_, Some(number)) => number.to_string(),
                (_, None) => format!("{:?}", Data::new(bytes)),
            },
        }
    }

    fn number(self, bytes: &[u8]) -> Option<u32> {
        match *bytes {
            [byte] => Some(byte.into()),
            [a, b] if self.host_order() => Some(u16::from_ne_bytes([a, b]).into()),
            [a, b] => Some(u16::from_be_bytes([a, b]).into()),
            [a, b, c, d] if self.host_order() => Some(u32::from_ne_bytes([a, b, c, d])),
            [a, b, c, d] => Some(u32::from_be_bytes([a, b, c, d])),
            _ => None,
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.row() {
            Some(row) => f.write_str(row.3),
            None => write!(f, "type{}", self.id()),
        }
    }
}

fn ifname(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    match text.find('\0') {
        Some(end) => format!("\"{}\"", &text[..end]),
        None => format!("\"{text}*\""),
    }
}

fn symbol(number: u32, names: &[(u32, &str)]) -> String {
    names.iter().find(|(n, _)| *n == number).map_or(number.to_string(), |(_, name)| (*name).to_owned())
}

fn flags(bits: u32, names: &[(u32, &str)]) -> String {
    let set: Vec<_> = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| *name).collect();
    let known: u32 = names.iter().filter(|(bit, _)| bits & bit != 0).map(|(bit, _)| bit).sum();
    if set.is_empty() || known != bits { format!("0x{bits:x}") } else { set.join(",") }
}

/// Cuts a concatenation into its fields and shows each.
pub(super) fn show_fields(types: &[Type], bytes: &[u8]) -> String {
    let mut rest = bytes;
    let mut fields = Vec::new();
    for kind in types {
        let take = kind.size().min(rest.len());
        fields.push(kind.show(&rest[..take]));
        rest = rest.get(kind.size().next_multiple_of(4)..).unwrap_or_default();
    }
    fields.join(" . ")
}
