//! Packets made by hand, and raw sockets that see them arrive.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nix::sys::socket::{
    AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, SockaddrIn, recv, sendto, setsockopt, socket,
    sockopt,
};
use nix::sys::time::TimeVal;

/// How long a packet may be under way.
const ARRIVAL: Duration = Duration::from_secs(30);

/// An IPv4 packet to be.
#[derive(Clone, Debug)]
pub struct Packet {
    pub tos: u8,
    pub id: u16,
    /// Flags and offset: 0x4000 is "don't fragment".
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
    pub options: Vec<u8>,
    pub payload: Vec<u8>,
}

impl Packet {
    /// A UDP datagram of this body, TTL 64, from port 4000 to 4001.
    pub fn udp(source: Ipv4Addr, destination: Ipv4Addr, body: &[u8]) -> Self {
        let mut payload = Vec::with_capacity(8 + body.len());
        let length = u16::try_from(8 + body.len()).expect("a short body");
        for word in [4000, 4001, length, 0] {
            payload.extend(word.to_be_bytes());
        }
        payload.extend(body);
        let mut pseudo = [source.octets(), destination.octets()].concat();
        pseudo.extend([0, 17]);
        pseudo.extend(length.to_be_bytes());
        pseudo.extend(&payload);
        payload[6..8].copy_from_slice(&checksum(&pseudo).to_be_bytes());
        Self {
            tos: 0,
            id: 0x1234,
            fragment: 0,
            ttl: 64,
            protocol: 17,
            source,
            destination,
            options: Vec::new(),
            payload,
        }
    }

    /// The packet as it travels, with its header's checksum.
    ///
    /// # Panics
    /// It is too long to be one.
    pub fn bytes(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let mut bytes = vec![0x40 | u8::try_from(header / 4).expect("options of 40 bytes"), self.tos];
        bytes.extend(u16::try_from(header + self.payload.len()).expect("a short payload").to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.source.octets());
        bytes.extend(self.destination.octets());
        bytes.extend(&self.options);
        let check = checksum(&bytes).to_be_bytes();
        bytes[10..12].copy_from_slice(&check);
        bytes.extend(&self.payload);
        bytes
    }

    /// The same after `hops` routers.
    pub fn after(&self, hops: u8) -> Self {
        Self { ttl: self.ttl - hops, ..self.clone() }
    }
}

/// RFC 1071.
pub fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).expect("folded")
}

/// An ear for all packets of one protocol that arrive at a namespace for one of its own addresses.
#[derive(Debug)]
pub struct Tap(OwnedFd);

impl Tap {
    /// # Panics
    /// Without CAP_NET_RAW.
    pub fn open(namespace: &Namespace, protocol: SockProtocol) -> Self {
        let open = || socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, protocol);
        let tap = namespace.run(open).expect("a namespace").expect("a raw socket");
        setsockopt(&tap, sockopt::ReceiveTimeout, &TimeVal::new(0, 20_000)).expect("a timeout");
        Self(tap)
    }

    /// The next packet that is wanted; None when none comes within `limit`.
    pub fn within(&self, limit: Duration, wanted: impl Fn(&[u8]) -> bool) -> Option<Vec<u8>> {
        let end = Instant::now() + limit;
        let mut buffer = vec![0; 65536];
        loop {
            match recv(self.0.as_raw_fd(), &mut buffer, MsgFlags::empty()) {
                Ok(length) if wanted(&buffer[..length]) => return Some(buffer[..length].to_vec()),
                Ok(_) | Err(_) if Instant::now() < end => {}
                _ => return None,
            }
        }
    }

    /// The next packet that is wanted.
    ///
    /// # Panics
    /// None comes.
    pub fn next(&self, what: &str, wanted: impl Fn(&[u8]) -> bool) -> Vec<u8> {
        self.within(ARRIVAL, wanted).unwrap_or_else(|| panic!("{what} did not arrive"))
    }
}

/// Sends a packet from inside a namespace as it is: the kernel fills in its header's checksum alone.
///
/// # Panics
/// The kernel refuses it.
pub fn inject(namespace: &Namespace, packet: &Packet) {
    let send = || {
        let raw = socket(AddressFamily::Inet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::Raw)?;
        let to = SockaddrIn::from(SocketAddrV4::new(packet.destination, 0));
        sendto(raw.as_raw_fd(), &packet.bytes(), &to, MsgFlags::empty())
    };
    namespace.run(send).expect("a namespace").expect("a packet that the kernel takes");
}

/// The headers that the udp backend puts before a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outer {
    pub tos: u8,
    pub id: u16,
    pub dont_fragment: bool,
    pub ttl: u8,
    pub source: SocketAddrV4,
    pub destination: SocketAddrV4,
    /// The UDP checksum: 0 is none.
    pub udp_checksum: u16,
}

/// Takes flannel's udp packet apart: its headers, and the packet inside.
///
/// # Panics
/// It is not one, or one of its checksums or lengths is wrong.
pub fn open(datagram: &[u8]) -> (Outer, &[u8]) {
    let word = |at: usize| u16::from_be_bytes([datagram[at], datagram[at + 1]]);
    let ip = |at: usize| Ipv4Addr::from(<[u8; 4]>::try_from(&datagram[at..at + 4]).expect("four bytes"));
    assert_eq!((datagram[0], datagram[9]), (0x45, 17), "an outer IPv4 header without options, and UDP");
    assert_eq!(usize::from(word(2)), datagram.len(), "the outer IPv4 length");
    assert_eq!(usize::from(word(24)) + 20, datagram.len(), "the outer UDP length");
    assert_eq!(checksum(&datagram[..20]), 0, "the outer IPv4 checksum");
    assert_eq!(word(6) & !0x4000, 0, "no fragment");
    let outer = Outer {
        tos: datagram[1],
        id: word(4),
        dont_fragment: word(6) & 0x4000 != 0,
        ttl: datagram[8],
        source: SocketAddrV4::new(ip(12), word(20)),
        destination: SocketAddrV4::new(ip(16), word(22)),
        udp_checksum: word(26),
    };
    (outer, &datagram[28..])
}
