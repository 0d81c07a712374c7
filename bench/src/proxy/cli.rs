//! The command line of `weft bench proxy`.

use std::path::PathBuf;

use clap::Args;

use super::daemon::Programs;
use super::mode::{Kind, Mode};
use super::objects;
use super::run::{self, Wanted};
use super::sample::{FeedKind, Settings};
use super::table;
use crate::arguments::{Common, ascending, chosen};
use crate::run::QUIET_LIMIT;
use lab::LabError;
use lab::flanneld::Binary;

#[derive(Debug, Args)]
pub struct Proxy {
    #[command(flatten)]
    common: Common,
    /// Numbers of services, 10 to 60000
    #[arg(long, value_name = "N,...", value_delimiter = ',', default_values_t = [100, 1000, 5000, 10_000, 30_000], conflicts_with = "from", value_parser = clap::value_parser!(u32).range(10..=i64::from(objects::MOST)))]
    services: Vec<u32>,
    /// Only these proxies, and before every number of services [default: all, kube-proxy where it was built and not
    /// where it would take minutes]
    #[arg(long, value_name = "PROXY,...", value_delimiter = ',', conflicts_with = "from")]
    proxies: Vec<Kind>,
    /// Where the objects come from [default: api where kube-apiserver was built, else directory]
    #[arg(long, value_name = "FEED", conflicts_with = "from")]
    feed: Option<FeedKind>,
    /// Changes of an endpoint whose median is taken, in each repetition
    #[arg(long, value_name = "N", default_value_t = 5, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=1000))]
    changes: u32,
    /// Seconds that a start may take before it is given up
    #[arg(long, value_name = "SECONDS", default_value_t = 120, conflicts_with = "from", value_parser = clap::value_parser!(u32).range(1..=3600))]
    patience: u32,
    /// One repetition before 100 services: to see that it works, not to quote
    #[arg(long, conflicts_with_all = ["reps", "from"])]
    quick: bool,
    /// The weft whose proxy is measured [default: this one]
    #[arg(long, value_name = "FILE", conflicts_with = "from")]
    weft: Option<PathBuf>,
}

impl Proxy {
    pub fn run(&self) -> Result<(), LabError> {
        self.common.report(|interrupt| run::proxy(&self.wanted()?, interrupt), table::render)
    }

    fn wanted(&self) -> Result<Wanted, LabError> {
        let kube_proxy = originals::program("kube-proxy").ok();
        let has_server = originals::program("kube-apiserver").is_ok();
        let weft = self.weft.clone().map_or(Binary::ThisProgram, Binary::Weft).program()?;
        let settings = self.settings(kube_proxy.is_some(), has_server)?;
        if self.proxies.is_empty() && !settings.proxies.iter().any(|kind| kind.is_original()) {
            telemetry::note!(
                "without kube-proxy: it or kube-apiserver is not built (scripts/peers builds them)"
            );
        }
        Ok(Wanted { settings, programs: Programs { weft, kube_proxy }, quiet: QUIET_LIMIT })
    }

    /// What to run, given which originals there are.
    fn settings(&self, has_kube_proxy: bool, has_server: bool) -> Result<Settings, LabError> {
        let feed = self.feed.unwrap_or(if has_server { FeedKind::Api } else { FeedKind::Directory });
        let missing = |what: &str| {
            let text =
                format!("{what}, which is not built: run scripts/peers, or name its folder by --peers");
            Err(LabError::BadSpec(text))
        };
        if feed == FeedKind::Api && !has_server {
            return missing("--feed api needs kube-apiserver");
        }
        let originals_run = has_kube_proxy && feed == FeedKind::Api;
        if let Some(kind) = self.proxies.iter().find(|kind| kind.is_original() && !originals_run) {
            if !has_kube_proxy {
                return missing(&format!("{kind} needs kube-proxy"));
            }
            return Err(LabError::BadSpec(format!("{kind} cannot read a directory: it needs --feed api")));
        }
        let proxies = chosen(&self.proxies, |kind: Kind| originals_run || !kind.is_original());
        let services =
            if self.quick && self.services.len() == 5 { vec![100] } else { ascending(&self.services) };
        let every =
            services.iter().flat_map(|n| proxies.iter().map(|kind| Mode { services: *n, proxy: *kind }));
        let left_out = every
            .filter(|mode| self.proxies.is_empty() && mode.services > mode.proxy.most_services())
            .collect();
        Ok(Settings {
            proxies,
            services,
            repetitions: if self.quick { 1 } else { self.common.reps },
            feed,
            changes: self.changes,
            connects: if self.quick { 300 } else { 3000 },
            seconds: if self.quick { 1 } else { 2 },
            patience: self.patience,
            left_out,
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
        proxy: Proxy,
    }

    fn proxy(words: &str) -> Result<Proxy, clap::Error> {
        let words = std::iter::once("proxy").chain(words.split_whitespace());
        Ok(Bench::try_parse_from(words)?.proxy)
    }

    fn settings(words: &str) -> Settings {
        proxy(words).unwrap().settings(true, true).unwrap()
    }

    #[test]
    fn everything_runs_but_what_takes_minutes() {
        let found = settings("");
        assert_eq!(found.services, [100, 1000, 5000, 10_000, 30_000]);
        assert_eq!((found.proxies.len(), found.repetitions, found.feed), (7, 3, FeedKind::Api));
        let mode = |proxy| Mode { services: 30_000, proxy };
        assert_eq!(found.left_out, [mode(Kind::KubeProxyNftables), mode(Kind::KubeProxyIptablesNft)]);
        assert_eq!(settings("--proxies kube-proxy-nftables --services 30000").left_out, []);
    }

    #[test]
    fn proxies_and_numbers_come_in_order_and_once() {
        let found = settings("--proxies ours-nftables,direct,direct --services 1000,100,1000");
        assert_eq!(found.proxies, [Kind::Direct, Kind::OursNftables]);
        assert_eq!(found.services, [100, 1000]);
    }

    #[test]
    fn without_the_originals_ours_reads_a_directory() {
        let found = proxy("").unwrap().settings(true, false).unwrap();
        assert_eq!(found.feed, FeedKind::Directory);
        assert!(!found.proxies.iter().any(|kind| kind.is_original()) && found.proxies.len() == 4);
        let refused = |words: &str, kube_proxy, server| {
            proxy(words).unwrap().settings(kube_proxy, server).unwrap_err().to_string()
        };
        assert!(refused("--proxies kube-proxy-nftables", false, true).contains("scripts/peers"));
        assert!(refused("--feed api", true, false).contains("kube-apiserver"));
        let text = refused("--proxies kube-proxy-nftables --feed directory", true, true);
        assert!(text.contains("--feed api"), "{text}");
    }

    #[test]
    fn quick_is_once_before_a_hundred() {
        let found = settings("--quick");
        assert_eq!((found.repetitions, found.services.as_slice()), (1, &[100][..]));
        assert_eq!(settings("--quick --services 1000").services, [1000]);
        for bad in
            ["--quick --reps 2", "--services 5", "--services 70000", "--from x --quick", "--proxies ipvs"]
        {
            assert!(proxy(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_earlier_run_is_printed_and_written_again() {
        let folder = tempfile::tempdir().unwrap();
        let [first, again] = ["a.json", "b.json"].map(|name| folder.path().join(name));
        let report = super::super::sample::fixture::report(&[100], &[(Kind::Direct, 20.0)]);
        std::fs::write(&first, serde_json::to_string(&report).unwrap()).unwrap();
        proxy(&format!("--from {} --json {}", first.display(), again.display())).unwrap().run().unwrap();
        let text = std::fs::read_to_string(again).unwrap();
        assert_eq!(serde_json::from_str::<super::super::sample::Report>(&text).unwrap(), report);
    }
}
