//! The run: labs up, all paths, labs down.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::geteuid;

use super::metric::Metric;
use super::mode::Mode;
use super::sample::{Report, Settings};
use super::testbeds::Testbed;
use crate::interrupt::Interrupt;
use crate::measure::{Path, cpu, iperf, ping, rr};
use crate::run::{Run, Turn};
use crate::stale;
use crate::table::QUIET;
use host::programs;
use lab::LabError;

/// What to run.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub settings: Settings,
    /// The original flanneld, where a mode needs it.
    pub original: Option<PathBuf>,
    /// Echo requests of one ping test.
    pub pings: u32,
    /// Length of one request-response test.
    pub transactions: Duration,
    /// How long to wait for others to leave the CPUs alone, before each test.
    pub patience: Duration,
}

/// Runs the benchmark. An interruption gives what was measured until then.
///
/// # Errors
/// Not root, a tool is missing, or a lab does not come up. What cannot be measured is no error but a failure
/// in the report.
pub fn overlay(wanted: &Wanted, interrupt: &mut Interrupt) -> Result<Report, LabError> {
    if !geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    programs::require(&[
        ("iperf3", "iperf3"),
        ("ping", "iputils-ping"),
        ("ip", "iproute2"),
        ("bridge", "iproute2"),
    ])?;
    stale::remove_stale()?;
    let settings = &wanted.settings;
    let mut made = Vec::new();
    for mode in &settings.modes {
        telemetry::note!("lab for {mode}");
        made.push(Testbed::make(*mode, wanted.original.as_deref(), interrupt)?);
    }
    let run = Run {
        settings: settings.clone(),
        repetitions: settings.repetitions,
        what: format!("{} paths", made.len()),
        expected: vec![round(wanted); made.len()],
        turns: made.iter().collect(),
        shown: |_| &[Metric::Tcp1, Metric::Udp64, Metric::Ping],
        // Each test waits for itself.
        quiet: Duration::ZERO,
    };
    let interrupt = &*interrupt;
    let report = run.go(interrupt, |testbed: &&Testbed, turn| {
        turn.busy_before = 0.0;
        Round { testbed, interrupt, values: BTreeMap::new(), turn }.measure(wanted);
    });
    telemetry::note!("removing the labs");
    drop(made);
    report
}

/// One path in one repetition.
struct Round<'a, 't> {
    testbed: &'a Testbed,
    interrupt: &'a Interrupt,
    values: BTreeMap<Metric, f64>,
    turn: &'a mut Turn<'t, Mode, Metric>,
}

impl Round<'_, '_> {
    /// Every measure, one after the other; one that fails does not keep the others from being taken.
    fn measure(mut self, wanted: &Wanted) {
        let seconds = wanted.settings.seconds;
        let patience = wanted.patience;
        self.take("TCP 1 stream", patience, |testbed| one_stream(testbed, seconds));
        self.take("TCP 4 streams", patience, |testbed| {
            Ok(vec![(Metric::Tcp4, iperf::tcp(&testbed.path, 4, seconds)?.gigabits_per_second)])
        });
        for (metric, size) in [(Metric::Udp64, 64), (Metric::Udp1400, 1400)] {
            let udp = |path: &Path| Ok(vec![(metric, iperf::udp(path, size, seconds)? / 1e3)]);
            self.take(&format!("UDP {size} B"), patience, |testbed| udp(&testbed.path));
        }
        self.take("ping", patience, |testbed| {
            Ok(vec![(Metric::Ping, ping::average(&testbed.path, wanted.pings)?)])
        });
        self.take("transactions", patience, |testbed| {
            let seen = rr::transactions(&testbed.path, wanted.transactions)?;
            Ok(vec![
                (Metric::Transactions, seen.per_second),
                (Metric::TransactionP50, seen.p50),
                (Metric::TransactionP99, seen.p99),
            ])
        });
        if !self.interrupt.asked() {
            self.turn.done(self.testbed.mode, self.values);
        }
    }

    fn take(
        &mut self,
        measure: &str,
        patience: Duration,
        test: impl FnOnce(&Testbed) -> Result<Vec<(Metric, f64)>, LabError>,
    ) {
        if self.interrupt.asked() {
            return;
        }
        let taken = cpu::wait_for_quiet(QUIET, patience).and_then(|busy| {
            self.turn.busy_before = self.turn.busy_before.max(busy);
            test(self.testbed)
        });
        match taken {
            Ok(values) => self.values.extend(values),
            // The signal that cuts a run off may end its tools.
            Err(_) if self.interrupt.asked() => {}
            Err(error) => self.turn.failed(self.testbed.mode, measure, &error),
        }
    }
}

/// One TCP stream, and what it cost.
fn one_stream(testbed: &Testbed, seconds: u32) -> Result<Vec<(Metric, f64)>, LabError> {
    let before = cpu::Used::now(&testbed.daemons)?;
    let tcp = iperf::tcp(&testbed.path, 1, seconds)?;
    let used = cpu::Used::now(&testbed.daemons)?.since(before);
    Ok(vec![
        (Metric::Tcp1, tcp.gigabits_per_second),
        (Metric::Retransmits, tcp.retransmits),
        (Metric::CpuPerGigabit, used.machine / tcp.gigabits),
        (Metric::DaemonCpuPerGigabit, used.processes / tcp.gigabits),
    ])
}

/// How long one round over one path takes, about.
fn round(wanted: &Wanted) -> Duration {
    let tests = 4 * (wanted.settings.seconds + iperf::OMITTED_SECONDS);
    let pings = Duration::from_millis(5) * wanted.pings;
    // Looking for quiet and starting programs take about half a second for each of six tests.
    Duration::from_secs(u64::from(tests) + 3) + pings + wanted.transactions
}
