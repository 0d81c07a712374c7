//! Originals and ours in one network: every pod reaches every pod, and each side follows the other's leases.
//!
//! Needs root, etcd, `cargo build -p weft` and `scripts/peers`.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use lab::spec::{Backend, Datapath};
use lab::{Pod, ScratchLab, Spec};
use nix::sys::socket::SockProtocol;
use tests::leases;
use tests::peers::wire::Tap;
use tests::peers::{lease, mixed, original, stop, subnet, until_knows};
use tests::stream::address;
use tests::testbed::{self, assert_all_reach_all, up, weft};

/// Two originals and two of ours, so that each kind has both kinds for peers.
const ORIGINALS: [&str; 2] = ["n2", "n3"];

/// Bytes of a TCP transfer: enough for packets of 64 KiB, which only offloads can carry.
const BULK: usize = 8 << 20;

fn word(at: usize) -> u8 {
    // Differs between neighbours, and between segments of any size.
    (at ^ (at >> 8) ^ (at >> 16)) as u8
}

/// A whole TCP transfer, byte for byte.
fn bulk(from: &Pod, to: &Pod, ip: IpAddr) {
    let listener = to.namespace().run(|| TcpListener::bind((ip, 0))).unwrap().unwrap();
    let place = listener.local_addr().unwrap();
    let connect = || TcpStream::connect_timeout(&place, Duration::from_secs(5));
    let mut client = from.namespace().run(connect).unwrap().unwrap();
    let (mut server, _) = listener.accept().unwrap();
    server.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    client.set_write_timeout(Some(Duration::from_secs(10))).unwrap();
    let text: Vec<u8> = (0..BULK).map(word).collect();
    std::thread::scope(|scope| {
        let sending = scope.spawn(|| {
            client.write_all(&text).unwrap();
            drop(client);
        });
        let mut received = Vec::with_capacity(BULK);
        server.read_to_end(&mut received).unwrap_or_else(|error| {
            panic!("{} to {}: {error} after {} bytes", from.name(), to.name(), received.len())
        });
        sending.join().unwrap();
        assert!(received == text, "{} to {}: the bytes arrive as they were sent", from.name(), to.name());
    });
}

/// The largest datagram that UDP has, in fragments.
fn largest_datagram(from: &Pod, to: &Pod, ip: IpAddr) {
    let bind = |pod: &Pod, at: SocketAddr| pod.namespace().run(|| UdpSocket::bind(at)).unwrap().unwrap();
    let receiver = bind(to, (ip, 0).into());
    receiver.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let any: IpAddr = if ip.is_ipv4() { [0, 0, 0, 0].into() } else { "::".parse().unwrap() };
    let sender = bind(from, (any, 0).into());
    let text: Vec<u8> = (0..65000).map(word).collect();
    let mut received = vec![0; 65536];
    // A datagram may be lost, as any; three in a row are not.
    let arrived = (0..3).any(|_| {
        sender.send_to(&text, receiver.local_addr().unwrap()).unwrap();
        receiver.recv(&mut received).is_ok_and(|length| received[..length] == text)
    });
    assert!(arrived, "{} to {}: 65000 bytes in one datagram", from.name(), to.name());
}

/// Between every two pods of different nodes, one way; each pair of nodes comes in both orders.
fn each_pair(lab: &ScratchLab, mut probe: impl FnMut(&Pod, &Pod)) {
    for from in lab.pods() {
        for to in lab.pods().filter(|to| to.node() != from.node()) {
            probe(from, to);
        }
    }
}

fn everything_passes(spec: &Spec) {
    let lab = up(spec);
    assert_all_reach_all(&lab);
    each_pair(&lab, |from, to| {
        bulk(from, to, address(to));
        largest_datagram(from, to, address(to));
    });
}

#[test]
fn originals_and_our_ebpf_share_a_udp_network() {
    let spec = Spec { datapath: Datapath::Ebpf, ..mixed("pmue", Backend::Udp, 4, &ORIGINALS) };
    everything_passes(&spec);
}

#[test]
fn originals_and_our_simple_data_path_share_a_udp_network() {
    let spec = Spec { datapath: Datapath::Simple, ..mixed("pmus", Backend::Udp, 4, &ORIGINALS) };
    everything_passes(&spec);
}

#[test]
fn originals_and_ours_share_a_vxlan_network() {
    everything_passes(&mixed("pmvx", Backend::Vxlan, 4, &ORIGINALS));
}

#[test]
fn originals_and_ours_share_a_host_gw_network() {
    everything_passes(&mixed("pmgw", Backend::HostGw, 4, &ORIGINALS));
}

/// IPv6 addresses of a node's only pod, and the largest packet of the two pods of a pair.
fn ipv6(lab: &ScratchLab, pod: &Pod) -> (IpAddr, u32) {
    let network = lab.node(pod.node()).pods_network().unwrap();
    (network.addresses(1).unwrap()[1].addr(), network.mtu)
}

#[test]
fn originals_and_ours_share_a_dual_stack_vxlan_network() {
    let lab = up(&Spec { ipv6: true, ..mixed("pmv6", Backend::Vxlan, 3, &["n2"]) });
    each_pair(&lab, |from, to| {
        let ((ip, _), v4) = (ipv6(&lab, to), address(to));
        let mtu = ipv6(&lab, from).1.min(ipv6(&lab, to).1);
        let ping = |size: u32, ip: IpAddr| {
            let (size, ip) = (size.to_string(), ip.to_string());
            from.run(["ping", "-c1", "-W1", "-w5", "-Mdo", "-s", &size, &ip]).map(drop)
        };
        // Pods of the original may have 20 bytes more than its tunnel carries: the smaller pod decides.
        ping(mtu - 48, ip).unwrap_or_else(|error| panic!("{error}"));
        ping(mtu - 28, v4).unwrap_or_else(|error| panic!("{error}"));
        for ip in [ip, v4] {
            bulk(from, to, ip);
            largest_datagram(from, to, ip);
        }
    });
}

#[test]
fn both_sides_follow_a_vxlan_lease_that_comes_and_goes() {
    leases_come_and_go("pfvx", Backend::Vxlan, [true; 3]);
}

#[test]
fn both_sides_follow_a_host_gw_lease_that_comes_and_goes() {
    leases_come_and_go("pfgw", Backend::HostGw, [true, false, false]);
}

/// Nodes n3 (an original) and n4 (ours) come and go, seen by n1 (ours) and n2 (an original).
fn leases_come_and_go(prefix: &str, backend: Backend, known: [bool; 3]) {
    let spec = Spec { nodes: 4, pods: 0, flanneld: None, ..mixed(prefix, backend, 4, &[]) };
    let lab = up(&spec);
    testbed::start(lab.node("n1"), &weft());
    testbed::start(lab.node("n2"), &original());
    for (name, daemon) in [("n3", original()), ("n4", weft())] {
        let node = lab.node(name);
        testbed::start(node, &daemon);
        let (key, _) = lease(&lab, node);
        let (subnet, public_ip) = (subnet(&key), node.underlay().to_string());
        let watchers = [lab.node("n1"), lab.node("n2")];
        for watcher in watchers {
            until_knows(watcher, &subnet, &public_ip, known);
        }
        // A node that is gone for good: its lease runs out, which is here done by hand.
        stop(node);
        leases::delete(&lab, &key);
        for watcher in watchers {
            until_knows(watcher, &subnet, &public_ip, [false; 3]);
        }
        // It comes back under another subnet, or the same: both are a lease that comes.
        testbed::start(node, &daemon);
        let (key, _) = lease(&lab, node);
        for watcher in watchers {
            until_knows(watcher, &tests::peers::subnet(&key), &public_ip, known);
        }
        stop(node);
    }
}

#[test]
fn both_sides_follow_a_udp_lease_that_comes_and_goes() {
    for datapath in [Datapath::Ebpf, Datapath::Simple] {
        let lab = up(&Spec { datapath, ..mixed("pfud", Backend::Udp, 4, &["n2", "n3"]) });
        assert_all_reach_all(&lab);
        for name in ["n3", "n4"] {
            let (key, _) = lease(&lab, lab.node(name));
            let target = address(&lab.node(name).pods()[0]);
            stop(lab.node(name));
            leases::delete(&lab, &key);
            for watcher in ["n1", "n2"] {
                let pod = &lab.node(watcher).pods()[0];
                // Its own address as the source: the kernel throws the original's answer away unless it is told not to.
                testbed::sh(lab.node(watcher), "sysctl -q -w net.ipv4.conf.flannel0.accept_local=1");
                let answers = Tap::open(pod.namespace(), SockProtocol::Icmp);
                let socket = pod.namespace().run(|| UdpSocket::bind("0.0.0.0:0")).unwrap().unwrap();
                // Both answer "net unreachable" once they know of nobody there.
                tests::wait::until(&format!("{watcher} to forget {name}"), || {
                    socket.send_to(b"is anybody there?", (target, 9)).unwrap();
                    answers.within(Duration::from_millis(50), |packet| packet[20..22] == [3, 0])
                });
            }
        }
    }
}
