//! Runs of the benchmark of controllers with a few of everything.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use bench::controllers::metric::Metric;
use bench::controllers::mode::{Pair, Workload};
use bench::controllers::run::{Wanted, controllers};
use bench::controllers::sample::{Report, Settings};
use bench::controllers::{Programs, table};
use bench::interrupt::Interrupt;
use bench::servers;
use lab::Binary;

/// Ours, and the originals.
pub fn programs() -> Programs {
    let program = |name| originals::program(name).unwrap();
    let servers = servers::Programs {
        weft: Binary::beside_test().unwrap().program().unwrap(),
        kube_apiserver: Some(program("kube-apiserver")),
        etcd: program("etcd"),
    };
    let kube_controller_manager = Some(program("kube-controller-manager"));
    Programs { servers, kube_controller_manager, kube_scheduler: Some(program("kube-scheduler")) }
}

/// A few of everything, once.
pub fn run(pairs: &[Pair], workloads: &[Workload], programs: Programs, folder: &Path) -> Report {
    let settings = Settings {
        pairs: pairs.to_vec(),
        workloads: workloads.to_vec(),
        replicas: vec![10],
        updated: 5,
        objects: 20,
        services: 5,
        jobs: 5,
        rest: 1,
        repetitions: 1,
    };
    let directory = folder.to_owned();
    let wanted = Wanted { settings, programs, directory, quiet: Duration::ZERO, says_requests: true };
    controllers(&wanted, &Interrupt::default()).unwrap()
}

/// Nothing has failed, and every measure was taken.
pub fn must_be_complete(report: &Report) {
    assert_eq!(report.failures, []);
    assert_eq!(report.samples.len(), report.settings.modes().len());
    for sample in &report.samples {
        let found: BTreeSet<Metric> = sample.values.keys().copied().collect();
        let want = Metric::of(sample.mode.workload, sample.mode.pair).iter().copied();
        assert_eq!(found, want.collect(), "{}", sample.mode);
        let must = [Metric::Rate, Metric::CompletionRate, Metric::Memory, Metric::Writes];
        for metric in must.iter().filter(|metric| found.contains(*metric)) {
            assert!(sample.values[metric] > 0.0, "{metric:?}: {sample:?}");
        }
    }
    println!("{}", table::render(report));
}
