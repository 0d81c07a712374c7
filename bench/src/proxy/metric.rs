//! What is measured of each proxy, with its unit and which way is better.

use serde::{Deserialize, Serialize};

use crate::metric::{Better, Number, three_digits};

/// One number of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Metric {
    /// Seconds from the program's start until a connection to the last service, and to others, succeeds.
    Start,
    /// Seconds of CPU that the program and its children used until they were idle after the start.
    StartCpu,
    /// Milliseconds from etcd's acknowledgement of a changed EndpointSlice, or from a file's new name, until a new
    /// connection is answered by the new endpoint: the median of the changes.
    Change,
    /// Milliseconds from the arrival of such a change at the program until the kernel has it, by its own metrics: the
    /// median of the changes.
    ToKernel,
    /// Milliseconds of CPU that the program and its children used for one change.
    ChangeCpu,
    /// MiB resident when it is idle after the start.
    MemoryAfterStart,
    /// MiB resident after the changes.
    MemoryAtEnd,
    /// MiB: the most that ever was resident until then (VmHWM).
    MemoryPeak,
    /// Microseconds: the median connect() to the first service of those that rules are searched for in order.
    FirstP50,
    FirstP99,
    /// The same to the last one.
    LastP50,
    LastP99,
    /// The same to an endpoint itself.
    PodP50,
    PodP99,
    /// Connections to the first service in a second, made and reset one after the other by one client.
    FirstRate,
    LastRate,
    PodRate,
    /// Gbit/s of payload in one TCP stream through a ClusterIP; of `direct`, to the endpoint itself.
    Throughput,
}

use Metric::*;

impl Metric {
    /// All, in the order in which they are shown.
    pub const ALL: [Self; 18] = [
        Start,
        StartCpu,
        Change,
        ToKernel,
        ChangeCpu,
        MemoryAfterStart,
        MemoryAtEnd,
        MemoryPeak,
        FirstP50,
        FirstP99,
        LastP50,
        LastP99,
        PodP50,
        PodP99,
        FirstRate,
        LastRate,
        PodRate,
        Throughput,
    ];

    /// What `direct` has instead: it knows only the endpoint.
    pub fn of_direct(self) -> Option<Self> {
        match self {
            FirstP50 | LastP50 | PodP50 => Some(PodP50),
            FirstP99 | LastP99 | PodP99 => Some(PodP99),
            FirstRate | LastRate | PodRate => Some(PodRate),
            Throughput => Some(Throughput),
            _ => None,
        }
    }
}

impl Number for Metric {
    fn title(self) -> &'static str {
        match self {
            Start => "start, s",
            StartCpu => "CPU of the start, s",
            Change => "change, ms",
            ToKernel => "arrival to kernel, ms",
            ChangeCpu => "CPU of a change, ms",
            MemoryAfterStart => "memory after the start, MiB",
            MemoryAtEnd => "after changes, MiB",
            MemoryPeak => "peak, MiB",
            FirstP50 => "first service p50, µs",
            FirstP99 => "first p99, µs",
            LastP50 => "last service p50, µs",
            LastP99 => "last p99, µs",
            PodP50 => "pod p50, µs",
            PodP99 => "pod p99, µs",
            FirstRate => "first, 1/s",
            LastRate => "last, 1/s",
            PodRate => "pod, 1/s",
            Throughput => "ClusterIP, Gbit/s",
        }
    }

    fn better(self) -> Better {
        match self {
            FirstRate | LastRate | PodRate | Throughput => Better::More,
            _ => Better::Less,
        }
    }

    fn show(self, value: f64) -> String {
        match self {
            FirstRate | LastRate | PodRate => format!("{value:.0}"),
            _ => three_digits(value),
        }
    }
}
