//! What a run leaves behind.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::metric::Metric;
use super::mode::{Kind, Mode};
use crate::sample;

/// Everything about one run.
pub type Report = sample::Report<Mode, Metric, Settings>;
/// One proxy before one number of services, once.
pub type Sample = sample::Sample<Mode, Metric>;
/// What could not be measured.
pub type Failure = sample::Failure<Mode>;

/// Where the proxies have the objects from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeedKind {
    /// kube-apiserver over etcd
    Api,
    /// A file of all objects in a directory; kube-proxy cannot read that
    Directory,
}

impl fmt::Display for FeedKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Api => "kube-apiserver over etcd",
            Self::Directory => "a directory of one file with all objects",
        })
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub proxies: Vec<Kind>,
    /// Ascending.
    pub services: Vec<u32>,
    pub repetitions: u32,
    pub feed: FeedKind,
    /// Changes of an endpoint whose median is taken.
    pub changes: u32,
    /// connect() calls to each target.
    pub connects: u32,
    /// Seconds that count, of a throughput test.
    pub seconds: u32,
    /// Seconds that a start may take.
    pub patience: u32,
    /// Not run, because they would take minutes and nobody asked for them.
    pub left_out: Vec<Mode>,
}

/// Reports for tests.
#[cfg(test)]
pub mod fixture {
    use super::*;

    /// Three repetitions of each proxy at each number of services, every value `base`, `base` + 1 and `base` + 3 of it.
    pub fn report(services: &[u32], proxies: &[(Kind, f64)]) -> Report {
        let mut samples = Vec::new();
        for services in services {
            for (repetition, add) in [(1, 0.0), (2, 1.0), (3, 3.0)] {
                for (proxy, base) in proxies {
                    let metrics = Metric::ALL
                        .into_iter()
                        .filter(|metric| *proxy != Kind::Direct || metric.of_direct() == Some(*metric));
                    samples.push(Sample {
                        mode: Mode { services: *services, proxy: *proxy },
                        repetition,
                        values: metrics.map(|metric| (metric, base + add)).collect(),
                        busy_before: 0.02,
                    });
                }
            }
        }
        Report {
            machine: sample::fixture::machine(),
            settings: Settings {
                proxies: proxies.iter().map(|(proxy, _)| *proxy).collect(),
                services: services.to_vec(),
                repetitions: 3,
                feed: FeedKind::Api,
                changes: 5,
                connects: 3000,
                seconds: 2,
                patience: 120,
                left_out: Vec::new(),
            },
            samples,
            failures: Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_its_json() {
        let mut report = fixture::report(&[100], &[(Kind::Direct, 20.0), (Kind::OursNftables, 10.0)]);
        report.settings.left_out.push(Mode { services: 30_000, proxy: Kind::KubeProxyNftables });
        let text = serde_json::to_string(&report).unwrap();
        assert!(text.contains(r#""mode":{"services":100,"proxy":"ours-nftables"}"#), "{text}");
        assert!(text.contains(r#""to-kernel":10.0"#), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }
}
