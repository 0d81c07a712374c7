//! From anything to what is wanted: after changes, after others' doings, after a crash. Needs root and `nft`.

mod nftables_common;

use std::sync::Arc;

use host::nftables::Nftables;
use nftables_common::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proxy::backends::Backend;
use proxy_core::table::*;

/// What a delta between two tables would be.
fn delta(old: &ServiceTable, new: &ServiceTable) -> TableDelta {
    let keys: std::collections::BTreeSet<_> = old.ports.keys().chain(new.ports.keys()).cloned().collect();
    let change = |key: PortKey| {
        let (old, new) = (old.ports.get(&key).cloned(), new.ports.get(&key).cloned());
        (old != new).then_some(PortChange { key, old, new })
    };
    TableDelta {
        ports: keys.into_iter().filter_map(change).collect(),
        node_before: (old.node != new.node).then(|| old.node.clone()),
        ..TableDelta::default()
    }
}

/// One of few names, addresses and ports, so that frontends move from one service to another.
fn port() -> impl Strategy<Value = ServicePort> {
    let ends = prop::collection::btree_set(0u8..6, 0..5);
    (0u8..4, any::<bool>(), ends, 0u8..5, prop::option::of(prop::sample::select(vec![60u64, 10_800])), 0u8..3)
        .prop_map(|(name, six, ends, kind, affinity, other)| {
            let end = |n: u8| {
                let local = if n.is_multiple_of(2) { "*" } else { "" };
                if six {
                    format!("{local}[fd00:10:244:1::{n}]:80")
                } else {
                    format!("{local}10.244.1.{n}:80")
                }
            };
            let ends: Vec<String> = ends.into_iter().map(end).collect();
            let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
            let address = if six { format!("fd00:10:96::{name}") } else { format!("10.96.0.{name}") };
            let lb = if six { format!("2001:db8::{other}") } else { format!("203.0.113.{other}") };
            let lb = FrontendAddress::Ip(ip(&lb));
            let mut port = service(&format!("s{name}"), &address, 80, &ends);
            port = match kind {
                _ if ends.is_empty() => port,
                0 => local(port, FrontendKind::LoadBalancer, lb, 80),
                1 => {
                    local(port, FrontendKind::NodePort, FrontendAddress::NodePorts, 30_000 + u16::from(other))
                }
                2 if six => {
                    sources(open_to_all(port, FrontendKind::LoadBalancer, lb, 80), &["2001:db8:1::/48"])
                }
                2 => sources(
                    open_to_all(port, FrontendKind::LoadBalancer, lb, 80),
                    &["10.0.0.0/8", "192.0.2.1/32", "10.1.0.0/16"],
                ),
                3 => open_to_all(
                    port,
                    FrontendKind::NodePort,
                    FrontendAddress::NodePorts,
                    30_000 + u16::from(other),
                ),
                _ => port,
            };
            port.affinity = affinity.map(std::time::Duration::from_secs);
            port
        })
}

/// A table in which nobody shares a frontend, as `proxy-core` makes them.
fn tables() -> impl Strategy<Value = ServiceTable> {
    (prop::collection::vec(port(), 0..6), 0u8..8).prop_map(|(ports, node)| {
        let mut frontends = std::collections::BTreeSet::new();
        let mut table = table(ports.into_iter().map(|mut port| {
            let family = port.family;
            port.frontends.retain(|frontend| frontends.insert((family, frontend.address, frontend.port)));
            port
        }));
        if node == 0 {
            table.node.v4.pods = PodSource::Interface("cni0".into());
            table.node.v6.node_ports.within = Some(vec!["fd00::/16".parse().unwrap()]);
        }
        if node == 1 {
            table.node.v4.node_ports = NodePortsAt {
                within: Some(vec!["192.168.0.0/16".parse().unwrap(), "192.168.1.0/24".parse().unwrap()]),
                loopback: true,
            };
        }
        table
    })
}

/// Whether the kernel has what a fresh start would write.
fn is_there(want: &ServiceTable) {
    let mut other = open();
    let have = other.observe().unwrap();
    assert_eq!(other.plan(want, &have).to_string(), "");
}

#[test]
fn any_sequence_of_changes_ends_like_a_fresh_start() {
    in_namespace(|| {
        let mut runner =
            TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
        runner
            .run(&prop::collection::vec(tables(), 2..8), |steps| {
                let mut backend = open();
                let mut before = ServiceTable::default();
                before.node = steps[0].node.clone();
                for want in steps {
                    let applied = backend.sync_delta(&want, &delta(&before, &want)).unwrap();
                    if before.ports == want.ports && before.node == want.node && !applied.full {
                        prop_assert_eq!(applied.writes, 0);
                    }
                    is_there(&want);
                    before = want;
                }
                Ok(())
            })
            .unwrap();
    });
}

#[test]
fn any_state_of_the_table_converges_and_then_nothing_is_written() {
    in_namespace(|| {
        let mut runner =
            TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
        let doings = prop::sample::select(DOINGS.to_vec());
        runner
            .run(&(tables(), tables(), prop::collection::vec(doings, 0..4)), |(first, second, doings)| {
                // A process that ended after its first table, and what others did before the next one came.
                open().sync_full(&first).unwrap();
                for doing in doings {
                    let _ = std::process::Command::new("nft").arg(doing).output().unwrap();
                }
                let mut backend = open();
                backend.sync_full(&second).unwrap();
                is_there(&second);
                prop_assert_eq!(backend.sync_full(&second).unwrap().writes, 0);
                Ok(())
            })
            .unwrap();
    });
}

/// What others do to a table that is not theirs.
const DOINGS: [&str; 12] = [
    "flush table ip weft-proxy",
    "delete table ip weft-proxy",
    "delete table ip6 weft-proxy",
    "flush map ip weft-proxy services",
    "flush chain ip weft-proxy translate",
    "add element ip weft-proxy cluster-ips { 192.0.2.1 }",
    "add rule ip weft-proxy reject-at-once accept",
    "add chain ip6 weft-proxy somebodys; add rule ip6 weft-proxy somebodys jump reject-at-once",
    "add set ip weft-proxy theirs { type ipv4_addr; }",
    "add element ip weft-proxy endpoints { 10.96.0.1 . tcp . 80 . 77 : 192.0.2.1 . 80 }",
    "delete table ip weft-proxy; add table ip weft-proxy; add map ip weft-proxy services { type ipv4_addr : verdict; }",
    "flush chain ip weft-proxy nat-output; delete chain ip weft-proxy nat-output; \
     add chain ip weft-proxy nat-output { type nat hook output priority 7; }",
];

#[test]
fn others_are_told_apart() {
    in_namespace(|| {
        let mut backend = open();
        let first = sample();
        backend.sync_full(&first).unwrap();
        let mut second = first.clone();
        let web = service("web", "10.96.0.10", 80, &["*10.244.1.7:8080"]);
        second.ports.insert(web.key(), Arc::new(web));
        // Somebody's own table is none of our business, however often it changes.
        nft(&["add table ip theirs; add chain ip theirs x; add rule ip theirs x accept"]);
        let applied = backend.sync_delta(&second, &delta(&first, &second)).unwrap();
        assert!(!applied.full && applied.writes < 10, "{applied:?}");
        is_there(&second);
        assert!(nft(&["list", "ruleset"]).contains("table ip theirs"));
        // Ours is.
        for doing in DOINGS {
            nft(&[doing]);
            let applied = backend.sync_delta(&second, &TableDelta::default()).unwrap();
            assert!(applied.full && applied.writes > 0, "{doing}: {applied:?}");
            is_there(&second);
        }
        let quiet = backend.sync_delta(&second, &TableDelta::default()).unwrap();
        assert_eq!((quiet.full, quiet.writes), (false, 0));
        backend.remove().unwrap();
        let text = nft(&["list", "ruleset"]);
        assert!(text.contains("theirs") && !text.contains("weft"), "{text}");
        assert!(backend.sync_delta(&second, &TableDelta::default()).unwrap().full);
        is_there(&second);
    });
}

#[test]
fn a_disturbance_is_heard_of() {
    in_namespace(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut backend = runtime.block_on(async { open() });
        let want = sample();
        backend.sync_full(&want).unwrap();
        let heard = |backend: &mut proxy::backends::nftables::NftablesBackend| {
            let patience = std::time::Duration::from_millis(300);
            runtime.block_on(async { tokio::time::timeout(patience, backend.disturbed()).await }).is_ok()
        };
        assert!(!heard(&mut backend), "our own writes are no disturbance");
        nft(&["add table ip theirs"]);
        assert!(!heard(&mut backend), "somebody's own table is none of our business");
        nft(&["flush chain ip weft-proxy translate"]);
        assert!(heard(&mut backend));
        backend.sync_full(&want).unwrap();
        is_there(&want);
    });
}

const CLIENTS: &str = "affinity/10.96.0.15/tcp/80/8080";

#[test]
fn what_the_rules_remember_of_clients_is_left_to_them() {
    in_namespace(|| {
        let mut backend = open();
        let web = ["10.244.1.7:8080", "10.244.2.3:8080"];
        let first = table([sticky(service("cart", "10.96.0.15", 80, &web), 10_800)]);
        backend.sync_full(&first).unwrap();
        let known = "10.244.9.1 timeout 1h : 10.244.1.7, 10.244.9.2 timeout 1h : 10.244.2.3";
        nft(&[&format!("add element ip weft-proxy {CLIENTS} {{ {known} }}")]);
        assert!(backend.sync_full(&first).unwrap().writes == 0, "what the rules write is not ours to judge");
        // The first of them finds out when it comes again: see the tests of affinity.
        let second = table([sticky(service("cart", "10.96.0.15", 80, &web[1..]), 10_800)]);
        backend.sync_delta(&second, &delta(&first, &second)).unwrap();
        let text = nft(&["list", "map", "ip", "weft-proxy", CLIENTS]);
        assert!(text.contains("10.244.9.2") && text.contains("10.244.9.1"), "{text}");
        is_there(&second);
        // Without affinity nobody is remembered.
        let third = table([service("cart", "10.96.0.15", 80, &web[1..])]);
        let applied = backend.sync_delta(&third, &delta(&second, &third)).unwrap();
        assert!(!applied.full, "{applied:?}");
        is_there(&third);
        assert!(!nft(&["list", "ruleset"]).contains("10.244.9.2"));
    });
}

#[test]
fn another_timeout_holds_at_once_for_remembered_clients() {
    in_namespace(|| {
        let mut backend = open();
        let with =
            |seconds| table([sticky(service("cart", "10.96.0.15", 80, &["10.244.1.7:8080"]), seconds)]);
        let (long, short) = (with(10_800), with(600));
        backend.sync_full(&long).unwrap();
        // The one was here a minute ago, the other two hours ago.
        let known =
            "10.244.9.1 timeout 3h expires 179m : 10.244.1.7, 10.244.9.2 timeout 3h expires 1h : 10.244.1.7";
        nft(&[&format!("add element ip weft-proxy {CLIENTS} {{ {known} }}")]);
        backend.sync_full(&long).unwrap();
        let list = || nft(&["list", "map", "ip", "weft-proxy", CLIENTS]);
        assert!(list().contains("10.244.9.1") && list().contains("10.244.9.2"));
        assert!(!backend.sync_delta(&short, &delta(&long, &short)).unwrap().full);
        let text = list();
        assert!(text.contains("expires 8m") && !text.contains("10.244.9.2"), "{text}");
        assert!(!backend.sync_delta(&long, &delta(&short, &long)).unwrap().full);
        assert!(list().contains("expires 2h58m"), "{}", list());
        is_there(&long);
    });
}

#[test]
fn a_count_does_not_pass_to_the_next_service_at_the_address() {
    in_namespace(|| {
        for args in ["link set lo up", "address add 10.244.0.1/32 dev lo", "route add 10.96.0.0/16 dev lo"] {
            assert!(std::process::Command::new("ip").args(args.split(' ')).status().unwrap().success());
        }
        let _listener = std::net::TcpListener::bind("10.244.0.1:8080").unwrap();
        let of = |name: &str| table([service(name, "10.96.0.10", 80, &["10.244.0.1:8080"])]);
        let count = |backend: &mut proxy::backends::nftables::NftablesBackend, of: &ServiceTable| {
            *backend.connections(of).unwrap().values().next().unwrap()
        };
        let (one, two, none) = (of("one"), of("two"), table([]));
        let mut backend = open();
        backend.sync_full(&one).unwrap();
        let connect = || drop(std::net::TcpStream::connect("10.96.0.10:80").unwrap());
        (0..3).for_each(|_| connect());
        // In one pass, and in two.
        backend.sync_delta(&two, &delta(&one, &two)).unwrap();
        assert_eq!(count(&mut backend, &two), 0);
        (0..2).for_each(|_| connect());
        assert_eq!(count(&mut backend, &two), 2);
        backend.sync_delta(&none, &delta(&two, &none)).unwrap();
        backend.sync_delta(&one, &delta(&none, &one)).unwrap();
        assert_eq!(count(&mut backend, &one), 0);
        // While nobody serves, a service keeps what it has.
        connect();
        let empty = table([service("one", "10.96.0.10", 80, &[])]);
        backend.sync_delta(&empty, &delta(&one, &empty)).unwrap();
        backend.sync_delta(&one, &delta(&empty, &one)).unwrap();
        connect();
        assert_eq!(count(&mut backend, &one), 2);
        // In a pass that looks at everything, and finds an element that is equal; or finds none.
        for doing in ["add set ip weft-proxy theirs { type ipv4_addr; }", "delete table ip weft-proxy"] {
            nft(&[doing]);
            assert!(backend.sync_delta(&two, &delta(&one, &two)).unwrap().full);
            assert_eq!(count(&mut backend, &two), 0, "{doing}");
            connect();
            nft(&[doing]);
            assert!(backend.sync_delta(&one, &delta(&two, &one)).unwrap().full);
            assert_eq!(count(&mut backend, &one), 0, "{doing}");
            connect();
        }
    });
}

#[test]
fn a_pass_that_looks_at_everything_keeps_a_count() {
    in_namespace(|| {
        for args in ["link set lo up", "address add 10.244.0.1/32 dev lo", "route add 10.96.0.0/16 dev lo"] {
            assert!(std::process::Command::new("ip").args(args.split(' ')).status().unwrap().success());
        }
        let _listener = std::net::TcpListener::bind("10.244.0.1:8080").unwrap();
        let of = |ends: &[&str]| table([service("web", "10.96.0.10", 80, ends)]);
        let (one, two) = (of(&["10.244.0.1:8080"]), of(&["10.244.0.1:8080", "10.244.0.1:8081"]));
        let mut backend = open();
        backend.sync_full(&two).unwrap();
        // What an element has counted that a change has replaced, and what the one after it has.
        backend.sync_delta(&one, &delta(&two, &one)).unwrap();
        drop(std::net::TcpStream::connect("10.96.0.10:80").unwrap());
        backend.sync_delta(&two, &delta(&one, &two)).unwrap();
        backend.sync_delta(&one, &delta(&two, &one)).unwrap();
        drop(std::net::TcpStream::connect("10.96.0.10:80").unwrap());
        nft(&["add set ip weft-proxy theirs { type ipv4_addr; }"]);
        assert!(backend.sync_delta(&one, &TableDelta::default()).unwrap().full);
        assert_eq!(backend.connections(&one).unwrap().into_values().collect::<Vec<_>>(), [2]);
    });
}

#[test]
fn connections_are_counted_across_changes() {
    in_namespace(|| {
        for args in ["link set lo up", "address add 10.244.0.1/32 dev lo", "route add 10.96.0.0/16 dev lo"] {
            assert!(std::process::Command::new("ip").args(args.split(' ')).status().unwrap().success());
        }
        let _listener = std::net::TcpListener::bind("10.244.0.1:8080").unwrap();
        let first = table([service("web", "10.96.0.10", 80, &["10.244.0.1:8080"])]);
        let second = table([service("web", "10.96.0.10", 80, &["10.244.0.1:8080", "10.244.0.1:8081"])]);
        let key = first.ports.keys().next().unwrap();
        let mut backend = open();
        backend.sync_full(&first).unwrap();
        let connect = || std::net::TcpStream::connect("10.96.0.10:80");
        (0..3).for_each(|_| drop(connect().unwrap()));
        assert_eq!(backend.connections(&first).unwrap()[key], 3);
        assert!(!backend.sync_delta(&second, &delta(&first, &second)).unwrap().full);
        assert_eq!(backend.connections(&second).unwrap()[key], 3);
        (0..4).for_each(|_| drop(connect()));
        assert_eq!(backend.connections(&second).unwrap()[key], 7);
    });
}

#[test]
fn without_events_others_writes_cost_a_look_and_nothing_more() {
    std::thread::scope(|scope| {
        let work = || {
            nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNET).expect("unshare (needs root)");
            let mut backend = open();
            let first = sample();
            backend.sync_full(&first).unwrap();
            let second = table([]);
            nft(&["add table ip theirs"]);
            let applied = backend.sync_delta(&second, &delta(&first, &second)).unwrap();
            assert!(applied.full, "{applied:?}");
            is_there(&second);
            let applied = backend.sync_delta(&first, &delta(&second, &first)).unwrap();
            assert!(!applied.full, "{applied:?}");
            is_there(&first);
            assert!(Nftables::connect().unwrap().tables().unwrap().len() == 3);
        };
        scope.spawn(work).join().unwrap();
    });
}
