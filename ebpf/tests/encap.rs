//! The egress program, one packet at a time.

mod common;

use common::packets::*;
use common::world::*;
use ebpf::overlay::UserReason;

/// Unchanged, handed to user space, and counted under the reason.
#[track_caller]
fn left_to_user(world: &mut World, inner: &[u8], why: UserReason) {
    let outcome = world.encap(inner);
    assert_eq!(outcome, Outcome { verdict: NEXT, bytes: inner.to_vec(), event: Some(why as u32) });
}

#[test]
fn makes_flannels_packet_byte_for_byte() {
    let mut world = World::new();
    let inner = inner_to_peer();
    let outcome = world.encap(&inner);
    assert_eq!(outcome.verdict, REDIRECT);
    // TOS 0, id 0, DF, TTL 64, both ports 8285, UDP checksum 0, the inner TTL one less.
    assert_eq!(outcome.bytes, datagram(LOCAL, PEER, &hop(&inner)));
    assert_eq!(outcome.event, None);
    assert_eq!(world.counts(PEER), [1, inner.len() as u64, 0, 0]);
    assert_eq!(world.counts(OTHER_PEER), [0; 4]);
}

#[test]
fn the_outer_tos_is_0_whatever_the_inner_is() {
    let mut world = World::new();
    for tos in [0x01, 0x02, 0x03, 0xb8, 0xff] {
        let inner = Header { tos, ..Header::udp(POD, PEER_POD) }.packet(b"marked");
        assert_eq!(world.encap(&inner).bytes, datagram(LOCAL, PEER, &hop(&inner)));
    }
}

#[test]
fn the_checksum_survives_every_ttl_and_every_carry() {
    let mut world = World::new();
    for id in [0, 1, 0x00ff, 0x7f00, 0xfeff, 0xff00, 0xffff] {
        for ttl in 2..=255 {
            let inner = Header { ttl, id, ..Header::udp(POD, PEER_POD) }.packet(b"");
            let sent = world.encap(&inner).bytes;
            assert_eq!(header_checksum(&sent[28..]), 0, "ttl {ttl} id {id}");
            assert_eq!(sent[28..], hop(&inner));
        }
    }
}

#[test]
fn inner_options_and_inner_fragments_are_carried() {
    let mut world = World::new();
    let mut options = Header::udp(POD, PEER_POD).packet(&[1, 1, 1, 0, b'x']);
    options[0] = 0x46;
    let fragment = Header { fragment: 0x2000 | 185, ..Header::udp(POD, PEER_POD) }.packet(&[7; 100]);
    let sent = world.encap(&fragment);
    assert_eq!((sent.verdict, sent.bytes), (REDIRECT, datagram(LOCAL, PEER, &hop(&fragment))));
    let sent = world.encap(&options);
    assert_eq!((sent.verdict, sent.bytes.len()), (REDIRECT, options.len() + 28));
    assert_eq!(sent.bytes[28 + 8], 63);
}

#[test]
fn the_last_hop_is_user_spaces_to_answer() {
    let mut world = World::new();
    for ttl in [0, 1] {
        let inner = Header { ttl, ..Header::udp(POD, PEER_POD) }.packet(b"late");
        left_to_user(&mut world, &inner, UserReason::Ttl);
    }
}

#[test]
fn a_destination_without_a_lease_is_user_spaces() {
    let mut world = World::new();
    for dst in [[10, 50, 4, 2], [8, 8, 8, 8], [224, 0, 0, 1], [255, 255, 255, 255]] {
        let inner = Header::udp(POD, dst.into()).packet(b"?");
        left_to_user(&mut world, &inner, UserReason::NoLease);
    }
}

#[test]
fn what_is_not_ipv4_or_lies_about_its_length_is_user_spaces() {
    let mut world = World::new();
    let good = inner_to_peer();
    let with = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        bad
    };
    left_to_user(&mut world, &with(0, 0x65), UserReason::NotIpv4);
    left_to_user(&mut world, &with(0, 0x44), UserReason::NotIpv4);
    left_to_user(&mut world, &with(3, good[3] + 1), UserReason::BadLength);
    left_to_user(&mut world, &with(3, good[3] - 1), UserReason::BadLength);
    left_to_user(&mut world, &with(3, 19), UserReason::BadLength);
    let mut padded = good.clone();
    padded.push(0);
    left_to_user(&mut world, &padded, UserReason::BadLength);
}

#[test]
fn truncated_at_every_length_is_user_spaces() {
    let mut world = World::new();
    let good = inner_to_peer();
    for len in SHORTEST..good.len() {
        let outcome = world.encap(&good[..len]);
        assert_eq!((outcome.verdict, &outcome.bytes[..]), (NEXT, &good[..len]), "{len} bytes");
    }
}

#[test]
fn a_peer_without_a_route_is_user_spaces() {
    let mut world = World::new();
    common::net::run("ip route add unreachable 192.0.2.3/32");
    let inner = Header::udp(POD, OTHER_PEER_POD).packet(b"?");
    left_to_user(&mut world, &inner, UserReason::NoRoute);
    common::net::sysctl("net.ipv4.conf.flannel0.forwarding", "0");
    left_to_user(&mut world, &inner_to_peer(), UserReason::NoRoute);
}

#[test]
fn more_than_the_path_carries_is_user_spaces_to_fragment() {
    let mut world = World::new();
    common::net::run("ip route add 192.0.2.2/32 dev ul0 mtu lock 1000");
    let fits = Header::udp(POD, PEER_POD).packet(&[0; 1000 - 28 - 20]);
    assert_eq!(world.encap(&fits).verdict, REDIRECT);
    let big = Header::udp(POD, PEER_POD).packet(&[0; 1000 - 28 - 20 + 1]);
    left_to_user(&mut world, &big, UserReason::TooBig);
}

#[test]
fn a_gso_packet_counts_as_its_segments_and_is_measured_by_one() {
    let mut world = World::new();
    // TCP with 12 bytes of options; 2900 bytes of data in segments of 1400.
    let mut tcp = vec![0; 32];
    tcp[12] = 8 << 4;
    tcp.extend([7; 2900]);
    let inner = Header { protocol: 6, ..Header::udp(POD, PEER_POD) }.packet(&tcp);
    let outcome = world.run("weft_encap", &inner, 1400);
    // The test's packets have a segment size but no GSO type, which the kernel does not encapsulate:
    // what matters here is that it was measured by the segment and left alone.
    assert_eq!(outcome.event, Some(UserReason::Refused as u32));
    let outcome = world.run("weft_encap", &inner, 1500 - 28 - 52 + 1);
    assert_eq!(outcome.event, Some(UserReason::TooBig as u32));
}

#[test]
fn a_peer_that_reads_from_a_socket_gets_its_packets_from_one() {
    let mut world = World::new();
    world.set_credit(PEER, 0);
    left_to_user(&mut world, &inner_to_peer(), UserReason::PlainPeer);
    let other = Header::udp(POD, OTHER_PEER_POD).packet(&udp(1, 2, b"still in the kernel"));
    assert_eq!(world.encap(&other).verdict, REDIRECT);
}
