//! What is compared, and under which load.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::arguments::write_word;
use crate::servers::Kind;

/// Who answers. In the order in which they run and are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Server {
    /// weft apiserver
    Ours,
    /// kube-apiserver
    Original,
    /// No API server: a client that writes the same bytes into etcd
    Etcd,
}

impl Server {
    /// Whose server makes the bytes.
    pub fn kind(self) -> Kind {
        match self {
            Self::Ours | Self::Etcd => Kind::Ours,
            Self::Original => Kind::Original,
        }
    }

    /// What people read.
    pub fn title(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Original => "kube-apiserver",
            Self::Etcd => "etcd alone",
        }
    }
}

/// The word on the command line and in JSON.
impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(self, f)
    }
}

/// What is measured together. In the order in which it is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// From exec to ready, over an empty etcd and over one that was used
    Start,
    /// Memory: idle, with pods, with watchers
    Memory,
    /// Pods created, by 1, 16 and 64 clients
    Creates,
    /// Pods written again with another annotation
    Updates,
    /// Pods read by name
    Gets,
    /// Labels set by server-side apply
    Applies,
    /// All pods in one answer, in JSON and in protobuf
    Lists,
    /// From a write's first byte to 1, 100 and 1,000 watchers of all pods
    Watches,
}

impl Part {
    /// Whether etcd alone can do something of the kind.
    pub fn is_of_etcd(self) -> bool {
        matches!(self, Self::Creates | Self::Updates | Self::Gets)
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(self, f)
    }
}

/// A server in one part, under one load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mode {
    pub part: Part,
    /// Clients at the same time, or watchers; 0 where there is no such number.
    pub load: u32,
    pub server: Server,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.part, self.server)?;
        match (self.part, self.load) {
            (_, 0) => Ok(()),
            (Part::Watches, load) => write!(f, " to {load} watchers"),
            (_, load) => write!(f, " by {load} clients"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_and_json_use_the_same_words() {
        for server in Server::value_variants() {
            assert_eq!(serde_json::to_value(server).unwrap(), server.to_string());
        }
        for part in Part::value_variants() {
            assert_eq!(serde_json::to_value(part).unwrap(), part.to_string());
        }
    }

    #[test]
    fn a_mode_says_its_load() {
        let mode = |part, load| Mode { part, load, server: Server::Ours }.to_string();
        assert_eq!(mode(Part::Start, 0), "start of ours");
        assert_eq!(mode(Part::Creates, 16), "creates of ours by 16 clients");
        assert_eq!(mode(Part::Watches, 1000), "watches of ours to 1000 watchers");
    }
}
