//! The header of the inner packet.

use super::reason::DropReason;
use std::net::Ipv4Addr;

/// Length of an IPv4 header without options, in bytes.
pub const HEADER_MIN: usize = 20;

/// What the header of an inner IPv4 packet says, checked against the bytes that are there.
///
/// The header checksum is not verified: flannel does not, the kernel does so behind us, and changing the TTL keeps a
/// wrong checksum wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// 20..=60 bytes.
    pub header_len: usize,
    /// From the header, never below `header_len`, never above the number of bytes given.
    /// Bytes behind it are not part of the packet: we do not pass them on, and no kernel would look at them.
    pub total_len: usize,
    pub ttl: u8,
    pub protocol: u8,
    /// In units of 8 bytes; 0 in the first fragment and in a whole packet.
    pub fragment_offset: u16,
    pub source: Ipv4Addr,
    pub destination: Ipv4Addr,
}

impl Inner {
    /// Reads the header at the start of `bytes`. The order of the checks is that of the packet programs.
    pub fn parse(bytes: &[u8]) -> Result<Self, DropReason> {
        let Some(head) = bytes.first_chunk::<HEADER_MIN>() else { return Err(DropReason::Truncated) };
        if head[0] >> 4 != 4 {
            return Err(DropReason::NotIpv4);
        }
        let word = |at: usize| u16::from_be_bytes([head[at], head[at + 1]]);
        let address = |at: usize| Ipv4Addr::new(head[at], head[at + 1], head[at + 2], head[at + 3]);

        let header_len = usize::from(head[0] & 0x0f) * 4;
        let total_len = usize::from(word(2));
        if header_len < HEADER_MIN || total_len < header_len || total_len > bytes.len() {
            return Err(DropReason::BadHeader);
        }
        Ok(Self {
            header_len,
            total_len,
            ttl: head[8],
            protocol: head[9],
            fragment_offset: word(6) & 0x1fff,
            source: address(12),
            destination: address(16),
        })
    }
}

/// Lowers the TTL by one and patches the checksum. The caller has parsed `packet` and seen a TTL above 1.
pub(super) fn decrement_ttl(packet: &mut [u8]) {
    if let Some(head) = packet.first_chunk_mut::<HEADER_MIN>() {
        head[8] = head[8].saturating_sub(1);
        let check = super::checksum::after_ttl_decrement(u16::from_be_bytes([head[10], head[11]]));
        head[10..12].copy_from_slice(&check.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::Packet;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_every_field() {
        let bytes = Packet::new([10, 5, 1, 2], [10, 5, 2, 3])
            .ttl(7)
            .protocol(17)
            .fragment(0x2005)
            .payload(&[1, 2, 3])
            .bytes();
        let want = Inner {
            header_len: 20,
            total_len: 23,
            ttl: 7,
            protocol: 17,
            fragment_offset: 5,
            source: [10, 5, 1, 2].into(),
            destination: [10, 5, 2, 3].into(),
        };
        assert_eq!(Inner::parse(&bytes), Ok(want));
    }

    #[test]
    fn options_are_part_of_the_header() {
        let bytes = Packet::new([10, 5, 1, 2], [10, 5, 2, 3]).options(&[1; 40]).payload(b"x").bytes();
        let inner = Inner::parse(&bytes).unwrap();
        assert_eq!((inner.header_len, inner.total_len), (60, 61));
    }

    #[test]
    fn bytes_behind_the_total_length_are_not_the_packet() {
        let mut bytes = Packet::new([10, 5, 1, 2], [10, 5, 2, 3]).payload(b"abcd").bytes();
        bytes.extend([0xee; 9]);
        assert_eq!(Inner::parse(&bytes).unwrap().total_len, 24);
    }

    #[test]
    fn every_malformation_has_its_reason() {
        let good = Packet::new([10, 5, 1, 2], [10, 5, 2, 3]).payload(&[0; 12]).bytes();
        let with = |at: usize, byte: u8| {
            let mut bytes = good.clone();
            bytes[at] = byte;
            Inner::parse(&bytes).unwrap_err()
        };
        assert_eq!(Inner::parse(&[]), Err(DropReason::Truncated));
        assert_eq!(Inner::parse(&[0x60; 19]), Err(DropReason::Truncated));
        assert_eq!(Inner::parse(&good[..19]), Err(DropReason::Truncated));
        assert_eq!(Inner::parse(&good[..31]), Err(DropReason::BadHeader));
        assert_eq!(with(0, 0x65), DropReason::NotIpv4);
        assert_eq!(with(0, 0x44), DropReason::BadHeader);
        assert_eq!(with(0, 0x4f), DropReason::BadHeader); // header of 60, total length of 32
        assert_eq!(with(3, 19), DropReason::BadHeader);
        assert_eq!(with(3, 33), DropReason::BadHeader);
    }

    proptest! {
        #[test]
        fn what_parses_lies_inside_the_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..120), version in any::<bool>()) {
            let mut bytes = bytes;
            if version && let Some(first) = bytes.first_mut() {
                *first = 0x40 | (*first & 0x0f);
            }
            if let Ok(inner) = Inner::parse(&bytes) {
                prop_assert!((HEADER_MIN..=60).contains(&inner.header_len));
                prop_assert!(inner.header_len <= inner.total_len && inner.total_len <= bytes.len());
            }
        }

        #[test]
        fn a_packet_cut_anywhere_is_refused(payload in 0usize..100, options in 0usize..=10, cut in any::<proptest::sample::Index>()) {
            let bytes = Packet::new([10, 5, 1, 2], [10, 5, 2, 3]).options(&vec![1; options * 4]).payload(&vec![0; payload]).bytes();
            prop_assert!(Inner::parse(&bytes).is_ok());
            let cut = cut.index(bytes.len());
            let want = if cut < HEADER_MIN { DropReason::Truncated } else { DropReason::BadHeader };
            prop_assert_eq!(Inner::parse(&bytes[..cut]), Err(want));
        }
    }
}
