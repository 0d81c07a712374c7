//! What a run leaves behind: plain data, the same in memory and in JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Everything about one run. `W` is what was compared, `M` what was measured, `S` the settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report<W, M: Ord, S> {
    pub machine: Machine,
    pub settings: S,
    /// One for each mode in each repetition, in the order in which they ran.
    pub samples: Vec<Sample<W, M>>,
    /// What could not be measured, and why.
    pub failures: Vec<Failure<W>>,
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

/// One mode, once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Sample<W, M: Ord> {
    pub mode: W,
    /// From 1.
    pub repetition: u32,
    pub values: BTreeMap<M, f64>,
    /// The part of the CPUs that was busy before the tests began, 0 to 1; the highest over the tests. Others at work
    /// make the numbers worthless.
    pub busy_before: f64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure<W> {
    pub mode: W,
    pub repetition: u32,
    pub measure: String,
    pub reason: String,
}

impl<W: Copy + Ord, M: Copy + Ord, S> Report<W, M, S> {
    /// The modes of which there is at least one sample, in order.
    pub fn modes(&self) -> Vec<W> {
        let mut modes: Vec<W> = self.samples.iter().map(|sample| sample.mode).collect();
        modes.sort_unstable();
        modes.dedup();
        modes
    }

    /// The values of one metric of one mode, by repetition.
    pub fn series(&self, mode: W, metric: M) -> BTreeMap<u32, f64> {
        let of_mode = self.samples.iter().filter(|sample| sample.mode == mode);
        of_mode.filter_map(|sample| Some((sample.repetition, *sample.values.get(&metric)?))).collect()
    }
}

/// A machine and reports for tests.
#[cfg(test)]
pub mod fixture {
    use super::{Machine, Report, Sample};

    /// Three repetitions of each mode, every value its `base`, `base` + 1 and `base` + 3.
    pub fn report<W: Copy, M: Ord + Copy + 'static, S>(
        settings: S,
        modes: &[W],
        metrics: impl Fn(W) -> &'static [M],
        base: impl Fn(W) -> f64,
    ) -> Report<W, M, S> {
        let mut samples = Vec::new();
        for (repetition, add) in [(1, 0.0), (2, 1.0), (3, 3.0)] {
            samples.extend(modes.iter().map(|mode| {
                let values = metrics(*mode).iter().map(|metric| (*metric, base(*mode) + add)).collect();
                Sample { mode: *mode, repetition, values, busy_before: 0.02 }
            }));
        }
        Report { machine: machine(), settings, samples, failures: Vec::new() }
    }

    pub fn machine() -> Machine {
        Machine {
            cpu: "a CPU".to_owned(),
            cpus: 2,
            memory_gib: 24,
            kernel: "6.18.0".to_owned(),
            system: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            congestion_control: "cubic".to_owned(),
            iperf3: "iperf 3.12".to_owned(),
            weft: "0.1.0".to_owned(),
            started: 1_790_000_000,
        }
    }
}
