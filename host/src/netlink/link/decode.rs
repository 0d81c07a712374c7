//! Messages into links.

use std::net::IpAddr;

use netlink_packet_core::Nla;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoData, InfoIpTunnel, InfoKind, InfoTun, InfoVxlan, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType,
};

use super::{IpipLink, Link, LinkKind, TunLink, VxlanLink};
use crate::netlink::MacBytes;

pub(in crate::netlink) fn decode(message: &RouteNetlinkMessage) -> Option<Link> {
    let RouteNetlinkMessage::NewLink(message) = message else { return None };
    let flags = message.header.flags;
    let mut link = Link {
        index: message.header.index,
        name: String::new(),
        kind: LinkKind::Other(String::new()),
        mac: None,
        mtu: 0,
        up: flags.contains(LinkFlags::Up),
        carrier: flags.contains(LinkFlags::LowerUp),
        loopback: flags.contains(LinkFlags::Loopback),
        master: None,
        link: None,
        link_elsewhere: false,
        tx_queue_len: 0,
        alias: None,
    };
    for attribute in &message.attributes {
        match attribute {
            LinkAttribute::IfName(name) => link.name.clone_from(name),
            LinkAttribute::Address(bytes) if message.header.link_layer_type == LinkLayerType::Ether => {
                link.mac = MacBytes::try_from(bytes.as_slice()).ok();
            }
            LinkAttribute::Mtu(mtu) => link.mtu = *mtu,
            LinkAttribute::Controller(index) => link.master = Some(*index).filter(|i| *i != 0),
            LinkAttribute::Link(index) => link.link = Some(*index).filter(|i| *i != 0),
            LinkAttribute::LinkNetNsId(_) => link.link_elsewhere = true,
            LinkAttribute::TxQueueLen(n) => link.tx_queue_len = *n,
            LinkAttribute::IfAlias(alias) => link.alias = Some(alias.clone()),
            LinkAttribute::LinkInfo(infos) => link.kind = kind(infos),
            _ => {}
        }
    }
    Some(link)
}

fn kind(infos: &[LinkInfo]) -> LinkKind {
    let name = infos.iter().find_map(|info| match info {
        LinkInfo::Kind(kind) => Some(kind),
        _ => None,
    });
    let data = infos.iter().find_map(|info| match info {
        LinkInfo::Data(data) => Some(data),
        _ => None,
    });
    match (name, data) {
        (Some(InfoKind::Vxlan), Some(InfoData::Vxlan(data))) => LinkKind::Vxlan(vxlan(data)),
        (Some(InfoKind::Tun), Some(InfoData::Tun(data))) => LinkKind::Tun(tun(data)),
        (Some(InfoKind::Tun), _) => LinkKind::Tun(TunLink::default()),
        (Some(InfoKind::Bridge), _) => LinkKind::Bridge,
        (Some(InfoKind::Veth), _) => LinkKind::Veth,
        (Some(InfoKind::IpIp), Some(InfoData::IpTunnel(data))) => LinkKind::Ipip(ipip(data)),
        (Some(InfoKind::IpIp), _) => LinkKind::Ipip(IpipLink::default()),
        (Some(InfoKind::Wireguard), _) => LinkKind::Wireguard,
        (Some(InfoKind::Dummy), _) => LinkKind::Dummy,
        (Some(other), _) => LinkKind::Other(other.to_string()),
        (None, _) => LinkKind::Other(String::new()),
    }
}

fn ipip(data: &[InfoIpTunnel]) -> IpipLink {
    let mut ipip = IpipLink::default();
    for attribute in data {
        match attribute {
            InfoIpTunnel::Local(IpAddr::V4(ip)) => ipip.local = Some(*ip).filter(|ip| !ip.is_unspecified()),
            InfoIpTunnel::Link(index) => ipip.dev = Some(*index).filter(|index| *index != 0),
            _ => {}
        }
    }
    ipip
}

fn vxlan(data: &[InfoVxlan]) -> VxlanLink {
    let mut vxlan = VxlanLink::new(0, 0);
    for attribute in data {
        match attribute {
            InfoVxlan::Id(vni) => vxlan.vni = *vni,
            InfoVxlan::Port(port) => vxlan.port = *port,
            InfoVxlan::Link(index) => vxlan.dev = Some(*index).filter(|i| *i != 0),
            InfoVxlan::Local(ip) => vxlan.local = Some((*ip).into()),
            InfoVxlan::Local6(ip) => vxlan.local = Some((*ip).into()),
            InfoVxlan::Group(ip) => vxlan.group = Some((*ip).into()),
            InfoVxlan::Group6(ip) => vxlan.group = Some((*ip).into()),
            InfoVxlan::Learning(learning) => vxlan.learning = *learning,
            InfoVxlan::Gbp => vxlan.gbp = true,
            _ => {}
        }
    }
    vxlan
}

/// `IFLA_TUN_*` of `linux/if_link.h`, kernel 4.20. netlink-packet-route has no names for them.
fn tun(data: &[InfoTun]) -> TunLink {
    const TYPE: u16 = 3;
    const PI: u16 = 4;
    const VNET_HDR: u16 = 5;
    const PERSIST: u16 = 6;
    const MULTI_QUEUE: u16 = 7;
    const IFF_TAP: u8 = 2;
    let byte = |kind: u16| {
        data.iter().find(|a| a.kind() == kind && a.value_len() == 1).map_or(0, |attribute| {
            let mut value = [0];
            attribute.emit_value(&mut value);
            value[0]
        })
    };
    TunLink {
        tap: byte(TYPE) == IFF_TAP,
        packet_info: byte(PI) != 0,
        vnet_hdr: byte(VNET_HDR) != 0,
        persistent: byte(PERSIST) != 0,
        multi_queue: byte(MULTI_QUEUE) != 0,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, Parseable};
    use netlink_packet_route::link::LinkMessage;

    use super::*;
    use crate::netlink::link::{LinkChange, NewLink, NewLinkKind, encode_change, encode_new};

    /// What the kernel would read, and show.
    fn over_the_wire(message: &LinkMessage) -> LinkMessage {
        let mut bytes = vec![0; message.buffer_len()];
        message.emit(&mut bytes);
        LinkMessage::parse(&bytes[..]).unwrap()
    }

    #[test]
    fn a_vxlan_link_survives_the_wire() {
        for (local, group) in [("192.0.2.1", "239.1.1.1"), ("2001:db8::1", "ff05::1")] {
            let want = VxlanLink {
                local: local.parse().ok(),
                group: group.parse().ok(),
                dev: Some(3),
                learning: true,
                gbp: true,
                ..VxlanLink::new(4096, 8472)
            };
            let mut new = NewLink::new("flannel.4096", NewLinkKind::Vxlan(want.clone()));
            new.mac = Some([2, 1, 2, 3, 4, 5]);
            new.mtu = Some(1450);
            new.up = true;
            let mut message = over_the_wire(&encode_new(&new));
            message.header.link_layer_type = LinkLayerType::Ether;
            let have = decode(&RouteNetlinkMessage::NewLink(message)).unwrap();
            assert_eq!(have.kind, LinkKind::Vxlan(want));
            assert_eq!(
                (have.name.as_str(), have.mac, have.mtu, have.up),
                ("flannel.4096", new.mac, 1450, true)
            );
        }
    }

    #[test]
    fn links_of_the_backends_to_come_survive_the_wire() {
        let ipip = IpipLink { local: Some([192, 0, 2, 1].into()), dev: Some(3) };
        let kinds = [
            (NewLinkKind::Ipip(ipip), LinkKind::Ipip(ipip)),
            (NewLinkKind::Wireguard, LinkKind::Wireguard),
            (NewLinkKind::Dummy, LinkKind::Dummy),
        ];
        for (new, want) in kinds {
            let message = over_the_wire(&encode_new(&NewLink::new("flannel.x", new)));
            assert_eq!(decode(&RouteNetlinkMessage::NewLink(message)).unwrap().kind, want);
        }
    }

    #[test]
    fn tun_flags_are_read_from_their_attributes() {
        // IFLA_TUN_TYPE 1, IFLA_TUN_PI 0, IFLA_TUN_VNET_HDR 1, IFLA_TUN_PERSIST 1, as kernel 6.18 sends them.
        let bytes: Vec<u8> = [(3u16, 1u8), (4, 0), (5, 1), (6, 1)]
            .iter()
            .flat_map(|(kind, value)| {
                let [k0, k1] = kind.to_ne_bytes();
                let [l0, l1] = 5u16.to_ne_bytes();
                [l0, l1, k0, k1, *value, 0, 0, 0]
            })
            .collect();
        let data: Vec<InfoTun> = netlink_packet_core::NlasIterator::new(&bytes[..])
            .map(|a| InfoTun::parse(&a.unwrap()).unwrap())
            .collect();
        let want =
            TunLink { tap: false, packet_info: false, vnet_hdr: true, persistent: true, multi_queue: false };
        assert_eq!(tun(&data), want);
    }

    #[test]
    fn a_change_touches_only_what_it_names() {
        let message = encode_change(9, &LinkChange::default());
        assert_eq!((message.header.change_mask, message.attributes.len()), (LinkFlags::empty(), 0));
        let down = encode_change(9, &LinkChange::down());
        assert_eq!((down.header.flags, down.header.change_mask), (LinkFlags::empty(), LinkFlags::Up));
        let change = LinkChange { master: Some(None), mtu: Some(1400), ..LinkChange::up() };
        assert_eq!(change.to_string(), "mtu 1400 up nomaster");
        assert!(encode_change(9, &change).attributes.contains(&LinkAttribute::Controller(0)));
    }
}
