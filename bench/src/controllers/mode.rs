//! What is compared: workloads, and whose controllers work on which API server.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::arguments::write_word;
use crate::servers::Kind;

/// What is worked on. In the order in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Workload {
    /// A Deployment, until all its Pod objects are there
    Deployment,
    /// Another template for a Deployment whose pods are ready, until all are new and ready
    RollingUpdate,
    /// A namespace full of objects, deleted until it is gone
    Namespace,
    /// Services whose endpoints become not ready, until the EndpointSlices say so
    Services,
    /// Jobs, until their pods are there, and from the end of these until the Jobs are complete
    Jobs,
    /// Nothing: memory and CPU of the controller manager at rest
    Idle,
    /// Nothing: memory and CPU of the whole control plane at rest, its etcd included
    Control,
}

impl Workload {
    /// What people read.
    pub fn title(self) -> &'static str {
        match self {
            Self::Deployment => "Deployment",
            Self::RollingUpdate => "Rolling update",
            Self::Namespace => "Namespace",
            Self::Services => "Services",
            Self::Jobs => "Jobs",
            Self::Idle => "Idle controller manager",
            Self::Control => "Idle control plane with its etcd",
        }
    }

    /// What there are so many of, for people.
    pub fn objects(self) -> &'static str {
        match self {
            Self::Deployment | Self::RollingUpdate => "replicas",
            Self::Namespace => "objects",
            Self::Services => "Services",
            Self::Jobs => "Jobs",
            Self::Idle | Self::Control => "",
        }
    }
}

/// The word on the command line and in JSON.
impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(self, f)
    }
}

/// Whose controllers work, on which API server. In the order in which they run and are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pair {
    /// weft controller-manager on weft apiserver
    Ours,
    /// kube-controller-manager on weft apiserver, without the limits of its client
    TheirsOnOurs,
    /// weft controller-manager on kube-apiserver
    OursOnTheirs,
    /// kube-controller-manager on kube-apiserver, without the limits of its client
    Theirs,
    /// kube-controller-manager on kube-apiserver with its default limits, for Deployments of up to 1000 replicas
    Limited,
    /// Nobody: 64 clients that create the pods of a Deployment on weft apiserver, which is what that takes
    Clients,
}

/// With its default limits the original creates 20 pods a second.
const MOST_LIMITED: u32 = 1000;

impl Pair {
    pub fn title(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::TheirsOnOurs => "kube-controller-manager on ours",
            Self::OursOnTheirs => "ours on kube-apiserver",
            Self::Theirs => "kube-controller-manager on kube-apiserver",
            Self::Limited => "the same with its default limits",
            Self::Clients => "64 clients on ours",
        }
    }

    pub fn server(self) -> Kind {
        match self {
            Self::Ours | Self::TheirsOnOurs | Self::Clients => Kind::Ours,
            Self::OursOnTheirs | Self::Theirs | Self::Limited => Kind::Original,
        }
    }

    /// Whether kube-controller-manager works.
    pub fn is_original(self) -> bool {
        matches!(self, Self::Theirs | Self::TheirsOnOurs | Self::Limited)
    }

    /// Whether this takes part in a workload of such a size.
    pub fn takes(self, workload: Workload, size: u32) -> bool {
        match (self, workload) {
            (Self::Clients, _) => workload == Workload::Deployment,
            (Self::Limited, _) => workload == Workload::Deployment && size <= MOST_LIMITED,
            (_, Workload::Control) => matches!(self, Self::Ours | Self::Theirs),
            _ => true,
        }
    }
}

impl fmt::Display for Pair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(self, f)
    }
}

/// A pair in one workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mode {
    pub workload: Workload,
    /// Objects; 0 where there are none.
    pub size: u32,
    pub pair: Pair,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { workload, size, pair } = self;
        match size {
            0 => write!(f, "{workload} of {pair}"),
            _ => write!(f, "{workload} {size} of {pair}"),
        }
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
    fn a_mode_says_its_size_where_it_has_one() {
        let mode = |workload, size| Mode { workload, size, pair: Pair::TheirsOnOurs }.to_string();
        assert_eq!(mode(Workload::RollingUpdate, 1000), "rolling-update 1000 of theirs-on-ours");
        assert_eq!(mode(Workload::Idle, 0), "idle of theirs-on-ours");
    }
}
