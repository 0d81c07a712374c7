//! The `simple` data path between two namespaces.

mod udp_common;

use flanneld::udp::{InUse, PeerCounts, UdpCounters, UdpPath, ensure};
use flanneld_core::config::Datapath;
use flanneld_core::packet::DropReason;
use std::net::{Ipv4Addr, UdpSocket};
use std::time::Instant;
use udp_common::*;

#[test]
fn ping_tcp_and_large_datagrams_cross_and_are_counted() {
    let lab = Lab::new();
    let (a, b) = (lab.a.start(Datapath::Simple), lab.b.start(Datapath::Simple));
    assert_eq!(a.datapath().datapath, InUse::Simple);
    assert!(lab.a.ping(TUN_B, &[]).status.success());
    // A full packet that may not be cut, and one that has to be.
    assert!(lab.a.ping(TUN_B, &["-Mdo", "-s", "1444"]).status.success());
    assert!(lab.a.ping(TUN_B, &["-s", "20000"]).status.success());
    // Two whole packets and one in fourteen pieces, each way; counted after they were passed on.
    let want =
        PeerCounts { sent_packets: 16, sent_bytes: 21_844, received_packets: 16, received_bytes: 21_844 };
    for (path, peer) in [(&a, B), (&b, A)] {
        wait_for("the counters", || path.counters().peers[&peer].received_packets >= 16);
        assert_eq!(path.counters().peers[&peer], want);
    }

    tcp(&lab.a, &lab.b);
    tcp(&lab.b, &lab.a);
    let counts = a.counters().peers[&B];
    assert!(
        counts.sent_bytes as usize > TCP_BYTES && counts.received_bytes as usize > TCP_BYTES,
        "{counts:?}"
    );
}

#[test]
fn a_destination_without_lease_is_told_to_the_sender() {
    let lab = Lab::new();
    let mut a = lab.a.start(Datapath::Simple);
    let nowhere = Ipv4Addr::new(10, 5, 9, 9);
    let said = lab.a.ping_text(nowhere, &[]);
    assert!(said.contains("From 10.5.1.0") && said.contains("Destination Net Unreachable"), "{said}");
    // The answer may be there before it is counted.
    wait_for("the drop and the answer to be counted", || {
        let counters = a.counters();
        (counters.dropped(DropReason::NoRoute), counters.icmp_sent) == (1, 1)
    });

    // A lease that leaves takes its route with it.
    a.set_peers(&Default::default()).unwrap();
    let said = lab.a.ping_text(TUN_B, &[]);
    assert!(said.contains("Destination Net Unreachable"), "{said}");
    assert!(a.counters().peers.is_empty());
}

#[test]
fn a_flood_to_nowhere_gets_few_answers() {
    let lab = Lab::new();
    let a = lab.a.start(Datapath::Simple);
    let socket = lab.a.in_ns(|| UdpSocket::bind((TUN_A, 0)).unwrap());
    let (start, mut sent) = (Instant::now(), 0);
    while a.counters().dropped(DropReason::NoRoute) < 5000 && start.elapsed() < DEADLINE {
        let _ = socket.send_to(b"anybody?", ("10.5.9.9", 9));
        sent += 1;
    }
    // The last packet may be between one counter and the next.
    let told = |c: &UdpCounters| c.icmp_sent + c.icmp_suppressed == c.dropped(DropReason::NoRoute);
    let mut counters = a.counters();
    wait_for("every drop to be told or suppressed", || {
        counters = a.counters();
        told(&counters)
    });
    let elapsed = start.elapsed();
    assert!(counters.dropped(DropReason::NoRoute) >= 5000, "{sent} sent: {counters:?}");
    assert!(counters.icmp_sent <= 60 + elapsed.as_millis() as u64, "{elapsed:?}: {counters:?}");
}

#[test]
fn each_side_is_a_hop() {
    let lab = Lab::new();
    let (a, b) = (lab.a.start(Datapath::Simple), lab.b.start(Datapath::Simple));
    let said = lab.a.ping_text(TUN_B, &["-t1"]);
    assert!(said.contains("From 10.5.1.0") && said.contains("Time to live exceeded"), "{said}");
    wait_for("the drop to be counted", || a.counters().dropped(DropReason::TtlExpired) == 1);

    // The second hop is silent, as with flannel.
    assert!(!lab.a.ping(TUN_B, &["-t2", "-W1"]).status.success());
    wait_for("the drop to be counted", || b.counters().dropped(DropReason::TtlExpired) == 1);
    let said = lab.a.ping_text(TUN_B, &["-t3"]);
    assert!(said.contains("ttl=62"), "{said}");
}

#[test]
fn strangers_and_forgers_are_dropped_and_counted() {
    let lab = Lab::new();
    let mut spec = lab.a.spec(Datapath::Simple);
    let a = lab.a.start_with(&spec);
    let sender = |from: Ipv4Addr| lab.b.in_ns(|| UdpSocket::bind((from, 0)).unwrap());
    let send =
        |from, packet: &[u8]| assert_eq!(sender(from).send_to(packet, (A, PORT)).unwrap(), packet.len());
    let honest = packet(TUN_B, TUN_A, 64, b"hello");
    let forged = packet(Ipv4Addr::new(10, 5, 3, 1), TUN_A, 64, b"hello");

    send(STRANGER, &honest);
    send(B, &forged);
    send(B, &vec![0x45; 1473]);
    send(B, &honest);
    wait_for("the honest packet", || a.counters().peers[&B].received_packets == 1);
    let counters = a.counters();
    for reason in [DropReason::UnknownSender, DropReason::SpoofedSource, DropReason::Oversized] {
        assert_eq!(counters.dropped(reason), 1, "{reason}");
    }

    drop(a);
    spec.check_source = false;
    let a = lab.a.start_with(&spec);
    send(B, &forged);
    wait_for("the forged packet", || a.counters().peers[&B].received_packets == 1);
}

#[test]
fn ten_thousand_garbage_datagrams_do_no_harm() {
    let lab = Lab::new();
    let (a, _b) = (lab.a.start(Datapath::Simple), lab.b.start(Datapath::Simple));
    let before = a.counters();
    let socket = lab.b.in_ns(|| UdpSocket::bind((B, 0)).unwrap());
    let mut seed = 0x2545_f491_4f6c_dd1du64;
    let mut random = move || {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        seed
    };
    let seen = || {
        let now = a.counters();
        let dropped = |c: &UdpCounters| {
            c.drops.iter().filter(|(r, _)| **r != DropReason::NoRoute).map(|(_, n)| n).sum::<u64>()
        };
        dropped(&now) + now.peers[&B].received_packets - dropped(&before) - before.peers[&B].received_packets
    };
    for i in 0..10_000u64 {
        let mut garbage: Vec<u8> = (0..random() % 1600).map(|_| random() as u8).collect();
        // Half of it gets past the version.
        if i % 2 == 0
            && let Some(first) = garbage.first_mut()
        {
            *first = 0x40 | (random() % 16) as u8;
        }
        assert_eq!(socket.send_to(&garbage, (A, PORT)).unwrap(), garbage.len());
        if i % 100 == 99 {
            wait_for("the garbage to be judged", || seen() > i);
        }
    }
    let counters = a.counters();
    for reason in [DropReason::Truncated, DropReason::NotIpv4, DropReason::BadHeader, DropReason::Oversized] {
        assert!(counters.dropped(reason) > 0, "{reason}: {counters:?}");
    }
    assert!(lab.a.ping(TUN_B, &[]).status.success());
}

#[test]
fn a_deleted_tun_is_made_anew() {
    let lab = Lab::new();
    let (mut a, _b) = (lab.a.start(Datapath::Simple), lab.b.start(Datapath::Simple));
    assert!(lab.a.ping(TUN_B, &[]).status.success());
    let before = a.counters().peers[&B].sent_packets;
    assert!(lab.a.in_ns(|| a.healthy()));
    assert!(!lab.a.in_ns(|| a.heal()).unwrap());

    lab.a.ip(&["link", "delete", "flannel0"]);
    assert!(!lab.a.in_ns(|| a.healthy()));
    assert!(lab.a.in_ns(|| a.heal()).unwrap());
    lab.a.reconcile();
    assert!(lab.a.in_ns(|| a.healthy()));
    assert!(lab.a.ping(TUN_B, &[]).status.success());
    assert!(a.counters().peers[&B].sent_packets > before, "counters began again");
}

#[test]
fn the_tun_survives_a_restart_and_goes_when_told() {
    let lab = Lab::new();
    let _b = lab.b.start(Datapath::Simple);
    let a = lab.a.start(Datapath::Simple);
    let refused = lab.a.in_ns(|| UdpPath::start(&lab.a.spec(Datapath::Simple)).unwrap_err());
    assert!(refused.to_string().contains("another program listens there"), "{refused}");

    drop(a);
    assert!(lab.a.has_tun());

    // Address and route are still there.
    let mut a = lab.a.in_ns(|| UdpPath::start(&lab.a.spec(Datapath::Simple))).unwrap();
    a.set_peers(&leases(A)).unwrap();
    assert!(lab.a.ping(TUN_B, &[]).status.success());

    drop(a);
    let pins = lab.a.spec(Datapath::Simple).pin_dir;
    lab.a.in_ns(|| UdpPath::remove_pins(&pins).and(UdpPath::remove_tun("flannel0"))).unwrap();
    assert!(!lab.a.has_tun());
    lab.a.in_ns(|| UdpPath::remove_pins(&pins).and(UdpPath::remove_tun("flannel0"))).unwrap();
}

#[test]
fn a_tun_that_is_down_costs_packets_and_nothing_else() {
    let lab = Lab::new();
    let (a, _b) = (lab.a.start(Datapath::Simple), lab.b.start(Datapath::Simple));
    lab.a.ip(&["link", "set", "flannel0", "down"]);
    let socket = lab.b.in_ns(|| UdpSocket::bind((B, 0)).unwrap());
    socket.send_to(&packet(TUN_B, TUN_A, 64, b"hello"), (A, PORT)).unwrap();
    wait_for("the refused packet", || a.counters().dropped(DropReason::DeliverFailed) == 1);
    lab.a.reconcile();
    assert!(lab.a.ping(TUN_B, &[]).status.success());
}

#[test]
fn an_underlay_that_is_down_costs_packets_and_nothing_else() {
    let lab = Lab::new();
    let (mut a, _b) = (lab.a.start(Datapath::Simple), lab.b.start(Datapath::Simple));
    lab.a.ip(&["link", "set", "eth0", "down"]);
    assert!(!lab.a.ping(TUN_B, &["-W1"]).status.success());
    wait_for("the refused packet", || a.counters().dropped(DropReason::SendFailed) >= 1);
    assert!(lab.a.in_ns(|| a.healthy()));
    lab.a.ip(&["link", "set", "eth0", "up"]);
    wait_for("the way back", || lab.a.ping(TUN_B, &[]).status.success());
}

#[test]
fn ensure_makes_mends_and_moves() {
    let lab = Lab::new();
    let _b = lab.b.start(Datapath::Simple);
    let mut spec = lab.a.spec(Datapath::Simple);
    let mut path = None;
    lab.a.in_ns(|| {
        assert!(ensure(&mut path, &spec, false).unwrap());
        assert!(!ensure(&mut path, &spec, false).unwrap());
    });
    lab.a.reconcile();
    path.as_mut().unwrap().set_peers(&leases(A)).unwrap();
    assert!(lab.a.ping(TUN_B, &[]).status.success());

    spec.mtu = 1000;
    lab.a.in_ns(|| assert!(ensure(&mut path, &spec, true).unwrap()));
    assert_eq!(path.as_ref().unwrap().spec().mtu, 1000);
    assert!(lab.a.ping(TUN_B, &[]).status.success());
    assert!(!lab.a.ping(TUN_B, &["-W1", "-s", "1200"]).status.success(), "longer than the MTU");
}
