//! The run: labs up, every repetition once through all paths, labs down.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use nix::unistd::geteuid;

use super::metric::Metric;
use super::sample::{Failure, Report, Sample, Settings};
use super::testbeds::Testbed;
use crate::interrupt::Interrupt;
use crate::measure::{Path, cpu, iperf, ping, rr};
use crate::progress::Progress;
use crate::table::{QUIET, repetitions};
use crate::{machine, stale};
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

/// Runs the benchmark. Says on standard error how far it is. An interruption gives what was measured until then.
///
/// # Errors
/// Not root, a tool is missing, or a lab does not come up. What cannot be measured is no error but a [`Failure`].
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
    let settings = wanted.settings.clone();
    let mut report = Report { machine: machine::this(), settings, samples: Vec::new(), failures: Vec::new() };
    let mut made = Vec::new();
    for mode in &wanted.settings.modes {
        telemetry::note!("lab for {mode}");
        made.push(Testbed::make(*mode, wanted.original.as_deref(), interrupt)?);
    }
    let all = made.len() * wanted.settings.repetitions as usize;
    let paths = format!("{} of {} paths", repetitions(wanted.settings.repetitions), made.len());
    let mut progress = Progress::new(&paths, vec![round(wanted); all]);
    'run: for repetition in 1..=wanted.settings.repetitions {
        for testbed in &made {
            if interrupt.asked() {
                break 'run;
            }
            let mut round = Round::new(testbed, repetition, interrupt);
            round.measure(wanted);
            if interrupt.asked() {
                break 'run;
            }
            progress.done(&round.sample, &[Metric::Tcp1, Metric::Udp64, Metric::Ping]);
            report.samples.push(round.sample);
            report.failures.extend(round.failures);
        }
    }
    telemetry::note!("removing the labs");
    drop(made);
    if report.samples.is_empty() { Err(LabError::Interrupted) } else { Ok(report) }
}

/// One path in one repetition.
struct Round<'a> {
    testbed: &'a Testbed,
    interrupt: &'a Interrupt,
    sample: Sample,
    failures: Vec<Failure>,
}

impl<'a> Round<'a> {
    fn new(testbed: &'a Testbed, repetition: u32, interrupt: &'a Interrupt) -> Self {
        let sample = Sample { mode: testbed.mode, repetition, values: BTreeMap::new(), busy_before: 0.0 };
        Self { testbed, interrupt, sample, failures: Vec::new() }
    }

    /// Every measure, one after the other; one that fails does not keep the others from being taken.
    fn measure(&mut self, wanted: &Wanted) {
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
            self.sample.busy_before = self.sample.busy_before.max(busy);
            test(self.testbed)
        });
        match taken {
            Ok(values) => self.sample.values.extend(values),
            Err(error) => self.failures.push(Failure {
                mode: self.sample.mode,
                repetition: self.sample.repetition,
                measure: measure.to_owned(),
                reason: error.to_string(),
            }),
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
