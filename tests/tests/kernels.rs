//! What must hold on other kernels than this machine's: Debian's 6.1, the oldest that all of ours runs on, and 6.12.
//!
//! Needs the kernels that `scripts/kernels` fetches, and minutes: emulation is slow. Not a part of `scripts/test`.

use std::time::Duration;

use tests::guests::{Guest, Kernel, Outcome, test_program};

/// What the overlay's tests need of a kernel.
const OVERLAY: [&str; 6] = ["tun", "veth", "bridge", "sch_ingress", "cls_bpf", "br_netfilter"];

/// On an idle machine the longest takes a quarter.
const LIMIT: Duration = Duration::from_secs(1800);

/// A kernel that is there boots within this, on a busy machine too.
const BOOT: Duration = Duration::from_secs(120);

/// Runs tests of the ebpf package in a guest: those whose names contain one of `names`, or all.
fn overlay(line: &str, source: &str, names: &str) -> Outcome {
    let program = test_program(source);
    let guest = Guest::new(Kernel::find(line)).modules(&OVERLAY).tools(&["ip", "ping", "ethtool", "cat"]);
    let command = format!("{} --test-threads=1 {names}", program.display());
    guest.program(&program).run(&command, LIMIT)
}

/// All of them passed, and there were some.
fn passed(outcome: &Outcome) {
    let Outcome { status, output, took } = outcome;
    println!("{output}\n{took:?}");
    assert_eq!(*status, 0, "{output}");
    assert!(output.contains("test result: ok. ") && !output.contains("ok. 0 passed"), "{output}");
}

#[test]
fn a_guest_runs_its_own_kernel_and_brings_back_output_and_status() {
    for line in ["6.1", "6.12"] {
        let kernel = Kernel::find(line);
        let release = kernel.release.clone();
        let outcome = Guest::new(kernel).run("uname -r; echo to stderr >&2; exit 7", BOOT);
        assert_eq!(outcome.status, 7);
        assert_eq!(outcome.output.trim(), format!("{release}\nto stderr"));
        println!("Linux {release}: {:?}", outcome.took);
    }
}

#[test]
fn a_guest_that_does_not_end_is_ended_at_its_limit() {
    let hangs =
        || Guest::new(Kernel::find("6.1")).run("echo still here; sleep 1000", Duration::from_secs(20));
    let said = *std::panic::catch_unwind(hangs).unwrap_err().downcast::<String>().unwrap();
    assert!(said.contains("did not end its command within 20s"), "{said}");
}

#[test]
fn the_overlay_carries_packets_on_linux_6_1() {
    // Before 6.6 there are no TCX links.
    passed(&overlay("6.1", "ebpf/tests/traffic.rs", "clsact"));
}

#[test]
fn the_overlay_carries_packets_on_linux_6_12() {
    passed(&overlay("6.12", "ebpf/tests/traffic.rs", ""));
}

#[test]
fn a_restarted_overlay_loses_nothing_on_linux_6_1() {
    passed(&overlay("6.1", "ebpf/tests/restart.rs", "clsact"));
}

#[test]
fn a_restarted_overlay_loses_nothing_on_linux_6_12() {
    passed(&overlay("6.12", "ebpf/tests/restart.rs", ""));
}
