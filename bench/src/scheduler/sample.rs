//! What a run leaves behind.

use serde::{Deserialize, Serialize};

use super::metric::Metric;
use super::mode::{Mode, Pair, Size, Workload};
use crate::sample;

/// Everything about one run.
pub type Report = sample::Report<Mode, Metric, Settings>;
/// One pair in one workload, once.
pub type Sample = sample::Sample<Mode, Metric>;
/// What could not be measured.
pub type Failure = sample::Failure<Mode>;

/// The settings of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub pairs: Vec<Pair>,
    pub workloads: Vec<Workload>,
    pub sizes: Vec<Size>,
    pub repetitions: u32,
}

impl Settings {
    /// All that a repetition goes through: for each workload in each size all pairs, one after the other.
    pub fn modes(&self) -> Vec<Mode> {
        let mut modes = Vec::new();
        for size in &self.sizes {
            for workload in &self.workloads {
                let pairs = self.pairs.iter().filter(|pair| pair.takes(*workload));
                modes.extend(pairs.map(|pair| Mode { workload: *workload, size: *size, pair: *pair }));
            }
        }
        modes
    }
}

/// Reports for tests.
#[cfg(test)]
pub mod fixture {
    use super::*;

    /// Three repetitions of each pair, every value `base`, `base` + 1 and `base` + 3 of it.
    pub fn report(pairs: &[(Pair, f64)]) -> Report {
        let settings = Settings {
            pairs: pairs.iter().map(|(pair, _)| *pair).collect(),
            workloads: vec![Workload::Backlog, Workload::AntiAffinity],
            sizes: vec![Size { nodes: 100, pods: 1000 }],
            repetitions: 3,
        };
        let base =
            |mode: Mode| pairs.iter().find(|(pair, _)| *pair == mode.pair).map_or(0.0, |(_, base)| *base);
        let modes = settings.modes();
        sample::fixture::report(settings, &modes, |mode| Metric::of(mode.workload, mode.pair), base)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_survives_its_json() {
        let report = fixture::report(&[(Pair::Ours, 1.0), (Pair::Theirs, 2.0)]);
        let text = serde_json::to_string(&report).unwrap();
        let mode = r#""mode":{"workload":"backlog","size":{"nodes":100,"pods":1000},"pair":"ours"}"#;
        assert!(text.contains(mode), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn clients_bind_backlogs_only() {
        let report = fixture::report(&[(Pair::Ours, 1.0), (Pair::Clients, 2.0)]);
        let modes: Vec<String> = report.settings.modes().iter().map(Mode::to_string).collect();
        assert_eq!(
            modes,
            ["backlog 100x1000 of ours", "backlog 100x1000 of clients", "anti-affinity 100x1000 of ours"]
        );
    }
}
