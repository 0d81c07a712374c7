//! One change to the kernel's tables, as data.

use std::fmt;

use netlink_packet_core::{NLM_F_CREATE, NLM_F_EXCL, NLM_F_REPLACE};
use netlink_packet_route::RouteNetlinkMessage;

use super::{Address, FdbEntry, LinkChange, Neighbour, Route, address, fdb, link, neighbour, route};

/// One change. [`super::Netlink`] has a method of the same name for each, which says how it ends.
#[derive(Clone, Debug)]
pub enum Write {
    SetLink(u32, LinkChange),
    /// Whether a bridge's port sends back what came in by it.
    SetHairpin(u32, bool),
    DeleteLink(u32),
    AddAddress(Address),
    DeleteAddress(Address),
    /// Adds a route; `EEXIST` when its destination, metric and table are taken.
    AddRoute(Route),
    ReplaceRoute(Route),
    DeleteRoute(Route),
    SetNeighbour(Neighbour),
    DeleteNeighbour(Neighbour),
    SetFdb(FdbEntry),
    DeleteFdb(FdbEntry),
}

impl Write {
    /// The verb, for errors and logs; the object is what [`fmt::Display`] says.
    pub fn op(&self) -> &'static str {
        match self {
            Self::SetLink(..) | Self::SetHairpin(..) | Self::SetNeighbour(_) | Self::SetFdb(_) => "set",
            Self::AddAddress(_) | Self::AddRoute(_) => "add",
            Self::ReplaceRoute(_) => "replace",
            Self::DeleteLink(_)
            | Self::DeleteAddress(_)
            | Self::DeleteRoute(_)
            | Self::DeleteNeighbour(_)
            | Self::DeleteFdb(_) => "delete",
        }
    }

    pub(super) fn encode(&self) -> (RouteNetlinkMessage, u16) {
        use RouteNetlinkMessage as M;
        const NEW: u16 = NLM_F_CREATE | NLM_F_EXCL;
        const SET: u16 = NLM_F_CREATE | NLM_F_REPLACE;
        match self {
            Self::SetLink(index, change) => (M::SetLink(link::encode_change(*index, change)), 0),
            // As RTM_NEWLINK without NLM_F_CREATE: RTM_SETLINK leaves a port's data unread.
            Self::SetHairpin(index, on) => (M::NewLink(link::encode_hairpin(*index, *on)), 0),
            Self::DeleteLink(index) => (M::DelLink(link::encode_index(*index)), 0),
            Self::AddAddress(a) => (M::NewAddress(address::encode(a)), NEW),
            Self::DeleteAddress(a) => (M::DelAddress(address::encode(a)), 0),
            Self::AddRoute(r) => (M::NewRoute(route::encode(r)), NEW),
            Self::ReplaceRoute(r) => (M::NewRoute(route::encode(r)), SET),
            Self::DeleteRoute(r) => (M::DelRoute(route::encode_delete(r)), 0),
            Self::SetNeighbour(n) => (M::NewNeighbour(neighbour::encode(n)), SET),
            Self::DeleteNeighbour(n) => (M::DelNeighbour(neighbour::encode(n)), 0),
            Self::SetFdb(e) => (M::NewNeighbour(fdb::encode(e)), SET),
            Self::DeleteFdb(e) => (M::DelNeighbour(fdb::encode(e)), 0),
        }
    }
}

impl fmt::Display for Write {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SetLink(index, change) => write!(f, "link {index} {change}"),
            Self::SetHairpin(index, on) => {
                write!(f, "link {index} hairpin {}", if *on { "on" } else { "off" })
            }
            Self::DeleteLink(index) => write!(f, "link {index}"),
            Self::AddAddress(a) | Self::DeleteAddress(a) => write!(f, "address {a}"),
            Self::AddRoute(r) | Self::ReplaceRoute(r) | Self::DeleteRoute(r) => write!(f, "route {r}"),
            Self::SetNeighbour(n) | Self::DeleteNeighbour(n) => write!(f, "neighbour {n}"),
            Self::SetFdb(e) | Self::DeleteFdb(e) => write!(f, "FDB entry {e}"),
        }
    }
}
