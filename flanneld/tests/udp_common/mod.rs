//! Two nodes in namespaces of their own, joined by a veth pair: 10.250.0.1 holds 10.5.1.0/24, 10.250.0.2 holds
//! 10.5.2.0/24. Whatever happens, the namespaces go when the test ends.
#![allow(dead_code)] // each test binary uses its part

use flanneld::udp::{UdpCounters, UdpPath, UdpSpec};
use flanneld_core::config::Datapath;
use flanneld_core::packet::checksum;
use host::netns::Namespace;
use ipnet::Ipv4Net;
use nix::mount::{MntFlags, umount2};
use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::Output;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

pub const PORT: u16 = 8285;
pub const DEADLINE: Duration = Duration::from_secs(60);
pub const MTU: u32 = 1472;

/// Public addresses, and a third one that node 2 has too, but that holds no lease.
pub const A: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 1);
pub const B: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 2);
pub const STRANGER: Ipv4Addr = Ipv4Addr::new(10, 250, 0, 3);
/// Addresses of the TUNs.
pub const TUN_A: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 0);
pub const TUN_B: Ipv4Addr = Ipv4Addr::new(10, 5, 2, 0);

pub struct Node {
    pub ns: Namespace,
    pub name: String,
    pub public: Ipv4Addr,
    pub tun: Ipv4Addr,
    bpffs: PathBuf,
}

pub struct Lab {
    pub a: Node,
    pub b: Node,
}

static NEXT: AtomicU32 = AtomicU32::new(0);

impl Lab {
    pub fn new() -> Self {
        let id = format!("weft-udp-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let lab = Self { a: Node::new(format!("{id}a"), A, TUN_A), b: Node::new(format!("{id}b"), B, TUN_B) };
        println!("nsenter --net=/run/netns/{id}a    nsenter --net=/run/netns/{id}b");
        let (a, b) = (&lab.a, &lab.b);
        a.ip(&["link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", &b.name]);
        for node in [a, b] {
            node.ip(&["address", "add", &format!("{}/24", node.public), "dev", "eth0"]);
            node.ip(&["link", "set", "lo", "up"]);
            node.ip(&["link", "set", "eth0", "up"]);
            node.write_sysctl("net/ipv4/ip_forward", "1");
            // The kernel's own solicitations would be dropped and counted among what a test sends.
            node.write_sysctl("net/ipv6/conf/all/disable_ipv6", "1");
            node.write_sysctl("net/ipv6/conf/default/disable_ipv6", "1");
        }
        b.ip(&["address", "add", &format!("{STRANGER}/24"), "dev", "eth0"]);
        wait_for("carrier", || a.ping(B, &[]).status.success());
        lab
    }
}

impl Node {
    fn new(name: String, public: Ipv4Addr, tun: Ipv4Addr) -> Self {
        let ns = Namespace::create(&name).expect("a namespace needs root");
        let bpffs = std::env::temp_dir().join(&name);
        Self { ns, name, public, tun, bpffs }
    }

    pub fn spec(&self, datapath: Datapath) -> UdpSpec {
        UdpSpec {
            device: "flannel0".to_owned(),
            mtu: MTU,
            underlay: self.ns.run(|| nix::net::if_::if_nametoindex("eth0").unwrap()).unwrap(),
            local: self.public,
            port: PORT,
            subnet: Ipv4Net::new_assert(self.tun, 24),
            datapath,
            check_source: true,
            pin_dir: self.bpffs.join("pins"),
        }
    }

    /// A data path that knows the other node.
    pub fn start(&self, datapath: Datapath) -> UdpPath {
        self.start_with(&self.spec(datapath))
    }

    pub fn start_with(&self, spec: &UdpSpec) -> UdpPath {
        let mut path = self.ns.run(|| UdpPath::start(spec)).unwrap().unwrap();
        path.set_peers(&leases(self.public)).unwrap();
        self.reconcile();
        path
    }

    /// What the daemon's reconciler does for the TUN.
    pub fn reconcile(&self) {
        self.ip(&["address", "replace", &format!("{}/32", self.tun), "dev", "flannel0"]);
        self.ip(&["link", "set", "flannel0", "mtu", &MTU.to_string(), "up"]);
        self.ip(&["route", "replace", "10.5.0.0/16", "dev", "flannel0"]);
    }

    /// Does something on a thread in this node's namespace.
    pub fn in_ns<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        self.ns.run(act).unwrap()
    }

    pub fn ip(&self, arguments: &[&str]) {
        let output = self.ns.command("ip").args(arguments).output().unwrap();
        assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn has_tun(&self) -> bool {
        self.in_ns(|| nix::net::if_::if_nametoindex("flannel0").is_ok())
    }

    /// One packet, answered within two seconds.
    pub fn ping(&self, to: Ipv4Addr, options: &[&str]) -> Output {
        let to = to.to_string();
        self.ns.command("ping").args(["-c1", "-W60"]).args(options).arg(to).output().unwrap()
    }

    /// What ping prints.
    pub fn ping_text(&self, to: Ipv4Addr, options: &[&str]) -> String {
        String::from_utf8_lossy(&self.ping(to, options).stdout).into_owned()
    }

    pub fn write_sysctl(&self, key: &str, value: &str) {
        self.in_ns(|| std::fs::write(format!("/proc/sys/{key}"), value).unwrap());
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        let spec_pins = self.bpffs.join("pins");
        let _ = self.ns.run(|| ebpf::overlay::detach_and_unpin(&spec_pins));
        let _ = umount2(&self.bpffs, MntFlags::MNT_DETACH);
        let _ = std::fs::remove_dir_all(&self.bpffs);
        if let Err(error) = Namespace::delete(&self.name) {
            eprintln!("{error}");
        }
    }
}

/// The leases that the node with this public address is to know.
pub fn leases(of: Ipv4Addr) -> BTreeMap<Ipv4Net, Ipv4Addr> {
    [(TUN_A, A), (TUN_B, B)]
        .into_iter()
        .filter(|(_, public)| *public != of)
        .map(|(net, public)| (Ipv4Net::new_assert(net, 24), public))
        .collect()
}

pub fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + DEADLINE;
    while !done() {
        assert!(Instant::now() < end, "waited {DEADLINE:?} for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Packets dropped, without the reasons that count none.
pub fn drops(counters: &UdpCounters) -> BTreeMap<String, u64> {
    let some = counters.drops.iter().filter(|(_, count)| **count > 0);
    some.map(|(reason, count)| (reason.to_string(), *count)).collect()
}

/// An inner packet of protocol 253 (RFC 3692: for experiments), so that nobody but a raw socket takes it.
pub fn packet(source: Ipv4Addr, destination: Ipv4Addr, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let mut out = vec![0x45, 0];
    out.extend((20 + payload.len() as u16).to_be_bytes());
    out.extend([0x12, 0x34, 0, 0, ttl, 253, 0, 0]);
    out.extend(source.octets());
    out.extend(destination.octets());
    let check = checksum(&out);
    out[10..12].copy_from_slice(&check.to_be_bytes());
    out.extend(payload);
    out
}

pub const TCP_BYTES: usize = 8 << 20;

/// Sends from one node's TUN address to the other's, and compares what arrives.
pub fn tcp(from: &Node, to: &Node) {
    let address = to.tun;
    let listener = to.ns.run(|| TcpListener::bind((address, 0)).unwrap()).unwrap();
    let port = listener.local_addr().unwrap().port();
    let sent: Vec<u8> = (0..TCP_BYTES).map(|i| (i * 31 + i / 1000) as u8).collect();
    let mut stream =
        from.ns.run(|| TcpStream::connect_timeout(&(address, port).into(), DEADLINE)).unwrap().unwrap();
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(DEADLINE)).unwrap();
            let (mut got, mut buffer, end) = (Vec::new(), vec![0; 1 << 16], Instant::now() + DEADLINE);
            loop {
                match stream.read(&mut buffer).expect("bytes before the deadline") {
                    0 => return got,
                    n => got.extend_from_slice(&buffer[..n]),
                }
                assert!(Instant::now() < end, "{} of {TCP_BYTES} bytes in {DEADLINE:?}", got.len());
            }
        });
        stream.set_write_timeout(Some(DEADLINE)).unwrap();
        stream.write_all(&sent).unwrap();
        drop(stream);
        assert!(receiver.join().unwrap() == sent, "other bytes arrived");
    });
}
