//! The ingress program, one packet at a time.

mod common;

use common::packets::*;
use common::world::*;
use ebpf::overlay::{DropReason, UserReason};

#[track_caller]
fn dropped(world: &mut World, outer: &[u8], why: DropReason) {
    let outcome = world.decap(outer);
    assert_eq!((outcome.verdict, outcome.event), (DROP, Some(why as u32)));
}

/// Unchanged, and not dropped: to the host's stack, where the socket is.
#[track_caller]
fn passed(world: &mut World, outer: &[u8], why: Option<UserReason>) {
    let outcome = world.decap(outer);
    let event = why.map(|why| why as u32);
    assert_eq!(outcome, Outcome { verdict: NEXT, bytes: outer.to_vec(), event });
}

fn from_peer(inner: &[u8]) -> Vec<u8> {
    datagram(PEER, LOCAL, inner)
}

#[test]
fn takes_the_inner_packet_out_and_one_hop_off() {
    let mut world = World::new();
    let inner = inner_from_peer();
    let outcome = world.decap(&from_peer(&inner));
    assert_eq!(outcome, Outcome { verdict: REDIRECT, bytes: hop(&inner), event: None });
    assert_eq!(world.counts(PEER), [0, 0, 1, inner.len() as u64]);
}

#[test]
fn any_source_port_any_checksum_any_mark_will_do() {
    let mut world = World::new();
    let inner = inner_from_peer();
    let mut payload = udp(40000, PORT, &inner);
    payload[6..8].copy_from_slice(&[0xab, 0xcd]);
    let outer = Header { tos: 0x03, id: 99, fragment: 0, ..Header::udp(PEER, LOCAL) }.packet(&payload);
    assert_eq!(world.decap(&outer).bytes, hop(&inner));
}

#[test]
fn padding_behind_the_inner_packet_is_the_hosts_to_trim() {
    let mut world = World::new();
    let inner = inner_from_peer();
    let mut padded = from_peer(&inner);
    padded.extend([0; 9]);
    assert_eq!(world.decap(&padded).verdict, REDIRECT);
    let trailing = [&inner[..], &[0; 5]].concat();
    assert_eq!(world.decap(&from_peer(&trailing)).verdict, REDIRECT);
}

#[test]
fn what_is_not_for_us_goes_on_untouched_and_uncounted() {
    let mut world = World::new();
    let inner = inner_from_peer();
    passed(&mut world, &datagram(PEER, PEER, &inner), None);
    passed(&mut world, &Header::udp(PEER, LOCAL).packet(&udp(PORT, PORT + 1, &inner)), None);
    let tcp = Header { protocol: 6, ..Header::udp(PEER, LOCAL) };
    passed(&mut world, &tcp.packet(&udp(PORT, PORT, &inner)), None);
    passed(&mut world, &Header { fragment: 100, ..Header::udp(PEER, LOCAL) }.packet(&[9; 64]), None);
    let mut bad_sum = from_peer(&inner);
    bad_sum[10] ^= 1;
    passed(&mut world, &bad_sum, None);
}

#[test]
fn the_unusual_goes_to_the_socket() {
    let mut world = World::new();
    let inner = inner_from_peer();
    let first = Header { fragment: 0x2000, ..Header::udp(PEER, LOCAL) }.packet(&udp(PORT, PORT, &inner));
    passed(&mut world, &first, Some(UserReason::Fragment));
    let mut options =
        Header::udp(PEER, LOCAL).packet(&[&[1, 1, 1, 0][..], &udp(PORT, PORT, &inner)].concat());
    options[0] = 0x46;
    passed(&mut world, &options, Some(UserReason::Options));
}

#[test]
fn datagrams_glued_together_go_to_the_socket() {
    let mut world = World::new();
    let inner = inner_from_peer();
    let outer = from_peer(&[&inner[..], &inner].concat());
    let outcome = world.run("weft_decap", &outer, inner.len() as u32);
    assert_eq!((outcome.verdict, outcome.event), (NEXT, Some(UserReason::Aggregate as u32)));
    assert_eq!(outcome.bytes, outer);
}

#[test]
fn udp_segments_in_one_packet_go_to_the_socket() {
    let mut world = World::new();
    let outer = from_peer(&Header::udp(PEER_POD, POD).packet(&udp(1, 2, &[7; 300])));
    let outcome = world.run("weft_decap", &outer, 100);
    assert_eq!(outcome, Outcome { verdict: NEXT, bytes: outer, event: Some(UserReason::Aggregate as u32) });
}

#[test]
fn a_sender_without_a_lease_is_dropped_once_the_leases_are_known() {
    let mut world = World::new();
    let outer = datagram(STRANGER, LOCAL, &inner_from_peer());
    dropped(&mut world, &outer, DropReason::UnknownSender);
    world.set_ready(false);
    passed(&mut world, &outer, Some(UserReason::NotReady));
    assert_eq!(world.decap(&from_peer(&inner_from_peer())).verdict, REDIRECT);
}

#[test]
fn an_inner_source_outside_the_senders_lease_is_dropped() {
    let mut world = World::new();
    for src in [OTHER_PEER_POD, POD, [8, 8, 8, 8].into(), [127, 0, 0, 1].into()] {
        let inner = Header::udp(src, POD).packet(b"trust me");
        dropped(&mut world, &from_peer(&inner), DropReason::SpoofedSource);
    }
}

#[test]
fn the_source_check_can_be_switched_off_but_not_the_lease_check() {
    let mut world = World::with(false);
    let inner = Header::udp(OTHER_PEER_POD, POD).packet(b"routed through");
    assert_eq!(world.decap(&from_peer(&inner)).bytes, hop(&inner));
    dropped(&mut world, &datagram(STRANGER, LOCAL, &inner), DropReason::UnknownSender);
}

#[test]
fn no_hop_left_is_dropped() {
    let mut world = World::new();
    for ttl in [0, 1] {
        let inner = Header { ttl, ..Header::udp(PEER_POD, POD) }.packet(b"late");
        dropped(&mut world, &from_peer(&inner), DropReason::Ttl);
    }
}

#[test]
fn malformed_inner_packets_are_dropped_by_reason() {
    let mut world = World::new();
    let good = inner_from_peer();
    let with = |at: usize, value: u8| {
        let mut bad = good.clone();
        bad[at] = value;
        from_peer(&bad)
    };
    dropped(&mut world, &with(0, 0x65), DropReason::NotIpv4);
    dropped(&mut world, &with(0, 0x44), DropReason::BadLength);
    dropped(&mut world, &with(0, 0x4f), DropReason::BadLength);
    dropped(&mut world, &with(3, good[3] + 1), DropReason::BadLength);
    dropped(&mut world, &with(3, 19), DropReason::BadLength);
    dropped(&mut world, &from_peer(b""), DropReason::Truncated);
    dropped(&mut world, &from_peer(&good[..19]), DropReason::Truncated);
}

#[test]
fn malformed_outer_lengths_are_dropped() {
    let mut world = World::new();
    let good = from_peer(&inner_from_peer());
    let mut udp_long = good.clone();
    udp_long[25] += 1;
    dropped(&mut world, &udp_long, DropReason::BadLength);
    let mut udp_short = good.clone();
    udp_short[24..26].copy_from_slice(&7u16.to_be_bytes());
    dropped(&mut world, &udp_short, DropReason::BadLength);
    let mut ip_long = good.clone();
    ip_long[3] += 1;
    fix_checksum(&mut ip_long);
    dropped(&mut world, &ip_long, DropReason::BadLength);
}

#[test]
fn truncated_at_every_length_never_gets_in() {
    let mut world = World::new();
    let good = from_peer(&inner_from_peer());
    for len in SHORTEST..good.len() {
        let outcome = world.decap(&good[..len]);
        let want = if len < 28 { NEXT } else { DROP };
        assert_eq!(outcome.verdict, want, "{len} bytes");
    }
}

#[test]
fn a_peer_shows_by_the_checksum_whether_it_has_these_programs() {
    let mut world = World::new();
    let inner = inner_from_peer();
    let mut plain = udp(PORT, PORT, &inner);
    plain[6..8].copy_from_slice(&[0xab, 0xcd]);
    let plain = Header::udp(PEER, LOCAL).packet(&plain);
    assert_eq!(world.decap(&plain).verdict, REDIRECT);
    assert_eq!(world.credit(PEER), 0);
    assert_eq!(world.decap(&from_peer(&inner)).verdict, REDIRECT);
    assert_eq!(world.credit(PEER), CREDIT);
    assert_eq!(world.credit(OTHER_PEER), CREDIT, "nobody else is concerned");
    // What is dropped shows nothing.
    let spoofed = Header::udp(OTHER_PEER_POD, POD).packet(&udp(1, 2, b""));
    let mut payload = udp(PORT, PORT, &spoofed);
    payload[6..8].copy_from_slice(&[0xab, 0xcd]);
    dropped(&mut world, &Header::udp(PEER, LOCAL).packet(&payload), DropReason::SpoofedSource);
    assert_eq!(world.credit(PEER), CREDIT);
}

#[test]
fn a_checksum_left_to_hardware_is_left_to_the_socket() {
    let mut world = World::new();
    let inner = inner_from_peer();
    let mut payload = udp(PORT, PORT, &inner);
    let pseudo = [&PEER.octets()[..], &LOCAL.octets(), &[0, 17], &payload[4..6]].concat();
    let sum: u32 = pseudo.chunks(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    payload[6..8].copy_from_slice(&(sum as u16).to_be_bytes());
    let outer = Header::udp(PEER, LOCAL).packet(&payload);
    passed(&mut world, &outer, Some(UserReason::Unfinished));
    assert_eq!(world.credit(PEER), 0, "it came out of a socket");
}
