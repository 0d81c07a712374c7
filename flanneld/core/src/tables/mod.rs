//! The kernel tables that flanneld keeps: links, addresses, routes, neighbours and FDB entries.
//!
//! Owns: the description of those tables as plain values, the rule of what is ours, and the plan that turns
//! the tables we have into the tables we want. Begin at [`plan`].
//! Never: talks to the kernel, reads the clock, knows a backend.

mod link;
mod ownership;
mod plan;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use crate::mac::Mac;

pub use link::{BadLinkName, IpipLink, Link, LinkKind, LinkName, VxlanLink};
pub use ownership::{Ownership, PROTOCOL, SeenRoute};
pub use plan::{Conflict, Op, conflicts, plan, repairs};

/// A set of kernel tables: what we want, or what we have of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tables {
    pub links: BTreeMap<LinkName, Link>,
    pub addresses: BTreeSet<(LinkName, IpNet)>,
    pub routes: BTreeMap<RouteKey, Route>,
    /// Who answers to an address on a link. Permanent entries only.
    pub neighbours: BTreeMap<(LinkName, IpAddr), Mac>,
    /// Where a VXLAN link sends frames for a MAC. Permanent entries only.
    pub fdb: BTreeMap<(LinkName, Mac), IpAddr>,
}

/// What tells two routes of the main table apart: the kernel keeps one route for each of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RouteKey {
    pub destination: IpNet,
    /// Smaller is preferred. The kernel turns 0 into 1024 for IPv6; [`RouteKey::new`] does the same.
    pub metric: u32,
}

impl RouteKey {
    /// A route of ordinary preference.
    pub fn new(destination: IpNet) -> Self {
        Self::with_metric(destination, 0)
    }

    pub fn with_metric(destination: IpNet, metric: u32) -> Self {
        let metric = if destination.addr().is_ipv6() && metric == 0 { 1024 } else { metric };
        Self { destination: destination.trunc(), metric }
    }
}

/// What happens to a packet that takes a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// Leaves by a link, to a gateway where there is one.
    Out {
        dev: LinkName,
        via: Option<IpAddr>,
        /// The gateway is on the link though no address of the link says so.
        onlink: bool,
    },
    /// Is dropped in silence: keeps packets for pods that are not there from leaving by the default route.
    Blackhole,
}

impl fmt::Display for RouteKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.destination)?;
        match (self.metric, self.destination) {
            (0, _) | (1024, IpNet::V6(_)) => Ok(()),
            (metric, _) => write!(f, " metric {metric}"),
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Blackhole => f.write_str("blackhole"),
            Self::Out { dev, via, onlink } => {
                if let Some(via) = via {
                    write!(f, "via {via} ")?;
                }
                write!(f, "dev {dev}{}", if *onlink { " onlink" } else { "" })
            }
        }
    }
}
