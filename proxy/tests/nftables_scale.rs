//! Tens of thousands of services. Prints how long things took; the limits are far above what a quiet machine needs,
//! so that only a change of the order of growth breaks them. Needs root.

mod nftables_common;

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nftables_common::*;
use proxy::backends::Backend;
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
    assert!(applied.writes > 3 * count as usize, "{applied:?}");
    let after = resident();
    let start = Instant::now();
    assert_eq!(backend.sync_full(&want).unwrap().writes, 0);
    let look = start.elapsed();
    let mut times = Vec::new();
    let mut ports: Vec<Arc<ServicePort>> =
        want.ports.values().step_by(count as usize / 50).cloned().collect();
    for n in 0..400u32 {
        let slot = n as usize % ports.len();
        let delta = change(&ports[slot], Ipv4Addr::from(0x0af8_0000 + n).into());
        let start = Instant::now();
        let applied = backend.sync_delta(&want, &delta).unwrap();
        times.push(start.elapsed());
        assert!(!applied.full && applied.writes <= 4, "{applied:?}");
        ports[slot] = delta.ports[0].new.clone().unwrap();
    }
    let (p50, p99) = median(times);
    println!(
        "{count} services: first sync {first:?}, a look at all {look:?}, one endpoint p50 {p50:?} p99 {p99:?}, \
         memory {before} + {} for the table + {} MiB",
        table - before,
        after.saturating_sub(table)
    );
    assert!(first < Duration::from_secs(10), "{first:?}");
    assert!(p50 < Duration::from_millis(20), "{p50:?}");
}

#[test]
fn first_sync_and_changes() {
    for count in [1_000, 10_000, 30_000] {
        in_namespace(|| measure(count));
    }
}

/// A connection's first packet costs the same however many services there are.
#[test]
fn connecting_does_not_get_slower() {
    let mut medians = Vec::new();
    for count in [0, 100, 10_000, 30_000, 100, 30_000] {
        medians.push((count, in_namespace(|| connect(count))));
    }
    let of =
        |n: u32| medians.iter().filter(|(count, _)| *count == n).map(|(_, (p50, _))| *p50).min().unwrap();
    assert!(of(30_000) < of(100) * 2, "{medians:?}");
}

fn connect(count: u32) -> (Duration, Duration) {
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
    let mut target: SocketAddr = "10.244.0.1:8080".parse().unwrap();
    let mut backend = open();
    if count > 0 {
        backend.sync_full(&many(count, ["10.244.0.1:8080", "10.244.0.2:8080"])).unwrap();
        target = SocketAddr::from((Ipv4Addr::from(0x0a60_0000 + count), 80));
    }
    let mut times = Vec::new();
    for _ in 0..6000 {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.set_linger(Some(Duration::ZERO)).unwrap();
        let start = Instant::now();
        socket.connect(&target.into()).unwrap();
        times.push(start.elapsed());
        drop(TcpStream::from(socket));
    }
    let (p50, p99) = median(times);
    println!("{count} services: connect p50 {p50:?} p99 {p99:?}");
    (p50, p99)
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
