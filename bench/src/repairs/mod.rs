//! How long flanneld takes to repair what somebody has damaged: from the damage to the kernel's table as it was.
//!
//! Owns: the damages, and how each is seen to be repaired. Begin at [`Repairs::run`].
//! Never: asserts a time; that a repair comes, and by notification, the tests hold.

pub mod damage;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use host::contention;
use lab::flanneld::FlanneldOptions;
use lab::node::Node;
use lab::spec::{Backend, Spec, Topology};
use lab::{Lab, LabError};
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use crate::files::Files;
use crate::interrupt::Interrupt;
use crate::measure::cpu;
use crate::metric::{Better, Number, three_digits};
use crate::progress::Progress;
use crate::stats::Spread;
use crate::table::{self, QUIET, repetitions};
use crate::{machine, sample, stale};
use damage::Damage;

#[derive(Debug, Args)]
pub struct Repairs {
    /// How many times to go through all damages
    #[arg(long, value_name = "N", default_value_t = 10, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=1000))]
    reps: u32,
    /// Only these damages [default: all]
    #[arg(long, value_name = "DAMAGE,...", value_delimiter = ',', conflicts_with = "from")]
    damages: Vec<Damage>,
    #[command(flatten)]
    files: Files,
}

/// The settings of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub damages: Vec<Damage>,
    pub repetitions: u32,
}

pub type Report = sample::Report<Damage, Metric, Settings>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Milliseconds from the damage to the repair.
    Repair,
}

impl Number for Metric {
    fn title(self) -> &'static str {
        "repair, ms"
    }

    fn better(self) -> Better {
        Better::Less
    }

    fn show(self, value: f64) -> String {
        three_digits(value)
    }
}

/// How long a repair may take before it counts as none.
const LIMIT: Duration = Duration::from_secs(30);
/// From one damage to the next: what is undone more often than that is repaired less and less often, and many damages take
/// the same objects with them.
const SPACING: Duration = Duration::from_secs(5);
/// A damage may be undone in two steps, so two of them are the most that a window of free repairs may hold.
const _: () = assert!(SPACING.as_secs() * 2 >= contention::WINDOW.as_secs() && contention::FREE >= 3);
/// How long to wait for others to leave the CPUs alone, before each damage.
const PATIENCE: Duration = Duration::from_secs(2);

impl Repairs {
    pub fn run(&self) -> Result<(), LabError> {
        let mut interrupt = Interrupt::default();
        let report = match self.files.earlier()? {
            Some(report) => report,
            None => {
                interrupt = Interrupt::watch()?;
                measure(&self.settings(), FlanneldOptions::default(), &mut interrupt)?
            }
        };
        telemetry::put!("{}", render(&report));
        self.files.write(&report)?;
        interrupt.outcome()
    }

    fn settings(&self) -> Settings {
        let all = Damage::value_variants().iter().copied();
        let wanted = |damage: &Damage| self.damages.is_empty() || self.damages.contains(damage);
        Settings { damages: all.filter(wanted).collect(), repetitions: self.reps }
    }
}

/// Runs the benchmark on two nodes with vxlan. An interruption gives what was measured until then.
///
/// # Errors
/// Not root, or the lab does not come up. A repair that does not come is no error but a failure in the report.
pub fn measure(
    settings: &Settings,
    flanneld: FlanneldOptions,
    interrupt: &mut Interrupt,
) -> Result<Report, LabError> {
    if !geteuid().is_root() {
        return Err(LabError::NotRoot);
    }
    stale::remove_stale()?;
    telemetry::note!("a lab of two nodes");
    let spec = Spec {
        nodes: 2,
        pods: 0,
        backend: Backend::Vxlan,
        topology: Topology::Direct,
        etcd: true,
        // Nothing is looked at by the clock: what is repaired, flanneld was told of.
        flanneld: Some(flanneld.arg("--iptables-resync=86400")),
        ..Spec::of(stale::name()?)
    };
    let lab = Lab::up(&spec, interrupt)?;
    let report = damage_and_wait(&lab, settings, interrupt);
    telemetry::note!("removing the lab");
    lab.down()?;
    report
}

fn damage_and_wait(lab: &Lab, settings: &Settings, interrupt: &Interrupt) -> Result<Report, LabError> {
    let [node, _] = lab.nodes() else {
        return Err(LabError::BadSpec("a benchmark needs two nodes".to_owned()));
    };
    let mut report = Report {
        machine: machine::this(),
        settings: settings.clone(),
        samples: Vec::new(),
        failures: Vec::new(),
    };
    let steps = settings.damages.len() * settings.repetitions as usize;
    let what = format!("{} of {} damages", repetitions(settings.repetitions), settings.damages.len());
    let mut progress = Progress::new(&what, vec![SPACING; steps]);
    let well = healthy(node, &settings.damages)?;
    let mut next = Instant::now();
    for repetition in 1..=settings.repetitions {
        for &mode in &settings.damages {
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            next = Instant::now() + SPACING;
            if interrupt.asked() {
                return if report.samples.is_empty() { Err(LabError::Interrupted) } else { Ok(report) };
            }
            let busy_before = cpu::wait_for_quiet(QUIET, PATIENCE)?;
            match repair(node, mode, well.get(&mode).map_or("", String::as_str)) {
                Ok(Ok(took)) => {
                    let values = BTreeMap::from([(Metric::Repair, took.as_secs_f64() * 1e3)]);
                    let sample = sample::Sample { mode, repetition, values, busy_before };
                    progress.done(&sample, &[Metric::Repair]);
                    report.samples.push(sample);
                }
                outcome => {
                    progress.skip();
                    let reason = match outcome {
                        Err(error) => error.to_string(),
                        Ok(left) => {
                            let left = left.err().unwrap_or_default();
                            format!("no repair within {LIMIT:?}; there is:\n{left}")
                        }
                    };
                    let measure = Metric::Repair.title().to_owned();
                    report.failures.push(sample::Failure { mode, repetition, measure, reason });
                }
            }
        }
    }
    Ok(report)
}

/// Damages something and waits until it is as it was. The inner error is what was there in the end, where that was in vain.
fn repair(node: &Node, damage: Damage, well: &str) -> Result<Result<Duration, String>, LabError> {
    // What the damage before took with it is back, too.
    if let Err(left) = until(node, damage, well)? {
        return Ok(Err(left));
    }
    node.run(["sh", "-ec", damage.script()])?;
    until(node, damage, well)
}

fn until(node: &Node, damage: Damage, well: &str) -> Result<Result<Duration, String>, LabError> {
    let start = Instant::now();
    loop {
        let seen = damage.look(node)?;
        let took = start.elapsed();
        if seen == well {
            return Ok(Ok(took));
        }
        if took > LIMIT {
            return Ok(Err(seen));
        }
    }
}

/// How everything is when it is well: once nothing changes any more.
fn healthy(node: &Node, damages: &[Damage]) -> Result<BTreeMap<Damage, String>, LabError> {
    const STILL: u32 = 10;
    let look =
        || damages.iter().map(|damage| Ok((*damage, damage.look(node)?))).collect::<Result<_, LabError>>();
    let (mut last, mut same): (BTreeMap<Damage, String>, u32) = (look()?, 0);
    while same < STILL {
        std::thread::sleep(Duration::from_millis(50));
        let now = look()?;
        same = if now == last { same + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}

/// The report as a person reads it.
pub fn render(report: &Report) -> String {
    let mut rows = vec![vec!["damage".to_owned(), Metric::Repair.heading()]];
    rows.extend(report.modes().into_iter().filter_map(|damage| {
        let series = report.series(damage, Metric::Repair);
        let spread = Spread::of(series.into_values())?;
        Some(vec![damage.to_string(), table::spread(Metric::Repair, spread)])
    }));
    format!(
        "{}\nFrom the end of the damaging command to the first look that finds everything as it was; a look takes some\n\
         milliseconds. Median [lowest..highest] of {}.\n\n{}{}{}",
        table::machine(&report.machine),
        repetitions(report.settings.repetitions),
        table::grid(&rows),
        table::doubtful(&report.samples),
        table::failures(&report.failures),
    )
}
