//! ctnetlink's messages (linux/netfilter/nfnetlink_conntrack.h). Numbers are in network byte order but for the filter's flags.

use std::net::{IpAddr, SocketAddr};

use super::{Entry, Filter};
use crate::wire::{ACK, Attrs, DUMP, Header, Message, REQUEST, Writer};

/// `NFNL_SUBSYS_CTNETLINK`.
const SUBSYSTEM: u16 = 1 << 8;
const NEW: u16 = SUBSYSTEM;
const GET: u16 = SUBSYSTEM | 1;
const DELETE: u16 = SUBSYSTEM | 2;

const TUPLE_ORIG: u16 = 1;
const TUPLE_REPLY: u16 = 2;
const ID: u16 = 12;
const ZONE: u16 = 18;
const FILTER: u16 = 25;

const TUPLE_IP: u16 = 1;
const TUPLE_PROTO: u16 = 2;

const IP_V4_SRC: u16 = 1;
const IP_V4_DST: u16 = 2;
const IP_V6_SRC: u16 = 3;
const IP_V6_DST: u16 = 4;

const PROTO_NUM: u16 = 1;
const PROTO_SRC_PORT: u16 = 2;
const PROTO_DST_PORT: u16 = 3;

const FILTER_ORIG_FLAGS: u16 = 1;
/// What of the original tuple counts (net/netfilter/nf_conntrack_netlink.c).
const BY_PROTO: u32 = 1 << 3;
const BY_DST_PORT: u32 = 1 << 5;

fn header(kind: u16, flags: u16, seq: u32, ipv6: bool) -> Header {
    let family = if ipv6 { libc::AF_INET6 } else { libc::AF_INET };
    Header::netfilter(kind, REQUEST | flags, seq, family as u8)
}

pub(super) fn list(w: &mut Writer, seq: u32, filter: Filter) {
    w.message(header(GET, DUMP, seq, filter.ipv6), |w| {
        w.nested(TUPLE_ORIG, |w| {
            w.nested(TUPLE_PROTO, |w| {
                w.u8(PROTO_NUM, filter.protocol);
                if let Some(port) = filter.port {
                    w.u16(PROTO_DST_PORT, port);
                }
            });
        });
        let flags = BY_PROTO | filter.port.map_or(0, |_| BY_DST_PORT);
        w.nested(FILTER, |w| w.raw(FILTER_ORIG_FLAGS, &flags.to_ne_bytes()));
    });
}

pub(super) fn delete(w: &mut Writer, seq: u32, entry: &Entry) {
    w.message(header(DELETE, ACK, seq, entry.client.is_ipv6()), |w| {
        w.nested(TUPLE_ORIG, |w| {
            w.nested(TUPLE_IP, |w| {
                let (source, destination) = match entry.client.is_ipv6() {
                    false => (IP_V4_SRC, IP_V4_DST),
                    true => (IP_V6_SRC, IP_V6_DST),
                };
                address(w, source, entry.client.ip());
                address(w, destination, entry.destination.ip());
            });
            w.nested(TUPLE_PROTO, |w| {
                w.u8(PROTO_NUM, entry.protocol);
                w.u16(PROTO_SRC_PORT, entry.client.port());
                w.u16(PROTO_DST_PORT, entry.destination.port());
            });
        });
        if entry.zone != 0 {
            w.u16(ZONE, entry.zone);
        }
        w.u32(ID, entry.id);
    });
}

fn address(w: &mut Writer, kind: u16, ip: IpAddr) {
    match ip {
        IpAddr::V4(ip) => w.raw(kind, &ip.octets()),
        IpAddr::V6(ip) => w.raw(kind, &ip.octets()),
    }
}

/// An entry of a list; `None` for what has no ports.
pub(super) fn entry(message: Message) -> Option<Entry> {
    if message.header.kind != NEW {
        return None;
    }
    let attrs = message.attrs();
    let (protocol, client, destination) = tuple(attrs.nested(TUPLE_ORIG))?;
    let (_, server, reply_to) = tuple(attrs.nested(TUPLE_REPLY))?;
    let zone = attrs.get(ZONE).map_or(0, |zone| zone.u16());
    Some(Entry { protocol, client, destination, server, reply_to, zone, id: attrs.u32(ID)? })
}

/// Protocol, source and destination.
fn tuple(tuple: Attrs) -> Option<(u8, SocketAddr, SocketAddr)> {
    let (ips, proto) = (tuple.nested(TUPLE_IP), tuple.nested(TUPLE_PROTO));
    let ip = |v4: u16, v6: u16| -> Option<IpAddr> {
        let v4 = ips.get(v4).and_then(|attr| Some(IpAddr::from(*attr.value.first_chunk::<4>()?)));
        v4.or_else(|| Some(IpAddr::from(*ips.get(v6)?.value.first_chunk::<16>()?)))
    };
    let port = |kind| proto.get(kind).map(|port| port.u16());
    let source = SocketAddr::new(ip(IP_V4_SRC, IP_V6_SRC)?, port(PROTO_SRC_PORT)?);
    let destination = SocketAddr::new(ip(IP_V4_DST, IP_V6_DST)?, port(PROTO_DST_PORT)?);
    Some((proto.get(PROTO_NUM)?.u8(), source, destination))
}
