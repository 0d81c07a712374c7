//! The command line of `weft bench api`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use lab::LabError;
use lab::flanneld::Binary;

use super::mode::{Part, Server};
use super::run::{self, Wanted};
use super::sample::Settings;
use super::table;
use crate::files::Files;
use crate::interrupt::Interrupt;
use crate::servers::{Programs, etcd, version};

/// How long to wait for others to leave the CPUs alone.
const QUIET_LIMIT: Duration = Duration::from_secs(10);

#[derive(Debug, Args)]
pub struct Api {
    /// How many times to go through all servers
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=100))]
    reps: u32,
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
    /// The folder that holds kube-apiserver and etcd [default: peers/bin]
    #[arg(long, value_name = "FOLDER", env = "WEFT_PEERS")]
    peers: Option<PathBuf>,
    /// The weft whose API server is measured [default: this one]
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    weft: Option<PathBuf>,
    /// Where etcd writes: on the kind of disk that counts [default: the temporary folder]
    #[arg(long, value_name = "FOLDER", conflicts_with = "from")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    files: Files,
}

impl Api {
    pub fn run(&self) -> Result<(), LabError> {
        let mut interrupt = Interrupt::default();
        let report = match self.files.earlier()? {
            Some(report) => report,
            None => {
                interrupt = Interrupt::watch()?;
                run::api(&self.wanted()?, &interrupt)?
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
        let kube_apiserver = originals::program("kube-apiserver").ok();
        let etcd = etcd()?;
        let weft = self.weft.clone().map_or(Binary::ThisProgram, Binary::Weft).program()?;
        let settings = self.settings(kube_apiserver.is_some(), version(&etcd)?)?;
        if self.servers.is_empty() && kube_apiserver.is_none() {
            telemetry::note!("without kube-apiserver: it is not built (scripts/peers builds it)");
        }
        let directory = self.data_dir.clone().unwrap_or_else(std::env::temp_dir);
        let programs = Programs { weft, kube_apiserver, etcd };
        Ok(Wanted { settings, programs, directory, quiet: QUIET_LIMIT })
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
        let servers =
            Server::value_variants().iter().copied().filter(|server| match self.servers.as_slice() {
                [] => has_original || *server != Server::Original,
                some => some.contains(server),
            });
        let parts = Part::value_variants()
            .iter()
            .copied()
            .filter(|part| self.only.is_empty() || self.only.contains(part));
        let usual = self.watchers == [1, 100, 1000];
        let mut watchers = if self.quick && usual { vec![1, 10] } else { self.watchers.clone() };
        watchers.sort_unstable();
        watchers.dedup();
        Ok(Settings {
            servers: servers.collect(),
            parts: parts.collect(),
            repetitions: if self.quick { 1 } else { self.reps },
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
