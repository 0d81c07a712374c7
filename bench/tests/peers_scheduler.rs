//! The benchmark of schedulers beside kube-scheduler. Needs the originals (scripts/peers), openssl, and weft beside it
//! (`cargo build -p weft`).

use std::collections::BTreeSet;
use std::time::Duration;

use bench::interrupt::Interrupt;
use bench::scheduler::metric::Metric;
use bench::scheduler::mode::{Pair, Size, Workload};
use bench::scheduler::run::{Wanted, scheduler};
use bench::scheduler::sample::Settings;
use bench::scheduler::{Programs, table};
use bench::servers;
use clap::ValueEnum;
use lab::Binary;

fn wanted(pairs: &[Pair], workloads: &[Workload], programs: Programs, folder: &std::path::Path) -> Wanted {
    let settings = Settings {
        pairs: pairs.to_vec(),
        workloads: workloads.to_vec(),
        sizes: vec![Size { nodes: 5, pods: 20 }],
        repetitions: 1,
    };
    Wanted { settings, programs, directory: folder.to_owned(), quiet: Duration::ZERO }
}

fn programs() -> Programs {
    let program = |name| originals::program(name).unwrap();
    let servers = servers::Programs {
        weft: Binary::beside_test().unwrap().program().unwrap(),
        kube_apiserver: Some(program("kube-apiserver")),
        etcd: program("etcd"),
    };
    Programs { servers, kube_scheduler: Some(program("kube-scheduler")) }
}

#[test]
fn every_workload_is_scheduled_by_ours_and_by_theirs() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = [Pair::Ours, Pair::TheirsOnOurs, Pair::Clients];
    let report = scheduler(
        &wanted(&pairs, Workload::value_variants(), programs(), folder.path()),
        &Interrupt::default(),
    )
    .unwrap();
    assert_eq!(report.failures, []);
    assert_eq!(report.samples.len(), report.settings.modes().len());
    for sample in &report.samples {
        let found: BTreeSet<Metric> = sample.values.keys().copied().collect();
        let want = Metric::of(sample.mode.workload, sample.mode.pair).iter().copied();
        assert_eq!(found, want.collect(), "{}", sample.mode);
        assert!(sample.values[&Metric::Rate] > 0.0, "{sample:?}");
    }
    println!("{}", table::render(&report));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_backlog_is_scheduled_on_kube_apiserver() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = [Pair::OursOnTheirs, Pair::Theirs];
    let report =
        scheduler(&wanted(&pairs, &[Workload::Backlog], programs(), folder.path()), &Interrupt::default())
            .unwrap();
    assert_eq!(report.failures, []);
    assert_eq!(report.samples.len(), 2);
}

#[test]
fn a_scheduler_that_ends_at_once_is_a_failure_with_its_last_words() {
    let folder = tempfile::tempdir().unwrap();
    let programs = Programs { kube_scheduler: Some("/bin/false".into()), ..programs() };
    let report = scheduler(
        &wanted(&[Pair::TheirsOnOurs], &[Workload::Backlog], programs, folder.path()),
        &Interrupt::default(),
    )
    .unwrap();
    let [failure] = report.failures.as_slice() else { panic!("{:?}", report.failures) };
    assert!(failure.reason.contains("kube-scheduler"), "{}", failure.reason);
}
