//! A bridge's forwarding database: which MAC address is behind which port.

use netlink_packet_route::neighbour::{NeighbourAttribute, NeighbourFlags, NeighbourMessage};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::MacBytes;

/// NUD_PERMANENT of linux/neighbour.h. On a bridge's entry: an address of the host's own.
const PERMANENT: u16 = 0x80;

pub(super) fn dump_request() -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    RouteNetlinkMessage::GetNeighbour(message)
}

/// A unicast address behind a port of the bridge, and the port's index; none for the host's own addresses and those of
/// one VLAN only.
pub(super) fn decode(message: &RouteNetlinkMessage, bridge: u32) -> Option<(MacBytes, u32)> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    let header = &message.header;
    let host = u16::from(header.state) & PERMANENT != 0 || header.flags.contains(NeighbourFlags::Own);
    if header.family != AddressFamily::Bridge || host {
        return None;
    }
    let (mut mac, mut master) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = MacBytes::try_from(bytes.as_slice()).ok(),
            NeighbourAttribute::Controller(index) => master = Some(*index),
            NeighbourAttribute::Vlan(_) => return None,
            _ => {}
        }
    }
    let mac = mac.filter(|mac| mac[0] & 1 == 0)?;
    (master == Some(bridge)).then_some((mac, header.ifindex))
}

#[cfg(test)]
mod tests {
    use netlink_packet_route::neighbour::NeighbourState;

    use super::*;

    fn message(attributes: Vec<NeighbourAttribute>) -> NeighbourMessage {
        let mut message = NeighbourMessage::default();
        message.header.family = AddressFamily::Bridge;
        message.header.ifindex = 7;
        message.header.state = NeighbourState::Reachable;
        message.attributes = attributes;
        message
    }

    fn read(message: NeighbourMessage) -> Option<(MacBytes, u32)> {
        decode(&RouteNetlinkMessage::NewNeighbour(message), 4)
    }

    #[test]
    fn a_pods_address_is_behind_its_port_and_all_others_are_left_out() {
        let mac = |first| NeighbourAttribute::LinkLayerAddress(vec![first, 0, 0, 0, 0, 9]);
        let master = NeighbourAttribute::Controller;
        assert_eq!(read(message(vec![mac(2), master(4)])), Some(([2, 0, 0, 0, 0, 9], 7)));
        assert_eq!(read(message(vec![mac(2), master(5)])), None, "of another bridge");
        assert_eq!(read(message(vec![mac(2)])), None, "of no bridge");
        assert_eq!(read(message(vec![mac(1), master(4)])), None, "multicast");
        assert_eq!(read(message(vec![mac(2), master(4), NeighbourAttribute::Vlan(1)])), None);
        let mut own = message(vec![mac(2), master(4)]);
        own.header.state = NeighbourState::Permanent;
        assert_eq!(read(own), None);
    }
}
