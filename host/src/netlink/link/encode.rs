//! Links into messages.

use std::net::IpAddr;
use std::os::fd::{AsFd, AsRawFd};

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoBridgePort, InfoData, InfoIpTunnel, InfoKind, InfoPortData, InfoPortKind, InfoVeth, InfoVxlan,
    LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkMessage,
};
use rtnetlink::{LinkMessageBuilder, LinkUnspec};

use super::{IpipLink, LinkChange, NewLink, NewLinkKind, Peer, VxlanLink};

type Builder = LinkMessageBuilder<LinkUnspec>;

pub(in crate::netlink) fn dump_request() -> RouteNetlinkMessage {
    let mut message = LinkMessage::default();
    // Counters are most of a link's message, and nobody here reads them. Kernels before 4.7 ignore this.
    message.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
    RouteNetlinkMessage::GetLink(message)
}

pub(in crate::netlink) fn get_by_index(index: u32) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(encode_index(index))
}

pub(in crate::netlink) fn get_by_name(name: &str) -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetLink(Builder::new().name(name).build())
}

pub(in crate::netlink) fn encode_index(index: u32) -> LinkMessage {
    Builder::new().index(index).build()
}

pub(in crate::netlink) fn encode_new(new: &NewLink) -> LinkMessage {
    let (kind, data) = match &new.kind {
        NewLinkKind::Vxlan(vxlan) => (InfoKind::Vxlan, Some(InfoData::Vxlan(encode_vxlan(vxlan)))),
        NewLinkKind::Bridge => (InfoKind::Bridge, None),
        NewLinkKind::Ipip(ipip) => (InfoKind::IpIp, Some(InfoData::IpTunnel(encode_ipip(ipip)))),
        NewLinkKind::Wireguard => (InfoKind::Wireguard, None),
        NewLinkKind::Dummy => (InfoKind::Dummy, None),
        NewLinkKind::Veth(peer) => (InfoKind::Veth, Some(InfoData::Veth(InfoVeth::Peer(encode_peer(peer))))),
    };
    let mut builder = Builder::new_with_info_kind(kind).name(new.name.as_str());
    if let Some(data) = data {
        builder = builder.set_info_data(data);
    }
    if new.up {
        builder = builder.up();
    }
    let mut message = builder.build();
    let attributes = &mut message.attributes;
    attributes.extend(new.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
    attributes.extend(new.mtu.map(LinkAttribute::Mtu));
    attributes.extend(new.master.map(LinkAttribute::Controller));
    attributes.extend(new.tx_queue_len.map(LinkAttribute::TxQueueLen));
    attributes.extend(new.namespace.as_ref().map(|ns| LinkAttribute::NetNsFd(ns.as_fd().as_raw_fd())));
    message
}

fn encode_peer(peer: &Peer) -> LinkMessage {
    // Not `up`: the kernel opens this end before it knows the other, and refuses with ENOTCONN (6.18 and before).
    let mut message = Builder::new().name(peer.name.as_str()).build();
    let attributes = &mut message.attributes;
    attributes.extend(peer.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
    attributes.extend(peer.mtu.map(LinkAttribute::Mtu));
    attributes.extend(peer.namespace.as_ref().map(|ns| LinkAttribute::NetNsFd(ns.as_fd().as_raw_fd())));
    message
}

fn encode_ipip(ipip: &IpipLink) -> Vec<InfoIpTunnel> {
    let local = ipip.local.map(|ip| InfoIpTunnel::Local(ip.into()));
    local.into_iter().chain(ipip.dev.map(InfoIpTunnel::Link)).collect()
}

fn encode_vxlan(vxlan: &VxlanLink) -> Vec<InfoVxlan> {
    let mut data =
        vec![InfoVxlan::Id(vxlan.vni), InfoVxlan::Port(vxlan.port), InfoVxlan::Learning(vxlan.learning)];
    data.extend(vxlan.dev.map(InfoVxlan::Link));
    data.extend(vxlan.local.map(|ip| match ip {
        IpAddr::V4(ip) => InfoVxlan::Local(ip),
        IpAddr::V6(ip) => InfoVxlan::Local6(ip),
    }));
    data.extend(vxlan.group.map(|ip| match ip {
        IpAddr::V4(ip) => InfoVxlan::Group(ip),
        IpAddr::V6(ip) => InfoVxlan::Group6(ip),
    }));
    if vxlan.gbp {
        data.push(InfoVxlan::Gbp);
    }
    data
}

pub(in crate::netlink) fn encode_change(index: u32, change: &LinkChange) -> LinkMessage {
    let mut message = encode_index(index);
    if let Some(up) = change.up {
        message.header.flags.set(LinkFlags::Up, up);
        message.header.change_mask |= LinkFlags::Up;
    }
    let attributes = &mut message.attributes;
    attributes.extend(change.name.clone().map(LinkAttribute::IfName));
    attributes.extend(change.mtu.map(LinkAttribute::Mtu));
    attributes.extend(change.mac.map(|mac| LinkAttribute::Address(mac.to_vec())));
    attributes.extend(change.master.map(|master| LinkAttribute::Controller(master.unwrap_or(0))));
    attributes.extend(change.alias.clone().map(LinkAttribute::IfAlias));
    attributes.extend(change.tx_queue_len.map(LinkAttribute::TxQueueLen));
    attributes.extend(change.namespace.as_ref().map(|ns| LinkAttribute::NetNsFd(ns.as_fd().as_raw_fd())));
    message
}

/// The port's link is part of a bridge already.
pub(in crate::netlink) fn encode_hairpin(index: u32, on: bool) -> LinkMessage {
    let mut message = encode_index(index);
    let data = InfoPortData::BridgePort(vec![InfoBridgePort::HairpinMode(on)]);
    let info = vec![LinkInfo::PortKind(InfoPortKind::Bridge), LinkInfo::PortData(data)];
    message.attributes.push(LinkAttribute::LinkInfo(info));
    message
}
