//! The run: all servers, each with all parts.

use std::path::PathBuf;
use std::time::Duration;

use lab::LabError;

use super::metric::Metric;
use super::mode::{Mode, Part, Server};
use super::round::Round;
use super::sample::{CLIENTS, Report, Settings};
use crate::interrupt::Interrupt;
use crate::run::Run;
use crate::servers::Programs;
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

/// Runs the benchmark. An interruption gives what was measured until then.
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
    let run = Run {
        settings: settings.clone(),
        repetitions: settings.repetitions,
        what: format!("{} servers with {} pods", settings.servers.len(), settings.pods),
        turns: settings.servers.clone(),
        expected: settings.servers.iter().flat_map(|server| steps(settings, *server)).collect(),
        shown: |mode: Mode| Metric::of(mode.part),
        quiet: wanted.quiet,
    };
    let mut value = None;
    run.go(interrupt, |server, turn| {
        let round = Round {
            programs: &wanted.programs,
            settings,
            interrupt,
            directory: &wanted.directory,
            server: *server,
            value: &mut value,
            turn,
        };
        round.measure();
    })
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
