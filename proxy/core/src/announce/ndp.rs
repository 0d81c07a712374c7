//! Neighbour discovery: RFC 4861, sections 4.3, 4.4 and 7.2.

use std::net::{IpAddr, Ipv6Addr};

use super::{Mac, Question, field};

pub const ETHER_TYPE: u16 = 0x86dd;

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;
/// What comes from further away has another limit: no router lets it through with this one.
const HOPS: u8 = 255;
const SOLICITED: u8 = 0x40;
const OVERRIDE: u8 = 0x20;
/// The option with the address of the link layer, in units of eight bytes.
const TARGET_LINK: [u8; 2] = [2, 1];
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// Where IPv6 and ICMPv6 begin in a frame.
const IP: usize = 14;
const ICMP: usize = IP + 40;

/// The group whose members hear who asks for an address.
pub fn solicited_node(address: Ipv6Addr) -> Ipv6Addr {
    let [.., a, b, c] = address.octets();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | u16::from(a), u16::from_be_bytes([b, c]))
}

pub(super) fn question(frame: &[u8]) -> Option<Question> {
    let [next, hops] = field(frame, IP + 6)?;
    let [kind, code] = field(frame, ICMP)?;
    let is_solicitation = field(frame, 12)? == ETHER_TYPE.to_be_bytes()
        && (next, hops) == (ICMPV6, HOPS)
        && (kind, code) == (SOLICITATION, 0);
    let length = usize::from(u16::from_be_bytes(field(frame, IP + 4)?));
    let message = frame.get(ICMP..ICMP + length).filter(|message| message.len() >= 24)?;
    let (from, to) =
        (Ipv6Addr::from(field::<16>(frame, IP + 8)?), Ipv6Addr::from(field::<16>(frame, IP + 24)?));
    let address = Ipv6Addr::from(field::<16>(message, 8)?);
    // The sum over a message with its own sum in it.
    let whole = checksum(from, to, message) == 0;
    (is_solicitation && whole && !address.is_multicast()).then_some(Question {
        address: address.into(),
        from: from.into(),
        asker: field(frame, 6)?,
    })
}

pub(super) fn answer(address: Ipv6Addr, question: &Question, own: Mac) -> Vec<u8> {
    match question.from {
        IpAddr::V6(from) if !from.is_unspecified() => {
            packet(address, own, (question.asker, from), SOLICITED | OVERRIDE)
        }
        // He has no address yet, and hears from everybody's that this one is taken.
        _ => unasked(address, own),
    }
}

pub(super) fn unasked(address: Ipv6Addr, own: Mac) -> Vec<u8> {
    packet(address, own, ([0x33, 0x33, 0, 0, 0, 1], ALL_NODES), OVERRIDE)
}

/// From the address itself: a node may have no other one on the link.
fn packet(address: Ipv6Addr, own: Mac, to: (Mac, Ipv6Addr), flags: u8) -> Vec<u8> {
    let mut message = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    message.extend(address.octets());
    message.extend(TARGET_LINK);
    message.extend(own);
    let sum = checksum(address, to.1, &message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    let mut frame = Vec::with_capacity(ICMP + message.len());
    frame.extend(to.0);
    frame.extend(own);
    frame.extend(ETHER_TYPE.to_be_bytes());
    frame.extend([0x60, 0, 0, 0, 0, message.len() as u8, ICMPV6, HOPS]);
    frame.extend(address.octets());
    frame.extend(to.1.octets());
    frame.extend(message);
    frame
}

/// RFC 4443, section 2.3; 0 for a message that carries its right sum.
fn checksum(from: Ipv6Addr, to: Ipv6Addr, message: &[u8]) -> u16 {
    let words = |bytes: &[u8]| -> u32 {
        bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).copied().map_or(0, u32::from)).sum()
    };
    let length = u32::try_from(message.len()).unwrap_or(u32::MAX);
    let mut sum = words(&from.octets()) + words(&to.octets()) + length + u32::from(ICMPV6) + words(message);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}
