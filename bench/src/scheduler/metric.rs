//! What is measured of a scheduler, with its unit and which way is better.

use serde::{Deserialize, Serialize};

use super::mode::{Pair, Workload};
use crate::metric::{Better, Number, three_digits};

/// One number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Pods a second: of a backlog from the first that a watcher saw bound to the last, else from the first byte of the
    /// first creation to the last that a watcher saw bound.
    Rate,
    /// Milliseconds from the first byte of a pod's creation until a watcher saw it bound.
    P50,
    P99,
    /// Microseconds of CPU that the scheduler used for a pod; of a backlog with its start.
    Cpu,
    /// The same of the API server, with the creations except those of a backlog.
    ServerCpu,
    /// MiB of the scheduler that are resident in the end.
    Memory,
}

use Metric::*;

impl Metric {
    /// What a pair has in a workload, in the order in which it is shown.
    pub fn of(workload: Workload, pair: Pair) -> &'static [Self] {
        match (workload, pair) {
            (_, Pair::Clients) => &[Rate, ServerCpu],
            (Workload::Backlog, _) => &[Rate, Cpu, ServerCpu, Memory],
            _ => &[Rate, P50, P99, Cpu, ServerCpu, Memory],
        }
    }
}

impl Number for Metric {
    fn title(self) -> &'static str {
        match self {
            Rate => "pods/s",
            P50 => "p50, ms",
            P99 => "p99, ms",
            Cpu => "scheduler's CPU, µs",
            ServerCpu => "server's CPU, µs",
            Memory => "scheduler, MiB",
        }
    }

    fn better(self) -> Better {
        match self {
            Rate => Better::More,
            _ => Better::Less,
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            Rate => format!("{value:.0}"),
            _ => three_digits(value),
        }
    }
}
