//! Random and damaged packets: the verifier promises that the programs do not crash, this promises
//! that they do what a model in plain Rust says, byte for byte.

mod common;

use std::net::Ipv4Addr;

use common::packets::*;
use common::world::*;
use ebpf::overlay::{DropReason, UserReason};
use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

fn u16_at(bytes: &[u8], at: usize) -> usize {
    usize::from(u16::from_be_bytes([bytes[at], bytes[at + 1]]))
}

fn address_at(bytes: &[u8], at: usize) -> Ipv4Addr {
    <[u8; 4]>::try_from(&bytes[at..at + 4]).unwrap().into()
}

fn subnet_of(peer: Ipv4Addr) -> Option<[u8; 3]> {
    match peer {
        PEER => Some([10, 50, 2]),
        OTHER_PEER => Some([10, 50, 3]),
        _ => None,
    }
}

/// One hop less, with the checksum that was there put right by as much: a wrong one stays wrong.
fn hop_keeping_errors(inner: &[u8]) -> Vec<u8> {
    let mut out = inner.to_vec();
    out[8] -= 1;
    let sum = u32::from(u16::from_be_bytes([inner[10], inner[11]])) + 0x0100;
    let sum = if sum >= 0xffff { sum + 1 } else { sum };
    out[10..12].copy_from_slice(&(sum as u16).to_be_bytes());
    out
}

fn decap_model(outer: &[u8]) -> Outcome {
    let keep = |event: Option<UserReason>| Outcome {
        verdict: NEXT,
        bytes: outer.to_vec(),
        event: event.map(|event| event as u32),
    };
    let drop = |why: DropReason| Outcome { verdict: DROP, bytes: outer.to_vec(), event: Some(why as u32) };
    if outer.len() < 28 || address_at(outer, 16) != LOCAL || outer[9] != 17 {
        return keep(None);
    }
    if outer[0] != 0x45 {
        return keep(Some(UserReason::Options));
    }
    let fragment = u16_at(outer, 6);
    if fragment & 0x1fff != 0 || u16_at(outer, 22) != PORT.into() || header_checksum(outer) != 0 {
        return keep(None);
    }
    if fragment & 0x2000 != 0 {
        return keep(Some(UserReason::Fragment));
    }
    let sender = address_at(outer, 12);
    let Some(subnet) = subnet_of(sender) else {
        return drop(DropReason::UnknownSender);
    };
    let (total, datagram) = (u16_at(outer, 2), u16_at(outer, 24));
    if total > outer.len() || datagram + 20 > total || datagram < 8 {
        return drop(DropReason::BadLength);
    }
    if datagram < 28 {
        return drop(DropReason::Truncated);
    }
    let inner = &outer[28..];
    let (header, inner_total) = (usize::from(inner[0] & 15) * 4, u16_at(inner, 2));
    if inner[0] >> 4 != 4 {
        return drop(DropReason::NotIpv4);
    }
    if header < 20 || inner_total < header || inner_total + 8 > datagram {
        return drop(DropReason::BadLength);
    }
    if inner[12..15] != subnet {
        return drop(DropReason::SpoofedSource);
    }
    if inner[8] < 2 {
        return drop(DropReason::Ttl);
    }
    Outcome { verdict: REDIRECT, bytes: hop_keeping_errors(inner), event: None }
}

fn encap_model(inner: &[u8]) -> Outcome {
    let keep = |why: UserReason| Outcome { verdict: NEXT, bytes: inner.to_vec(), event: Some(why as u32) };
    let (header, total) = (usize::from(inner[0] & 15) * 4, u16_at(inner, 2));
    if inner[0] >> 4 != 4 || header < 20 {
        return keep(UserReason::NotIpv4);
    }
    if total < header || total != inner.len() {
        return keep(UserReason::BadLength);
    }
    if inner[8] < 2 {
        return keep(UserReason::Ttl);
    }
    let peer = [PEER, OTHER_PEER].into_iter().find(|peer| subnet_of(*peer).unwrap() == inner[16..19]);
    match peer {
        None => keep(UserReason::NoLease),
        Some(peer) => {
            let bytes = datagram(LOCAL, peer, &hop_keeping_errors(inner));
            Outcome { verdict: REDIRECT, bytes, event: None }
        }
    }
}

/// A good packet, then damage: bytes set to values that matter, cut or extended. The outer checksum is
/// made right again half the time, so that damage gets past it.
fn damaged(good: Vec<u8>, outer: bool) -> impl Strategy<Value = Vec<u8>> {
    let value = prop_oneof![any::<u8>(), Just(0), Just(1), Just(0x45), Just(0x46), Just(17), Just(255)];
    let damage = prop::collection::vec((0..good.len().min(60), value), 0..4);
    let len = prop_oneof![3 => Just(good.len()), 1 => SHORTEST..good.len() + 40];
    (damage, len, any::<bool>()).prop_map(move |(damage, len, repair)| {
        let mut bytes = good.clone();
        for (at, value) in damage {
            bytes[at] = value;
        }
        bytes.resize(len, 0);
        if repair && outer {
            fix_checksum(&mut bytes);
        }
        bytes
    })
}

fn inner_packet(src: Ipv4Addr, dst: Ipv4Addr) -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), any::<u8>(), any::<u16>(), prop::collection::vec(any::<u8>(), 0..200)).prop_map(
        move |(ttl, protocol, id, payload)| {
            Header { ttl, protocol, id, ..Header::udp(src, dst) }.packet(&payload)
        },
    )
}

/// The same packets in every run; failures are printed as bytes.
fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &[7; 32]))
}

#[test]
fn decap_does_what_the_model_says() {
    let world = std::cell::RefCell::new(World::new());
    let senders = prop_oneof![4 => Just(PEER), 1 => Just(OTHER_PEER), 1 => Just(STRANGER)];
    let packets = (senders, inner_packet(PEER_POD, POD))
        .prop_flat_map(|(sender, inner)| damaged(datagram(sender, LOCAL, &inner), true));
    runner(6000)
        .run(&packets, |outer| {
            let have = world.borrow_mut().decap(&outer);
            prop_assert_eq!(have, decap_model(&outer));
            Ok(())
        })
        .unwrap();
    let events = world.borrow().events();
    assert!(events[..6].iter().all(|n| *n > 0), "every drop was met: {events:?}");
}

#[test]
fn encap_does_what_the_model_says() {
    let world = std::cell::RefCell::new(World::new());
    let packets = inner_packet(POD, PEER_POD).prop_flat_map(|inner| damaged(inner, false));
    runner(6000)
        .run(&packets, |inner| {
            let have = world.borrow_mut().encap(&inner);
            prop_assert_eq!(have, encap_model(&inner));
            Ok(())
        })
        .unwrap();
}

#[test]
fn pure_noise_is_never_let_in_or_out() {
    let mut world = World::new();
    let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    for _ in 0..4000 {
        let len = SHORTEST + (random() % 200) as usize;
        let noise: Vec<u8> = (0..len).map(|_| random() as u8).collect();
        assert_eq!(world.decap(&noise), decap_model(&noise));
        assert_eq!(world.encap(&noise), encap_model(&noise));
        // Behind good outer headers it gets as far as the inner checks.
        let outer = datagram(PEER, LOCAL, &noise);
        assert_eq!(world.decap(&outer), decap_model(&outer));
    }
}

#[test]
fn every_prefix_of_a_good_packet_is_judged_as_the_model_judges_it() {
    let mut world = World::new();
    let outer = datagram(PEER, LOCAL, &inner_from_peer());
    for len in SHORTEST..=outer.len() {
        assert_eq!(world.decap(&outer[..len]), decap_model(&outer[..len]), "{len} bytes");
        // The same with the outer lengths telling the truth about the cut.
        if len >= 28 {
            let cut = datagram(PEER, LOCAL, &inner_from_peer()[..len - 28]);
            assert_eq!(world.decap(&cut), decap_model(&cut), "{len} bytes, honest");
        }
    }
}
