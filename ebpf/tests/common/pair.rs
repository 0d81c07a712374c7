//! Two nodes joined by a veth, each with flannel0, a bridge and a pod; the overlay runs on both.
//!
//! Namespaces: a and b are the nodes, pa and pb the pods. Node a is 192.0.2.1 with lease 10.50.1.0/24.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::net::{Ipv4Addr, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use ebpf::HookKind;
use ebpf::overlay::{Bridge, Overlay, Spec};

use super::net::*;
use super::packets::hop;
use super::sys;

pub struct Pair {
    pub bpffs: PathBuf,
    /// Held so that the TUNs have a carrier, as they have while a daemon runs.
    pub tuns: Vec<File>,
}

#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Segmentation and checksums on the veth between the nodes.
    pub underlay_offloads: bool,
    /// What a daemon asks of flannel0 by TUNSETOFFLOAD.
    pub tun_offloads: bool,
    pub kind: HookKind,
}

pub const NODES: [(&str, u8, u8); 2] = [("a", 1, 2), ("b", 2, 1)];

impl Pair {
    pub fn new(options: Options) -> Self {
        let bpffs = enter_private();
        for name in ["a", "b", "pa", "pb"] {
            run(&format!("ip netns add {name}"));
            run(&format!("ip -n {name} link set lo up"));
        }
        run("ip -n a link add ul0 type veth peer name ul0 netns b");
        let mut tuns = Vec::new();
        for (node, i, _) in NODES {
            tuns.push(inside(node, || {
                sysctl("net.ipv4.ip_forward", "1");
                sys::tun("flannel0", options.tun_offloads)
            }));
            let ip = |rest: &str| run(&format!("ip -n {node} {rest}"));
            ip(&format!("addr add 192.0.2.{i}/24 dev ul0"));
            ip("link set ul0 up");
            ip("link set flannel0 mtu 1472 up");
            ip(&format!("addr add 10.50.{i}.0/32 dev flannel0"));
            ip("route add 10.50.0.0/16 dev flannel0");
            ip("link add cni0 type bridge");
            ip(&format!("link add p{node} type veth peer name eth0 netns p{node}"));
            ip(&format!("link set p{node} master cni0 mtu 1472 up"));
            ip("link set cni0 mtu 1472 up");
            ip(&format!("addr add 10.50.{i}.1/24 dev cni0"));
            let ip = |rest: &str| run(&format!("ip -n p{node} {rest}"));
            ip("link set eth0 mtu 1472 up");
            ip(&format!("addr add 10.50.{i}.2/24 dev eth0"));
            ip(&format!("route add default via 10.50.{i}.1"));
            if !options.underlay_offloads {
                run_in(node, "ethtool -K ul0 tx off rx off tso off gso off gro off");
            }
        }
        let pair = Self { bpffs, tuns };
        for (node, ..) in NODES {
            drop(pair.open(node, options.kind));
        }
        pair
    }

    /// Runs on both nodes what a daemon's user space does with what reaches its socket.
    pub fn user_space(&self) -> UserSpace {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = NODES.map(|(node, i, _)| {
            let socket = inside(node, || UdpSocket::bind((Ipv4Addr::new(192, 0, 2, i), 8285))).unwrap();
            socket.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
            let tun = self.tuns[usize::from(i) - 1].try_clone().unwrap();
            let stop = stop.clone();
            thread::spawn(move || receive(&socket, tun, &stop))
        });
        UserSpace { stop, threads: threads.into() }
    }

    /// What a daemon does when it starts on this node.
    pub fn open(&self, node: &str, kind: HookKind) -> Overlay {
        let (_, i, other) = NODES.into_iter().find(|(name, ..)| *name == node).expect("a or b");
        inside(node, || {
            let spec = Spec {
                tun: ifindex("flannel0"),
                underlay: ifindex("ul0"),
                local: [192, 0, 2, i].into(),
                port: 8285,
                check_source: true,
                pin_dir: self.bpffs.join(node),
            };
            let mut overlay = Overlay::open_with(&spec, kind).expect("open");
            let lease = format!("10.50.{other}.0/24").parse().unwrap();
            overlay.set_peers(&BTreeMap::from([(lease, [192, 0, 2, other].into())])).expect("set_peers");
            overlay.vouch().expect("vouch");
            let pods = BTreeMap::from([(pod_mac(node), ifindex(&format!("p{node}")))]);
            let bridge = Bridge { index: ifindex("cni0"), ports: pods };
            overlay.sync_bridge(Some(&bridge)).expect("sync_bridge");
            overlay
        })
    }
}

fn pod_mac(node: &str) -> [u8; 6] {
    let text = run_in(&format!("p{node}"), "cat /sys/class/net/eth0/address");
    let bytes: Vec<u8> = text.trim().split(':').map(|byte| u8::from_str_radix(byte, 16).unwrap()).collect();
    bytes.try_into().expect("six bytes")
}

/// Ends with its scope.
pub struct UserSpace {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Drop for UserSpace {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Release);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Handles the good packets of these tests, and no others.
fn receive(socket: &UdpSocket, mut tun: File, stop: &AtomicBool) {
    let mut buffer = [0; 1 << 16];
    while !stop.load(Ordering::Acquire) {
        let Ok(len) = socket.recv(&mut buffer) else { continue };
        let inner = &buffer[..len];
        if len >= 20 && inner[0] == 0x45 && usize::from(u16::from_be_bytes([inner[2], inner[3]])) == len {
            // An empty virtio_net_hdr comes first.
            tun.write_all(&[&[0; 10], &hop(inner)[..]].concat()).expect("write to the TUN");
        }
    }
}
