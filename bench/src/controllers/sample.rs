//! What a run leaves behind.

use serde::{Deserialize, Serialize};

use super::metric::Metric;
use super::mode::{Mode, Pair, Workload};
use crate::sample;

/// Everything about one run.
pub type Report = sample::Report<Mode, Metric, Settings>;

/// The settings of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub pairs: Vec<Pair>,
    pub workloads: Vec<Workload>,
    /// Of the Deployments; ascending.
    pub replicas: Vec<u32>,
    /// Of the Deployment that is updated.
    pub updated: u32,
    /// In the namespace.
    pub objects: u32,
    pub services: u32,
    pub jobs: u32,
    /// Seconds at rest whose CPU is measured.
    pub rest: u32,
    pub repetitions: u32,
}

impl Settings {
    /// In which sizes a workload runs.
    pub fn sizes(&self, workload: Workload) -> Vec<u32> {
        match workload {
            Workload::Deployment => self.replicas.clone(),
            Workload::RollingUpdate => vec![self.updated],
            Workload::Namespace => vec![self.objects],
            Workload::Services => vec![self.services],
            Workload::Jobs => vec![self.jobs],
            Workload::Idle | Workload::Control => vec![0],
        }
    }

    /// All that a repetition goes through: for each workload in each size all pairs, one after the other.
    pub fn modes(&self) -> Vec<Mode> {
        let mut modes = Vec::new();
        for workload in self.workloads.iter().copied() {
            for size in self.sizes(workload) {
                let pairs = self.pairs.iter().copied().filter(|pair| pair.takes(workload, size));
                modes.extend(pairs.map(|pair| Mode { workload, size, pair }));
            }
        }
        modes
    }
}

/// Reports for tests.
#[cfg(test)]
pub mod fixture {
    use clap::ValueEnum;

    use super::*;

    pub fn settings(pairs: &[Pair]) -> Settings {
        Settings {
            pairs: pairs.to_vec(),
            workloads: Workload::value_variants().to_vec(),
            replicas: vec![1000, 10_000],
            updated: 1000,
            objects: 10_000,
            services: 1000,
            jobs: 5000,
            rest: 30,
            repetitions: 3,
        }
    }

    /// Three repetitions of each pair, every value `base`, `base` + 1 and `base` + 3 of it.
    pub fn report(pairs: &[(Pair, f64)]) -> Report {
        let settings = settings(&pairs.iter().map(|(pair, _)| *pair).collect::<Vec<_>>());
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
        let mode = r#""mode":{"workload":"deployment","size":1000,"pair":"ours"}"#;
        assert!(text.contains(mode), "{text}");
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn limits_and_clients_are_for_deployments_and_the_whole_for_whole_pairs() {
        let modes =
            fixture::settings(&[Pair::TheirsOnOurs, Pair::Theirs, Pair::Limited, Pair::Clients]).modes();
        let of = |pair| -> Vec<String> {
            let modes = modes.iter().filter(|mode| mode.pair == pair);
            modes.map(|mode| format!("{} {}", mode.workload, mode.size)).collect()
        };
        assert_eq!(of(Pair::Limited), ["deployment 1000"]);
        assert_eq!(of(Pair::Clients), ["deployment 1000", "deployment 10000"]);
        assert_eq!(of(Pair::Theirs).last().unwrap(), "control 0");
        assert_eq!(of(Pair::TheirsOnOurs).last().unwrap(), "idle 0");
    }
}
