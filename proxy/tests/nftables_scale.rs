//! Tens of thousands of services. Prints how long things took, and asserts what does not depend on the machine: how much
//! was written and read. See also `costs.rs`. Needs root.

mod nftables_common;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::nftables::Rule;
use nftables_common::*;
use proxy::backends::Backend;
use proxy::backends::nftables::NftablesBackend;
use proxy_core::table::*;

/// Services of two endpoints, of which the last's are `last`.
fn many(count: u32, last: [&str; 2]) -> ServiceTable {
    let mut table = table((0..count).map(|n| {
        let frontend = Ipv4Addr::from(0x0a60_0000 + n + 1).to_string();
        let ends = [0, 1]
            .map(|slot| SocketAddr::from((Ipv4Addr::from(0x0af4_0000 + 2 * n + slot), 8080)).to_string());
        let last_one = n + 1 == count || n == 0;
        let ends = if last_one { last } else { [ends[0].as_str(), ends[1].as_str()] };
        service(&format!("service-{n}"), &frontend, 80, &ends)
    }));
    table.node.v4.service_cidrs = vec!["10.96.0.0/12".parse().unwrap()];
    table
}

/// More than all that is written, or read, apart from services.
const FRAME: usize = 400;

fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find(|line| line.starts_with("VmRSS")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

fn median(mut times: Vec<Duration>) -> (Duration, Duration) {
    times.sort();
    (times[times.len() / 2], times[times.len() * 99 / 100])
}

/// One address of the group replaced by another.
fn change(old: &Arc<ServicePort>, address: IpAddr) -> TableDelta {
    let mut new = ServicePort::clone(old);
    let others = new.cluster.iter().copied().skip(1);
    new.cluster = others.chain([Endpoint { ip: address, port: 8080, is_local: false }]).collect();
    let ports = vec![PortChange { key: old.key(), old: Some(old.clone()), new: Some(Arc::new(new)) }];
    TableDelta { ports, ..TableDelta::default() }
}

fn measure(count: u32) {
    let before = resident();
    let want = many(count, ["10.244.0.1:8080", "10.244.0.2:8080"]);
    let table = resident();
    let mut backend = open();
    let start = Instant::now();
    let applied = backend.sync_full(&want).unwrap();
    let first = start.elapsed();
    // Of each service its frontend, its ClusterIP, two endpoints, and those again as clients of themselves.
    let most = 6 * count as usize + FRAME;
    assert!((3 * count as usize..most).contains(&applied.writes), "{applied:?}");
    let after = resident();
    let start = Instant::now();
    let before_look = backend.messages();
    assert_eq!(backend.sync_full(&want).unwrap().writes, 0);
    let read = backend.messages() - before_look;
    assert!(read < u64::from(count) + FRAME as u64, "a look at {count} services read {read} messages");
    let look = start.elapsed();
    let mut times = Vec::new();
    let mut ports: Vec<Arc<ServicePort>> =
        want.ports.values().step_by(count as usize / 50).cloned().collect();
    for n in 0..400u32 {
        let slot = n as usize % ports.len();
        let delta = change(&ports[slot], Ipv4Addr::from(0x0af8_0000 + n).into());
        let before = backend.messages();
        let start = Instant::now();
        let applied = backend.sync_delta(&want, &delta).unwrap();
        times.push(start.elapsed());
        // The endpoint's element under its frontend, and that of a client that is its own endpoint.
        assert!(!applied.full && applied.writes <= 6, "{applied:?}");
        let read = backend.messages() - before;
        assert!(read <= 10, "{read} messages read for {applied:?}");
        ports[slot] = delta.ports[0].new.clone().unwrap();
    }
    let (p50, p99) = median(times);
    println!(
        "{count} services: first sync {first:?}, a look at all {look:?}, one endpoint p50 {p50:?} p99 {p99:?}, \
         memory {before} + {} for the table + {} MiB",
        table - before,
        after.saturating_sub(table)
    );
}

#[test]
fn first_sync_and_changes() {
    for count in [1_000, 10_000, 30_000] {
        in_namespace(|| measure(count));
    }
}

/// A connection's first packet meets the same rules however many services there are: those are elements of hashed sets.
#[test]
fn connecting_does_not_get_slower() {
    let [few, many] = [100, 30_000].map(|count| in_namespace(|| connect(count)));
    assert_eq!(few, many);
}

/// Reaches the last of many services. Returns the rules of each chain.
fn connect(count: u32) -> BTreeMap<String, Vec<Rule>> {
    let ip = |args: &str| {
        let done = std::process::Command::new("ip").args(args.split(' ')).status().unwrap();
        assert!(done.success(), "ip {args}");
    };
    ip("link set lo up");
    ip("address add 10.244.0.1/32 dev lo");
    ip("address add 10.244.0.2/32 dev lo");
    ip("route add 10.96.0.0/12 dev lo");
    let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
    std::thread::spawn(move || while listener.accept().is_ok() {});
    let mut backend = open();
    backend.sync_full(&many(count, ["10.244.0.1:8080", "10.244.0.2:8080"])).unwrap();
    let target = SocketAddr::from((Ipv4Addr::from(0x0a60_0000 + count), 80));
    let mut times = Vec::new();
    for _ in 0..1000 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        let start = Instant::now();
        socket.connect(&target.into()).unwrap();
        times.push(start.elapsed());
        drop(TcpStream::from(socket));
    }
    let (p50, p99) = median(times);
    println!("{count} services: connect p50 {p50:?} p99 {p99:?}");
    let mut rules: BTreeMap<String, Vec<Rule>> = BTreeMap::new();
    for table in backend.observe().unwrap().tables {
        for listed in table.rules {
            let chain = format!("{} {}", listed.rule.table, listed.rule.chain);
            rules.entry(chain).or_default().push(listed.rule);
        }
    }
    assert!(rules.len() > 10);
    rules
}

/// Affinity by several frontends takes chains for each service.
#[test]
fn many_services_with_affinity_by_several_fronts() {
    const COUNT: u32 = 5_000;
    in_namespace(|| {
        let ends = ["10.244.0.1:8080", "10.244.0.2:8080"];
        let one = |n: u32, ends: &[&str]| {
            let frontend = Ipv4Addr::from(0x0a60_0000 + n + 1).to_string();
            let port = sticky(service(&format!("service-{n}"), &frontend, 80, ends), 10_800);
            open_to_all(port, FrontendKind::NodePort, FrontendAddress::NodePorts, 30_000 + n as u16)
        };
        let want = table((0..COUNT).map(|n| one(n, &ends)));
        let mut backend = open();
        let start = Instant::now();
        backend.sync_full(&want).unwrap();
        let first = start.elapsed();
        let start = Instant::now();
        assert_eq!(backend.sync_full(&want).unwrap().writes, 0);
        let look = start.elapsed();
        let mut times = Vec::new();
        for n in (0..COUNT).step_by(COUNT as usize / 50) {
            let new = Arc::new(one(n, &ends[..1]));
            let ports =
                vec![PortChange { key: new.key(), old: want.ports.get(&new.key()).cloned(), new: Some(new) }];
            let delta = TableDelta { ports, ..TableDelta::default() };
            let start = Instant::now();
            let applied = backend.sync_delta(&want, &delta).unwrap();
            times.push(start.elapsed());
            assert!(!applied.full && applied.writes < 40, "{applied:?}");
        }
        let (p50, p99) = median(times);
        println!(
            "{COUNT} with affinity: first sync {first:?}, a look at all {look:?}, one endpoint p50 {p50:?} p99 {p99:?}"
        );
    });
}

/// What a change wrote, and how many messages of the kernel it read.
fn cost(
    backend: &mut NftablesBackend,
    want: &ServiceTable,
    old: &ServicePort,
    new: ServicePort,
) -> (usize, u64) {
    let (old, new) = (Arc::new(old.clone()), Arc::new(new));
    let ports = vec![PortChange { key: new.key(), old: Some(old), new: Some(new) }];
    let before = backend.messages();
    let start = Instant::now();
    let applied = backend.sync_delta(want, &TableDelta { ports, ..TableDelta::default() }).unwrap();
    println!("{applied:?} in {:?}", start.elapsed());
    assert!(!applied.full, "{applied:?}");
    (applied.writes, backend.messages() - before)
}

#[test]
fn remembered_clients_cost_a_change_nothing() {
    in_namespace(|| {
        let ends = ["10.244.1.7:8080", "10.244.2.3:8080"];
        let cart = |ends: &[&str]| sticky(service("cart", "10.96.0.15", 80, ends), 10_800);
        let want = table([cart(&ends)]);
        let mut backend = open();
        let mut costs = Vec::new();
        for clients in [0u32, 40_000] {
            backend.sync_full(&want).unwrap();
            let ip = |n: u32| Ipv4Addr::from(0x0b00_0000 + n);
            let elements: Vec<String> =
                (0..clients).map(|n| format!("{} timeout 3h : 10.244.1.7", ip(n))).collect();
            for elements in elements.chunks(20_000) {
                let elements = elements.join(", ");
                let file = tempfile::NamedTempFile::new().unwrap();
                let map = "affinity/10.96.0.15/tcp/80/8080";
                std::fs::write(file.path(), format!("add element ip weft-proxy {map} {{ {elements} }}"))
                    .unwrap();
                nft(&["-f", file.path().to_str().unwrap()]);
            }
            backend.sync_full(&want).unwrap();
            costs.push(cost(&mut backend, &want, &cart(&ends), cart(&ends[1..])));
            // Back again.
            backend.sync_full(&want).unwrap();
        }
        assert_eq!(costs[0], costs[1]);
        assert!(costs[0].0 < 20 && costs[0].1 < 50, "{costs:?}");
    });
}

#[test]
fn source_ranges_of_one_service_cost_others_nothing() {
    const PORTS: u16 = 50;
    const RANGES: u32 = 2_000;
    in_namespace(|| {
        let nets: Vec<String> =
            (0..RANGES).map(|n| format!("{}/25", Ipv4Addr::from(0x0b00_0000 + 256 * n))).collect();
        let nets: Vec<&str> = nets.iter().map(String::as_str).collect();
        let wide = (0..PORTS).map(|n| {
            let mut port = service("wide", "10.96.0.11", 80 + n, &["10.244.1.7:8080"]);
            port.name.port = Arc::from(format!("p{n}"));
            let address = FrontendAddress::Ip(ip("203.0.113.1"));
            sources(open_to_all(port, FrontendKind::LoadBalancer, address, 80 + n), &nets)
        });
        let small = |end| service("small", "10.96.0.12", 80, &[end]);
        let mut backend = open();
        let before = table([small("10.244.1.7:8080")]);
        backend.sync_full(&before).unwrap();
        let want = table(wide.chain([small("10.244.1.7:8080")]));
        // The list is written once, and each port names it.
        let ports = want.ports.values().filter(|port| &*port.name.service.name == "wide");
        let ports =
            ports.map(|new| PortChange { key: new.key(), old: None, new: Some(new.clone()) }).collect();
        let start = Instant::now();
        let applied = backend.sync_delta(&want, &TableDelta { ports, ..TableDelta::default() }).unwrap();
        println!("{PORTS} ports of {RANGES} ranges: {applied:?} in {:?}", start.elapsed());
        let most = RANGES as usize + 10 * usize::from(PORTS);
        assert!(!applied.full && applied.writes < most, "{applied:?}");
        let (writes, messages) =
            cost(&mut backend, &want, &small("10.244.1.7:8080"), small("10.244.2.3:8080"));
        assert!(writes < 10 && messages < 30, "{writes} {messages}");
    });
}

#[test]
fn an_endpoint_among_many_with_affinity_costs_what_it_is() {
    const COUNT: u32 = 10_000;
    in_namespace(|| {
        let ends: Vec<String> = (0..COUNT)
            .map(|n| SocketAddr::from((Ipv4Addr::from(0x0af4_0000 + n), 8080)).to_string())
            .collect();
        let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
        let cart = |ends: &[&str]| {
            let port = sticky(service("cart", "10.96.0.15", 80, ends), 10_800);
            open_to_all(port, FrontendKind::NodePort, FrontendAddress::NodePorts, 30_080)
        };
        let want = table([cart(&ends)]);
        let mut backend = open();
        let start = Instant::now();
        backend.sync_full(&want).unwrap();
        println!("{COUNT} endpoints with affinity: first sync {:?}", start.elapsed());
        let mut others = ends.clone();
        *others.last_mut().unwrap() = "10.250.0.1:8080";
        let (writes, messages) = cost(&mut backend, &want, &cart(&ends), cart(&others));
        assert!(writes < 20 && messages < 50, "{writes} {messages}");
    });
}
