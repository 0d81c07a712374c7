//! Which leases may be routed to: none that would cut the node off, and none whose route somebody else has made.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;

use super::wanted::{Ignored, Wanted};
use super::{ForeignRoute, PerFamily, View};
use crate::config::NetworkConfig;
use crate::lease::LeaseAttrs;
use crate::tables::{Route, RouteKey};

/// `RTPROT_BOOT`: what `ip route add` and flannel itself write.
const BOOT: u8 = 3;

/// What no lease may cover.
#[derive(Debug)]
pub(super) struct Guards<'a> {
    networks: PerFamily<Option<IpNet>>,
    /// Only those inside our networks: a lease has to be inside, too.
    addresses: BTreeMap<IpAddr, &'a str>,
    underlay: Vec<IpNet>,
}

impl<'a> Guards<'a> {
    /// `peers`: a route to a peer's pods that covers the address of a peer leads its tunnel's packets into the tunnel.
    pub fn new(
        config: &NetworkConfig,
        view: &'a View,
        peers: impl IntoIterator<Item = &'a LeaseAttrs>,
    ) -> Self {
        let networks = config.networks();
        let inside = |ip: &IpAddr| of(networks, *ip).is_some_and(|network| network.contains(ip));
        let public = peers.into_iter().flat_map(|attrs| {
            [Some(IpAddr::from(attrs.public_ip)), attrs.public_ipv6.map(IpAddr::from)].into_iter().flatten()
        });
        let mut addresses: BTreeMap<IpAddr, &str> =
            public.filter(inside).map(|ip| (ip, "the address of a peer")).collect();
        let guarded = view.guarded.iter().filter(|(ip, _)| inside(ip));
        addresses.extend(guarded.map(|(ip, what)| (*ip, what.as_str())));
        Self { networks, addresses, underlay: view.underlay.clone() }
    }

    pub fn admit(&self, subnet: IpNet) -> Result<(), Ignored> {
        if let Some(network) = of(self.networks, subnet.addr()).filter(|network| !network.contains(&subnet)) {
            return Err(Ignored::Outside(network));
        }
        if let Some(covered) = self.underlay.iter().find(|network| subnet.contains(*network)) {
            return Err(Ignored::Covers(format!("the underlay's own network {covered}")));
        }
        let (first, last) = (subnet.network(), subnet.broadcast());
        match self.addresses.range(first..=last).next() {
            Some((ip, what)) => Err(Ignored::Covers(format!("{what} ({ip})"))),
            None => Ok(()),
        }
    }
}

fn of(networks: PerFamily<Option<IpNet>>, ip: IpAddr) -> Option<IpNet> {
    if ip.is_ipv4() { networks.v4 } else { networks.v6 }
}

/// What becomes of a route that we want, given those of others.
enum Claim<'a> {
    Free,
    /// The original has made it as we would.
    Adopt,
    /// Somebody else has.
    Made,
    Blocked(&'a ForeignRoute),
}

fn look<'a>(view: &'a View, key: &RouteKey, route: &Route) -> Claim<'a> {
    // One with a larger metric stays in its place behind ours.
    let preferred =
        view.foreign.get(&key.destination).into_iter().flatten().filter(|f| f.metric <= key.metric);
    match preferred.min_by_key(|foreign| foreign.metric) {
        None => Claim::Free,
        Some(foreign) if foreign.metric == key.metric && foreign.route.as_ref() == Some(route) => {
            if foreign.protocol == BOOT { Claim::Adopt } else { Claim::Made }
        }
        Some(foreign) => Claim::Blocked(foreign),
    }
}

/// Sorts the routes of one peer. One that is blocked makes the lease useless.
pub(super) fn claim(parts: &mut Wanted, view: &View) -> Result<(), Ignored> {
    let mut made = Vec::new();
    for (key, route) in &parts.tables.routes {
        match look(view, key, route) {
            Claim::Free => {}
            Claim::Adopt => drop(parts.adopted.insert(*key)),
            Claim::Made => made.push(*key),
            Claim::Blocked(foreign) => return Err(Ignored::RouteOfAnother(foreign.text.clone())),
        }
    }
    parts.tables.routes.retain(|key, _| !made.contains(key));
    Ok(())
}

/// Sorts the routes that the node wants for itself.
pub(super) fn own_routes(wanted: &mut Wanted, view: &View) {
    let (adopted, blocked) = (&mut wanted.adopted, &mut wanted.blocked);
    // A blackhole is there to be behind all others.
    let same_key = |key: &RouteKey| {
        view.foreign.get(&key.destination).into_iter().flatten().any(|foreign| foreign.metric == key.metric)
    };
    wanted.tables.routes.retain(|key, route| *route != Route::Blackhole || !same_key(key));
    wanted.tables.routes.retain(|key, route| match look(view, key, route) {
        _ if *route == Route::Blackhole => true,
        Claim::Free => true,
        Claim::Adopt => {
            adopted.insert(*key);
            true
        }
        Claim::Made => false,
        Claim::Blocked(foreign) => {
            blocked.push((*key, foreign.text.clone()));
            false
        }
    });
}
