//! The bridge's program, one frame at a time.

mod common;

use common::packets::*;
use common::world::*;

const KNOWN: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];

fn frame_to(mac: [u8; 6]) -> Vec<u8> {
    [&mac[..], &[0; 6], &[8, 0], &inner_from_peer()].concat()
}

#[test]
fn only_a_large_packet_to_a_known_address_takes_the_short_way() {
    let mut world = World::new();
    world.set_port(KNOWN, common::net::ifindex("ul1"));
    assert_eq!(world.frame("weft_ports", &frame_to(KNOWN), 1400).verdict, REDIRECT);
    assert_eq!(world.frame("weft_ports", &frame_to(KNOWN), 0).verdict, NEXT, "no GSO packet");
    assert_eq!(world.frame("weft_ports", &frame_to([2, 0, 0, 0, 0, 0xab]), 1400).verdict, NEXT, "unknown");
    assert_eq!(world.frame("weft_ports", &frame_to([0xff; 6]), 1400).verdict, NEXT, "broadcast");
}
