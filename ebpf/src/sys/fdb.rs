//! A bridge's unicast forwarding table: which MAC address is behind which port.

use std::collections::BTreeMap;
use std::io;

use super::netlink::{self, attribute, u16_at, u32_at};

const NDMSG: usize = 12;
const NDA_LLADDR: u16 = 2;
const NDA_VLAN: u16 = 5;
const NDA_MASTER: u16 = 9;
/// On a bridge's entry: an address of the host's own.
const NUD_PERMANENT: u16 = 0x80;
const NTF_SELF: u8 = 0x02;

/// The addresses behind the ports of a bridge, without the host's own, without those of one VLAN only.
pub fn ports(bridge: u32) -> io::Result<BTreeMap<[u8; 6], u32>> {
    let mut ndmsg = [0; NDMSG];
    ndmsg[0] = libc::AF_BRIDGE as u8;
    let messages = netlink::dump(libc::RTM_GETNEIGH, &ndmsg)?;
    Ok(messages.iter().filter_map(|message| port(message, bridge)).collect())
}

fn port(message: &[u8], bridge: u32) -> Option<([u8; 6], u32)> {
    let attributes = message.get(NDMSG..)?;
    let mac: [u8; 6] = attribute(attributes, NDA_LLADDR)?.try_into().ok()?;
    let ours = attribute(attributes, NDA_MASTER).is_some_and(|master| u32_at(master, 0) == bridge);
    let host = u16_at(message, 8) & NUD_PERMANENT != 0 || message[10] & NTF_SELF != 0;
    let in_vlan = attribute(attributes, NDA_VLAN).is_some();
    let multicast = mac[0] & 1 != 0;
    (ours && !host && !in_vlan && !multicast).then_some((mac, u32_at(message, 4)))
}
