//! The command line of `weft bench scheduler`.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, ValueEnum};
use lab::LabError;
use lab::flanneld::Binary;

use super::mode::{Pair, Size, Workload};
use super::run::{self, Wanted};
use super::sample::Settings;
use super::{Programs, objects, table};
use crate::files::Files;
use crate::interrupt::Interrupt;
use crate::servers::{self, Kind, etcd};

/// How long to wait for others to leave the CPUs alone.
const QUIET_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct Scheduler {
    /// How many times to go through all samples
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=100))]
    reps: u32,
    /// Only these pairs of scheduler and API server [default: all, those of the originals where they were built]
    #[arg(long, value_name = "PAIR,...", value_delimiter = ',', conflicts_with = "from")]
    pairs: Vec<Pair>,
    /// Only these workloads [default: all]
    #[arg(long, value_name = "WORKLOAD,...", value_delimiter = ',', conflicts_with = "from")]
    only: Vec<Workload>,
    /// Nodes and pods, at least 5 nodes, and at most 36 pods a node
    #[arg(long, value_name = "NODESxPODS,...", value_delimiter = ',', default_values_t = [Size { nodes: 100, pods: 1000 }, Size { nodes: 5000, pods: 10_000 }], conflicts_with = "from")]
    sizes: Vec<Size>,
    /// One repetition with 20 nodes and 200 pods: to see that it works, not to quote
    #[arg(long, conflicts_with_all = ["reps", "sizes", "from"])]
    quick: bool,
    /// The folder that holds kube-apiserver, kube-scheduler and etcd [default: peers/bin]
    #[arg(long, value_name = "FOLDER", env = "WEFT_PEERS")]
    peers: Option<PathBuf>,
    /// The weft that is measured [default: this one]
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    weft: Option<PathBuf>,
    /// Where etcd writes: on the kind of disk that counts [default: the temporary folder]
    #[arg(long, value_name = "FOLDER", conflicts_with = "from")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
}

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let both =
            text.split_once('x').and_then(|(nodes, pods)| Some((nodes.parse().ok()?, pods.parse().ok()?)));
        let (nodes, pods) = both.ok_or_else(|| "not of the form NODESxPODS, as in 100x1000".to_owned())?;
        let size = Self { nodes, pods };
        if nodes > 100_000 || !objects::fits(size) {
            return Err("5 to 100000 nodes, and 1 to 36 pods a node, have room".to_owned());
        }
        Ok(size)
    }
}

impl Scheduler {
    pub fn run(&self) -> Result<(), LabError> {
        let mut interrupt = Interrupt::default();
        let report = match self.files.earlier()? {
            Some(report) => report,
            None => {
                interrupt = Interrupt::watch()?;
                run::scheduler(&self.wanted()?, &interrupt)?
            }
        };
        telemetry::put!("{}", table::render(&report));
        self.files.write(&report)?;
        interrupt.outcome()
    }

    fn wanted(&self) -> Result<Wanted, LabError> {
        if let Some(folder) = &self.peers {
            originals::take_from(folder);
        }
        let built = |name| originals::program(name).ok();
        let weft = self.weft.clone().map_or(Binary::ThisProgram, Binary::Weft).program()?;
        let servers = servers::Programs { weft, kube_apiserver: built("kube-apiserver"), etcd: etcd()? };
        let programs = Programs { servers, kube_scheduler: built("kube-scheduler") };
        let settings = self.settings(&programs)?;
        let directory = self.data_dir.clone().unwrap_or_else(std::env::temp_dir);
        Ok(Wanted { settings, programs, directory, quiet: QUIET_LIMIT })
    }

    fn settings(&self, programs: &Programs) -> Result<Settings, LabError> {
        let missing = |pair: Pair| {
            (pair.is_original() && programs.kube_scheduler.is_none())
                || (pair.server() == Kind::Original && programs.servers.kube_apiserver.is_none())
        };
        if let Some(pair) = self.pairs.iter().find(|pair| missing(**pair)) {
            let text = format!(
                "the originals of {pair} are not built: run scripts/peers, or name their folder by --peers"
            );
            return Err(LabError::BadSpec(text));
        }
        let all = Pair::value_variants().iter().copied();
        let pairs = all
            .filter(|pair| if self.pairs.is_empty() { !missing(*pair) } else { self.pairs.contains(pair) });
        let workloads = Workload::value_variants().iter().copied();
        let mut sizes = if self.quick { vec![Size { nodes: 20, pods: 200 }] } else { self.sizes.clone() };
        sizes.sort_unstable();
        sizes.dedup();
        Ok(Settings {
            pairs: pairs.collect(),
            workloads: workloads
                .filter(|workload| self.only.is_empty() || self.only.contains(workload))
                .collect(),
            sizes,
            repetitions: if self.quick { 1 } else { self.reps },
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Bench {
        #[command(flatten)]
        scheduler: Scheduler,
    }

    fn scheduler(words: &str) -> Result<Scheduler, clap::Error> {
        let words = std::iter::once("scheduler").chain(words.split_whitespace());
        Ok(Bench::try_parse_from(words)?.scheduler)
    }

    fn settings(words: &str, built: bool) -> Result<Settings, String> {
        let some = || built.then(|| PathBuf::from("/bin/true"));
        let servers =
            servers::Programs { weft: "weft".into(), kube_apiserver: some(), etcd: PathBuf::from("etcd") };
        let programs = Programs { servers, kube_scheduler: some() };
        scheduler(words).unwrap().settings(&programs).map_err(|error| error.to_string())
    }

    #[test]
    fn originals_run_where_they_were_built() {
        let found = settings("", true).unwrap();
        assert_eq!((found.pairs.len(), found.workloads.len(), found.sizes.len()), (5, 6, 2));
        assert_eq!(settings("", false).unwrap().pairs, [Pair::Ours, Pair::Clients]);
        assert!(settings("--pairs theirs", false).unwrap_err().contains("scripts/peers"));
    }

    #[test]
    fn what_was_asked_for_comes_in_order_and_once() {
        let found =
            settings("--pairs theirs,ours,ours --only basic --sizes 50x100,10x10,50x100", true).unwrap();
        assert_eq!(found.pairs, [Pair::Ours, Pair::Theirs]);
        assert_eq!(found.sizes, [Size { nodes: 10, pods: 10 }, Size { nodes: 50, pods: 100 }]);
        assert_eq!(settings("--quick", true).unwrap().sizes, [Size { nodes: 20, pods: 200 }]);
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in ["--sizes 10", "--sizes 10x1000", "--sizes 1x1", "--quick --reps 2", "--only nothing"] {
            assert!(scheduler(bad).is_err(), "{bad}");
        }
    }
}
