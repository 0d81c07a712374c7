//! The run: for every number of services, every repetition goes once through all proxies.

use std::collections::BTreeSet;
use std::time::Duration;

use nix::unistd::geteuid;

use super::daemon::Programs;
use super::feed::Feed;
use super::metric::Metric;
use super::mode::{Kind, Mode};
use super::round::{Outcome, Round};
use super::sample::{FeedKind, Report, Settings};
use super::table::START;
use super::testbed::Testbed;
use crate::interrupt::Interrupt;
use crate::measure::cpu;
use crate::progress::Progress;
use crate::table::{QUIET, repetitions};
use crate::{machine, stale};
use host::programs;
use lab::LabError;

/// What to run.
#[derive(Clone, Debug)]
pub struct Wanted {
    pub settings: Settings,
    pub programs: Programs,
    /// How long to wait for others to leave the CPUs alone, before each round; and six times as long for the API server
    /// to be done with new objects.
    pub quiet: Duration,
}

/// Runs the benchmark. Says on standard error how far it is. An interruption gives what was measured until then.
///
/// # Errors
/// Not root, a tool is missing, or the API server does not come up. What cannot be measured is no error but a failure
/// in the report.
pub fn proxy(wanted: &Wanted, interrupt: &Interrupt) -> Result<Report, LabError> {
    if !geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    let settings = &wanted.settings;
    programs::require(&[("iperf3", "iperf3")])?;
    if settings.feed == FeedKind::Api {
        programs::require(&[("etcd", "etcd-server")])?;
    }
    if settings.proxies.contains(&Kind::KubeProxyNftables) {
        programs::require(&[("nft", "nftables")])?;
    }
    stale::remove_stale()?;
    let mut report = Report {
        machine: machine::this(),
        settings: settings.clone(),
        samples: Vec::new(),
        failures: Vec::new(),
    };
    let mut testbed = Testbed::make()?;
    // The API server is reached over the node.
    testbed.new_node()?;
    telemetry::note!("objects from {}", settings.feed);
    let mut feed = Feed::start(settings.feed, &testbed)?;
    let measured = rounds(wanted, interrupt, &mut testbed, &mut feed, &mut report);
    telemetry::note!("removing what was made");
    drop(feed);
    drop(testbed);
    match measured {
        Err(error) if report.samples.is_empty() || !matches!(error, LabError::Interrupted) => Err(error),
        _ => Ok(report),
    }
}

fn rounds(
    wanted: &Wanted,
    interrupt: &Interrupt,
    testbed: &mut Testbed,
    feed: &mut Feed,
    report: &mut Report,
) -> Result<(), LabError> {
    let settings = &wanted.settings;
    let modes = |services: u32| {
        let modes = settings.proxies.iter().map(move |proxy| Mode { services, proxy: *proxy });
        modes.filter(|mode| !settings.left_out.contains(mode))
    };
    let expected = settings
        .services
        .iter()
        .flat_map(|services| (0..settings.repetitions).flat_map(move |_| modes(*services)).map(round_takes));
    let head = format!(
        "{} of {} proxies before {} numbers of services",
        repetitions(settings.repetitions),
        settings.proxies.len(),
        settings.services.len()
    );
    let mut progress = Progress::new(&head, expected.collect());
    let mut hopeless = BTreeSet::new();
    for services in &settings.services {
        telemetry::note!("{services} services");
        feed.grow(*services, interrupt)?;
        cpu::wait_for_quiet(QUIET, wanted.quiet * 6)?;
        // It costs seconds, and does not depend on the number of services.
        let throughput = [settings.services.first(), settings.services.last()].contains(&Some(services));
        for repetition in 1..=settings.repetitions {
            for mode in modes(*services) {
                if hopeless.contains(&mode) {
                    progress.skip();
                    continue;
                }
                let (feed, programs) = (&*feed, &wanted.programs);
                let round = Round {
                    testbed: &mut *testbed,
                    feed,
                    programs,
                    settings,
                    interrupt,
                    mode,
                    repetition,
                    throughput,
                    quiet: wanted.quiet,
                };
                let Outcome { sample, failures } = round.measure();
                if interrupt.asked() {
                    return Err(LabError::Interrupted);
                }
                progress.done(&sample, &[Metric::Start, Metric::Change, Metric::LastP50]);
                for failure in &failures {
                    telemetry::note!("  {} failed: {}", failure.measure, failure.reason);
                }
                // Who did not get there once would only use up the patience again.
                if failures.iter().any(|failure| failure.measure == START) {
                    hopeless.insert(mode);
                }
                report.samples.push(sample);
                report.failures.extend(failures);
            }
        }
    }
    Ok(())
}

/// Measured on two cores, to guess how long a run will take.
fn round_takes(mode: Mode) -> Duration {
    let thousands = f64::from(mode.services) / 1000.0;
    let seconds = match mode.proxy {
        Kind::Direct => 5.0,
        Kind::OursNftables => 7.0 + 0.2 * thousands,
        Kind::OursIptablesLegacy => 7.0 + 0.5 * thousands,
        Kind::KubeProxyIptablesLegacy => 8.0 + 0.6 * thousands,
        Kind::OursIptablesNft => 7.0 + 1.5 * thousands,
        // Their starts grow with the square of the services.
        Kind::KubeProxyNftables => 8.0 + 1.7 * thousands + 0.1 * thousands * thousands,
        Kind::KubeProxyIptablesNft => 8.0 + thousands + 0.3 * thousands * thousands,
    };
    Duration::from_secs_f64(seconds)
}
