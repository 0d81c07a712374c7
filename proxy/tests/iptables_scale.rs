//! What many services cost in iptables mode; see also `costs.rs`. Prints figures; needs root. `WEFT_SERVICES=10000` asks for more than the
//! usual count, and `cargo test --release` makes figures worth keeping.

mod nftables_common;

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::iptables::Flavour;
use nftables_common::{in_namespace, service, table};
use nix::sys::resource::{UsageWho, getrusage};
use proxy::backends::Backend;
use proxy::backends::iptables::{IptablesBackend, Settings};
use proxy_core::names::Family;
use proxy_core::table::*;

fn count() -> u32 {
    std::env::var("WEFT_SERVICES").map_or(1_100, |text| text.parse().expect("WEFT_SERVICES is a number"))
}

fn many(count: u32) -> ServiceTable {
    let mut table = table((0..count).map(|n| {
        let frontend = Ipv4Addr::from(0x0a60_0000 + n + 1).to_string();
        let ends = [0, 1].map(|slot| format!("{}:8080", Ipv4Addr::from(0x0af4_0001 + 2 * n + slot)));
        service(&format!("service-{n}"), &frontend, 80, &[&ends[0], &ends[1]])
    }));
    table.node.v4.service_cidrs = vec!["10.96.0.0/12".parse().unwrap()];
    table
}

fn change(old: &Arc<ServicePort>, address: Ipv4Addr) -> TableDelta {
    let mut new = ServicePort::clone(old);
    let others = new.cluster.iter().copied().skip(1);
    let fresh = Endpoint { ip: address.into(), port: 8080, is_local: false };
    new.cluster = [fresh].into_iter().chain(others).collect();
    let ports = vec![PortChange { key: old.key(), old: Some(old.clone()), new: Some(Arc::new(new)) }];
    TableDelta { ports, ..TableDelta::default() }
}

/// How long, and the processor's time of our programs meanwhile.
fn timed<T>(act: impl FnOnce() -> T) -> (T, Duration, Duration) {
    let spent = || {
        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        let of =
            |time: nix::sys::time::TimeVal| Duration::new(time.tv_sec() as u64, 1000 * time.tv_usec() as u32);
        of(usage.user_time()) + of(usage.system_time())
    };
    let (before, start) = (spent(), Instant::now());
    let value = act();
    (value, start.elapsed(), spent() - before)
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn measure(flavour: Flavour) {
    let count = count();
    let want = many(count);
    let settings = Settings { flavour: Some(flavour), ..Settings::default() };
    let mut backend = IptablesBackend::open(&[Family::V4], settings).unwrap();
    let (applied, first, tools) = timed(|| backend.sync_full(&want).unwrap());
    println!(
        "{flavour}, {count} services: first {first:?}, of it the programs {tools:?}, {} writes",
        applied.writes
    );
    let (again, look, tools) = timed(|| backend.sync_full(&want).unwrap());
    assert_eq!(again.writes, 0);
    println!("  a look at all {look:?}, of it the programs {tools:?}");
    let (mut times, mut cpus) = (Vec::new(), Vec::new());
    let mut ports: Vec<Arc<ServicePort>> = want.ports.values().step_by(count as usize / 5).cloned().collect();
    for n in 0..10u32 {
        let slot = n as usize % ports.len();
        let delta = change(&ports[slot], Ipv4Addr::from(0x0af8_0000 + n));
        let (applied, time, tools) = timed(|| backend.sync_delta(&want, &delta).unwrap());
        assert!(!applied.full && applied.writes <= 7, "{applied:?}");
        ports[slot] = delta.ports[0].new.clone().unwrap();
        times.push(time);
        cpus.push(tools);
    }
    println!("  one endpoint p50 {:?}, of it the programs {:?}", median(times), median(cpus));
    let ((), time, _) = timed(|| backend.remove().unwrap());
    println!("  removed in {time:?}");
    let left = backend.observe().unwrap();
    let nat = left[&Family::V4].table("nat").map_or(0, |nat| nat.rules.len());
    assert_eq!(nat, 0, "{left:?}");
}

#[test]
fn first_sync_and_changes() {
    for flavour in [Flavour::Legacy, Flavour::Nft] {
        in_namespace(|| measure(flavour));
    }
}

/// What is printed otherwise than it was written would be written again by each full pass.
#[test]
fn a_tree_is_printed_as_it_was_written() {
    for flavour in [Flavour::Legacy, Flavour::Nft] {
        in_namespace(|| {
            let six = (0..300u128).map(|n| {
                let frontend = std::net::Ipv6Addr::from((0xfd00_0010_0096 << 80) + 7 * n);
                service(&format!("six-{n}"), &frontend.to_string(), 80, &["[fd00:10:244::1]:8080"])
            });
            let mut want = many(300);
            // So many ports that their addresses have chains of their own.
            let wide = ["10.96.77.7", "fd00:10:96::77"].into_iter().flat_map(|ip| {
                (0..40).map(move |n| {
                    let ends = if ip.contains(':') { ["[fd00:10:244::1]:8080"] } else { ["10.244.0.1:8080"] };
                    let mut port = service("wide", ip, 80 + n, &ends);
                    port.name.port = Arc::from(format!("p{n}"));
                    port
                })
            });
            want.ports.extend(six.chain(wide).map(|port| (port.key(), Arc::new(port))));
            let settings = Settings { flavour: Some(flavour), ..Settings::default() };
            let mut backend = IptablesBackend::open(&Family::BOTH, settings).unwrap();
            assert!(backend.sync_full(&want).unwrap().writes > 2 * 340 * 4);
            let have = backend.observe().unwrap();
            for saved in have.values() {
                assert!(saved.table("nat").unwrap().chain("KUBE-SVC-ENDS-IN-A").is_some());
            }
            assert_eq!(backend.plan(&want, &have).to_string(), "");
        });
    }
}

fn ip(args: &str) {
    let done = std::process::Command::new("ip").args(args.split(' ')).status().unwrap();
    assert!(done.success(), "ip {args}");
}

/// Median times to connect to the first and the last service, and to an endpoint itself.
fn connect(flavour: Flavour, count: u32) -> [Duration; 3] {
    for args in ["link set lo up", "address add 10.244.0.1/15 dev lo", "route add 10.96.0.0/12 dev lo"] {
        ip(args);
    }
    let listener = TcpListener::bind("0.0.0.0:8080").unwrap();
    std::thread::spawn(move || while listener.accept().is_ok() {});
    let settings = Settings { flavour: Some(flavour), ..Settings::default() };
    IptablesBackend::open(&[Family::V4], settings).unwrap().sync_full(&many(count)).unwrap();
    let of = |n: u32| SocketAddr::from((Ipv4Addr::from(0x0a60_0000 + n), 80));
    let direct: SocketAddr = "10.244.0.1:8080".parse().unwrap();
    [of(1), of(count), direct].map(|target| {
        let times = (0..2000).map(|_| {
            let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
            socket.set_linger(Some(Duration::ZERO)).unwrap();
            let start = Instant::now();
            socket.connect(&target.into()).unwrap();
            let time = start.elapsed();
            drop(TcpStream::from(socket));
            time
        });
        median(times.collect())
    })
}

#[test]
fn the_first_and_the_last_of_many_services_are_reached() {
    for flavour in [Flavour::Legacy, Flavour::Nft] {
        let few = in_namespace(|| connect(flavour, 100));
        let all = in_namespace(|| connect(flavour, count()));
        println!("{flavour}: connect to first, last, endpoint: {few:?} at 100, {all:?} at {}", count());
    }
}
