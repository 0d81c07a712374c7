//! IP addresses of links.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressFlags, AddressHeaderFlags, AddressMessage};

use super::{Scope, route};

/// An address of a link.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Address {
    /// The link.
    pub index: u32,
    /// The address itself and the length of its prefix; host bits are kept.
    pub net: IpNet,
    pub scope: Scope,
    /// Not to be used as a source any more (`IFA_F_DEPRECATED`). Observed only.
    pub deprecated: bool,
    /// It has no lifetime (`IFA_F_PERMANENT`). Observed only: what we add is permanent.
    pub permanent: bool,
    /// IPv6: a privacy address (`IFA_F_TEMPORARY`). IPv4: a second address in the prefix (`IFA_F_SECONDARY`), the same
    /// bit. Observed only.
    pub temporary: bool,
    /// The kernel makes no route for the prefix (`IFA_F_NOPREFIXROUTE`).
    pub no_prefix_route: bool,
    /// IPv6: usable at once, without duplicate address detection (`IFA_F_NODAD`).
    pub no_dad: bool,
}

impl Address {
    /// A permanent address of global scope.
    pub fn new(index: u32, net: IpNet) -> Self {
        Self {
            index,
            net,
            scope: Scope::Universe,
            deprecated: false,
            permanent: true,
            temporary: false,
            no_prefix_route: false,
            no_dad: false,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dev {}", self.net, self.index)
    }
}

pub(super) fn dump_request() -> RouteNetlinkMessage {
    RouteNetlinkMessage::GetAddress(AddressMessage::default())
}

pub(super) fn encode(address: &Address) -> AddressMessage {
    let mut message = AddressMessage::default();
    let ip = address.net.addr();
    message.header.family = route::family_of(ip);
    message.header.prefix_len = address.net.prefix_len();
    message.header.scope = u8::from(address.scope).into();
    message.header.index = address.index;
    let mut flags = AddressFlags::empty();
    flags.set(AddressFlags::Noprefixroute, address.no_prefix_route);
    flags.set(AddressFlags::Nodad, address.no_dad);
    // The kernel reads the low byte here where the attribute is absent, and the attribute where it is not.
    message.header.flags = AddressHeaderFlags::from_bits_retain(flags.bits() as u8);
    message.attributes = vec![AddressAttribute::Local(ip), AddressAttribute::Address(ip)];
    if let IpNet::V4(net) = address.net
        && net.prefix_len() <= 30
    {
        message.attributes.push(AddressAttribute::Broadcast(net.broadcast()));
    }
    if !flags.is_empty() {
        message.attributes.push(AddressAttribute::Flags(flags));
    }
    message
}

pub(super) fn decode(message: &RouteNetlinkMessage) -> Option<Address> {
    let RouteNetlinkMessage::NewAddress(message) = message else { return None };
    let mut flags = AddressFlags::from_bits_retain(message.header.flags.bits().into());
    let (mut local, mut prefix) = (None::<IpAddr>, None::<IpAddr>);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::Local(ip) => local = Some(*ip),
            AddressAttribute::Address(ip) => prefix = Some(*ip),
            AddressAttribute::Flags(whole) => flags = *whole,
            _ => {}
        }
    }
    // On a point-to-point link IFA_ADDRESS is the other end; IPv6 has IFA_LOCAL only there.
    let ip = local.or(prefix)?;
    Some(Address {
        index: message.header.index,
        net: IpNet::new(ip, message.header.prefix_len).ok()?,
        scope: u8::from(message.header.scope).into(),
        deprecated: flags.contains(AddressFlags::Deprecated),
        permanent: flags.contains(AddressFlags::Permanent),
        temporary: flags.contains(AddressFlags::Secondary),
        no_prefix_route: flags.contains(AddressFlags::Noprefixroute),
        no_dad: flags.contains(AddressFlags::Nodad),
    })
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn round_trip(text: &str) -> AddressMessage {
        encode(&Address::new(7, text.parse().unwrap()))
    }

    #[test]
    fn an_address_keeps_its_host_bits_and_flags() {
        let mut want = Address::new(7, "10.1.2.3/16".parse().unwrap());
        want.no_prefix_route = true;
        want.no_dad = true;
        let mut have = decode(&RouteNetlinkMessage::NewAddress(encode(&want))).unwrap();
        have.permanent = true; // the kernel's to say
        assert_eq!(have, want);
    }

    #[test]
    fn a_broadcast_address_only_where_there_is_one() {
        let broadcast = |m: &AddressMessage| {
            m.attributes.iter().find_map(|a| match a {
                AddressAttribute::Broadcast(b) => Some(*b),
                _ => None,
            })
        };
        assert_eq!(broadcast(&round_trip("10.1.2.1/24")), Some(Ipv4Addr::new(10, 1, 2, 255)));
        for without in ["10.1.2.0/32", "10.1.2.0/31", "fd00::1/64"] {
            assert_eq!(broadcast(&round_trip(without)), None, "{without}");
        }
    }

    #[test]
    fn a_point_to_point_address_is_the_near_end() {
        let mut message = round_trip("10.0.0.1/32");
        message.attributes[1] = AddressAttribute::Address(IpAddr::from([10, 0, 0, 2]));
        let have = decode(&RouteNetlinkMessage::NewAddress(message)).unwrap();
        assert_eq!(have.net, "10.0.0.1/32".parse().unwrap());
    }
}
