//! Which of the kernel's tables a change is worth a look at.
//!
//! Begin at [`Attention::parts`]. What the kernel tells is compared with what the last look saw; a change that cannot
//! concern us costs nothing. Never: takes a change for a fact. It only says where to look again.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::ops::BitOrAssign;

use ipnet::IpNet;

/// What the kernel told. Links are named by their index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Link(u32),
    Address(u32),
    /// A route of the main table.
    Route {
        destination: IpNet,
        dev: Option<u32>,
    },
    /// Of a table that is not the main one.
    OtherRoute,
    Neighbour(u32),
    /// An entry of a VXLAN link's or a bridge's forwarding database.
    Fdb(u32),
    /// Changes that nobody heard of.
    Lost,
}

/// Tables to be read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Links and addresses.
    pub links: bool,
    pub routes: bool,
    /// Of the overlay's links.
    pub neighbours: bool,
    /// Of the overlay's links.
    pub fdb: bool,
    /// Nothing has to be read, but the pods' bridge may have another port.
    pub bridge: bool,
}

impl Parts {
    pub const ALL: Self = Self { links: true, routes: true, neighbours: true, fdb: true, bridge: true };

    /// Whether there is anything to do.
    pub fn any(self) -> bool {
        self != Self::default()
    }
}

impl BitOrAssign for Parts {
    fn bitor_assign(&mut self, other: Self) {
        self.links |= other.links;
        self.routes |= other.routes;
        self.neighbours |= other.neighbours;
        self.fdb |= other.fdb;
        self.bridge |= other.bridge;
    }
}

/// What the last look saw, as far as it decides what the next change means.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attention {
    /// All links. One that is not among them may have one of our names.
    pub known: BTreeSet<u32>,
    /// The links that carry the overlay.
    pub overlay: BTreeSet<u32>,
    /// The overlay's links, the pods' bridge, the underlay.
    pub ours: BTreeSet<u32>,
    /// The links by which routes into our networks and default routes leave.
    pub routed: BTreeSet<u32>,
    /// The networks that subnets are leased from.
    pub networks: Vec<IpNet>,
    /// Any route may change the way to a peer (`DirectRouting`).
    pub all_routes: bool,
    /// The data path follows the ports of the pods' bridge (udp with packet programs).
    pub bridge_ports: bool,
}

impl Attention {
    /// What to read again after a change.
    pub fn parts(&self, change: Change) -> Parts {
        match change {
            Change::Lost => Parts::ALL,
            // The kernel says nothing of the routes and entries that go with a link.
            Change::Link(index) if self.overlay.contains(&index) => Parts::ALL,
            Change::Link(index) if self.ours.contains(&index) => {
                Parts { links: true, routes: true, bridge: self.bridge_ports, ..Parts::default() }
            }
            Change::Link(index) if !self.known.contains(&index) => Parts::ALL,
            Change::Link(index) => Parts {
                links: true,
                routes: self.routed.contains(&index),
                bridge: self.bridge_ports,
                ..Parts::default()
            },
            // Nor of the routes that go with an address. Those of others count too: a lease must not cover them.
            Change::Address(index) => Parts {
                links: true,
                routes: self.ours.contains(&index) || self.routed.contains(&index),
                ..Parts::default()
            },
            Change::Route { destination, dev } => Parts {
                routes: self.all_routes
                    || destination.prefix_len() == 0
                    || dev.is_some_and(|dev| self.overlay.contains(&dev))
                    || self.networks.iter().any(|network| network.contains(&destination)),
                ..Parts::default()
            },
            Change::OtherRoute => Parts { routes: self.all_routes, ..Parts::default() },
            Change::Neighbour(index) => {
                Parts { neighbours: self.overlay.contains(&index), ..Parts::default() }
            }
            Change::Fdb(index) => Parts {
                fdb: self.overlay.contains(&index),
                bridge: self.bridge_ports && !self.overlay.contains(&index),
                ..Parts::default()
            },
        }
    }
}
