//! Others at the same kernel: who write all the time, who look while we write, and a process that ended halfway.
//! Needs root and `nft`.

mod nftables_common;
#[path = "../core/tests/common/mod.rs"]
mod objects;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use host::error::HostError;
use host::nftables::Nftables;
use nftables_common::*;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use proxy::backends::nftables::delta::Delta;
use proxy::backends::nftables::layout::{Layout, Settings};
use proxy::backends::nftables::render::{Elements, Uses, Wanted};
use proxy::backends::{Backend, BackendError};
use proxy_core::cluster::{Cluster, Touched};
use proxy_core::names::Family;
use proxy_core::options::Options;
use proxy_core::table::*;

/// Services of two endpoints each.
fn many(count: u32) -> ServiceTable {
    table((0..count).map(|n| {
        let frontend = Ipv4Addr::from(0x0a60_0000 + n + 1).to_string();
        let ends = [0, 1].map(|slot| format!("{}:8080", Ipv4Addr::from(0x0af4_0000 + 2 * n + slot)));
        service(&format!("service-{n}"), &frontend, 80, &ends.each_ref().map(String::as_str))
    }))
}

/// The first endpoint of a service becomes another.
fn moved(table: &mut ServiceTable, n: u32) -> TableDelta {
    let frontend = FrontendAddress::Ip(Ipv4Addr::from(0x0a60_0000 + n + 1).into());
    let old = table.ports.values().find(|port| port.frontends[0].address == frontend).unwrap().clone();
    let mut new = ServicePort::clone(&old);
    let other = Endpoint { ip: Ipv4Addr::from(0x0af8_0000 + n).into(), port: 8080, is_local: false };
    new.cluster = new.cluster.iter().copied().skip(1).chain([other]).collect();
    let new = Arc::new(new);
    table.ports.insert(new.key(), new.clone());
    let ports = vec![PortChange { key: new.key(), old: Some(old), new: Some(new) }];
    TableDelta { ports, ..TableDelta::default() }
}

/// Ends the threads beside, whatever becomes of the test.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn is_there(want: &ServiceTable) {
    let mut other = open();
    other.sync_full(want).unwrap();
    let have = other.observe().unwrap();
    assert_eq!(other.plan(want, &have).to_string(), "");
}

#[test]
fn others_who_write_all_the_time_hold_nothing_up() {
    in_namespace(|| {
        let (end, wrote) = (AtomicBool::new(false), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for name in ["theirs", "others"] {
                let (end, wrote) = (&end, &wrote);
                // In the namespace of the thread that starts it.
                scope.spawn(move || {
                    while !end.load(Ordering::Relaxed) {
                        for doing in ["add", "delete"] {
                            let done =
                                Command::new("nft").args([doing, "table", "ip", name]).output().unwrap();
                            assert!(done.status.success());
                            wrote.fetch_add(1, Ordering::Relaxed);
                        }
                    }
                });
            }
            let _end = End(&end);
            let writes = || wrote.load(Ordering::Relaxed);
            let mut want = many(4000);
            let mut backend = open();
            let before = writes();
            assert!(backend.sync_full(&want).unwrap().writes > 4000);
            assert_eq!(backend.sync_full(&want).unwrap().writes, 0);
            assert!(writes() > before + 10, "nobody wrote meanwhile");
            for n in 0..40 {
                let delta = moved(&mut want, n);
                let applied = backend.sync_delta(&want, &delta).unwrap();
                assert!(!applied.full && applied.writes > 0, "{applied:?}");
            }
            // What they do to our table is seen nevertheless.
            nft(&["flush map ip weft-proxy services"]);
            let applied = backend.sync_delta(&want, &TableDelta::default()).unwrap();
            assert!(applied.full && applied.writes >= 4000, "{applied:?}");
            is_there(&want);
        });
    });
}

/// Tables that follow each other, by random changes of objects.
fn tables() -> impl Strategy<Value = Vec<(ServiceTable, TableDelta)>> {
    prop::collection::vec(prop::collection::vec(objects::change(), 1..6), 2..12).prop_map(|steps| {
        let (mut cluster, mut table) = (Cluster::default(), ServiceTable::default());
        let options = Options { node_name: "here".into(), ..Options::default() };
        let step = |changes| {
            let mut touched = Touched::default();
            for change in changes {
                touched.merge(cluster.apply(change));
            }
            let delta = table.rebuild(&cluster, &options, &touched);
            (table.clone(), delta)
        };
        steps.into_iter().map(step).collect()
    })
}

#[test]
fn whoever_looks_sees_one_table_or_the_next() {
    in_namespace(|| {
        let looks = AtomicUsize::new(0);
        let mut runner =
            TestRunner::new(Config { cases: 30, failure_persistence: None, ..Config::default() });
        runner
            .run(&tables(), |steps| {
                open().remove().unwrap();
                let end = AtomicBool::new(false);
                let seen = std::thread::scope(|scope| {
                    let guard = End(&end);
                    let reader = scope.spawn(|| {
                        let (mut backend, mut seen) = (open(), Vec::new());
                        while !end.load(Ordering::Relaxed) {
                            match backend.observe() {
                                Ok(look) => seen.extend(look.tables),
                                // It never held still.
                                Err(
                                    BackendError::Busy { .. }
                                    | BackendError::Host(HostError::Protocol { .. }),
                                ) => {}
                                Err(error) => panic!("{error}"),
                            }
                        }
                        seen
                    });
                    let mut backend = open();
                    for (want, delta) in &steps {
                        backend.sync_delta(want, delta).unwrap();
                    }
                    drop(guard);
                    reader.join().unwrap()
                });
                let whole: Vec<[Elements; 2]> = steps
                    .iter()
                    .map(|(want, _)| {
                        Family::BOTH.map(|family| Wanted::of(want, family, Settings::default()).elements)
                    })
                    .collect();
                for have in seen.iter().filter(|have| have.table.is_some()) {
                    looks.fetch_add(1, Ordering::Relaxed);
                    prop_assert!(whole.iter().flatten().any(|elements| *elements == have.elements));
                }
                Ok(())
            })
            .unwrap();
        assert!(looks.into_inner() > 0, "nobody looked");
    });
}

#[test]
fn a_process_that_ends_between_two_transactions_leaves_whole_services() {
    in_namespace(|| {
        let mut runner =
            TestRunner::new(Config { cases: 60, failure_persistence: None, ..Config::default() });
        runner
            .run(&(tables(), tables()), |(steps, others)| {
                let mut nf = Nftables::connect().unwrap();
                let (first, _) = &steps[0];
                open().sync_full(first).unwrap();
                let mut known: BTreeMap<Family, (Layout, Uses)> = Family::BOTH
                    .map(|family| {
                        let Wanted { layout, uses, .. } = Wanted::of(first, family, Settings::default());
                        (family, (layout, uses))
                    })
                    .into();
                // Each change by a process that ends before it has tidied up.
                for (want, delta) in steps.iter().skip(1).take_while(|(_, delta)| delta.node_before.is_none())
                {
                    let mut batch = host::nftables::Batch::new();
                    for (family, (layout, uses)) in &mut known {
                        let view = want.node.family(*family);
                        batch.ops.extend(Delta::of(layout, view, uses, &delta.ports).batch.ops);
                    }
                    nf.apply(&batch).unwrap();
                    let have = open().observe().unwrap();
                    for (family, have) in Family::BOTH.into_iter().zip(have.tables) {
                        let want = Wanted::of(want, family, Settings::default());
                        prop_assert_eq!(&have.elements, &want.elements);
                        let chains: Vec<_> = have.chains.iter().map(|chain| chain.name.as_str()).collect();
                        prop_assert!(want.chains.keys().all(|name| chains.contains(&name.as_str())));
                    }
                }
                // The next process wants something else.
                let (next, _) = others.last().unwrap();
                open().sync_full(next).unwrap();
                is_there(next);
                Ok(())
            })
            .unwrap();
    });
}
