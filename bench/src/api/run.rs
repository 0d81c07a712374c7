//! The run: every repetition goes once through all servers.

use std::path::PathBuf;
use std::time::Duration;

use lab::LabError;

use super::metric::Metric;
use super::mode::{Part, Server};
use super::round::Round;
use super::sample::{CLIENTS, Report, Settings};
use crate::interrupt::Interrupt;
use crate::machine;
use crate::measure::cpu;
use crate::progress::Progress;
use crate::servers::Programs;
use crate::table::{QUIET, repetitions};
use host::programs;

/// What to run.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub settings: Settings,
    pub programs: Programs,
    /// Where etcd writes.
    pub directory: PathBuf,
    /// How long to wait for others to leave the CPUs alone, before each server.
    pub quiet: Duration,
}

/// Runs the benchmark. Says on standard error how far it is. An interruption gives what was measured until then.
///
/// # Errors
/// A tool is missing. What cannot be measured is no error but a failure in the report.
pub fn api(wanted: &Wanted, interrupt: &Interrupt) -> Result<Report, LabError> {
    let settings = &wanted.settings;
    programs::require(&[("openssl", "openssl")])?;
    // A thousand watchers are as many files; what is started inherits the limit.
    if let Err(error) = host::limits::raise_open_files() {
        telemetry::note!("the limit of open files stays as it is: {error}");
    }
    let mut report = Report {
        machine: machine::this(),
        settings: settings.clone(),
        samples: Vec::new(),
        failures: Vec::new(),
    };
    let steps = (0..settings.repetitions)
        .flat_map(|_| settings.servers.iter().flat_map(|server| steps(settings, *server)));
    let head = format!(
        "{} of {} servers with {} pods",
        repetitions(settings.repetitions),
        settings.servers.len(),
        settings.pods
    );
    let mut progress = Progress::new(&head, steps.collect());
    let mut value = None;
    for repetition in 1..=settings.repetitions {
        for server in &settings.servers {
            let busy_before = cpu::wait_for_quiet(QUIET, wanted.quiet)?;
            let (samples, failures) = (&mut report.samples, &mut report.failures);
            let round = Round {
                programs: &wanted.programs,
                settings,
                interrupt,
                directory: &wanted.directory,
                server: *server,
                repetition,
                busy_before,
                value: &mut value,
                done: &mut |sample| {
                    progress.done(&sample, Metric::of(sample.mode.part));
                    samples.push(sample);
                },
                failed: &mut |failure| {
                    telemetry::note!("  {} of {} failed: {}", failure.measure, failure.mode, failure.reason);
                    failures.push(failure);
                },
            };
            round.measure();
            if interrupt.asked() {
                // What was cut off is no failure.
                report.failures.retain(|failure| failure.reason != LabError::Interrupted.to_string());
                return if report.samples.is_empty() { Err(LabError::Interrupted) } else { Ok(report) };
            }
        }
    }
    Ok(report)
}

/// How long each sample of a server will take, guessed from runs on two cores.
fn steps(settings: &Settings, server: Server) -> Vec<Duration> {
    let slow = if server == Server::Original { 3.0 } else { 1.0 };
    let count = |count: u32| f64::from(count) / 1000.0;
    let mut steps = Vec::new();
    for part in &settings.parts {
        if server == Server::Etcd && !part.is_of_etcd() {
            continue;
        }
        let of_clients = |each: [(u32, u32); 3]| each.map(|(_, number)| count(number) * 0.4 * slow).to_vec();
        steps.extend(match part {
            Part::Start => vec![0.8 * slow],
            Part::Memory => vec![4.0 + 4.0 * slow],
            Part::Creates => of_clients(settings.creates()),
            Part::Updates | Part::Gets | Part::Applies => of_clients(settings.asks()),
            Part::Lists => vec![f64::from(settings.lists) * 0.1 * slow],
            Part::Watches => {
                let each =
                    |watchers: &u32| (0.03 + 0.03 * count(*watchers) * slow) * f64::from(settings.writes);
                settings.watchers.iter().map(each).collect()
            }
        });
    }
    debug_assert!(CLIENTS.len() == 3);
    steps.into_iter().map(Duration::from_secs_f64).collect()
}
