//! Neighbours: which MAC address an IP address on a link has (ARP, NDP).

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::route::RouteType;

use super::link::HexMac;
use super::{MacBytes, route};

/// A neighbour on a link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Neighbour {
    /// The link.
    pub index: u32,
    pub ip: IpAddr,
    /// Absent while the kernel still asks, and after nobody answered.
    pub mac: Option<MacBytes>,
    /// Somebody wrote it down for good (`NUD_PERMANENT`). Otherwise it was learned, and when written, it is one that
    /// may age (`NUD_REACHABLE`).
    pub permanent: bool,
}

impl Neighbour {
    /// A permanent neighbour.
    pub fn permanent(index: u32, ip: IpAddr, mac: MacBytes) -> Self {
        Self { index, ip, mac: Some(mac), permanent: true }
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.ip, self.index)?;
        if let Some(mac) = self.mac {
            write!(f, " lladdr {}", HexMac(mac))?;
        }
        Ok(())
    }
}

pub(super) fn dump_request(index: u32) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.attributes.push(NeighbourAttribute::IfIndex(index));
    RouteNetlinkMessage::GetNeighbour(message)
}

pub(super) fn encode(neighbour: &Neighbour) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = route::family_of(neighbour.ip);
    message.header.ifindex = neighbour.index;
    message.header.kind = RouteType::Unicast;
    message.header.state =
        if neighbour.permanent { NeighbourState::Permanent } else { NeighbourState::Reachable };
    message.attributes.push(NeighbourAttribute::Destination(neighbour.ip.into()));
    message.attributes.extend(neighbour.mac.map(|mac| NeighbourAttribute::LinkLayerAddress(mac.to_vec())));
    message
}

pub(super) fn decode(message: &RouteNetlinkMessage) -> Option<Neighbour> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    let (mut ip, mut mac) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::Destination(NeighbourAddress::Inet(v4)) => ip = Some(IpAddr::V4(*v4)),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(v6)) => ip = Some(IpAddr::V6(*v6)),
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = MacBytes::try_from(bytes.as_slice()).ok(),
            _ => {}
        }
    }
    Some(Neighbour {
        index: message.header.ifindex,
        ip: ip?,
        mac,
        permanent: message.header.state == NeighbourState::Permanent,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_survive_encoding() {
        for ip in ["10.1.2.0", "fd00::1"] {
            let want = Neighbour::permanent(4, ip.parse().unwrap(), [2, 0, 0, 0, 0, 9]);
            let message = RouteNetlinkMessage::NewNeighbour(encode(&want));
            assert_eq!(decode(&message), Some(want.clone()));
            assert_eq!(want.to_string(), format!("{ip} dev 4 lladdr 02:00:00:00:00:09"));
        }
    }

    #[test]
    fn one_that_does_not_answer_has_no_mac() {
        let mut message =
            encode(&Neighbour { mac: None, ..Neighbour::permanent(4, [10, 0, 0, 1].into(), [0; 6]) });
        message.header.state = NeighbourState::Incomplete;
        let have = decode(&RouteNetlinkMessage::NewNeighbour(message)).unwrap();
        assert_eq!((have.mac, have.permanent), (None, false));
    }
}
