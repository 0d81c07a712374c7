//! Routes.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ipnet::IpNet;
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteScope, RouteType, RouteVia,
};
use netlink_packet_route::{AddressFamily, RouteNetlinkMessage};

use super::Scope;

/// `RT_TABLE_MAIN`.
pub const MAIN_TABLE: u32 = 254;

/// What happens to a packet that matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RouteKind {
    #[default]
    Unicast,
    /// Dropped in silence.
    Blackhole,
    /// Dropped, and the sender hears that the host is unreachable.
    Unreachable,
    /// Dropped, and the sender hears that it is forbidden.
    Prohibit,
    /// `RTN_*` by number.
    Other(u8),
}

impl From<RouteType> for RouteKind {
    fn from(kind: RouteType) -> Self {
        match kind {
            RouteType::Unicast => Self::Unicast,
            RouteType::BlackHole => Self::Blackhole,
            RouteType::Unreachable => Self::Unreachable,
            RouteType::Prohibit => Self::Prohibit,
            other => Self::Other(other.into()),
        }
    }
}

impl From<RouteKind> for RouteType {
    fn from(kind: RouteKind) -> Self {
        match kind {
            RouteKind::Unicast => Self::Unicast,
            RouteKind::Blackhole => Self::BlackHole,
            RouteKind::Unreachable => Self::Unreachable,
            RouteKind::Prohibit => Self::Prohibit,
            RouteKind::Other(number) => number.into(),
        }
    }
}

/// A route.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Route {
    /// The destination, without host bits.
    pub dst: IpNet,
    pub kind: RouteKind,
    /// The gateway; of the other family for an IPv4 route over IPv6.
    pub via: Option<IpAddr>,
    /// The link that it leaves by. Always absent when it drops, and when it has several next hops.
    pub dev: Option<u32>,
    /// The gateway is taken for a neighbour on `dev` though no address of ours says so.
    pub onlink: bool,
    /// Who made it: `RTPROT_*` (2 kernel, 3 boot, 4 static).
    pub protocol: u8,
    pub scope: Scope,
    /// The source address that it prefers.
    pub src: Option<IpAddr>,
    /// The lower the better. IPv6 shows 1024 where 0 was asked for.
    pub metric: u32,
    /// [`MAIN_TABLE`], or another.
    pub table: u32,
    /// It has several next hops, which are not shown here. Observed only.
    pub multipath: bool,
}

impl Route {
    /// A route to nowhere yet: set `dev`, `via` or `kind`. Main table, static, metric 0, global scope.
    pub fn new(dst: IpNet) -> Self {
        Self {
            dst: dst.trunc(),
            kind: RouteKind::Unicast,
            via: None,
            dev: None,
            onlink: false,
            protocol: 4,
            scope: Scope::Universe,
            src: None,
            metric: 0,
            table: MAIN_TABLE,
            multipath: false,
        }
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            RouteKind::Unicast => {}
            RouteKind::Other(number) => write!(f, "type {number} ")?,
            kind => write!(f, "{} ", format!("{kind:?}").to_lowercase())?,
        }
        write!(f, "{}", self.dst)?;
        if let Some(via) = self.via {
            write!(f, " via {via}")?;
        }
        if let Some(dev) = self.dev {
            write!(f, " dev {dev}")?;
        }
        if self.onlink {
            f.write_str(" onlink")?;
        }
        write!(f, " proto {}", self.protocol)?;
        if let Some(src) = self.src {
            write!(f, " src {src}")?;
        }
        if self.metric != 0 {
            write!(f, " metric {}", self.metric)?;
        }
        if self.table != MAIN_TABLE {
            write!(f, " table {}", self.table)?;
        }
        Ok(())
    }
}

/// The way to one address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// The link that a packet leaves by; the loopback device for an address of our own.
    pub dev: u32,
    /// The gateway, where there is one.
    pub via: Option<IpAddr>,
    /// The source that a packet from here would have.
    pub src: Option<IpAddr>,
    /// It is one of our own addresses.
    pub local: bool,
}

pub(super) fn family_of(ip: IpAddr) -> AddressFamily {
    match ip {
        IpAddr::V4(_) => AddressFamily::Inet,
        IpAddr::V6(_) => AddressFamily::Inet6,
    }
}

pub(super) fn dump_request(family: AddressFamily) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family;
    message.header.table = RouteHeader::RT_TABLE_MAIN;
    RouteNetlinkMessage::GetRoute(message)
}

pub(super) fn get_request(ip: IpAddr) -> RouteNetlinkMessage {
    let mut message = RouteMessage::default();
    message.header.address_family = family_of(ip);
    message.header.destination_prefix_length = if ip.is_ipv4() { 32 } else { 128 };
    message.attributes.push(RouteAttribute::Destination(ip.into()));
    RouteNetlinkMessage::GetRoute(message)
}

pub(super) fn encode(route: &Route) -> RouteMessage {
    let mut message = RouteMessage::default();
    let header = &mut message.header;
    header.address_family = family_of(route.dst.addr());
    header.destination_prefix_length = route.dst.prefix_len();
    header.protocol = route.protocol.into();
    header.scope = u8::from(route.scope).into();
    header.kind = route.kind.into();
    header.flags.set(RouteFlags::Onlink, route.onlink);
    // Tables above 255 have no number that fits; the attribute holds it then, and always.
    header.table = u8::try_from(route.table).unwrap_or(RouteHeader::RT_TABLE_UNSPEC);
    let attributes = &mut message.attributes;
    attributes.push(RouteAttribute::Table(route.table));
    if route.dst.prefix_len() > 0 {
        attributes.push(RouteAttribute::Destination(route.dst.network().into()));
    }
    match (route.dst, route.via) {
        (IpNet::V4(_), Some(IpAddr::V6(via))) => attributes.push(RouteAttribute::Via(RouteVia::Inet6(via))),
        (_, Some(via)) => attributes.push(RouteAttribute::Gateway(via.into())),
        (_, None) => {}
    }
    attributes.extend(route.dev.map(RouteAttribute::Oif));
    attributes.extend(route.src.map(|ip| RouteAttribute::PrefSource(ip.into())));
    if route.metric != 0 {
        attributes.push(RouteAttribute::Priority(route.metric));
    }
    message
}

/// As [`encode`], but with a scope that agrees with any: the kernel gives a scope of its own to some routes.
pub(super) fn encode_delete(route: &Route) -> RouteMessage {
    let mut message = encode(route);
    message.header.scope = RouteScope::NoWhere;
    message.header.flags = RouteFlags::empty();
    message
}

pub(super) fn decode(message: &RouteNetlinkMessage, family: AddressFamily) -> Option<Route> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let header = &message.header;
    // Without IPv6 the kernel answers a question for it with what it has.
    if header.address_family != family || header.flags.contains(RouteFlags::Cloned) {
        return None;
    }
    let any = match family {
        AddressFamily::Inet => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        _ => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    let mut dst = any;
    let mut route = Route::new(any.into());
    route.kind = header.kind.into();
    route.onlink = header.flags.contains(RouteFlags::Onlink);
    route.protocol = header.protocol.into();
    route.scope = u8::from(header.scope).into();
    route.table = header.table.into();
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Destination(address) => dst = ip(address)?,
            RouteAttribute::Gateway(address) => route.via = ip(address),
            RouteAttribute::Via(RouteVia::Inet(via)) => route.via = Some((*via).into()),
            RouteAttribute::Via(RouteVia::Inet6(via)) => route.via = Some((*via).into()),
            RouteAttribute::Oif(index) => route.dev = Some(*index),
            RouteAttribute::PrefSource(address) => route.src = ip(address),
            RouteAttribute::Priority(metric) => route.metric = *metric,
            RouteAttribute::Table(table) => route.table = *table,
            RouteAttribute::MultiPath(_) => route.multipath = true,
            _ => {}
        }
    }
    if route.kind != RouteKind::Unicast || route.multipath {
        // IPv6 says lo for a route that drops; a next hop group adds its first hop.
        (route.dev, route.via) = (None, None);
    }
    route.dst = IpNet::new(dst, header.destination_prefix_length).ok()?;
    Some(route)
}

pub(super) fn decode_path(message: &RouteNetlinkMessage) -> Option<Path> {
    let RouteNetlinkMessage::NewRoute(message) = message else { return None };
    let mut path = Path { dev: 0, via: None, src: None, local: message.header.kind == RouteType::Local };
    for attribute in &message.attributes {
        match attribute {
            RouteAttribute::Oif(index) => path.dev = *index,
            RouteAttribute::Gateway(address) => path.via = ip(address),
            RouteAttribute::Via(RouteVia::Inet(via)) => path.via = Some((*via).into()),
            RouteAttribute::Via(RouteVia::Inet6(via)) => path.via = Some((*via).into()),
            RouteAttribute::PrefSource(address) => path.src = ip(address),
            _ => {}
        }
    }
    (path.dev != 0).then_some(path)
}

fn ip(address: &RouteAddress) -> Option<IpAddr> {
    match address {
        RouteAddress::Inet(ip) => Some((*ip).into()),
        RouteAddress::Inet6(ip) => Some((*ip).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn there_and_back(route: &Route) -> Route {
        let message = RouteNetlinkMessage::NewRoute(encode(route));
        decode(&message, family_of(route.dst.addr())).unwrap()
    }

    #[test]
    fn routes_survive_encoding() {
        let base = |dst: &str| Route { dev: Some(3), protocol: 30, ..Route::new(dst.parse().unwrap()) };
        let ip = |text: &str| Some(text.parse().unwrap());
        let cases = [
            base("10.1.2.0/24"),
            Route {
                via: ip("192.0.2.1"),
                onlink: true,
                metric: 7,
                src: ip("192.0.2.9"),
                ..base("10.1.2.0/24")
            },
            Route { via: ip("fe80::1"), ..base("10.1.2.0/24") },
            Route { via: ip("fd00::1"), onlink: true, ..base("fd00:1::/64") },
            Route { scope: Scope::Link, table: 1000, ..base("0.0.0.0/0") },
            Route { kind: RouteKind::Blackhole, dev: None, ..base("10.1.2.0/24") },
            base("::/0"),
        ];
        for route in cases {
            assert_eq!(there_and_back(&route), route, "{route}");
        }
    }

    #[test]
    fn host_bits_never_reach_the_kernel() {
        let route = Route::new("10.1.2.3/24".parse().unwrap());
        assert_eq!(route.to_string(), "10.1.2.0/24 proto 4");
    }

    #[test]
    fn the_other_family_is_not_ours() {
        let message = RouteNetlinkMessage::NewRoute(encode(&Route::new("10.0.0.0/8".parse().unwrap())));
        assert_eq!(decode(&message, AddressFamily::Inet6), None);
    }

    #[test]
    fn a_route_prints_as_ip_route_would() {
        let mut route = Route::new("10.1.0.0/16".parse().unwrap());
        route.kind = RouteKind::Blackhole;
        route.metric = 5;
        assert_eq!(route.to_string(), "blackhole 10.1.0.0/16 proto 4 metric 5");
    }
}
