//! This node and its view of the others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;

use crate::lease::{RawJson, Subnets};
use crate::mac::Mac;
use crate::network_id::NetworkId;
use crate::tables::{LinkName, Route};

/// One value for each address family.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PerFamily<T> {
    pub v4: T,
    pub v6: T,
}

/// This node: where it stands in the underlay and what it leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Which network it serves.
    pub id: NetworkId,
    /// The TUN of the udp backend.
    pub tun: LinkName,
    pub underlay: Underlay,
    /// What the other nodes send to. Differs from the underlay's address behind NAT.
    pub public_ip: Ipv4Addr,
    pub public_ipv6: Option<Ipv6Addr>,
    pub subnets: Subnets,
    /// MAC addresses of the VXLAN end points, as published in our lease.
    pub vtep: Option<Mac>,
    pub vtep_v6: Option<Mac>,
    /// Bridge for the pods to keep (`--bridge`).
    pub bridge: Option<LinkName>,
    /// Keep a blackhole route for our own subnet (`--ip-blackhole-route`).
    pub blackhole: bool,
}

/// The interface that carries the overlay's packets, as it is now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Underlay {
    pub name: LinkName,
    pub index: u32,
    pub mtu: u32,
    pub ip: Option<Ipv4Addr>,
    pub ipv6: Option<Ipv6Addr>,
    /// Addresses of this host on any interface: a public address that is not among them lies behind NAT.
    pub local: BTreeSet<IpAddr>,
}

/// What the kernel and the host's configuration say about the world around.
#[derive(Clone, Debug, Default)]
pub struct View {
    /// Public addresses that are reached without a gateway. Asked only for `DirectRouting`.
    pub direct: BTreeSet<IpAddr>,
    /// Routes of others, by destination. As far as one of ours could have the same.
    pub foreign: BTreeMap<IpNet, Vec<ForeignRoute>>,
    /// Addresses that no peer may take away from us, with what they are: our own, gateways, etcd.
    pub guarded: BTreeMap<IpAddr, String>,
    /// The networks that the underlay's link is part of.
    pub underlay: Vec<IpNet>,
}

/// A route that is not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignRoute {
    pub metric: u32,
    /// In our terms, as far as it has any.
    pub route: Option<Route>,
    /// `RTPROT_*`.
    pub protocol: u8,
    /// As a person would type it.
    pub text: String,
}

/// One family of a peer: a subnet, and where to send its packets.
#[derive(Debug)]
pub struct Reach<'a> {
    pub subnet: IpNet,
    pub public: IpAddr,
    pub data: Option<&'a RawJson>,
}
