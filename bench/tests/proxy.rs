//! The benchmark of service proxies with ours on a directory, in real namespaces. Needs root, iperf3, nft and both
//! flavours of iptables, and weft beside it (`cargo build -p weft`).

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bench::interrupt::Interrupt;
use bench::metric::Number;
use bench::proxy::metric::Metric;
use bench::proxy::mode::{Kind, Mode};
use bench::proxy::run::{Wanted, proxy};
use bench::proxy::sample::{FeedKind, Settings};
use bench::proxy::{Programs, goals, table};
use lab::{Binary, LabError, state};

const SERVICES: u32 = 100;

fn wanted(proxies: &[Kind]) -> Wanted {
    let weft = Binary::beside_test().unwrap().program().unwrap();
    Wanted {
        settings: Settings {
            proxies: proxies.to_vec(),
            services: vec![SERVICES],
            repetitions: 1,
            feed: FeedKind::Directory,
            changes: 2,
            connects: 50,
            seconds: 1,
            patience: 60,
            left_out: Vec::new(),
        },
        programs: Programs { weft, kube_proxy: None },
        quiet: Duration::ZERO,
    }
}

/// They look for each other's labs.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The labs that this process has made.
fn labs() -> Vec<String> {
    let mine = format!("bench{}x", std::process::id());
    let names = state::list().unwrap().into_iter().map(|name| name.to_string());
    let namespaces = host_namespaces().into_iter().filter(|name| name.contains(&mine));
    names.filter(|name| name.starts_with(&mine)).chain(namespaces).collect()
}

fn host_namespaces() -> Vec<String> {
    let entries = std::fs::read_dir("/run/netns").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().into_string().ok()).collect()
}

#[test]
fn every_measure_is_taken_of_ours() {
    let _alone = alone();
    let kinds = [Kind::Direct, Kind::OursNftables, Kind::OursIptablesNft, Kind::OursIptablesLegacy];
    let report = proxy(&wanted(&kinds), &Interrupt::default()).unwrap();
    assert_eq!(report.failures, []);
    assert_eq!(report.modes(), kinds.map(|proxy| Mode { services: SERVICES, proxy }));
    for sample in &report.samples {
        for metric in Metric::ALL {
            let of_direct = metric.of_direct() == Some(metric);
            let Some(value) = sample.values.get(&metric) else {
                assert!(sample.mode.proxy == Kind::Direct && !of_direct, "{} has no {metric:?}", sample.mode);
                continue;
            };
            // A change may take less than the clock's tick.
            let may_be_nothing = [Metric::ChangeCpu, Metric::Change].contains(&metric);
            assert!(*value > 0.0 || may_be_nothing && *value == 0.0, "{}: {metric:?} {value}", sample.mode);
        }
    }
    let text = table::render(&report);
    assert!(text.contains("ours, iptables-legacy") && text.contains(Metric::ToKernel.title()), "{text}");
    assert_eq!(goals::judge(&report), []);
    println!("{text}");
    assert_eq!(labs(), Vec::<String>::new());
}

#[test]
fn an_interruption_leaves_nothing() {
    let _alone = alone();
    let interrupt = Interrupt::default();
    let watched = interrupt.clone();
    let asking = std::thread::spawn(move || {
        let begun = host::programs::wait_for(Instant::now() + Duration::from_secs(60), || {
            let runs = labs().iter().any(|name| name.ends_with("-n1"));
            Ok::<_, LabError>(runs.then_some(()))
        });
        watched.ask();
        begun
    });
    let error = proxy(&wanted(&[Kind::OursNftables]), &interrupt).unwrap_err();
    assert!(matches!(error, LabError::Interrupted), "{error}");
    assert!(asking.join().unwrap().unwrap().is_some(), "there never was a node");
    assert_eq!(labs(), Vec::<String>::new());
}

#[test]
fn a_proxy_that_ends_at_once_is_a_failure_with_its_last_words() {
    let _alone = alone();
    let mut wanted = wanted(&[Kind::OursNftables]);
    wanted.programs.weft = "/bin/false".into();
    let report = proxy(&wanted, &Interrupt::default()).unwrap();
    let [failure] = report.failures.as_slice() else { panic!("{:?}", report.failures) };
    assert_eq!(failure.measure, table::START);
    assert!(failure.reason.contains("ended with exit status: 1"), "{}", failure.reason);
}
