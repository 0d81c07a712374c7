//! The benchmark of API servers beside kube-apiserver. Needs the originals (scripts/peers), openssl, and weft beside it
//! (`cargo build -p weft`).

use std::collections::BTreeSet;
use std::time::Duration;

use bench::api::metric::Metric;
use bench::api::mode::{Part, Server};
use bench::api::run::{Wanted, api};
use bench::api::sample::Settings;
use bench::api::table;
use bench::interrupt::Interrupt;
use bench::servers::Programs;
use clap::ValueEnum;
use lab::Binary;

#[test]
fn every_measure_is_taken_of_both_servers_and_of_etcd() {
    let settings = Settings {
        servers: Server::value_variants().to_vec(),
        parts: Part::value_variants().to_vec(),
        repetitions: 1,
        pods: 100,
        requests: 64,
        watchers: vec![1, 5],
        writes: 2,
        lists: 1,
        etcd: "etcd".to_owned(),
    };
    let programs = Programs {
        weft: Binary::beside_test().unwrap().program().unwrap(),
        kube_apiserver: Some(originals::program("kube-apiserver").unwrap()),
        etcd: originals::program("etcd").unwrap(),
    };
    let folder = tempfile::tempdir().unwrap();
    let wanted = Wanted { settings, programs, directory: folder.path().to_owned(), quiet: Duration::ZERO };
    let report = api(&wanted, &Interrupt::default()).unwrap();
    assert_eq!(report.failures, []);
    for server in Server::value_variants() {
        for part in Part::value_variants().iter().filter(|part| *server != Server::Etcd || part.is_of_etcd())
        {
            let of_part = |mode: &bench::api::mode::Mode| mode.server == *server && mode.part == *part;
            let samples: Vec<_> = report.samples.iter().filter(|sample| of_part(&sample.mode)).collect();
            assert!(!samples.is_empty(), "{part} of {server}");
            for sample in samples {
                let found: BTreeSet<Metric> = sample.values.keys().copied().collect();
                let of_etcd = *server == Server::Etcd;
                let want = Metric::of(*part).iter().filter(|metric| !of_etcd || **metric != Metric::Cpu);
                assert_eq!(found, want.copied().collect(), "{}", sample.mode);
                // The clock of CPU time ticks every 10 ms.
                let mut timed = sample.values.iter().filter(|(metric, _)| **metric != Metric::Cpu);
                assert!(timed.all(|(_, value)| *value > 0.0), "{sample:?}");
            }
        }
    }
    println!("{}", table::render(&report));
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_server_that_ends_at_once_is_a_failure_with_its_last_words() {
    let settings = Settings {
        servers: vec![Server::Ours],
        parts: vec![Part::Start],
        repetitions: 1,
        pods: 100,
        requests: 4,
        watchers: Vec::new(),
        writes: 1,
        lists: 1,
        etcd: "etcd".to_owned(),
    };
    let programs = Programs {
        weft: "/bin/false".into(),
        kube_apiserver: None,
        etcd: originals::program("etcd").unwrap(),
    };
    let wanted = Wanted { settings, programs, directory: std::env::temp_dir(), quiet: Duration::ZERO };
    let report = api(&wanted, &Interrupt::default()).unwrap();
    let [failure] = report.failures.as_slice() else { panic!("{:?}", report.failures) };
    // Its status may not be known yet when it is found gone.
    let words = ["ended with exit status: 1", "ended by itself"];
    assert!(words.iter().any(|words| failure.reason.contains(words)), "{}", failure.reason);
}
