//! The run: all pairs, in each workload.

use std::path::PathBuf;
use std::time::Duration;

use host::programs;
use lab::LabError;

use super::Programs;
use super::metric::Metric;
use super::mode::{Mode, Workload};
use super::objects;
use super::round::Round;
use super::sample::{Report, Settings};
use crate::interrupt::Interrupt;
use crate::run::Run;
use crate::servers::Kind;

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

/// Runs the benchmark. An interruption gives what was measured until then.
///
/// # Errors
/// A tool is missing. What cannot be measured is no error but a failure in the report.
pub fn scheduler(wanted: &Wanted, interrupt: &Interrupt) -> Result<Report, LabError> {
    let settings = &wanted.settings;
    programs::require(&[("openssl", "openssl")])?;
    let modes = settings.modes();
    let run = Run {
        settings: settings.clone(),
        repetitions: settings.repetitions,
        what: format!("{} samples", modes.len()),
        expected: modes.iter().copied().map(step).collect(),
        turns: modes,
        shown: |mode: Mode| Metric::of(mode.workload, mode.pair),
        quiet: wanted.quiet,
    };
    run.go(interrupt, |mode, turn| {
        let round =
            Round { programs: &wanted.programs, interrupt, directory: &wanted.directory, mode: *mode };
        turn.took(*mode, round.measure());
    })
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
