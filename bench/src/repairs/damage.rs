//! What is damaged, and what has to be seen again.

use std::fmt;

use clap::ValueEnum;
use lab::LabError;
use lab::node::Node;
use serde::{Deserialize, Serialize};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Damage {
    /// All routes to peers are deleted
    Routes,
    /// All neighbours of flannel.1 are deleted
    Neighbours,
    /// All FDB entries of flannel.1 are deleted
    Fdb,
    /// flannel.1 loses its addresses
    Addresses,
    /// flannel.1 is set down
    Down,
    /// flannel.1 is deleted
    Link,
    /// The firewall's table is deleted
    Table,
}

impl Damage {
    /// Shell commands that do it, on a node with one peer.
    pub fn script(self) -> &'static str {
        match self {
            Self::Routes => "ip route flush proto 87",
            Self::Neighbours => "ip neighbour flush dev flannel.1 nud permanent",
            Self::Fdb => {
                "bridge fdb show dev flannel.1 | while read -r mac rest; do bridge fdb del \"$mac\" dev flannel.1; done"
            }
            Self::Addresses => "ip -4 address flush dev flannel.1",
            Self::Down => "ip link set flannel.1 down",
            Self::Link => "ip link del flannel.1",
            Self::Table => "nft delete table ip flannel-ipv4",
        }
    }

    /// What is there now of what it damages.
    ///
    /// # Errors
    /// The tools cannot be run.
    pub fn look(self, node: &Node) -> Result<String, LabError> {
        let script = match self {
            Self::Routes => "ip route show proto 87",
            Self::Neighbours => "ip neighbour show dev flannel.1 nud permanent",
            Self::Fdb => "bridge fdb show dev flannel.1",
            Self::Addresses => "ip -4 -oneline address show dev flannel.1 | tr -s ' ' | cut -d' ' -f4",
            // The index is another one after the link was deleted, and all that hangs on the link has to be back.
            Self::Down | Self::Link => {
                "{ ip -oneline link show dev flannel.1 | cut -d: -f2-; ip route show proto 87
                 ip neighbour show dev flannel.1 nud permanent; bridge fdb show dev flannel.1; } 2>&1; true"
            }
            Self::Table => "nft list table ip flannel-ipv4 2>&1 | sed 's,counter packets.*bytes [0-9]*,,'",
        };
        Ok(node.run(["sh", "-c", script])?)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Routes => "routes deleted",
            Self::Neighbours => "neighbours deleted",
            Self::Fdb => "FDB entries deleted",
            Self::Addresses => "addresses deleted",
            Self::Down => "flannel.1 down",
            Self::Link => "flannel.1 deleted",
            Self::Table => "firewall table deleted",
        })
    }
}
