//! The difference between two sets of tables, as a list of operations in the order of their execution.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

use super::{Link, LinkKind, LinkName, Route, RouteKey, Tables};
use crate::mac::Mac;

/// One write to the kernel. Prints itself as the command that a person would type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Op {
    /// Deletes a link that has our name but cannot become what we want, since it was born otherwise.
    DelLink(LinkName),
    AddLink(LinkName, Link),
    /// Changes MAC, MTU or state of a link that stays. Holds the wanted link whole.
    SetLink(LinkName, Link),
    AddAddress(LinkName, IpNet),
    DelAddress(LinkName, IpNet),
    SetFdb(LinkName, Mac, IpAddr),
    DelFdb(LinkName, Mac, IpAddr),
    SetNeighbour(LinkName, IpAddr, Mac),
    DelNeighbour(LinkName, IpAddr),
    /// Adds a route where there is none with this key; refused where there is.
    AddRoute(RouteKey, Route),
    /// Puts a route in the place of one of ours with the same key.
    SetRoute(RouteKey, Route),
    DelRoute(RouteKey, Route),
}

/// The operations that turn `have` into `want`. Empty when they agree.
///
/// Routes leave first and arrive last, so that no packet meets a half-built path. Only what is in `have`
/// is deleted: the observer leaves out what is not ours (see [`super::Ownership`]).
pub fn plan(want: &Tables, have: &Tables) -> Vec<Op> {
    let reborn: BTreeSet<&LinkName> = want
        .links
        .iter()
        .filter(|(name, link)| must_be_reborn(link, have.links.get(*name)))
        .map(|(n, _)| n)
        .collect();
    let have = &without_links(have, &reborn);

    let mut ops = Vec::new();
    ops.extend(gone(&want.routes, &have.routes).map(|(key, route)| Op::DelRoute(*key, route.clone())));
    ops.extend(
        gone(&want.neighbours, &have.neighbours).map(|((link, ip), _)| Op::DelNeighbour(link.clone(), *ip)),
    );
    ops.extend(reborn.into_iter().cloned().map(Op::DelLink));
    for (name, link) in &want.links {
        match have.links.get(name) {
            None => ops.push(Op::AddLink(name.clone(), link.clone())),
            Some(present) if !satisfies(present, link) => ops.push(Op::SetLink(name.clone(), link.clone())),
            Some(_) => {}
        }
    }
    ops.extend(want.addresses.difference(&have.addresses).map(|(l, a)| Op::AddAddress(l.clone(), *a)));
    // With an address the kernel takes away the route to its network, also one that has been put in its place.
    ops.extend(have.addresses.difference(&want.addresses).map(|(l, a)| Op::DelAddress(l.clone(), *a)));
    ops.extend(new(&want.fdb, &have.fdb).map(|((link, mac), ip)| Op::SetFdb(link.clone(), *mac, *ip)));
    ops.extend(
        new(&want.neighbours, &have.neighbours).map(|((l, ip), mac)| Op::SetNeighbour(l.clone(), *ip, *mac)),
    );
    ops.extend(new(&want.routes, &have.routes).map(|(key, route)| {
        let replaces = have.routes.contains_key(key);
        if replaces { Op::SetRoute(*key, route.clone()) } else { Op::AddRoute(*key, route.clone()) }
    }));
    ops.extend(gone(&want.fdb, &have.fdb).map(|((link, mac), ip)| Op::DelFdb(link.clone(), *mac, *ip)));
    ops
}

impl Op {
    /// What it changes, as a person would name it. Several operations of a plan may have one object.
    pub fn object(&self) -> String {
        match self {
            Self::DelLink(name) | Self::AddLink(name, _) | Self::SetLink(name, _) => format!("link {name}"),
            Self::AddAddress(link, address) | Self::DelAddress(link, address) => {
                format!("address {address} of {link}")
            }
            Self::SetFdb(link, mac, _) | Self::DelFdb(link, mac, _) => format!("FDB entry {mac} of {link}"),
            Self::SetNeighbour(link, ip, _) | Self::DelNeighbour(link, ip) => {
                format!("neighbour {ip} of {link}")
            }
            Self::AddRoute(key, _) | Self::SetRoute(key, _) | Self::DelRoute(key, _) => {
                format!("route {key}")
            }
        }
    }

    /// Whether it restores what `last` wanted already, so that somebody has changed it since that was carried out.
    fn restores(&self, last: &Tables) -> bool {
        match self {
            Self::DelLink(name) => last.links.contains_key(name),
            Self::AddLink(name, link) | Self::SetLink(name, link) => last.links.get(name) == Some(link),
            Self::AddAddress(link, address) => last.addresses.contains(&(link.clone(), *address)),
            Self::DelAddress(link, address) => !last.addresses.contains(&(link.clone(), *address)),
            Self::SetFdb(link, mac, ip) => last.fdb.get(&(link.clone(), *mac)) == Some(ip),
            Self::DelFdb(link, mac, _) => !last.fdb.contains_key(&(link.clone(), *mac)),
            Self::SetNeighbour(link, ip, mac) => last.neighbours.get(&(link.clone(), *ip)) == Some(mac),
            Self::DelNeighbour(link, ip) => !last.neighbours.contains_key(&(link.clone(), *ip)),
            Self::AddRoute(key, route) | Self::SetRoute(key, route) => last.routes.get(key) == Some(route),
            Self::DelRoute(key, _) => !last.routes.contains_key(key),
        }
    }

    /// The link that it changes or that its object hangs on.
    fn link(&self) -> Option<&LinkName> {
        match self {
            Self::DelLink(name) | Self::AddLink(name, _) | Self::SetLink(name, _) => Some(name),
            Self::AddAddress(link, _)
            | Self::DelAddress(link, _)
            | Self::SetFdb(link, ..)
            | Self::DelFdb(link, ..)
            | Self::SetNeighbour(link, ..)
            | Self::DelNeighbour(link, _) => Some(link),
            Self::AddRoute(_, route) | Self::SetRoute(_, route) | Self::DelRoute(_, route) => match route {
                Route::Out { dev, .. } => Some(dev),
                Route::Blackhole => None,
            },
        }
    }
}

/// The operations of a plan that undo what somebody did since `last` was carried out, by their place. What hangs on a
/// link that changes in the same plan went with it, and is not counted.
pub fn repairs(plan: &[Op], last: &Tables) -> Vec<usize> {
    let is_link = |op: &Op| matches!(op, Op::DelLink(_) | Op::AddLink(..) | Op::SetLink(..));
    let changing: BTreeSet<&LinkName> = plan.iter().filter(|op| is_link(op)).filter_map(Op::link).collect();
    let counts = |op: &Op| is_link(op) || op.link().is_none_or(|link| !changing.contains(link));
    let repair = |(_, op): &(usize, &Op)| counts(op) && op.restores(last);
    plan.iter().enumerate().filter(repair).map(|(place, _)| place).collect()
}

/// A tunnel's parameters are fixed at its birth: one of ours with others has to go first.
fn must_be_reborn(want: &Link, have: Option<&Link>) -> bool {
    have.is_some_and(|have| have.kind != want.kind && have.kind.is_like(&want.kind))
}

/// Somebody else's link stands where one of ours should: nothing is written until a person resolves it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "interface {name} exists and is a {have}, not a {want}: delete or rename it, or let flanneld use another name"
)]
pub struct Conflict {
    pub name: LinkName,
    pub have: LinkKind,
    pub want: LinkKind,
}

/// The links in the way of what we want. To be asked before [`plan`].
pub fn conflicts(want: &Tables, have: &Tables) -> Vec<Conflict> {
    want.links
        .iter()
        .filter_map(|(name, want)| have.links.get(name).map(|have| (name, &want.kind, &have.kind)))
        .filter(|(_, want, have)| !want.is_like(have))
        .map(|(name, want, have)| Conflict { name: name.clone(), have: have.clone(), want: want.clone() })
        .collect()
}

fn satisfies(have: &Link, want: &Link) -> bool {
    have.up == want.up
        && (want.mac.is_none() || want.mac == have.mac)
        && (want.mtu.is_none() || want.mtu == have.mtu)
        && (want.alias.is_none() || want.alias == have.alias)
}

/// The tables after the kernel has deleted some links, with all that hung on them.
fn without_links(tables: &Tables, dead: &BTreeSet<&LinkName>) -> Tables {
    let mut left = tables.clone();
    if dead.is_empty() {
        return left;
    }
    left.links.retain(|name, _| !dead.contains(name));
    left.addresses.retain(|(link, _)| !dead.contains(link));
    left.neighbours.retain(|(link, _), _| !dead.contains(link));
    left.fdb.retain(|(link, _), _| !dead.contains(link));
    left.routes.retain(|_, route| !matches!(route, Route::Out { dev, .. } if dead.contains(dev)));
    left
}

fn gone<'a, K: Ord, V>(
    want: &'a BTreeMap<K, V>,
    have: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    have.iter().filter(|(key, _)| !want.contains_key(key))
}

fn new<'a, K: Ord, V: PartialEq>(
    want: &'a BTreeMap<K, V>,
    have: &'a BTreeMap<K, V>,
) -> impl Iterator<Item = (&'a K, &'a V)> {
    want.iter().filter(|(key, value)| have.get(key) != Some(value))
}

impl fmt::Display for Op {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DelLink(name) => write!(f, "link del {name}"),
            Self::AddLink(name, link) => write!(f, "link add {name} type {link}"),
            Self::SetLink(name, link) => write!(f, "link set {name} to {link}"),
            Self::AddAddress(link, address) => write!(f, "addr add {address} dev {link}"),
            Self::DelAddress(link, address) => write!(f, "addr del {address} dev {link}"),
            Self::SetFdb(link, mac, ip) => write!(f, "fdb replace {mac} dev {link} dst {ip}"),
            Self::DelFdb(link, mac, ip) => write!(f, "fdb del {mac} dev {link} dst {ip}"),
            Self::SetNeighbour(link, ip, mac) => write!(f, "neigh replace {ip} lladdr {mac} dev {link}"),
            Self::DelNeighbour(link, ip) => write!(f, "neigh del {ip} dev {link}"),
            Self::AddRoute(key, route) => write!(f, "route add {key} {route}"),
            Self::SetRoute(key, route) => write!(f, "route replace {key} {route}"),
            Self::DelRoute(key, route) => write!(f, "route del {key} {route}"),
        }
    }
}
