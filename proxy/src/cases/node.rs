//! The namespaces: the node under test, a place for each sender, one for its pods, one for all other addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::net::{IpAddr, SocketAddr};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use host::netns::Namespace;
use proxy_core::cases::{Case, Probe, world};
use proxy_core::question::Origin;
use proxy_core::table::ServiceTable;
use tokio::runtime::Runtime;

use super::ask::{self, Seen};
use super::serve;

/// A namespace with a thread's worth of runtime in it.
struct Place {
    name: String,
    namespace: Namespace,
    addresses: BTreeSet<IpAddr>,
    link: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = Namespace::delete(&self.name);
    }
}

pub struct World {
    node: Place,
    /// By the address that sends.
    senders: BTreeMap<IpAddr, Place>,
    pods: Place,
    elsewhere: Place,
    runtime: Runtime,
}

fn ip(namespace: &str, script: &str) {
    let mut child = Command::new("ip")
        .args(["-n", namespace, "-batch", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .expect("ip (Debian package iproute2)");
    child.stdin.take().unwrap().write_all(script.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "ip -n {namespace}:\n{script}\n{said}");
}

fn place(tag: &str, link: &str) -> Place {
    // Two worlds of one process may be there at once.
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let name = format!("weft-cases-{}-{}-{tag}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
    let namespace = Namespace::create(&name).expect("these tests need root");
    let settings = [
        "net/ipv4/conf/all/rp_filter",
        "net/ipv4/conf/default/rp_filter",
        "net/ipv4/conf/all/send_redirects",
        "net/ipv4/conf/default/send_redirects",
        "net/ipv4/icmp_ratelimit",
        "net/ipv6/icmp/ratelimit",
        "net/ipv6/conf/all/accept_dad",
        "net/ipv6/conf/default/accept_dad",
    ];
    namespace.run(|| settings.iter().for_each(|key| host::sysctl::write(key, "0").unwrap())).unwrap();
    ip(&name, "link set lo up\n");
    Place { name, namespace, addresses: BTreeSet::new(), link: link.to_owned() }
}

/// Every address of a case that some socket has to have.
fn addresses(case: &Case) -> BTreeSet<IpAddr> {
    let table: ServiceTable = case.table();
    let groups = table.ports.values().flat_map(|port| [&port.cluster, &port.local]);
    let mut all: BTreeSet<IpAddr> = groups.flat_map(|group| group.iter().map(|end| end.ip)).collect();
    for probe in &case.probes {
        for want in probe.wants() {
            all.extend(want.endpoints.iter().map(|end| end.ip()));
        }
        // Where a packet goes that nobody translates.
        all.insert(probe.packet.dst);
    }
    all
}

impl World {
    pub fn new(cases: &[Case], more: &[SocketAddr]) -> Self {
        let here = &world::NODES[0];
        let own: BTreeSet<IpAddr> =
            here.primary.iter().chain(&here.secondary).map(|ip| ip.parse().unwrap()).collect();
        let mut node = place("node", "lo");
        node.addresses = own.clone();
        let mut senders: BTreeMap<IpAddr, Place> = BTreeMap::new();
        for packet in cases.iter().flat_map(|case| &case.probes).map(|probe| probe.packet) {
            if packet.from != Origin::Node && !senders.contains_key(&packet.src) {
                let n = senders.len();
                let link = format!("{}{n}", if packet.from == Origin::Pod { "pod" } else { "eth" });
                let mut sender = place(&format!("from{n}"), &link);
                sender.addresses.insert(packet.src);
                senders.insert(packet.src, sender);
            }
        }
        let (mut pods, mut elsewhere) = (place("pods", "podx"), place("elsewhere", "ethx"));
        let more_addresses = more.iter().map(|socket| socket.ip());
        for address in cases.iter().flat_map(addresses).chain(more_addresses) {
            if own.contains(&address) || senders.contains_key(&address) || address.is_loopback() {
                continue;
            }
            let place = match world::origin_of(address) {
                Origin::Pod => &mut pods,
                _ => &mut elsewhere,
            };
            place.addresses.insert(address);
        }
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let world = Self { node, senders, pods, elsewhere, runtime };
        world.connect();
        world.serve(cases, more);
        world
    }

    fn places(&self) -> impl Iterator<Item = &Place> {
        self.senders.values().chain([&self.pods, &self.elsewhere])
    }

    fn connect(&self) {
        for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
            self.node.namespace.run(|| host::sysctl::write(key, "1").unwrap()).unwrap();
        }
        let bridge = world::BRIDGE;
        let mut script = format!("link add {bridge} type bridge forward_delay 0\nlink set {bridge} up\n");
        script +=
            &format!("address add 169.254.0.1/32 dev {bridge}\naddress add fe80::1/64 dev {bridge} nodad\n");
        for address in &self.node.addresses {
            let nodad = if address.is_ipv6() { "nodad" } else { "" };
            script += &format!(
                "address add {address}/{} dev lo {nodad}\n",
                if address.is_ipv4() { 32 } else { 128 }
            );
        }
        for place in self.places() {
            let (link, peer) = (&place.link, &place.name);
            script += &format!("link add {link} type veth peer name eth0 netns {peer}\nlink set {link} up\n");
            if link.starts_with("pod") {
                // As CNI plugins do: with br_netfilter a pod's packet to itself turns around on the bridge.
                script += &format!("link set {link} master {bridge}\n");
                script += &format!("link set {link} type bridge_slave hairpin on\n");
            } else {
                script += &format!(
                    "address add 169.254.0.1/32 dev {link}\naddress add fe80::1/64 dev {link} nodad\n"
                );
            }
        }
        ip(&self.node.name, &script);
        let mut routes = String::new();
        for (n, place) in self.places().enumerate() {
            let device = if place.link.starts_with("pod") { bridge } else { &place.link };
            let (gate4, gate6) = (format!("169.254.1.{n}"), format!("fe80::100:{n:x}"));
            let mut script = format!(
                "link set eth0 up\naddress add {gate4}/32 dev eth0\naddress add {gate6}/64 dev eth0 nodad\n\
                 route add default via 169.254.0.1 dev eth0 onlink\nroute add default via fe80::1 dev eth0\n"
            );
            for address in &place.addresses {
                if address.is_ipv4() {
                    script += &format!("address add {address}/32 dev lo\n");
                    routes +=
                        &format!("route add {address} via {gate4} dev {device} onlink src 192.168.0.1\n");
                } else {
                    script += &format!("address add {address}/128 dev lo nodad\n");
                    routes += &format!("route add {address} via {gate6} dev {device} src fd00:192:168::1\n");
                }
            }
            ip(&place.name, &script);
            if place.link == "ethx" {
                routes += &format!("route add default via {gate4} dev {device} onlink src 192.168.0.1\n");
                routes += &format!("route add default via {gate6} dev {device} src fd00:192:168::1\n");
            }
        }
        ip(&self.node.name, &routes);
    }

    /// Servers everywhere, on every port that plays a part.
    fn serve(&self, cases: &[Case], more: &[SocketAddr]) {
        let mut ports: BTreeSet<u16> = more.iter().map(SocketAddr::port).collect();
        for case in cases {
            for probe in &case.probes {
                ports.insert(probe.packet.port);
                for want in probe.wants() {
                    ports.extend(want.endpoints.iter().map(|end| end.port()));
                }
            }
            let table = case.table();
            for port in table.ports.values() {
                ports.extend(port.cluster.iter().chain(port.local.iter()).map(|end| end.port));
            }
        }
        for place in self.places().chain([&self.node]) {
            let _inside = self.runtime.enter();
            place.namespace.run(|| serve::serve(self.runtime.handle(), &ports)).unwrap();
        }
    }

    /// Runs on a thread in the node's network namespace, within a tokio runtime.
    pub fn on_node<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let handle = self.runtime.handle();
        let work = || {
            let _inside = handle.enter();
            work()
        };
        self.node.namespace.run(work).unwrap()
    }

    /// What becomes of each packet, asked all at once.
    pub fn ask(&self, probes: &[&Probe], implementation: &str) -> Vec<Vec<Seen>> {
        let asking: Vec<_> = probes
            .iter()
            .map(|probe| {
                let packet = probe.packet;
                let place = match packet.from {
                    Origin::Node => &self.node,
                    _ => &self.senders[&packet.src],
                };
                let way = ask::Way::to(probe, implementation);
                self.runtime.spawn(ask::ask(place.namespace.clone(), packet, way))
            })
            .collect();
        self.runtime.block_on(async {
            let mut seen = Vec::new();
            for one in asking {
                seen.push(one.await.unwrap());
            }
            seen
        })
    }
}
