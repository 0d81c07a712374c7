//! Packets as bytes, built with arithmetic that shares nothing with the programs'.

use std::net::Ipv4Addr;

pub const MAC: usize = 14;
pub const LOCAL: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
pub const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
/// Holds a lease as well, but not the one under test.
pub const OTHER_PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 99);
pub const POD: Ipv4Addr = Ipv4Addr::new(10, 50, 1, 2);
pub const PEER_POD: Ipv4Addr = Ipv4Addr::new(10, 50, 2, 2);
pub const OTHER_PEER_POD: Ipv4Addr = Ipv4Addr::new(10, 50, 3, 2);
pub const PORT: u16 = 8285;

/// An IPv4 header without options, with the right checksum.
#[derive(Clone, Copy, Debug)]
pub struct Header {
    pub src: Ipv4Addr,
    pub dst: Ipv4Addr,
    pub ttl: u8,
    pub protocol: u8,
    pub tos: u8,
    pub id: u16,
    pub fragment: u16,
}

impl Header {
    pub fn udp(src: Ipv4Addr, dst: Ipv4Addr) -> Self {
        Self { src, dst, ttl: 64, protocol: 17, tos: 0, id: 0, fragment: 0x4000 }
    }

    pub fn packet(&self, payload: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0x45, self.tos];
        bytes.extend((20 + payload.len() as u16).to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.src.octets());
        bytes.extend(self.dst.octets());
        fix_checksum(&mut bytes);
        bytes.extend(payload);
        bytes
    }
}

/// RFC 1071 over the 20 bytes of an IPv4 header.
pub fn header_checksum(header: &[u8]) -> u16 {
    let sum: u32 = header[..20].chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !(((sum & 0xffff) + (sum >> 16)) as u16)
}

pub fn fix_checksum(packet: &mut [u8]) {
    packet[10..12].fill(0);
    let sum = header_checksum(packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
}

pub fn udp(src: u16, dst: u16, payload: &[u8]) -> Vec<u8> {
    let len = 8 + payload.len() as u16;
    [&src.to_be_bytes()[..], &dst.to_be_bytes(), &len.to_be_bytes(), &[0, 0], payload].concat()
}

/// An Ethernet frame to the loopback interface's address, as BPF_PROG_TEST_RUN wants it.
pub fn frame(packet: &[u8]) -> Vec<u8> {
    [&[0; 12][..], &[0x08, 0x00], packet].concat()
}

/// What flannel and we put on the wire for this inner packet.
pub fn datagram(from: Ipv4Addr, to: Ipv4Addr, inner: &[u8]) -> Vec<u8> {
    Header::udp(from, to).packet(&udp(PORT, PORT, inner))
}

/// One hop less, with the checksum made new.
pub fn hop(inner: &[u8]) -> Vec<u8> {
    let mut inner = inner.to_vec();
    inner[8] -= 1;
    fix_checksum(&mut inner);
    inner
}

pub fn inner_from_peer() -> Vec<u8> {
    Header::udp(PEER_POD, POD).packet(&udp(1111, 2222, b"hello from afar"))
}

pub fn inner_to_peer() -> Vec<u8> {
    Header::udp(POD, PEER_POD).packet(&udp(2222, 1111, b"hello over there"))
}
