//! What is measured of a controller manager, with its unit and which way is better.

use serde::{Deserialize, Serialize};

use super::mode::{Pair, Workload};
use crate::metric::{Better, Number, three_digits};

/// One number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Seconds from the first byte of the first request until a watcher has seen the end.
    Time,
    /// Objects a second in that time.
    Rate,
    /// Of Jobs: seconds from the first byte of the first pod's end until a watcher has seen the last Job complete.
    Completion,
    /// Jobs a second in that time.
    CompletionRate,
    /// Microseconds of CPU that the controller manager used for an object until it was idle again.
    Cpu,
    /// The same of the API server, with the requests of the benchmark.
    ServerCpu,
    /// Requests that write, for each object, without those of the benchmark.
    Writes,
    /// MiB resident in the end, idle.
    Memory,
    /// Seconds of CPU in 30 s at rest.
    IdleCpu,
}

use Metric::*;

impl Metric {
    /// What a pair has in a workload, in the order in which it is shown.
    pub fn of(workload: Workload, pair: Pair) -> &'static [Self] {
        match (workload, pair) {
            (_, Pair::Clients) => &[Time, Rate, ServerCpu],
            (Workload::Jobs, _) => &[Time, Rate, Completion, CompletionRate, Cpu, ServerCpu, Writes, Memory],
            (Workload::Idle | Workload::Control, _) => &[Memory, IdleCpu],
            _ => &[Time, Rate, Cpu, ServerCpu, Writes, Memory],
        }
    }
}

impl Number for Metric {
    fn title(self) -> &'static str {
        match self {
            Time => "time, s",
            Rate => "objects/s",
            Completion => "to complete, s",
            CompletionRate => "completed/s",
            Cpu => "manager's CPU, µs",
            ServerCpu => "server's CPU, µs",
            Writes => "writes",
            Memory => "memory, MiB",
            IdleCpu => "CPU in 30 s, s",
        }
    }

    fn better(self) -> Better {
        match self {
            Rate | CompletionRate => Better::More,
            _ => Better::Less,
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Rate | CompletionRate => format!("{value:.0}"),
            _ => three_digits(value),
        }
    }
}
