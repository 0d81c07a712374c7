//! The payload of a datagram from the underlay, and what is read from the TUN.
#![no_main]

use std::net::Ipv4Addr;
use std::sync::LazyLock;

use flanneld_core::packet::{Inbound, Offload, Outbound, PeerTable, inbound, outbound};
use libfuzzer_sys::fuzz_target;

const PEER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);
const TUN: Ipv4Addr = Ipv4Addr::new(10, 5, 1, 0);

static TABLE: LazyLock<PeerTable> =
    LazyLock::new(|| PeerTable::new(&[("10.5.2.0/24".parse().unwrap(), PEER)].into()));

fuzz_target!(|bytes: &[u8]| {
    for check_source in [false, true] {
        let mut packet = bytes.to_vec();
        if let Inbound::Deliver { len, .. } = inbound(&mut packet, PEER, &TABLE, check_source) {
            assert!(len <= packet.len() && packet[8] == bytes[8] - 1);
        }
    }
    let mut packet = bytes.to_vec();
    match outbound(&mut packet, &TABLE, TUN) {
        Outbound::Send { len, .. } => assert!(len <= packet.len()),
        Outbound::Answer { icmp, .. } => assert_eq!(packet, bytes, "{icmp:?}"),
        Outbound::Drop(_) => {}
    }
    let mut read = bytes.to_vec();
    let Ok((offload, packet)) = Offload::split(&mut read) else { return };
    let _ = offload.finish_checksum(packet);
    if let Ok(mut segments) = offload.segments(packet) {
        let mut out = [0; 65535];
        while let Some(Ok(len)) = segments.next_into(&mut out) {
            assert!(len <= out.len());
        }
    }
});
