//! What a run leaves behind: plain data, the same in memory and in JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::metric::Metric;
use super::mode::Mode;

/// Everything about one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    pub machine: Machine,
    pub settings: Settings,
    /// One for each mode in each repetition, in the order in which they ran.
    pub samples: Vec<Sample>,
    /// What could not be measured, and why.
    pub failures: Vec<Failure>,
}

/// Where it ran. Absolute numbers belong to a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cpus: usize,
    pub memory_gib: u64,
    pub kernel: String,
    pub system: String,
    /// Of TCP.
    pub congestion_control: String,
    pub iperf3: String,
    pub weft: String,
    /// Seconds since 1970.
    pub started: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub modes: Vec<Mode>,
    pub repetitions: u32,
    /// Seconds that count, of each throughput test.
    pub seconds: u32,
}

/// One mode, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample {
    pub mode: Mode,
    /// From 1.
    pub repetition: u32,
    pub values: BTreeMap<Metric, f64>,
    /// The part of the CPUs that was busy before the tests began, 0 to 1; the highest over the tests. Others at work
    /// make the numbers worthless.
    pub busy_before: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    pub mode: Mode,
    pub repetition: u32,
    pub measure: String,
    pub reason: String,
}

impl Report {
    /// The modes of which there is at least one sample, in order.
    pub fn modes(&self) -> Vec<Mode> {
        let mut modes: Vec<Mode> = self.samples.iter().map(|sample| sample.mode).collect();
        modes.sort_unstable();
        modes.dedup();
        modes
    }

    /// The values of one metric on one path, by repetition.
    pub fn series(&self, mode: Mode, metric: Metric) -> BTreeMap<u32, f64> {
        let of_mode = self.samples.iter().filter(|sample| sample.mode == mode);
        of_mode.filter_map(|sample| Some((sample.repetition, *sample.values.get(&metric)?))).collect()
    }
}

/// Reports for tests.
#[cfg(test)]
pub mod fixture {
    use super::*;

    /// Three repetitions of each mode given, every value `base`, `base` + 1 and `base` + 3 of it.
    pub fn report(modes: &[(Mode, f64)]) -> Report {
        let mut samples = Vec::new();
        for (repetition, add) in [(1, 0.0), (2, 1.0), (3, 3.0)] {
            for (mode, base) in modes {
                let values = Metric::ALL.map(|metric| (metric, base + add)).into();
                samples.push(Sample { mode: *mode, repetition, values, busy_before: 0.02 });
            }
        }
        Report {
            machine: Machine {
                cpu: "a CPU".to_owned(),
                cpus: 2,
                memory_gib: 24,
                kernel: "6.18.0".to_owned(),
                system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
                congestion_control: "cubic".to_owned(),
                iperf3: "iperf 3.12".to_owned(),
                weft: "0.1.0".to_owned(),
                started: 1_790_000_000,
            },
            settings: Settings {
                modes: modes.iter().map(|(mode, _)| *mode).collect(),
                repetitions: 3,
                seconds: 4,
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
        let mut report = fixture::report(&[(Mode::Direct, 20.0), (Mode::UdpEbpf, 10.0)]);
        report.failures.push(Failure {
            mode: Mode::OriginalUdp,
            repetition: 2,
            measure: "udp 64 B".to_owned(),
            reason: "timed out".to_owned(),
        });
        let text = serde_json::to_string(&report).unwrap();
        assert!(
            text.contains(r#""mode":"udp-ebpf""#) && text.contains(r#""cpu-per-gigabit":10.0"#),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Report>(&text).unwrap(), report);
    }

    #[test]
    fn a_series_leaves_out_what_was_not_measured() {
        let mut report = fixture::report(&[(Mode::Direct, 20.0), (Mode::Vxlan, 10.0)]);
        report.samples[3].values.remove(&Metric::Tcp1);
        assert_eq!(report.series(Mode::Vxlan, Metric::Tcp1), BTreeMap::from([(1, 10.0), (3, 13.0)]));
        assert_eq!(report.modes(), [Mode::Direct, Mode::Vxlan]);
    }
}
