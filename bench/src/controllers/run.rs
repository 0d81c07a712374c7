//! The run: all pairs, in each workload.

use std::path::PathBuf;
use std::time::Duration;

use host::programs;
use lab::LabError;

use super::Programs;
use super::metric::Metric;
use super::mode::{Mode, Pair, Workload};
use super::sample::{Report, Settings};
use super::stage::Round;
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
    /// Whether to say which requests there were.
    pub says_requests: bool,
}

/// Runs the benchmark. An interruption gives what was measured until then.
///
/// # Errors
/// A tool is missing. What cannot be measured is no error but a failure in the report.
pub fn controllers(wanted: &Wanted, interrupt: &Interrupt) -> Result<Report, LabError> {
    let settings = &wanted.settings;
    programs::require(&[("openssl", "openssl")])?;
    let modes = settings.modes();
    let run = Run {
        settings: settings.clone(),
        repetitions: settings.repetitions,
        what: format!("{} samples", modes.len()),
        expected: modes.iter().map(|mode| step(*mode, settings.rest)).collect(),
        turns: modes,
        shown: |mode: Mode| Metric::of(mode.workload, mode.pair),
        quiet: wanted.quiet,
    };
    run.go(interrupt, |mode, turn| {
        let round = Round {
            programs: &wanted.programs,
            settings,
            interrupt,
            directory: &wanted.directory,
            mode: *mode,
            says_requests: wanted.says_requests,
        };
        turn.took(*mode, round.measure());
    })
}

/// How long a sample will take, guessed from runs on two cores.
fn step(mode: Mode, rest: u32) -> Duration {
    let start = if mode.pair.is_original() || mode.pair.server() == Kind::Original { 12.0 } else { 4.0 };
    let rate = if mode.pair == Pair::Ours { 1000.0 } else { 400.0 };
    let seconds = match mode.workload {
        Workload::Idle | Workload::Control => f64::from(rest),
        _ if mode.pair == Pair::Limited => f64::from(mode.size) / 20.0,
        Workload::Deployment => f64::from(mode.size) / rate,
        // They are made before.
        _ => 2.0 * f64::from(mode.size) / rate,
    };
    Duration::from_secs_f64(start + seconds)
}
