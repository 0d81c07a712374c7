//! The ICMP errors that we answer with.

use super::checksum::checksum;
use super::inner::{HEADER_MIN, Inner};
use std::net::Ipv4Addr;

const ICMP: u8 = 1;
const ICMP_HEADER: usize = 8;
/// Bytes of the offender's payload that an error carries (RFC 792: the first 64 bits).
const QUOTED: usize = 8;
/// flannel's choice; enough for the way from the TUN to a pod of this node.
const TTL: u8 = 8;
/// The longest reply, in bytes: offender with 40 bytes of options.
pub const ICMP_MAX: usize = HEADER_MIN + ICMP_HEADER + 60 + QUOTED;

/// What we complain about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IcmpError {
    /// Type 3 code 0, as flannel answers where no lease covers the destination.
    NetUnreachable,
    /// Type 11 code 0. flannel is silent here, and shows as a gap in a traceroute.
    TimeExceeded,
}

/// A complete IPv4 packet to write to the TUN.
#[derive(Clone, PartialEq, Eq)]
pub struct Icmp {
    bytes: [u8; ICMP_MAX],
    len: usize,
}

impl std::fmt::Debug for Icmp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Icmp").field(&self.bytes()).finish()
    }
}

impl Icmp {
    /// The answer to `offender`, whose header is `inner`; `None` where RFC 1122 (3.2.2) forbids one.
    ///
    /// Byte for byte flannel's, but for three places where flannel's are an accident:
    /// a payload below 8 bytes is quoted as it is (flannel adds what its buffer held before);
    /// a header of 60 bytes gets an answer (flannel's limit is one off);
    /// ICMP queries get one, as only errors about *errors* are forbidden (flannel refuses for all ICMP, so that `ping`
    /// to nowhere is silent).
    pub fn answer(error: IcmpError, offender: &[u8], inner: &Inner, from: Ipv4Addr) -> Option<Self> {
        if !may_answer(offender, inner) {
            return None;
        }
        let quote = offender.get(..inner.total_len.min(inner.header_len + QUOTED))?;
        let len = HEADER_MIN + ICMP_HEADER + quote.len();

        let mut bytes = [0; ICMP_MAX];
        let (head, rest) = bytes.split_at_mut(HEADER_MIN);
        head[0] = 0x45;
        head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        head[8] = TTL;
        head[9] = ICMP;
        head[12..16].copy_from_slice(&from.octets());
        head[16..20].copy_from_slice(&inner.source.octets());
        let check = checksum(head);
        head[10..12].copy_from_slice(&check.to_be_bytes());

        let icmp = rest.get_mut(..ICMP_HEADER + quote.len())?;
        icmp[0] = match error {
            IcmpError::NetUnreachable => 3,
            IcmpError::TimeExceeded => 11,
        };
        icmp[ICMP_HEADER..].copy_from_slice(quote);
        let check = checksum(icmp);
        icmp[2..4].copy_from_slice(&check.to_be_bytes());
        Some(Self { bytes, len })
    }

    /// The packet.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

/// RFC 1122, 3.2.2: no error about an ICMP error, about a later fragment, about a packet to many, or from no one host.
fn may_answer(offender: &[u8], inner: &Inner) -> bool {
    let error_about_error = inner.protocol == ICMP
        && match offender.get(..inner.total_len).and_then(|packet| packet.get(inner.header_len)) {
            // Queries and their replies: echo, router discovery, timestamp, information, address mask.
            Some(kind) => !matches!(kind, 0 | 8 | 9 | 10 | 13..=18),
            None => true,
        };
    let to_many = inner.destination.is_multicast() || inner.destination.is_broadcast();
    let from_one = !(inner.source.is_unspecified()
        || inner.source.is_loopback()
        || inner.source.is_multicast()
        || inner.source.octets()[0] >= 240);
    inner.fragment_offset == 0 && !error_about_error && !to_many && from_one
}

#[cfg(test)]
mod tests {
    use super::super::testing::Packet;
    use super::*;

    const TUN: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 0);

    fn unreachable(packet: &Packet) -> Option<Vec<u8>> {
        let bytes = packet.bytes();
        let inner = Inner::parse(&bytes).unwrap();
        Icmp::answer(IcmpError::NetUnreachable, &bytes, &inner, TUN).map(|icmp| icmp.bytes().to_vec())
    }

    fn packet() -> Packet {
        Packet::new([10, 5, 1, 2], [10, 5, 9, 9]).payload(&[1, 2, 3, 4, 5, 6, 7, 8, 9, 10])
    }

    #[test]
    fn the_bytes_are_flannels() {
        let offender = packet().bytes();
        let reply = unreachable(&packet()).unwrap();
        // proxy_amd64.c: everything that is not named there is zero, the id and the flags too.
        assert_eq!(reply[..10], [0x45, 0, 0, 56, 0, 0, 0, 0, 8, 1]);
        assert_eq!(checksum(&reply[..20]), 0);
        assert_eq!(reply[12..20], [10, 5, 1, 0, 10, 5, 1, 2]);
        assert_eq!(reply[20..22], [3, 0]);
        assert_eq!(reply[24..28], [0; 4]);
        assert_eq!(reply[28..], offender[..28]);
        assert_eq!(checksum(&reply[20..]), 0);
    }

    #[test]
    fn time_exceeded_is_type_11() {
        let bytes = packet().bytes();
        let inner = Inner::parse(&bytes).unwrap();
        let reply = Icmp::answer(IcmpError::TimeExceeded, &bytes, &inner, TUN).unwrap();
        assert_eq!(reply.bytes()[20..22], [11, 0]);
        assert_eq!(checksum(&reply.bytes()[20..]), 0);
    }

    #[test]
    fn the_longest_and_the_shortest_offender() {
        assert_eq!(unreachable(&packet().options(&[1; 40])).unwrap().len(), ICMP_MAX);
        let reply = unreachable(&packet().payload(&[0xaa; 3])).unwrap();
        assert_eq!(reply.len(), 20 + 8 + 20 + 3);
        assert_eq!(checksum(&reply[20..]), 0);
    }

    #[test]
    fn errors_about_errors_are_not_sent_but_a_ping_is_answered() {
        for kind in [3, 4, 5, 11, 12, 1, 2, 30, 40, 255] {
            assert_eq!(unreachable(&packet().protocol(ICMP).payload(&[kind; 8])), None, "type {kind}");
        }
        for kind in [0, 8, 13, 17] {
            assert!(unreachable(&packet().protocol(ICMP).payload(&[kind; 8])).is_some(), "type {kind}");
        }
        assert_eq!(unreachable(&packet().protocol(ICMP).payload(&[])), None);
    }

    #[test]
    fn later_fragments_and_packets_to_many_or_from_nobody_get_no_answer() {
        assert!(unreachable(&packet().fragment(0x2000)).is_some());
        assert!(unreachable(&packet().fragment(0x4000)).is_some());
        assert_eq!(unreachable(&packet().fragment(0x0001)), None);
        for destination in [[224, 0, 0, 1], [239, 1, 2, 3], [255, 255, 255, 255]] {
            assert_eq!(unreachable(&Packet::new([10, 5, 1, 2], destination)), None);
        }
        for source in [[0, 0, 0, 0], [127, 0, 0, 1], [224, 0, 0, 1], [240, 0, 0, 1], [255, 255, 255, 255]] {
            assert_eq!(unreachable(&Packet::new(source, [10, 5, 9, 9])), None);
        }
    }
}
