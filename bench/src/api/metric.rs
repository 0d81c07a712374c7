//! What is measured of each server, with its unit and which way is better.

use serde::{Deserialize, Serialize};

use super::mode::Part;
use crate::metric::{Better, Number, three_digits};

/// One number of a run. What `Rate`, `P50` and `P99` are of, the [`Part`] says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Seconds from exec over an empty etcd, without a serving certificate, until `/readyz` is 200 and the namespace
    /// `default` and the last default role are served.
    FirstStart,
    /// The same, with all that the first start has made.
    LaterStart,
    /// MiB resident after the later start, when the server is idle.
    Idle,
    /// The same with a tenth of the pods.
    Tenth,
    /// The same with all pods.
    Full,
    /// The same with all pods and 100 watchers of all pods, that have seen some changes.
    Watched,
    /// Requests a second, of all clients together.
    Rate,
    /// Milliseconds.
    P50,
    P99,
    /// Microseconds of CPU that the server used for a request; etcd's are not in it.
    Cpu,
    /// Milliseconds from the request's first byte to the answer's last, all pods in JSON: the median.
    Json,
    /// The same in protobuf.
    Protobuf,
}

use Metric::*;

impl Metric {
    /// What a part has, in the order in which it is shown.
    pub fn of(part: Part) -> &'static [Self] {
        match part {
            Part::Start => &[FirstStart, LaterStart],
            Part::Memory => &[Idle, Tenth, Full, Watched],
            Part::Creates | Part::Updates | Part::Gets | Part::Applies => &[Rate, P50, P99, Cpu],
            Part::Lists => &[Json, Protobuf],
            Part::Watches => &[P50, P99],
        }
    }
}

impl Number for Metric {
    fn title(self) -> &'static str {
        match self {
            FirstStart => "first start, s",
            LaterStart => "later start, s",
            Idle => "idle, MiB",
            Tenth => "a tenth of the pods, MiB",
            Full => "all pods, MiB",
            Watched => "and 100 watchers, MiB",
            Rate => "1/s",
            P50 => "p50, ms",
            P99 => "p99, ms",
            Cpu => "server's CPU, µs",
            Json => "JSON, ms",
            Protobuf => "protobuf, ms",
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
