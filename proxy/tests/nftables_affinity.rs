//! ClientIP affinity with real packets: a client outside, a node, endpoints behind it. Needs root and `nft`.
//!
//! As in kube-proxy all frontends of a service port share what is remembered of a client, and two ports share nothing.

mod nftables_common;

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nftables_common::*;
use proxy::backends::Backend;
use proxy::backends::nftables::NftablesBackend;
use proxy_core::names::Protocol;
use proxy_core::table::*;

const PATIENCE: Duration = Duration::from_secs(60);
/// The port of all endpoints.
const PORT: u16 = 8080;
/// The client, as the services see it.
const CLIENTS: [&str; 2] = ["192.0.2.9", "2001:db8:9::9"];
/// The node, as the client sees it.
const NODES: [&str; 2] = ["192.0.2.1", "2001:db8:9::1"];
const ENDPOINTS: u8 = 5;

/// `n` from 1.
fn endpoint(six: bool, n: u8) -> String {
    // The first two are this node's.
    let local = if n <= 2 { "*" } else { "" };
    if six { format!("{local}[fd00:10:244:1::{n}]:{PORT}") } else { format!("{local}10.244.1.{n}:{PORT}") }
}

struct World {
    node: Namespace,
    client: Namespace,
    pods: Namespace,
    names: [String; 3],
    backend: Option<NftablesBackend>,
    runtime: tokio::runtime::Runtime,
    table: ServiceTable,
}

impl Drop for World {
    fn drop(&mut self) {
        self.names.iter().for_each(|name| _ = Namespace::delete(name));
    }
}

fn ip_in(namespace: &str, lines: &[String]) {
    for line in lines {
        let done = Command::new("ip").args(["-n", namespace]).args(line.split(' ')).output();
        let done = done.expect("ip (Debian package iproute2)");
        assert!(done.status.success(), "ip -n {namespace} {line}: {}", String::from_utf8_lossy(&done.stderr));
    }
}

fn lines<const N: usize>(text: [&str; N]) -> Vec<String> {
    text.map(str::to_owned).into()
}

impl World {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let names = ["node", "client", "pods"]
            .map(|part| format!("weft-affinity-{part}-{}-{number}", std::process::id()));
        println!("nsenter --net=/run/netns/{}", names[0]);
        let [node, client, pods] = [0, 1, 2].map(|n: usize| {
            let namespace = Namespace::create(&names[n]).expect("these tests need root");
            namespace
                .run(|| {
                    for key in ["net/ipv6/conf/all/accept_dad", "net/ipv6/conf/default/accept_dad"] {
                        host::sysctl::write(key, "0").unwrap();
                    }
                    for key in ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"] {
                        host::sysctl::write(key, "1").unwrap();
                    }
                })
                .unwrap();
            namespace
        });
        ip_in(
            &names[0],
            &[
                lines(["link set lo up"]),
                vec![format!("link add out type veth peer name eth0 netns {}", names[1])],
                vec![format!("link add pods type veth peer name eth0 netns {}", names[2])],
                lines([
                    "address add 192.0.2.1/24 dev out",
                    "address add 2001:db8:9::1/64 dev out nodad",
                    "address add 10.244.1.254/24 dev pods",
                    "address add fd00:10:244:1::fe/64 dev pods nodad",
                    "link set out up",
                    "link set pods up",
                ]),
            ]
            .concat(),
        );
        ip_in(
            &names[1],
            &lines([
                "link set lo up",
                "address add 192.0.2.9/24 dev eth0",
                "address add 2001:db8:9::9/64 dev eth0 nodad",
                "link set eth0 up",
                "route add default via 192.0.2.1",
                "route add default via 2001:db8:9::1",
            ]),
        );
        let addresses = (1..=ENDPOINTS).flat_map(|n| {
            [
                format!("address add 10.244.1.{n}/24 dev eth0"),
                format!("address add fd00:10:244:1::{n}/64 dev eth0 nodad"),
            ]
        });
        let up = lines(["link set lo up", "link set eth0 up"]);
        let routes = lines(["route add default via 10.244.1.254", "route add default via fd00:10:244:1::fe"]);
        ip_in(&names[2], &[up, addresses.collect(), routes].concat());
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let mut table = ServiceTable::default();
        table.node = view();
        let world = Self { node, client, pods, names, backend: None, runtime, table };
        world.serve();
        world
    }

    /// Every endpoint says by which address it was reached.
    fn serve(&self) {
        for n in 1..=ENDPOINTS {
            for six in [false, true] {
                let at: SocketAddr = endpoint(six, n).trim_start_matches('*').parse().unwrap();
                let (tcp, udp) =
                    self.pods.run(|| (TcpListener::bind(at).unwrap(), UdpSocket::bind(at).unwrap())).unwrap();
                std::thread::spawn(move || {
                    while let Ok((mut stream, _)) = tcp.accept() {
                        let _ = stream.write_all(at.to_string().as_bytes());
                    }
                });
                std::thread::spawn(move || {
                    let mut buffer = [0; 16];
                    while let Ok((_, from)) = udp.recv_from(&mut buffer) {
                        let _ = udp.send_to(at.to_string().as_bytes(), from);
                    }
                });
            }
        }
    }

    /// The node does services as this table says, as after a change of objects.
    fn program(&mut self, ports: impl IntoIterator<Item = ServicePort>) {
        let mut want = table(ports);
        want.node = view();
        let keys: BTreeSet<PortKey> = self.table.ports.keys().chain(want.ports.keys()).cloned().collect();
        let changes = keys.into_iter().filter_map(|key| {
            let (old, new) = (self.table.ports.get(&key).cloned(), want.ports.get(&key).cloned());
            (old != new).then_some(PortChange { key, old, new })
        });
        let delta = TableDelta { ports: changes.collect(), ..TableDelta::default() };
        let (backend, handle) = (&mut self.backend, self.runtime.handle());
        self.node
            .run(|| {
                let _inside = handle.enter();
                backend.get_or_insert_with(open).sync_delta(&want, &delta).unwrap()
            })
            .unwrap();
        self.table = want;
    }

    /// Which endpoint answers a new connection of the client.
    fn ask(&self, frontend: &str, protocol: Protocol) -> SocketAddr {
        let frontend: SocketAddr = frontend.parse().unwrap();
        let answer = self.client.run(|| match protocol {
            Protocol::Udp => {
                let any: IpAddr = if frontend.is_ipv6() { "::".parse() } else { "0.0.0.0".parse() }.unwrap();
                let socket = UdpSocket::bind((any, 0)).unwrap();
                socket.connect(frontend).unwrap();
                // As resolvers do: what led to an endpoint that is gone is dropped, once.
                socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
                let mut buffer = [0; 64];
                let mut again = || {
                    socket.send(b"?").unwrap();
                    socket.recv(&mut buffer).ok()
                };
                let read = (0..PATIENCE.as_secs()).find_map(|_| again()).expect("an answer");
                String::from_utf8(buffer[..read].into()).unwrap()
            }
            _ => {
                let mut stream = TcpStream::connect_timeout(&frontend, PATIENCE).expect("a connection");
                stream.set_read_timeout(Some(PATIENCE)).unwrap();
                let mut text = String::new();
                stream.read_to_string(&mut text).unwrap();
                text
            }
        });
        answer.unwrap().parse().unwrap()
    }

    /// Asks every frontend some times: it is always the same endpoint.
    fn one_answers(&self, frontends: &[&str], protocol: Protocol) -> SocketAddr {
        let answers: Vec<_> = frontends
            .iter()
            .cycle()
            .take(4 * frontends.len())
            .map(|frontend| self.ask(frontend, protocol))
            .collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]), "{frontends:?}: {answers:?}");
        answers[0]
    }

    /// Waits until the rules have forgotten everybody.
    fn forgotten(&self) {
        let end = Instant::now() + PATIENCE;
        while self
            .node
            .run(|| nft(&["list", "table", "ip", "weft-proxy"]))
            .unwrap()
            .contains(&format!("{} timeout", CLIENTS[0]))
        {
            assert!(Instant::now() < end, "the client is remembered for too long");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

/// A service with a ClusterIP, a load balancer's address and a node port.
fn cart(six: bool, protocol: Protocol, endpoints: impl IntoIterator<Item = u8>, seconds: u64) -> ServicePort {
    let ends: Vec<String> = endpoints.into_iter().map(|n| endpoint(six, n)).collect();
    let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
    let (address, lb) = if six { ("fd00:10:96::15", "2001:db8::80") } else { ("10.96.0.15", "203.0.113.80") };
    let mut port = sticky(service("cart", address, 80, &ends), seconds);
    port.name.protocol = protocol;
    let port = open_to_all(port, FrontendKind::LoadBalancer, FrontendAddress::Ip(ip(lb)), 80);
    open_to_all(port, FrontendKind::NodePort, FrontendAddress::NodePorts, 30080)
}

fn frontends(six: bool) -> [String; 3] {
    if six {
        ["[fd00:10:96::15]:80".into(), "[2001:db8::80]:80".into(), format!("[{}]:30080", NODES[1])]
    } else {
        ["10.96.0.15:80".into(), "203.0.113.80:80".into(), format!("{}:30080", NODES[0])]
    }
}

#[test]
fn all_fronts_of_a_service_port_lead_a_client_to_one_endpoint() {
    let mut world = World::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        // Whichever frontend comes first: each time with nobody remembered.
        for first in 0..3 {
            world.program([]);
            world.program([false, true].map(|six| cart(six, protocol, 1..=ENDPOINTS, 600)));
            for six in [false, true] {
                let frontends = frontends(six);
                let mut order: Vec<&str> = frontends.iter().map(String::as_str).collect();
                order.rotate_left(first);
                world.one_answers(&order, protocol);
            }
        }
    }
}

#[test]
fn an_endpoint_that_is_gone_is_followed_by_another_for_all_fronts() {
    let mut world = World::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        world.program([false, true].map(|six| cart(six, protocol, 1..=ENDPOINTS, 600)));
        for six in [false, true] {
            let frontends = frontends(six);
            let order: Vec<&str> = frontends.iter().map(String::as_str).collect();
            let before = world.one_answers(&order, protocol);
            let gone =
                (1..=ENDPOINTS).find(|n| endpoint(six, *n).trim_start_matches('*') == before.to_string());
            let rest = (1..=ENDPOINTS).filter(|n| Some(*n) != gone);
            world.program([cart(six, protocol, rest, 600), cart(!six, protocol, 1..=ENDPOINTS, 600)]);
            let after = world.one_answers(&order, protocol);
            assert_ne!(after, before);
            // Back again, it has no claim any more.
            world.program([false, true].map(|six| cart(six, protocol, 1..=ENDPOINTS, 600)));
            assert_eq!(world.one_answers(&order, protocol), after);
        }
    }
}

#[test]
fn a_client_is_forgotten_after_the_timeout_by_all_fronts_at_once() {
    let mut world = World::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        world.program([cart(false, protocol, 1..=ENDPOINTS, 1)]);
        let frontends = frontends(false);
        let first = world.ask(&frontends[2], protocol);
        // Five times as likely to move as not: forty times in a row would be a wonder.
        let moved = (0..40).any(|_| {
            world.forgotten();
            world.ask(&frontends[0], protocol) != first
        });
        assert!(moved, "always {first}");
    }
}

#[test]
fn a_front_with_policy_local_keeps_a_client_apart_only_where_it_must() {
    let mut world = World::new();
    let near = |endpoints: std::ops::RangeInclusive<u8>| {
        let ends: Vec<String> = endpoints.map(|n| endpoint(false, n)).collect();
        let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
        let port = sticky(service("near", "10.96.0.16", 80, &ends), 600);
        local(port, FrontendKind::NodePort, FrontendAddress::NodePorts, 30081)
    };
    let node_port = format!("{}:30081", NODES[0]);
    let (cluster, local) = ("10.96.0.16:80", node_port.as_str());
    // First by policy Local: that endpoint does for all.
    world.program([near(1..=ENDPOINTS)]);
    let mine = world.one_answers(&[local, cluster], Protocol::Tcp);
    assert!(
        [1, 2].map(|n| endpoint(false, n).trim_start_matches('*').parse().unwrap()).contains(&mine),
        "{mine}"
    );
    // First by ClusterIP, to what is elsewhere: policy Local has to choose another, and both are kept.
    world.program([]);
    world.program([near(3..=ENDPOINTS)]);
    let remote = world.one_answers(&[cluster], Protocol::Tcp);
    world.program([near(1..=ENDPOINTS)]);
    let mine = world.one_answers(&[local], Protocol::Tcp);
    assert_ne!(mine, remote);
    for _ in 0..4 {
        assert_eq!(world.ask(cluster, Protocol::Tcp), remote);
        assert_eq!(world.ask(local, Protocol::Tcp), mine);
    }
}

#[test]
fn two_ports_of_a_service_share_nothing() {
    let mut world = World::new();
    let ends: Vec<String> = (1..=ENDPOINTS).map(|n| endpoint(false, n)).collect();
    let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
    let many = (0..12).map(|n: u16| {
        let mut port = sticky(service("web", "10.96.0.17", 80 + n, &ends), 600);
        port.name.port = Arc::from(format!("p{n}"));
        open_to_all(port, FrontendKind::NodePort, FrontendAddress::NodePorts, 30100 + n)
    });
    world.program(many);
    let answers: BTreeSet<SocketAddr> = (0..12)
        .map(|n| {
            let frontends = [format!("10.96.0.17:{}", 80 + n), format!("{}:{}", NODES[0], 30100 + n)];
            world.one_answers(&frontends.each_ref().map(String::as_str), Protocol::Tcp)
        })
        .collect();
    assert!(answers.len() > 1, "twelve ports chose {answers:?}");
}
