//! The udp backend's bytes: one node under the original, under our `simple` and under our `ebpf`, fed the same packets.
//!
//! The peer is the switch's own namespace, which sees each datagram as it lies on the wire and answers by hand.
//! Needs root, etcd, `cargo build -p weft` and `scripts/peers`.

use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::time::Duration;

use lab::etcd::NetworkKeys;
use lab::spec::{Backend, Datapath};
use lab::{FlanneldOptions, Pod, ScratchLab, Spec};
use nix::sys::socket::SockProtocol;
use tests::leases;
use tests::peers::wire::{Outer, Packet, Tap, inject, open};
use tests::peers::{cleanup, mixed, original, stop};
use tests::stream::address;
use tests::testbed::{self, sh, up, weft};

/// The peer by hand: its subnet, its pod, and where it lives.
const SUBNET: &str = "10.244.200.0-24";
const FAR: Ipv4Addr = Ipv4Addr::new(10, 244, 200, 7);
const HUB: Ipv4Addr = Ipv4Addr::new(172, 30, 0, 1);
/// A subnet that nobody holds.
const NOWHERE: Ipv4Addr = Ipv4Addr::new(10, 244, 222, 7);
const PORT: u16 = 8285;
/// How long nothing has to come where nothing should.
const SILENCE: Duration = Duration::from_millis(300);

/// One node with one pod, and the peer beside it.
struct Wire {
    lab: ScratchLab,
    hub: UdpSocket,
    tap: Tap,
}

/// Who runs on the node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Daemon {
    Original,
    Ours(Datapath),
}

const OURS: [Daemon; 2] = [Daemon::Ours(Datapath::Simple), Daemon::Ours(Datapath::Ebpf)];

impl Wire {
    fn up(prefix: &str) -> Self {
        let lab = up(&Spec { nodes: 1, flanneld: None, ..mixed(prefix, Backend::Udp, 1, &[]) });
        leases::put(&lab, SUBNET, &leases::udp(&HUB.to_string()));
        let open = || UdpSocket::bind((HUB, PORT));
        let hub = lab.hub().run(open).unwrap().unwrap();
        let tap = Tap::open(lab.hub(), SockProtocol::Udp);
        let wire = Self { lab, hub, tap };
        wire.start(Daemon::Original);
        wire.lab.node("n1").connect_pods().unwrap();
        wire
    }

    /// Starts a daemon and waits until it knows the peer. The lease is the same under each.
    fn start(&self, daemon: Daemon) {
        let node = self.lab.node("n1");
        let options: FlanneldOptions = match daemon {
            Daemon::Original => original(),
            Daemon::Ours(datapath) => {
                let spec = Spec { datapath, ..self.lab.spec().clone() };
                self.lab.etcd().put_network_config(&spec.network_config_json()).unwrap();
                weft()
            }
        };
        testbed::start(node, &options);
        // Both answer with their own address as the source, which a kernel refuses unless it is told not to.
        // Ours tells it.
        if daemon == Daemon::Original {
            sh(node, "sysctl -q -w net.ipv4.conf.flannel0.accept_local=1");
        }
    }

    /// Ends the daemon, with all that it left.
    fn stop(&self) {
        stop(self.lab.node("n1"));
        cleanup(self.lab.node("n1"));
    }

    fn pod(&self) -> &Pod {
        &self.lab.node("n1").pods()[0]
    }

    fn near(&self) -> Ipv4Addr {
        address(self.pod()).to_string().parse().unwrap()
    }

    /// Sends a packet from the pod; what lies on the wire. It is tried until the peer's lease is known.
    fn out(&self, packet: &Packet) -> (Outer, Vec<u8>) {
        self.out_as(packet, || {}, |_| true)
    }

    /// The same from the programs of our `ebpf`, which send to peers that show that they have such programs themselves.
    fn out_of_the_kernel(&self, packet: &Packet) -> (Outer, Vec<u8>) {
        self.out_as(packet, || self.show_programs(), |outer| outer.id == 0)
    }

    /// A datagram without a UDP checksum.
    fn show_programs(&self) {
        let inner = Packet::udp(FAR, self.near(), &body(8)).bytes();
        let mut datagram = Packet::udp(HUB, self.lab.node("n1").underlay(), &inner);
        datagram.payload[..4].copy_from_slice(&[PORT.to_be_bytes(), PORT.to_be_bytes()].concat());
        datagram.payload[6..8].fill(0);
        inject(self.lab.hub(), &datagram);
    }

    fn out_as(
        &self,
        packet: &Packet,
        before: impl Fn(),
        wanted: impl Fn(&Outer) -> bool,
    ) -> (Outer, Vec<u8>) {
        let id = packet.id.to_be_bytes();
        let ours =
            |bytes: &[u8]| bytes.len() > 48 && bytes[22..24] == PORT.to_be_bytes() && bytes[32..34] == id;
        tests::wait::until("a packet on the wire", || {
            before();
            inject(self.pod().namespace(), packet);
            let datagram = self.tap.within(Duration::from_millis(100), ours)?;
            let (outer, inner) = open(&datagram);
            wanted(&outer).then(|| (outer, inner.to_vec()))
        })
    }

    /// Sends a packet to the node, as the peer would; gives what the pod gets.
    fn into(&self, packet: &Packet, limit: Duration) -> Option<Vec<u8>> {
        let pod = Tap::open(self.pod().namespace(), SockProtocol::Udp);
        let node = self.lab.node("n1").underlay();
        self.hub.send_to(&packet.bytes(), SocketAddrV4::new(node, PORT)).unwrap();
        pod.within(limit, |bytes| bytes[4..6] == packet.id.to_be_bytes())
    }

    /// Sends a packet from the pod; gives the ICMP error about it that comes back.
    fn error(&self, packet: &Packet, limit: Duration) -> Option<Vec<u8>> {
        let pod = Tap::open(self.pod().namespace(), SockProtocol::Icmp);
        inject(self.pod().namespace(), packet);
        pod.within(limit, |bytes| bytes.len() >= 48 && bytes[32..34] == packet.id.to_be_bytes())
    }

    /// The same under each of the three.
    fn under_each<T>(&self, mut what: impl FnMut(&Self) -> T) -> (T, [T; 2]) {
        let theirs = what(self);
        let ours = OURS.map(|daemon| {
            self.stop();
            self.start(daemon);
            what(self)
        });
        (theirs, ours)
    }
}

/// Bodies without a pattern of words, so that no checksum is right by luck.
fn body(length: usize) -> Vec<u8> {
    (0..length).map(|at| (at * 31 + at / 251) as u8).collect()
}

/// Packets of every kind that the data path treats alike.
fn samples(source: Ipv4Addr, destination: Ipv4Addr) -> Vec<Packet> {
    let udp = |length: usize| Packet::udp(source, destination, &body(length));
    let mut tcp = udp(40);
    tcp.protocol = 6;
    let kinds = [
        udp(9),
        Packet { fragment: 0x4000, ..udp(100) },
        Packet { ttl: 255, ..udp(1) },
        // Two routers are left after the forward of the node.
        Packet { ttl: 4, ..udp(31) },
        // Checksums whose change by a hop carries over (RFC 1624).
        Packet { tos: 0xb8, ttl: 128, ..udp(77) },
        Packet { tos: 0x03, ..udp(33) },
        // No options, one byte less than the largest, and the largest.
        udp(1472 - 29),
        Packet { fragment: 0x4000, ..udp(1472 - 28) },
        tcp,
        Packet { options: vec![1, 1, 1, 0], ..udp(12) },
    ];
    let numbered = kinds.into_iter().zip(0x0fa0..);
    numbered.map(|(packet, id)| Packet { id, ..packet }).collect()
}

#[test]
fn udp_packets_on_the_wire_are_those_of_the_original() {
    let wire = Wire::up("pwout");
    let (node, near) = (wire.lab.node("n1").underlay(), wire.near());
    let send = |wire: &Wire| -> Vec<_> { samples(near, FAR).iter().map(|packet| wire.out(packet)).collect() };
    let (theirs, [simple, ebpf]) = wire.under_each(send);
    let by_programs: Vec<_> =
        samples(near, FAR).iter().map(|packet| wire.out_of_the_kernel(packet)).collect();
    for (at, packet) in samples(near, FAR).iter().enumerate() {
        let (outer, inner) = &theirs[at];
        // One hop is the node itself, one the tunnel's near end.
        assert_eq!(*inner, packet.after(2).bytes(), "{packet:?}");
        let want = Outer {
            tos: 0,
            id: outer.id,
            dont_fragment: true,
            ttl: 64,
            source: SocketAddrV4::new(node, PORT),
            destination: SocketAddrV4::new(HUB, PORT),
            udp_checksum: outer.udp_checksum,
        };
        assert_eq!(*outer, want);
        assert_ne!(outer.udp_checksum, 0, "a socket's checksum");
        for (name, (our_outer, our_inner)) in
            [("simple", &simple[at]), ("ebpf", &ebpf[at]), ("programs", &by_programs[at])]
        {
            assert_eq!(our_inner, inner, "{name}: the inner packet byte for byte; {packet:?}");
            // The kernel numbers what a socket sends, programs do not; with DF nobody reads the number (RFC 6864).
            let id = if name == "programs" { 0 } else { our_outer.id };
            // A node with programs leaves the outer checksum out, as IPv4 allows: the inner ones stand.
            let udp_checksum = if name == "simple" { our_outer.udp_checksum } else { 0 };
            assert_eq!(*our_outer, Outer { id, udp_checksum, ..outer.clone() }, "{name}: {packet:?}");
            assert_eq!(name == "simple", our_outer.udp_checksum != 0, "{name}: {packet:?}");
        }
    }
}

#[test]
fn udp_packets_from_the_wire_are_delivered_as_the_original_does() {
    let wire = Wire::up("pwin");
    let near = wire.near();
    let packets = samples(FAR, near);
    let udp = || packets.iter().filter(|packet| packet.protocol == 17);
    let receive = |wire: &Wire| -> Vec<_> {
        let first = packets.first().unwrap();
        // Until the lease is known, ours takes nothing from that sender.
        tests::wait::until("the first packet", || wire.into(first, Duration::from_millis(100)));
        udp().map(|packet| wire.into(packet, Duration::from_secs(2))).collect()
    };
    let (theirs, ours) = wire.under_each(receive);
    for (at, packet) in udp().enumerate() {
        // One hop is the tunnel's far end, one the node.
        assert_eq!(theirs[at].as_deref(), Some(&*packet.after(2).bytes()), "the original: {packet:?}");
        for (daemon, ours) in OURS.iter().zip(&ours) {
            assert_eq!(ours[at], theirs[at], "{daemon:?}: {packet:?}");
        }
    }
}

#[test]
fn udp_packets_at_the_end_of_their_ttl() {
    let wire = Wire::up("pwttl");
    let near = wire.near();
    let last = |ttl: u8| Packet { id: 0x7100 + u16::from(ttl), ttl, ..Packet::udp(FAR, near, &body(20)) };
    // With 2 left, the node forwards it with 1, and the tunnel would be the next hop.
    let leaving = Packet { id: 0x7200, ttl: 2, ..Packet::udp(near, FAR, &body(20)) };
    let (theirs, ours) = wire.under_each(|wire| {
        tests::wait::until("the first packet", || wire.into(&last(64), Duration::from_millis(100)));
        let arriving = [3, 1, 0].map(|ttl| wire.into(&last(ttl), SILENCE).map(|bytes| bytes[8]));
        (arriving, wire.error(&leaving, SILENCE).map(|bytes| (bytes[20], bytes[21])))
    });
    // The original takes 0 for 256, which the header's checksum does not follow, so that the kernel ends it; and it ends
    // a packet of its own pods in silence.
    assert_eq!(theirs, ([Some(1), None, None], None));
    for (daemon, ours) in OURS.iter().zip(ours) {
        assert_eq!(ours, ([Some(1), None, None], Some((11, 0))), "{daemon:?}: time exceeded in transit");
    }
}

#[test]
fn icmp_errors_about_nowhere_are_those_of_the_original() {
    let wire = Wire::up("pwicmp");
    let near = wire.near();
    let lost = Packet { id: 0x7300, ..Packet::udp(near, NOWHERE, &body(20)) };
    let ping =
        Packet { id: 0x7301, protocol: 1, payload: vec![8, 0, 0xf7, 0xff, 0, 0, 0, 0], ..lost.clone() };
    let (theirs, ours) = wire.under_each(|wire| {
        let answer = wire.error(&lost, Duration::from_secs(2)).expect("an answer");
        (answer, wire.error(&ping, SILENCE).map(|bytes| (bytes[20], bytes[21])))
    });
    let (answer, about_ping) = theirs;
    // Net unreachable, from the tunnel's own address, TTL 8 less the hop to the pod, and the packet as it came to the TUN.
    assert_eq!((answer[8], answer[9], &answer[20..22]), (7, 1, &[3, 0][..]));
    assert_eq!(answer[28..], lost.after(1).bytes()[..28]);
    assert_eq!(about_ping, None, "the original lets a ping to nowhere wait for ever");
    for (daemon, (our_answer, about_ping)) in OURS.iter().zip(ours) {
        assert_eq!(our_answer, answer, "{daemon:?}");
        assert_eq!(about_ping, Some((3, 0)), "{daemon:?}: ours answers it");
    }
}

#[test]
fn what_no_lease_covers_is_refused_by_ours_and_taken_by_the_original() {
    let wire = Wire::up("pwspoof");
    let near = wire.near();
    let honest = Packet { id: 0x7400, ..Packet::udp(FAR, near, &body(20)) };
    let spoofed = Packet { id: 0x7401, ..Packet::udp(NOWHERE, near, &body(20)) };
    let (theirs, ours) = wire.under_each(|wire| {
        tests::wait::until("the first packet", || wire.into(&honest, Duration::from_millis(100)));
        wire.into(&spoofed, SILENCE).is_some()
    });
    assert!(theirs, "the original takes any source from anybody");
    assert_eq!(ours, [false; 2]);
}
