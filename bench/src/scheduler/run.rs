//! The run: every repetition goes once through all pairs, in each workload.

use std::path::PathBuf;
use std::time::Duration;

use host::programs;
use lab::LabError;

use super::Programs;
use super::metric::Metric;
use super::mode::{Mode, Workload};
use super::objects;
use super::round::Round;
use super::sample::{Failure, Report, Sample, Settings};
use crate::interrupt::Interrupt;
use crate::machine;
use crate::measure::cpu;
use crate::progress::Progress;
use crate::servers::Kind;
use crate::table::{QUIET, repetitions};

/// What to run.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub settings: Settings,
    pub programs: Programs,
    /// Where etcd writes.
    pub directory: PathBuf,
    /// How long to wait for others to leave the CPUs alone, before each sample.
    pub quiet: Duration,
}

/// Runs the benchmark. Says on standard error how far it is. An interruption gives what was measured until then.
///
/// # Errors
/// A tool is missing. What cannot be measured is no error but a failure in the report.
pub fn scheduler(wanted: &Wanted, interrupt: &Interrupt) -> Result<Report, LabError> {
    let settings = &wanted.settings;
    programs::require(&[("openssl", "openssl")])?;
    let mut report = Report {
        machine: machine::this(),
        settings: settings.clone(),
        samples: Vec::new(),
        failures: Vec::new(),
    };
    let modes = settings.modes();
    let steps = (0..settings.repetitions).flat_map(|_| modes.iter().map(|mode| step(*mode)));
    let head = format!("{} of {} samples", repetitions(settings.repetitions), modes.len());
    let mut progress = Progress::new(&head, steps.collect());
    for repetition in 1..=settings.repetitions {
        for mode in &modes {
            let busy_before = cpu::wait_for_quiet(QUIET, wanted.quiet)?;
            let round =
                Round { programs: &wanted.programs, interrupt, directory: &wanted.directory, mode: *mode };
            match round.measure() {
                Ok(values) => {
                    let sample = Sample { mode: *mode, repetition, values, busy_before };
                    progress.done(&sample, Metric::of(mode.workload, mode.pair));
                    report.samples.push(sample);
                }
                Err(LabError::Interrupted) => {}
                Err(error) => {
                    progress.skip();
                    let (measure, reason) = ("all".to_owned(), error.to_string());
                    telemetry::note!("  {mode} failed: {reason}");
                    report.failures.push(Failure { mode: *mode, repetition, measure, reason });
                }
            }
            if interrupt.asked() {
                return if report.samples.is_empty() { Err(LabError::Interrupted) } else { Ok(report) };
            }
        }
    }
    Ok(report)
}

/// How long a sample will take, guessed from runs on two cores.
fn step(mode: Mode) -> Duration {
    let (before, pods) = objects::counts(mode.workload, mode.size);
    let server = if mode.pair.server() == Kind::Original { 1.0 / 800.0 } else { 1.0 / 2500.0 };
    let slow = match mode.workload {
        Workload::Affinity | Workload::AntiAffinity | Workload::Preemption if mode.pair.is_original() => {
            1.0 / 100.0
        }
        _ if mode.pair.is_original() => 1.0 / 500.0,
        _ => 1.0 / 2000.0,
    };
    let seconds = 4.0 + f64::from(mode.size.nodes + before) * server + f64::from(pods) * (server + slow);
    Duration::from_secs_f64(seconds)
}
