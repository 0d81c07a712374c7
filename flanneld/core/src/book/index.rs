//! Finds the leases that get in each other's way, without a walk over all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use ipnet::IpNet;

use crate::lease::{LeaseAttrs, Subnets};

/// The stored leases by address and by network.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Index {
    by_address: BTreeMap<IpAddr, BTreeSet<Subnets>>,
    by_net: BTreeMap<IpNet, BTreeSet<Subnets>>,
}

impl Index {
    pub fn insert(&mut self, subnets: &Subnets, attrs: &LeaseAttrs) {
        for address in addresses(attrs) {
            self.by_address.entry(address).or_default().insert(*subnets);
        }
        for net in nets(subnets) {
            self.by_net.entry(net).or_default().insert(*subnets);
        }
    }

    pub fn remove(&mut self, subnets: &Subnets, attrs: &LeaseAttrs) {
        for address in addresses(attrs) {
            take(&mut self.by_address, &address, subnets);
        }
        for net in nets(subnets) {
            take(&mut self.by_net, &net, subnets);
        }
    }

    /// The leases at an address, in their order.
    pub fn at(&self, address: IpAddr) -> impl Iterator<Item = Subnets> {
        self.by_address.get(&address).into_iter().flatten().copied()
    }

    /// Other leases with a common address in either family. Networks are either nested or apart, so these are the
    /// networks around each of ours, and those that begin inside it. One that overlaps in both families comes twice.
    pub fn overlapping(&self, subnets: &Subnets) -> impl Iterator<Item = Subnets> {
        let subnets = *subnets;
        nets(&subnets)
            .flat_map(|net| {
                let around = std::iter::successors(net.supernet(), IpNet::supernet);
                let around = around.filter_map(|net| self.by_net.get(&net)).flatten();
                let last = IpNet::new_assert(net.broadcast(), net.max_prefix_len());
                around.chain(self.by_net.range(net..=last).flat_map(|(_, leases)| leases))
            })
            .filter(move |other| **other != subnets)
            .copied()
    }
}

pub(super) fn addresses(attrs: &LeaseAttrs) -> impl Iterator<Item = IpAddr> + use<> {
    std::iter::once(attrs.public_ip.into()).chain(attrs.public_ipv6.map(IpAddr::V6))
}

fn nets(subnets: &Subnets) -> impl Iterator<Item = IpNet> + use<> {
    std::iter::once(subnets.v4.into()).chain(subnets.v6.map(IpNet::V6))
}

fn take<K: Ord>(map: &mut BTreeMap<K, BTreeSet<Subnets>>, key: &K, subnets: &Subnets) {
    if let Some(leases) = map.get_mut(key) {
        leases.remove(subnets);
        if leases.is_empty() {
            map.remove(key);
        }
    }
}
