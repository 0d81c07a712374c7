//! A VXLAN link's forwarding database: which VTEP has a MAC address.

use std::fmt;
use std::net::IpAddr;

use netlink_packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourFlags, NeighbourMessage, NeighbourState,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::MacBytes;
use super::link::HexMac;

/// NUD_PERMANENT of linux/neighbour.h.
const PERMANENT: u16 = 0x80;

/// An FDB entry of a VXLAN link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FdbEntry {
    /// The VXLAN link.
    pub index: u32,
    pub mac: MacBytes,
    /// The underlay address of the VTEP behind which it is.
    pub dst: IpAddr,
    /// Somebody wrote it down for good (`NUD_PERMANENT`); otherwise learned.
    pub permanent: bool,
}

impl FdbEntry {
    /// A permanent entry.
    pub fn permanent(index: u32, mac: MacBytes, dst: IpAddr) -> Self {
        Self { index, mac, dst, permanent: true }
    }
}

impl fmt::Display for FdbEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {} dst {}", HexMac(self.mac), self.index, self.dst)
    }
}

pub(super) fn dump_request(index: u32) -> RouteNetlinkMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = index;
    RouteNetlinkMessage::GetNeighbour(message)
}

pub(super) fn encode(entry: &FdbEntry) -> NeighbourMessage {
    let mut message = NeighbourMessage::default();
    message.header.family = AddressFamily::Bridge;
    message.header.ifindex = entry.index;
    message.header.flags = NeighbourFlags::Own; // NTF_SELF: of the link itself, not of a bridge above it
    message.header.state =
        if entry.permanent { NeighbourState::Permanent } else { NeighbourState::Reachable };
    message.attributes = vec![
        NeighbourAttribute::LinkLayerAddress(entry.mac.to_vec()),
        NeighbourAttribute::Destination(entry.dst.into()),
    ];
    message
}

pub(super) fn decode(message: &RouteNetlinkMessage) -> Option<FdbEntry> {
    let RouteNetlinkMessage::NewNeighbour(message) = message else { return None };
    if message.header.family != AddressFamily::Bridge {
        return None;
    }
    let (mut mac, mut dst) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = MacBytes::try_from(bytes.as_slice()).ok(),
            NeighbourAttribute::Destination(address) => dst = ip(address),
            _ => {}
        }
    }
    Some(FdbEntry {
        index: message.header.ifindex,
        mac: mac?,
        dst: dst?,
        // `bridge fdb add` sets NUD_NOARP beside it.
        permanent: u16::from(message.header.state) & PERMANENT != 0,
    })
}

/// In a message of the bridge family an address says by its length of which kind it is.
fn ip(address: &NeighbourAddress) -> Option<IpAddr> {
    match address {
        NeighbourAddress::Inet(v4) => Some((*v4).into()),
        NeighbourAddress::Inet6(v6) => Some((*v6).into()),
        NeighbourAddress::Other(bytes) => match bytes.len() {
            4 => <[u8; 4]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            16 => <[u8; 16]>::try_from(bytes.as_slice()).ok().map(IpAddr::from),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use netlink_packet_core::{Emitable, Parseable};

    use super::*;

    #[test]
    fn entries_survive_the_wire() {
        for dst in ["192.0.2.1", "2001:db8::1"] {
            let want = FdbEntry::permanent(4, [2, 0, 0, 0, 0, 9], dst.parse().unwrap());
            let message = encode(&want);
            let mut bytes = vec![0; message.buffer_len()];
            message.emit(&mut bytes);
            let back = NeighbourMessage::parse(&bytes[..]).unwrap();
            assert_eq!(decode(&RouteNetlinkMessage::NewNeighbour(back)), Some(want));
        }
    }

    #[test]
    fn permanent_is_one_bit_of_the_state() {
        let mut message = encode(&FdbEntry::permanent(4, [2; 6], [192, 0, 2, 1].into()));
        message.header.state = NeighbourState::Other(0x80 | 0x40);
        assert!(decode(&RouteNetlinkMessage::NewNeighbour(message.clone())).unwrap().permanent);
        message.header.state = NeighbourState::Reachable;
        assert!(!decode(&RouteNetlinkMessage::NewNeighbour(message)).unwrap().permanent);
    }

    #[test]
    fn an_entry_without_destination_is_left_out() {
        let mut message = encode(&FdbEntry::permanent(4, [2; 6], [192, 0, 2, 1].into()));
        message.attributes.pop();
        assert_eq!(decode(&RouteNetlinkMessage::NewNeighbour(message)), None);
    }
}
