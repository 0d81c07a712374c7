//! The two directions of a packet.

use super::icmp::{Icmp, IcmpError};
use super::inner::{Inner, decrement_ttl};
use super::reason::DropReason;
use super::table::{Peer, PeerTable};
use std::net::Ipv4Addr;

/// What to do with a packet from the TUN.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outbound {
    /// Send the first `len` bytes to the peer. The TTL is lowered.
    Send { peer: Peer, len: usize },
    /// Drop the packet and write the answer to the TUN, if the rate of answers allows it.
    Answer { reason: DropReason, icmp: Icmp },
    /// Drop the packet.
    Drop(DropReason),
}

/// What to do with the payload of a datagram from the underlay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inbound {
    /// Write the first `len` bytes to the TUN. The TTL is lowered.
    Deliver { peer: Peer, len: usize },
    /// Drop the packet.
    Drop(DropReason),
}

/// Judges a packet that the kernel routed to the TUN. `tun` is the TUN's address, the source of our answers.
///
/// As in flannel the destination comes before the TTL, and each side of the tunnel is a hop.
/// A TTL that ends here is answered (flannel drops it in silence).
pub fn outbound(packet: &mut [u8], table: &PeerTable, tun: Ipv4Addr) -> Outbound {
    let inner = match Inner::parse(packet) {
        Ok(inner) => inner,
        Err(reason) => return Outbound::Drop(reason),
    };
    let refuse = |reason, error| match Icmp::answer(error, packet, &inner, tun) {
        Some(icmp) => Outbound::Answer { reason, icmp },
        None => Outbound::Drop(reason),
    };
    let Some(peer) = table.route(inner.destination) else {
        return refuse(DropReason::NoRoute, IcmpError::NetUnreachable);
    };
    if inner.ttl <= 1 {
        return refuse(DropReason::TtlExpired, IcmpError::TimeExceeded);
    }
    decrement_ttl(packet);
    Outbound::Send { peer, len: inner.total_len }
}

/// Judges the payload of a datagram that came from `sender`.
///
/// flannel takes it from anybody; we want a lease behind the sender, and with `check_source` an inner source that the
/// sender holds. A TTL of 0 does not wrap to 255, as it does in flannel.
pub fn inbound(packet: &mut [u8], sender: Ipv4Addr, table: &PeerTable, check_source: bool) -> Inbound {
    let Some(peer) = table.sender(sender) else { return Inbound::Drop(DropReason::UnknownSender) };
    let inner = match Inner::parse(packet) {
        Ok(inner) => inner,
        Err(reason) => return Inbound::Drop(reason),
    };
    if check_source && !table.holds(peer, inner.source) {
        return Inbound::Drop(DropReason::SpoofedSource);
    }
    if inner.ttl <= 1 {
        return Inbound::Drop(DropReason::TtlExpired);
    }
    decrement_ttl(packet);
    Inbound::Deliver { peer, len: inner.total_len }
}

#[cfg(test)]
mod tests {
    use super::super::checksum::checksum;
    use super::super::testing::Packet;
    use super::*;
    use proptest::prelude::*;

    const TUN: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 0);
    const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

    fn table() -> PeerTable {
        PeerTable::new(
            &[
                ("10.5.2.0/24".parse().unwrap(), PEER),
                ("10.5.3.0/24".parse().unwrap(), Ipv4Addr::new(192, 0, 2, 3)),
            ]
            .into(),
        )
    }

    fn there() -> Packet {
        Packet::new([10, 5, 1, 2], [10, 5, 2, 2]).payload(b"payload!")
    }

    fn here() -> Packet {
        Packet::new([10, 5, 2, 2], [10, 5, 1, 2]).payload(b"payload!")
    }

    #[test]
    fn outbound_lowers_the_ttl_and_changes_nothing_else() {
        let mut packet = there().bytes();
        packet.extend([0xee; 4]);
        let Outbound::Send { peer, len } = outbound(&mut packet, &table(), TUN) else { panic!("not sent") };
        assert_eq!((peer.address, len), (PEER, 28));
        assert_eq!(packet[..len], there().ttl(63).bytes());
    }

    #[test]
    fn inbound_lowers_the_ttl_and_changes_nothing_else() {
        let mut packet = here().bytes();
        let Inbound::Deliver { peer, len } = inbound(&mut packet, PEER, &table(), true) else {
            panic!("not delivered")
        };
        assert_eq!((peer.address, len), (PEER, 28));
        assert_eq!(packet, here().ttl(63).bytes());
    }

    #[test]
    fn outbound_ends_are_answered() {
        let reply = |packet: &Packet| match outbound(&mut packet.bytes(), &table(), TUN) {
            Outbound::Answer { reason, icmp } => (reason, icmp.bytes()[20]),
            other => panic!("{other:?}"),
        };
        let nowhere = Packet::new([10, 5, 1, 2], [10, 5, 9, 9]);
        assert_eq!(reply(&nowhere), (DropReason::NoRoute, 3));
        assert_eq!(reply(&nowhere.ttl(1)), (DropReason::NoRoute, 3));
        assert_eq!(reply(&there().ttl(1)), (DropReason::TtlExpired, 11));
        assert_eq!(reply(&there().ttl(0)), (DropReason::TtlExpired, 11));
        let multicast = Packet::new([10, 5, 1, 2], [224, 0, 0, 251]);
        assert_eq!(outbound(&mut multicast.bytes(), &table(), TUN), Outbound::Drop(DropReason::NoRoute));
    }

    #[test]
    fn the_answer_quotes_the_packet_as_it_came() {
        let offender = there().ttl(1).bytes();
        let Outbound::Answer { icmp, .. } = outbound(&mut offender.clone(), &table(), TUN) else {
            panic!("no answer")
        };
        assert_eq!(icmp.bytes()[28..], offender);
    }

    #[test]
    fn inbound_ttl_never_wraps() {
        for ttl in [0, 1] {
            let got = inbound(&mut here().ttl(ttl).bytes(), PEER, &table(), true);
            assert_eq!(got, Inbound::Drop(DropReason::TtlExpired));
        }
        let mut packet = here().ttl(2).bytes();
        assert!(matches!(inbound(&mut packet, PEER, &table(), true), Inbound::Deliver { .. }));
        assert_eq!(packet[8], 1);
    }

    #[test]
    fn senders_and_sources() {
        let stranger = Ipv4Addr::new(192, 0, 2, 99);
        let spoofed = Packet::new([10, 5, 3, 2], [10, 5, 1, 2]);
        assert_eq!(
            inbound(&mut here().bytes(), stranger, &table(), false),
            Inbound::Drop(DropReason::UnknownSender)
        );
        assert_eq!(
            inbound(&mut spoofed.bytes(), PEER, &table(), true),
            Inbound::Drop(DropReason::SpoofedSource)
        );
        assert!(matches!(inbound(&mut spoofed.bytes(), PEER, &table(), false), Inbound::Deliver { .. }));
    }

    proptest! {
        #[test]
        fn any_bytes_in_any_direction(bytes in proptest::collection::vec(any::<u8>(), 0..160), like_ours in any::<bool>(), check in any::<bool>()) {
            let mut bytes = bytes;
            if like_ours && bytes.len() >= 20 {
                bytes[0] = 0x45;
                bytes[2] = 0;
                bytes[12..16].copy_from_slice(&[10, 5, 2, 7]);
                bytes[16..20].copy_from_slice(&[10, 5, 2, 7]);
            }
            let mut packet = bytes.clone();
            match outbound(&mut packet, &table(), TUN) {
                Outbound::Send { len, .. } => {
                    prop_assert!(len <= packet.len());
                    prop_assert_eq!(packet[8], bytes[8] - 1);
                    prop_assert_eq!(checksum(&packet[..20]) == 0, checksum(&bytes[..20]) == 0);
                    prop_assert_eq!(&packet[12..], &bytes[12..]);
                }
                Outbound::Answer { icmp, .. } => {
                    prop_assert!(Inner::parse(icmp.bytes()).is_ok());
                    prop_assert_eq!(packet, bytes.clone());
                }
                Outbound::Drop(_) => prop_assert_eq!(packet, bytes.clone()),
            }
            let mut packet = bytes.clone();
            match inbound(&mut packet, PEER, &table(), check) {
                Inbound::Deliver { len, .. } => {
                    prop_assert!(len <= packet.len());
                    prop_assert!(packet[8] < bytes[8]);
                    prop_assert_eq!(&packet[12..], &bytes[12..]);
                }
                Inbound::Drop(_) => prop_assert_eq!(packet, bytes),
            }
        }
    }
}
