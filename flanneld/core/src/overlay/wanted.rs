//! The answer: wanted tables, and the leases that are left out.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr};

use ipnet::{IpNet, Ipv4Net};

use crate::lease::Subnets;
use crate::mac::Mac;
use crate::tables::{RouteKey, Tables};

/// The wanted state of this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Wanted {
    pub tables: Tables,
    /// The udp backend's peers. They live in its data path and not in a kernel table.
    pub udp_peers: BTreeMap<Ipv4Net, Ipv4Addr>,
    /// Routes of the original that are as we want them: they become ours.
    pub adopted: BTreeSet<RouteKey>,
    /// Routes of this node itself that a route of another keeps from being made; the other as a person would type it.
    pub blocked: Vec<(RouteKey, String)>,
    /// MAC addresses that several peers publish, with their public addresses: one of them gets the frames.
    pub shared_macs: BTreeMap<Mac, BTreeSet<IpAddr>>,
    /// Leases that this node cannot use, with the reason.
    pub ignored: Vec<(Subnets, Ignored)>,
}

impl Wanted {
    /// Takes in what one peer needs.
    pub(super) fn join(&mut self, peer: Self) {
        let Self { tables, udp_peers, adopted, blocked, shared_macs, ignored } = peer;
        self.tables.links.extend(tables.links);
        self.tables.addresses.extend(tables.addresses);
        self.tables.routes.extend(tables.routes);
        self.tables.neighbours.extend(tables.neighbours);
        for ((dev, mac), ip) in tables.fdb {
            if let Some(other) = self.tables.fdb.insert((dev, mac), ip) {
                self.shared_macs.entry(mac).or_default().extend([other, ip]);
            }
        }
        self.udp_peers.extend(udp_peers);
        self.adopted.extend(adopted);
        self.blocked.extend(blocked);
        self.shared_macs.extend(shared_macs);
        self.ignored.extend(ignored);
    }
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
    /// It is no part of the network (or the node's configuration is an older one).
    Outside(IpNet),
    /// A route to it would take away the node's own way to its peers, to etcd or to the world.
    Covers(String),
    /// Somebody has made a route to the same destination.
    RouteOfAnother(String),
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
            Self::Outside(network) => write!(
                f,
                "it lies outside of the network {network}; delete it, or restart flanneld if the network has changed"
            ),
            Self::Covers(what) => write!(
                f,
                "a route to it would cut this node off, for it covers {what}; choose a Network that the hosts do not use"
            ),
            Self::RouteOfAnother(route) => write!(
                f,
                "another program's route leads there: {route}; delete that route to use the lease (it is taken up at once)"
            ),
        }
    }
}
