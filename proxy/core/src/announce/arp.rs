//! ARP: RFC 826, and announcements as RFC 5227 has them.

use std::net::{IpAddr, Ipv4Addr};

use super::{BROADCAST, Mac, Question, field};

pub const ETHER_TYPE: u16 = 0x0806;

/// Ethernet, IPv4, and how long their addresses are.
const KIND: [u8; 6] = [0, 1, 8, 0, 6, 4];
const REQUEST: u16 = 1;
const REPLY: u16 = 2;

pub(super) fn question(frame: &[u8]) -> Option<Question> {
    let is_request = field(frame, 12)? == ETHER_TYPE.to_be_bytes()
        && field(frame, 14)? == KIND
        && field(frame, 20)? == REQUEST.to_be_bytes();
    let (from, address) = (Ipv4Addr::from(field::<4>(frame, 28)?), Ipv4Addr::from(field::<4>(frame, 38)?));
    // Who asks for the address that he has announces it.
    (is_request && from != address).then_some(Question {
        address: address.into(),
        from: from.into(),
        asker: field(frame, 22)?,
    })
}

pub(super) fn answer(address: Ipv4Addr, question: &Question, own: Mac) -> Vec<u8> {
    let to = match question.from {
        IpAddr::V4(from) => from,
        IpAddr::V6(_) => Ipv4Addr::UNSPECIFIED,
    };
    packet(REPLY, (own, address), (question.asker, to), question.asker)
}

/// Some hear only requests, others only replies.
pub(super) fn unasked(address: Ipv4Addr, own: Mac) -> [Vec<u8>; 2] {
    [
        packet(REQUEST, (own, address), ([0; 6], address), BROADCAST),
        packet(REPLY, (own, address), (BROADCAST, address), BROADCAST),
    ]
}

fn packet(operation: u16, sender: (Mac, Ipv4Addr), target: (Mac, Ipv4Addr), to: Mac) -> Vec<u8> {
    let mut frame = Vec::with_capacity(42);
    frame.extend(to);
    frame.extend(sender.0);
    frame.extend(ETHER_TYPE.to_be_bytes());
    frame.extend(KIND);
    frame.extend(operation.to_be_bytes());
    for (mac, address) in [sender, target] {
        frame.extend(mac);
        frame.extend(address.octets());
    }
    frame
}
