//! The command line of `weft bench api`.

use clap::Args;
use lab::LabError;

use super::mode::{Part, Server};
use super::run::{self, Wanted};
use super::sample::Settings;
use super::table;
use crate::arguments::{Common, ascending, chosen};
use crate::run::QUIET_LIMIT;
use crate::servers::arguments::Arguments;
use crate::servers::version;

#[derive(Debug, Args)]
pub struct Api {
    #[command(flatten)]
    common: Common,
    /// Only these servers; etcd alone needs one of the others, whose bytes it takes [default: all, kube-apiserver where
    /// it was built]
    #[arg(long, value_name = "SERVER,...", value_delimiter = ',', conflicts_with = "from")]
    servers: Vec<Server>,
    /// Only these parts; pods are created for all but the first [default: all]
    #[arg(long, value_name = "PART,...", value_delimiter = ',', conflicts_with = "from")]
    only: Vec<Part>,
    /// Pods in the end, 100 to 100000
    #[arg(long, value_name = "N", default_value_t = 10_000, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(100..=100_000))]
    pods: u32,
    /// Updates, gets and applies by 16 and by 64 clients; one client makes a quarter
    #[arg(long, value_name = "N", default_value_t = 4000, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(4..=1_000_000))]
    requests: u32,
    /// Numbers of watchers, 1 to 10000
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [1, 100, 1000], conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    watchers: Vec<u32>,
    /// Writes whose way to the watchers is measured, one after the other
    #[arg(long, value_name = "N", default_value_t = 100, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    writes: u32,
    /// One repetition with 400 pods: to see that it works, not to quote
    #[arg(long, conflicts_with_all = ["reps", "pods", "requests", "writes", "from"])]
    quick: bool,
    #[command(flatten)]
    programs: Arguments,
}

impl Api {
    pub fn run(&self) -> Result<(), LabError> {
        self.common.report(|interrupt| run::api(&self.wanted()?, interrupt), table::render)
    }

    fn wanted(&self) -> Result<Wanted, LabError> {
        let programs = self.programs.programs()?;
        let has_original = programs.kube_apiserver.is_some();
        let settings = self.settings(has_original, version(&programs.etcd)?)?;
        if self.servers.is_empty() && !has_original {
            telemetry::note!("without kube-apiserver: it is not built (scripts/peers builds it)");
        }
        Ok(Wanted { settings, programs, directory: self.programs.directory(), quiet: QUIET_LIMIT })
    }

    /// What to run, given whether the original is there.
    fn settings(&self, has_original: bool, etcd: String) -> Result<Settings, LabError> {
        let refused = |text: &str| Err(LabError::BadSpec(text.to_owned()));
        if self.servers.contains(&Server::Original) && !has_original {
            return refused("kube-apiserver is not built: run scripts/peers, or name its folder by --peers");
        }
        if self.servers == [Server::Etcd] {
            return refused("etcd takes the bytes that a server has written: name ours or original, too");
        }
        let usual = self.watchers == [1, 100, 1000];
        let watchers = if self.quick && usual { vec![1, 10] } else { ascending(&self.watchers) };
        Ok(Settings {
            servers: chosen(&self.servers, |server| has_original || server != Server::Original),
            parts: chosen(&self.only, |_| true),
            repetitions: if self.quick { 1 } else { self.common.reps },
            pods: if self.quick { 400 } else { self.pods },
            requests: if self.quick { 400 } else { self.requests },
            watchers,
            writes: if self.quick { 10 } else { self.writes },
            lists: if self.quick { 1 } else { 5 },
            etcd,
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
        api: Api,
    }

    fn api(words: &str) -> Result<Api, clap::Error> {
        let words = std::iter::once("api").chain(words.split_whitespace());
        Ok(Bench::try_parse_from(words)?.api)
    }

    fn settings(words: &str, has_original: bool) -> Result<Settings, String> {
        api(words).unwrap().settings(has_original, "etcd 3.6.0".to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn everything_runs_and_the_original_where_it_was_built() {
        let found = settings("", true).unwrap();
        assert_eq!(found.servers, [Server::Ours, Server::Original, Server::Etcd]);
        assert_eq!((found.parts.len(), found.repetitions, found.pods), (8, 3, 10_000));
        assert_eq!(settings("", false).unwrap().servers, [Server::Ours, Server::Etcd]);
        assert!(settings("--servers original", false).unwrap_err().contains("scripts/peers"));
        assert!(settings("--servers etcd", true).unwrap_err().contains("ours or original"));
    }

    #[test]
    fn servers_and_parts_come_in_order_and_once() {
        let found =
            settings("--servers original,ours,ours --only watches,start --watchers 10,1,10", true).unwrap();
        assert_eq!(found.servers, [Server::Ours, Server::Original]);
        assert_eq!(found.parts, [Part::Start, Part::Watches]);
        assert_eq!(found.watchers, [1, 10]);
    }

    #[test]
    fn quick_is_once_with_few_pods() {
        let found = settings("--quick", true).unwrap();
        assert_eq!((found.repetitions, found.pods, found.watchers.as_slice()), (1, 400, &[1, 10][..]));
        for bad in ["--quick --reps 2", "--pods 5", "--watchers 0", "--from x --quick", "--only nothing"] {
            assert!(api(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_earlier_run_is_printed_and_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let [first, again] = ["a.json", "b.json"].map(|name| folder.path().join(name));
        let report = super::super::sample::fixture::report(&[(Server::Ours, 20.0)]);
        std::fs::write(&first, serde_json::to_string(&report).unwrap()).unwrap();
        api(&format!("--from {} --json {}", first.display(), again.display())).unwrap().run().unwrap();
        let text = std::fs::read_to_string(again).unwrap();
        assert_eq!(serde_json::from_str::<super::super::sample::Report>(&text).unwrap(), report);
    }
}
