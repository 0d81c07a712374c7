use std::time::UNIX_EPOCH;

use serde_json::json;

use super::*;

fn at(seconds: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(seconds)
}

/// A node that was away for long finds what happened meanwhile, each at its own time.
#[test]
fn what_happened_meanwhile_has_the_time_at_which_it_happened() {
    let pod = json!({
        "metadata": { "annotations": { "weft.dev/run-for": "5s" } },
        "spec": { "initContainers": [{ "name": "i" }], "containers": [{ "name": "c" }], "restartPolicy": "Never" },
    });
    let spec = PodSpec::of(&pod);
    let mut runtime = Runtime::new(at(100), vec!["10.0.0.2".parse().expect("an address")]);
    let mut clock = Clock::at(at(10_000));
    runtime.advance(&spec, &mut clock);
    assert_eq!(runtime.state("i"), State::Ended(Run { since: at(100), until: at(105), code: 0 }));
    assert_eq!(runtime.state("c"), State::Ended(Run { since: at(105), until: at(110), code: 0 }));
    assert!(runtime.is_over(&spec));
    assert_eq!(clock.next, None);
}

#[test]
fn a_pause_before_a_restart_grows_to_its_longest_and_is_short_again_after_a_long_run() {
    let pod = json!({ "spec": { "containers": [{ "name": "c" }] } });
    let spec = &PodSpec::of(&pod).mains[0];
    let run = |seconds| Run { since: at(0), until: at(seconds), code: 1 };
    let pause =
        |fails, seconds| Container { fails, ..Container::default() }.pause(spec, run(seconds)).as_secs();
    assert_eq!([0, 1, 2, 3, 5, 6, 100].map(|fails| pause(fails, 1)), [0, 10, 20, 40, 160, 300, 300]);
    assert_eq!(pause(5, 600), 0);
}

#[test]
fn times_beyond_all_clocks_never_come() {
    let mut clock = Clock::at(at(10));
    assert!(!clock.reached(after(at(10), Duration::MAX)));
    assert!(clock.reached(at(10)) && !clock.reached(at(11)) && !clock.reached(at(12)));
    assert_eq!(clock.next, Some(at(11)));
}
