//! The data path `ebpf`, judged by `simple`: on the same packets both have the same bytes on the wire, deliver the same
//! packets, give the same answers, and drop for the same reasons.

mod udp_common;

use flanneld::udp::{InUse, UdpCounters, UdpPath};
use flanneld_core::config::Datapath;
use flanneld_core::packet::{DropReason, checksum};
use socket2::{Domain, Protocol, Socket, Type};
use std::collections::BTreeMap;
use std::io::Read;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use udp_common::*;

/// What one data path made of the packets.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    /// In hexadecimal, and sorted: what user space handles may be overtaken.
    packets: Vec<String>,
    icmp: Vec<String>,
    drops: BTreeMap<String, u64>,
    sent: u64,
    received: u64,
}

fn raw(node: &Node, protocol: u8) -> Socket {
    let socket =
        node.ns.run(|| Socket::new(Domain::IPV4, Type::RAW, Some(Protocol::from(i32::from(protocol)))));
    let socket = socket.unwrap().unwrap();
    socket.set_read_timeout(Some(DEADLINE)).unwrap();
    socket
}

/// The next packet, with its IP header.
fn receive(mut socket: &Socket) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let len = socket.read(&mut buffer).expect("a packet before the deadline");
    buffer.truncate(len);
    buffer
}

fn judged(counters: &UdpCounters) -> u64 {
    let moved: u64 = counters.peers.values().map(|peer| peer.sent_packets + peer.received_packets).sum();
    moved + counters.drops.values().sum::<u64>()
}

fn outcome(path: &UdpPath, packets: Vec<Vec<u8>>, icmp: Vec<Vec<u8>>) -> Outcome {
    let (packets, icmp) = (hex(&packets), hex(&icmp));
    let counters = path.counters();
    let peer = counters.peers[&B];
    Outcome {
        packets,
        icmp,
        drops: drops(&counters),
        sent: peer.sent_packets,
        received: peer.received_packets,
    }
}

fn hex(packets: &[Vec<u8>]) -> Vec<String> {
    let hex = |packet: &Vec<u8>| packet.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut packets: Vec<String> = packets.iter().map(hex).collect();
    packets.sort();
    packets
}

/// Packets with everything that may be wrong, and what has to be right: source, destination.
fn crafted(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<Vec<u8>> {
    let with = |edit: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = packet(source, destination, 64, b"payload of the packet");
        edit(&mut packet);
        packet[10..12].fill(0);
        let header = usize::from(packet[0] & 15) * 4;
        if let Some(check) = packet.get(..header).map(checksum) {
            packet[10..12].copy_from_slice(&check.to_be_bytes());
        }
        packet
    };
    vec![
        with(&|_| {}),
        with(&|p| p[8] = 255),
        with(&|p| p[8] = 3),
        with(&|p| p[8] = 1),
        with(&|p| p[1] = 0xb9), // DSCP and ECN
        with(&|p| p[6] = 0x40), // DF
        with(&|p| p.resize(MTU as usize, 0xaa)).tap_len(),
        options(&packet(source, destination, 64, b"payload")),
        packet(source, destination, 64, b""),
    ]
}

trait TapLen {
    fn tap_len(self) -> Self;
}

impl TapLen for Vec<u8> {
    /// Writes the true length into the header, and the checksum that goes with it.
    fn tap_len(mut self) -> Self {
        let (len, header) = (self.len() as u16, usize::from(self[0] & 15) * 4);
        self[2..4].copy_from_slice(&len.to_be_bytes());
        self[10..12].fill(0);
        let check = checksum(&self[..header]);
        self[10..12].copy_from_slice(&check.to_be_bytes());
        self
    }
}

/// The same packet with eight bytes of no-operation options.
fn options(packet: &[u8]) -> Vec<u8> {
    let mut out = packet.to_vec();
    out.splice(20..20, [1; 8]);
    out[0] = 0x47;
    out.tap_len()
}

#[test]
fn the_same_bytes_on_the_wire_and_the_same_answers() {
    let run = |datapath| {
        let lab = Lab::new();
        let path = lab.a.start(datapath);
        let wire = raw(&lab.b, 17);
        let _listener = lab.b.in_ns(|| UdpSocket::bind((B, PORT)).unwrap());
        let answers = raw(&lab.a, 1);
        let sender = raw(&lab.a, 255);
        sender.set_header_included_v4(true).unwrap();

        let mut packets = crafted(TUN_A, Ipv4Addr::new(10, 5, 2, 9));
        packets.push(packet(TUN_A, Ipv4Addr::new(10, 5, 9, 9), 64, b"nowhere"));
        packets.push(packet(TUN_A, Ipv4Addr::new(10, 5, 9, 9), 1, b"nowhere, and no hop left"));
        let start = judged(&path.counters());
        for (i, packet) in packets.iter().enumerate() {
            let to = Ipv4Addr::new(packet[16], packet[17], packet[18], packet[19]);
            sender.send_to(packet, &SocketAddrV4::new(to, 0).into()).unwrap();
            wait_for("the packet to be judged", || judged(&path.counters()) > start + i as u64);
        }
        let counters = path.counters();
        let on_wire = (0..counters.peers[&B].sent_packets).map(|_| {
            let mut datagram = receive(&wire);
            // The id of a datagram that may not be cut means nothing (RFC 6864): a socket counts, the programs write 0.
            datagram[4..6].fill(0);
            datagram[10..12].fill(0);
            // The programs leave out the UDP checksum, as they may over IPv4.
            datagram[26..28].fill(0);
            datagram
        });
        let on_wire = on_wire.collect();
        let icmp = (0..counters.icmp_sent).map(|_| receive(&answers)).collect();
        outcome(&path, on_wire, icmp)
    };
    let (simple, ebpf) = (run(Datapath::Simple), run(Datapath::Ebpf));
    assert_eq!(simple, ebpf);
    assert_eq!((simple.sent, simple.icmp.len()), (8, 3));
    assert_eq!(simple.drops, [("no_route".to_owned(), 2), ("ttl_expired".to_owned(), 1)].into());
    for datagram in &simple.packets {
        assert_eq!(datagram[..4], *"4500", "no options, and nothing of the inner DSCP and ECN");
        assert_eq!(datagram[8..20], *"000040004011", "DF, TTL 64, UDP");
        assert_eq!(datagram[40..48], *"205d205d", "port 8285 to port 8285");
    }
}

#[test]
fn the_same_packets_delivered_and_the_same_drops() {
    let run = |datapath| {
        let lab = Lab::new();
        let path = lab.a.start(datapath);
        let delivered = raw(&lab.a, 253);
        let from = |address: Ipv4Addr| lab.b.in_ns(|| UdpSocket::bind((address, 0)).unwrap());
        let (peer, stranger) = (from(B), from(STRANGER));

        let good = packet(TUN_B, TUN_A, 64, b"payload");
        let with = |at: usize, byte: u8| {
            let mut packet = good.clone();
            packet[at] = byte;
            packet
        };
        let mut packets = crafted(Ipv4Addr::new(10, 5, 2, 7), TUN_A);
        packets.extend([
            packet(TUN_B, TUN_A, 0, b"below the last hop"),
            packet(TUN_B, TUN_A, 2, b"the last hop"),
            packet(Ipv4Addr::new(10, 5, 3, 7), TUN_A, 64, b"forged"),
            packet(TUN_A, TUN_A, 64, b"forged as ours"),
            Vec::new(),
            vec![0x45],
            good[..19].to_vec(),
            good[..20].to_vec(),
            good[..good.len() - 1].to_vec(),
            [good.as_slice(), b"trailing"].concat(),
            with(0, 0x65),
            with(0, 0x44),
            with(0, 0x4f),
            with(2, 0xff),
            with(3, 19),
            with(10, good[10] ^ 1), // a wrong checksum: carried, and the kernel behind drops it
        ]);
        let start = judged(&path.counters());
        let mut sent = 0;
        let mut send = |socket: &UdpSocket, packet: &[u8]| {
            socket.send_to(packet, (A, PORT)).unwrap();
            sent += 1;
            wait_for("the packet to be judged", || judged(&path.counters()) >= start + sent);
        };
        for packet in &packets {
            send(&peer, packet);
        }
        send(&stranger, &good);
        send(&stranger, &good[..3]);
        let last = packet(TUN_B, TUN_A, 64, b"the last packet");
        send(&peer, &last);

        let mut got = Vec::new();
        while got.last().is_none_or(|packet: &Vec<u8>| !packet.ends_with(b"the last packet")) {
            got.push(receive(&delivered));
        }
        outcome(&path, got, Vec::new())
    };
    let (simple, ebpf) = (run(Datapath::Simple), run(Datapath::Ebpf));
    assert_eq!(simple, ebpf);
    let want = [
        (DropReason::UnknownSender, 2),
        (DropReason::SpoofedSource, 2),
        (DropReason::Truncated, 3),
        (DropReason::NotIpv4, 1),
        (DropReason::BadHeader, 6),
        (DropReason::TtlExpired, 2),
    ];
    assert_eq!(simple.drops, want.iter().map(|(reason, count)| (reason.to_string(), *count)).collect());
    assert_eq!(simple.packets.len() as u64, simple.received - 1, "all but the one with a wrong checksum");
}

#[test]
fn packets_in_the_kernel_and_unusual_ones_cross() {
    let lab = Lab::new();
    let (a, b) = (lab.a.start(Datapath::Auto), lab.b.start(Datapath::Auto));
    assert_eq!(a.datapath().datapath, InUse::Ebpf, "{}", a.datapath());
    assert!(lab.a.ping(TUN_B, &["-s", "20000"]).status.success());
    tcp(&lab.a, &lab.b);
    tcp(&lab.b, &lab.a);
    let said = lab.a.ping_text(Ipv4Addr::new(10, 5, 9, 9), &[]);
    assert!(said.contains("Destination Net Unreachable"), "{said}");
    let said = lab.a.ping_text(TUN_B, &["-t1"]);
    assert!(said.contains("Time to live exceeded"), "{said}");
    assert!(a.counters().peers[&B].sent_bytes as usize > TCP_BYTES);
    assert!(b.counters().peers[&A].received_bytes as usize > TCP_BYTES);
}

/// Without forwarding the programs find no way out and pass every packet on, super-packets too.
#[test]
fn super_packets_are_cut_in_user_space() {
    let lab = Lab::new();
    let (a, _b) = (lab.a.start(Datapath::Ebpf), lab.b.start(Datapath::Simple));
    lab.a.write_sysctl("net/ipv4/conf/flannel0/forwarding", "0");
    let before = a.counters();
    tcp(&lab.a, &lab.b);
    let after = a.counters();
    let user = |counters: &UdpCounters| counters.to_user[&ebpf::overlay::UserReason::NoRoute];
    let (passed_on, sent) =
        (user(&after) - user(&before), after.peers[&B].sent_packets - before.peers[&B].sent_packets);
    assert!(sent as usize > TCP_BYTES / MTU as usize, "{after:?}");
    assert!(passed_on < sent, "{passed_on} passed on, {sent} sent: nothing was cut");
    assert_eq!(after.dropped(DropReason::BadOffload), 0);
    assert_eq!(after.dropped(DropReason::SendFailed), before.dropped(DropReason::SendFailed));
}

#[test]
fn programs_are_mended_kept_and_removed() {
    let lab = Lab::new();
    let (mut a, _b) = (lab.a.start(Datapath::Ebpf), lab.b.start(Datapath::Ebpf));
    let pins = lab.a.spec(Datapath::Ebpf).pin_dir;
    let (healthy, broken) = lab.a.in_ns(|| {
        let healthy = a.healthy();
        ebpf::overlay::detach_and_unpin(&pins).unwrap();
        (healthy, !a.healthy())
    });
    assert!(healthy && broken);
    // The kernel lets go of a link some time after its pin.
    wait_for("the programs to be attached again", || lab.a.in_ns(|| a.heal().is_ok() && a.healthy()));
    assert!(lab.a.ping(TUN_B, &[]).status.success());

    lab.a.ip(&["link", "delete", "flannel0"]);
    assert!(lab.a.in_ns(|| !a.healthy() && a.heal().unwrap()));
    lab.a.reconcile();
    assert!(lab.a.ping(TUN_B, &[]).status.success());

    // Nobody is at home, and packets cross.
    drop(a);
    assert!(lab.a.ping(TUN_B, &[]).status.success());

    // From ebpf to simple: the programs go.
    let a = lab.a.start(Datapath::Simple);
    assert!(!pins.exists());
    wait_for("user space to have the packets", || {
        assert!(lab.a.ping(TUN_B, &[]).status.success());
        a.counters().peers[&B].sent_packets > 0
    });

    // And back, then all of it goes.
    drop(a);
    let a = lab.a.start(Datapath::Ebpf);
    assert!(lab.a.ping(TUN_B, &[]).status.success());
    drop(a);
    lab.a.in_ns(|| UdpPath::remove_pins(&pins).and(UdpPath::remove_tun("flannel0"))).unwrap();
    assert!(!lab.a.has_tun() && !pins.exists());
}

#[test]
fn a_node_with_programs_and_one_without_understand_each_other() {
    let lab = Lab::new();
    // On a wire a packet is whole. A veth leaves its checksum out and its segments together, for the other end to see to,
    // and a socket does not.
    let options = ["-K", "eth0", "tx-checksum-ip-generic", "off", "tx-udp_tnl-segmentation", "off"];
    let ethtool = lab.a.ns.command("ethtool").args(options).output().unwrap();
    assert!(ethtool.status.success(), "{}", String::from_utf8_lossy(&ethtool.stderr));
    let (a, b) = (lab.a.start(Datapath::Ebpf), lab.b.start(Datapath::Simple));
    assert!(lab.a.ping(TUN_B, &[]).status.success());
    assert!(lab.b.ping(TUN_A, &["-s", "20000"]).status.success());
    tcp(&lab.b, &lab.a);
    tcp(&lab.a, &lab.b);
    assert_eq!(b.counters().dropped(DropReason::Oversized), 0);
    drop(a);
}
