//! The bridge for the pods (`--bridge docker0`): the first address of the subnet, and the pods' MTU.

use std::net::IpAddr;

use ipnet::IpNet;

use crate::lease::Subnets;
use crate::tables::{Link, LinkKind, LinkName, Tables};

pub(super) fn node(tables: &mut Tables, name: &LinkName, subnets: &Subnets, mtu: u32) {
    let link = Link { kind: LinkKind::Bridge, mac: None, mtu: Some(mtu), up: true, alias: None };
    tables.links.insert(name.clone(), link);
    for subnet in [Some(IpNet::from(subnets.v4)), subnets.v6.map(IpNet::from)].into_iter().flatten() {
        tables.addresses.insert((name.clone(), gateway(subnet)));
    }
}

/// The pods' default gateway: the subnet's first address after the network's own, with the subnet's length.
fn gateway(subnet: IpNet) -> IpNet {
    let first: IpAddr = match subnet {
        IpNet::V4(net) => (u32::from(net.network()).wrapping_add(1)).to_be_bytes().into(),
        IpNet::V6(net) => (u128::from(net.network()).wrapping_add(1)).to_be_bytes().into(),
    };
    IpNet::new(first, subnet.prefix_len()).expect("the length comes from a network of the same family")
}
