//! What is compared: workloads, and who schedules on which API server.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::arguments::write_word;
use crate::servers::Kind;

/// What is scheduled. Those of upstream's scheduler_perf have its names. In the order in which they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// Pods that were there before the scheduler
    Backlog,
    /// SchedulingBasic: pods as they come
    Basic,
    /// SchedulingPodAffinity: pods that want to be in the zone of their like
    Affinity,
    /// SchedulingPodAntiAffinity: pods that want a node without their like
    AntiAffinity,
    /// TopologySpreading: pods that are spread over three zones
    Spreading,
    /// PreemptionBasic: pods that fit only where others go
    Preemption,
}

impl Workload {
    /// What people read.
    pub fn title(self) -> &'static str {
        match self {
            Self::Backlog => "Backlog",
            Self::Basic => "SchedulingBasic",
            Self::Affinity => "SchedulingPodAffinity",
            Self::AntiAffinity => "SchedulingPodAntiAffinity",
            Self::Spreading => "TopologySpreading",
            Self::Preemption => "PreemptionBasic",
        }
    }
}

/// The word on the command line and in JSON.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(self, f)
    }
}

/// Who schedules, on which API server. In the order in which they run and are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pair {
    /// weft scheduler on weft apiserver
    Ours,
    /// kube-scheduler on weft apiserver
    TheirsOnOurs,
    /// weft scheduler on kube-apiserver
    OursOnTheirs,
    /// kube-scheduler on kube-apiserver
    Theirs,
    /// Nobody: 64 clients that bind the backlog in turn on weft apiserver, which is what that takes
    Clients,
}

impl Pair {
    pub fn title(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::TheirsOnOurs => "kube-scheduler on ours",
            Self::OursOnTheirs => "ours on kube-apiserver",
            Self::Theirs => "kube-scheduler on kube-apiserver",
            Self::Clients => "64 clients on ours",
        }
    }

    pub fn server(self) -> Kind {
        match self {
            Self::Ours | Self::TheirsOnOurs | Self::Clients => Kind::Ours,
            Self::OursOnTheirs | Self::Theirs => Kind::Original,
        }
    }

    /// Whether kube-scheduler schedules.
    pub fn is_original(self) -> bool {
        matches!(self, Self::Theirs | Self::TheirsOnOurs)
    }

    /// Whether this takes part in a workload.
    pub fn takes(self, workload: Workload) -> bool {
        self != Self::Clients || workload == Workload::Backlog
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(self, f)
    }
}

/// Nodes, and pods that are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Size {
    pub nodes: u32,
    pub pods: u32,
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}x{}", self.nodes, self.pods)
    }
}

/// A pair in one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mode {
    pub workload: Workload,
    pub size: Size,
    pub pair: Pair,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, size, pair } = self;
        write!(f, "{workload} {size} of {pair}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_and_json_use_the_same_words() {
        for workload in Workload::value_variants() {
            assert_eq!(serde_json::to_value(workload).unwrap(), workload.to_string());
        }
        for pair in Pair::value_variants() {
            assert_eq!(serde_json::to_value(pair).unwrap(), pair.to_string());
        }
    }

    #[test]
    fn a_mode_says_its_size() {
        let size = Size { nodes: 100, pods: 1000 };
        let mode = Mode { workload: Workload::AntiAffinity, size, pair: Pair::TheirsOnOurs };
        assert_eq!(mode.to_string(), "anti-affinity 100x1000 of theirs-on-ours");
    }
}
