//! The benchmark on paths that need no daemon, in real namespaces. Needs root and iperf3.

use std::process::Command;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use bench::interrupt::Interrupt;
use bench::overlay::metric::Metric;
use bench::overlay::mode::Mode;
use bench::overlay::run::{Wanted, overlay};
use bench::overlay::sample::Settings;
use bench::overlay::{goals, table};
use lab::{LabError, state};

fn wanted(modes: &[Mode]) -> Wanted {
    Wanted {
        settings: Settings { modes: modes.to_vec(), repetitions: 1, seconds: 1 },
        original: None,
        pings: 20,
        transactions: Duration::from_millis(200),
        patience: Duration::ZERO,
    }
}

/// They measure, and they look for each other's labs.
fn alone() -> MutexGuard<'static, ()> {
    static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The labs that this process has made.
fn labs() -> Vec<String> {
    let mine = format!("bench{}x", std::process::id());
    let names = state::list().unwrap().into_iter().map(|name| name.to_string());
    names.filter(|name| name.starts_with(&mine)).collect()
}

#[test]
fn every_measure_is_taken_on_paths_made_by_hand() {
    let _alone = alone();
    let modes = [Mode::Direct, Mode::HostGwByHand, Mode::VxlanByHand];
    let report = overlay(&wanted(&modes), &mut Interrupt::default()).unwrap();
    assert_eq!(report.failures, []);
    assert_eq!(report.modes(), modes);
    for sample in &report.samples {
        for metric in Metric::ALL {
            let value =
                sample.values.get(&metric).unwrap_or_else(|| panic!("{} has no {metric:?}", sample.mode));
            let may_be_nothing = [Metric::Retransmits, Metric::DaemonCpuPerGigabit].contains(&metric);
            assert!(*value > 0.0 || may_be_nothing && *value == 0.0, "{}: {metric:?} {value}", sample.mode);
        }
    }
    let text = table::render(&report);
    assert!(text.contains("vxlan by hand"), "{text}");
    assert!(goals::judge(&report).is_empty());
    println!("{text}");
    assert_eq!(labs(), Vec::<String>::new());
}

#[test]
fn an_interruption_leaves_no_lab() {
    let _alone = alone();
    let interrupt = Interrupt::default();
    let watched = interrupt.clone();
    let asking = std::thread::spawn(move || {
        let begun = host::programs::wait_for(Instant::now() + Duration::from_secs(60), || {
            Ok::<_, LabError>(if labs().is_empty() { None } else { Some(()) })
        });
        watched.ask();
        begun
    });
    let wanted = wanted(&[Mode::HostGwByHand, Mode::VxlanByHand]);
    let error = overlay(&wanted, &mut interrupt.clone()).unwrap_err();
    assert!(matches!(error, LabError::Interrupted), "{error}");
    assert!(asking.join().unwrap().unwrap().is_some(), "there never was a lab");
    assert_eq!(labs(), Vec::<String>::new());
}

#[test]
fn what_a_killed_benchmark_left_is_removed_by_the_next_one() {
    let _alone = alone();
    // A process that has ended: its number is free, or at least not that of a benchmark.
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    let name = lab::LabName::new(&format!("bench{}x7", ended.id())).unwrap();
    let spec = lab::Spec { nodes: 1, pods: 0, flanneld: None, etcd: false, ..lab::Spec::of(name.clone()) };
    lab::Lab::up(&spec, &mut lab::Quiet).unwrap();
    bench::stale::remove_stale().unwrap();
    assert!(!state::list().unwrap().contains(&name));
}
