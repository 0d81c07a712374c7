//! The answer: wanted tables, and the leases that are left out.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use crate::lease::Subnets;
use crate::tables::Tables;

/// The wanted state of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub tables: Tables,
    /// The udp backend's peers. They live in its data path and not in a kernel table.
    pub udp_peers: BTreeMap<Ipv4Net, Ipv4Addr>,
    /// Leases that this node cannot use, with the reason.
    pub ignored: Vec<(Subnets, Ignored)>,
}

/// Why a peer's lease is of no use to this node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// It speaks another backend.
    OtherBackend(String),
    /// Its backend data are missing or malformed.
    BadData(String),
    /// It has no public address of the family that the subnet needs.
    NoAddress,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherBackend(kind) if kind.is_empty() => {
                f.write_str("its node names no backend (udp or alloc)")
            }
            Self::OtherBackend(kind) => write!(f, "its node runs backend {kind:?}"),
            Self::BadData(reason) => write!(f, "its backend data are unusable: {reason}"),
            Self::NoAddress => f.write_str("its node publishes no address of that family"),
        }
    }
}
