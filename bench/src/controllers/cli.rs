//! The command line of `weft bench controllers`.

use clap::Args;
use lab::LabError;

use super::mode::{Pair, Workload};
use super::run::{self, Wanted};
use super::sample::Settings;
use super::{Programs, table};
use crate::arguments::{Common, ascending, built, chosen};
use crate::run::QUIET_LIMIT;
use crate::servers::Kind;
use crate::servers::arguments::Arguments;

#[derive(Debug, Args)]
pub struct Controllers {
    #[command(flatten)]
    common: Common,
    /// Only these pairs of controller manager and API server [default: all, those of the originals where they were built]
    #[arg(long, value_name = "PAIR,...", value_delimiter = ',', conflicts_with = "from")]
    pairs: Vec<Pair>,
    /// Only these workloads [default: all]
    #[arg(long, value_name = "WORKLOAD,...", value_delimiter = ',', conflicts_with = "from")]
    only: Vec<Workload>,
    /// Replicas of the Deployments
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1000, 10_000], conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    replicas: Vec<u32>,
    /// Replicas of the Deployment that is updated
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    updated: u32,
    /// Objects in the namespace that is deleted: pods, and half as many of them ConfigMaps and Secrets each
    #[arg(long, value_name = "N", default_value_t = 10_000, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    objects: u32,
    /// Services, each with an endpoint
    #[arg(long, value_name = "N", default_value_t = 1000, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=50_000))]
    services: u32,
    /// Jobs of one pod each
    #[arg(long, value_name = "N", default_value_t = 5000, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    jobs: u32,
    /// Seconds at rest whose CPU is measured
    #[arg(long, value_name = "SECONDS", default_value_t = 30, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=3600))]
    rest: u32,
    /// One repetition with 100 of each: to see that it works, not to quote
    #[arg(long, conflicts_with_all = ["reps", "replicas", "updated", "objects", "services", "jobs", "rest", "from"])]
    quick: bool,
    /// Say on standard error which requests the API server got for each object
    #[arg(long, conflicts_with = "from")]
    requests: bool,
    #[command(flatten)]
    servers: Arguments,
}

impl Controllers {
    pub fn run(&self) -> Result<(), LabError> {
        self.common.report(|interrupt| run::controllers(&self.wanted()?, interrupt), table::render)
    }

    fn wanted(&self) -> Result<Wanted, LabError> {
        let built = |name| originals::program(name).ok();
        let programs = Programs {
            servers: self.servers.programs()?,
            kube_controller_manager: built("kube-controller-manager"),
            kube_scheduler: built("kube-scheduler"),
        };
        let settings = self.settings(&programs)?;
        let directory = self.servers.directory();
        Ok(Wanted { settings, programs, directory, quiet: QUIET_LIMIT, says_requests: self.requests })
    }

    fn settings(&self, programs: &Programs) -> Result<Settings, LabError> {
        let missing = |pair: Pair| {
            (pair.is_original() && programs.kube_controller_manager.is_none())
                || (pair.server() == Kind::Original && programs.servers.kube_apiserver.is_none())
        };
        let pairs = built(&self.pairs, missing)?;
        let size = |asked: u32| if self.quick { 100 } else { asked };
        Ok(Settings {
            pairs,
            workloads: chosen(&self.only, |_| true),
            replicas: if self.quick { vec![100] } else { ascending(&self.replicas) },
            updated: size(self.updated),
            objects: size(self.objects),
            services: size(self.services),
            jobs: size(self.jobs),
            rest: if self.quick { 1 } else { self.rest },
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
        controllers: Controllers,
    }

    fn controllers(words: &str) -> Result<Controllers, clap::Error> {
        let words = std::iter::once("controllers").chain(words.split_whitespace());
        Ok(Bench::try_parse_from(words)?.controllers)
    }

    fn settings(words: &str, built: bool) -> Result<Settings, String> {
        let some = || built.then(|| PathBuf::from("/bin/true"));
        let servers =
            servers::Programs { weft: "weft".into(), kube_apiserver: some(), etcd: PathBuf::from("etcd") };
        let programs = Programs { servers, kube_controller_manager: some(), kube_scheduler: some() };
        controllers(words).unwrap().settings(&programs).map_err(|error| error.to_string())
    }

    #[test]
    fn originals_run_where_they_were_built() {
        let found = settings("", true).unwrap();
        assert_eq!((found.pairs.len(), found.workloads.len(), found.rest), (6, 7, 30));
        assert_eq!(found.replicas, [1000, 10_000]);
        assert_eq!(settings("", false).unwrap().pairs, [Pair::Ours, Pair::Clients]);
        assert!(settings("--pairs theirs", false).unwrap_err().contains("scripts/peers"));
    }

    #[test]
    fn what_was_asked_for_comes_in_order_and_once() {
        let found = settings("--pairs theirs,ours --only jobs,deployment --replicas 7,3,7", true).unwrap();
        assert_eq!(found.pairs, [Pair::Ours, Pair::Theirs]);
        assert_eq!(found.workloads, [Workload::Deployment, Workload::Jobs]);
        assert_eq!(found.replicas, [3, 7]);
        let quick = settings("--quick", true).unwrap();
        assert_eq!((quick.replicas, quick.jobs, quick.repetitions, quick.rest), (vec![100], 100, 1, 1));
    }

    #[test]
    fn what_cannot_be_is_refused() {
        for bad in ["--replicas 0", "--quick --jobs 5", "--only nothing", "--from a --services 5"] {
            assert!(controllers(bad).is_err(), "{bad}");
        }
    }
}
