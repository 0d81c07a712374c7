//! The command line of `weft bench scheduler`.

use std::str::FromStr;

use clap::Args;
use lab::LabError;

use super::mode::{Pair, Size, Workload};
use super::run::{self, Wanted};
use super::sample::Settings;
use super::{Programs, objects, table};
use crate::arguments::{Common, ascending, built, chosen};
use crate::run::QUIET_LIMIT;
use crate::servers::Kind;
use crate::servers::arguments::Arguments;

#[derive(Debug, Args)]
pub struct Scheduler {
    #[command(flatten)]
    common: Common,
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
    #[command(flatten)]
    servers: Arguments,
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
        self.common.report(|interrupt| run::scheduler(&self.wanted()?, interrupt), table::render)
    }

    fn wanted(&self) -> Result<Wanted, LabError> {
        let kube_scheduler = originals::program("kube-scheduler").ok();
        let programs = Programs { servers: self.servers.programs()?, kube_scheduler };
        let settings = self.settings(&programs)?;
        Ok(Wanted { settings, programs, directory: self.servers.directory(), quiet: QUIET_LIMIT })
    }

    fn settings(&self, programs: &Programs) -> Result<Settings, LabError> {
        let missing = |pair: Pair| {
            (pair.is_original() && programs.kube_scheduler.is_none())
                || (pair.server() == Kind::Original && programs.servers.kube_apiserver.is_none())
        };
        let pairs = built(&self.pairs, missing)?;
        let sizes = if self.quick { vec![Size { nodes: 20, pods: 200 }] } else { ascending(&self.sizes) };
        Ok(Settings {
            pairs,
            workloads: chosen(&self.only, |_| true),
            sizes,
            repetitions: if self.quick { 1 } else { self.common.reps },
        })
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use clap::Parser;

    use super::*;
    use crate::servers;

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
