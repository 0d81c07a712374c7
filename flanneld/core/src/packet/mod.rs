//! The inner packet of flannel's udp format: what is done with it, and why it is dropped.
//!
//! On the wire the payload of a datagram is a bare IPv4 packet, without header, magic or length of our own
//! (flannel, `pkg/backend/udp/proxy_amd64.c`).
//!
//! Owns: the checks, the route look-up, the hop count, the ICMP errors, and what a TUN with `IFF_VNET_HDR` asks of
//! its reader. Begin at [`outbound`] and [`inbound`].
//! Never: performs I/O, allocates per packet, panics on any input, limits the rate of anything.

mod checksum;
mod forward;
mod icmp;
mod inner;
mod offload;
mod reason;
mod table;
#[cfg(test)]
mod testing;

pub use checksum::checksum;
pub use forward::{Inbound, Outbound, inbound, outbound};
pub use icmp::{ICMP_MAX, Icmp, IcmpError};
pub use inner::{HEADER_MIN, Inner};
pub use offload::{Offload, Segments, VNET_HEADER};
pub use reason::DropReason;
pub use table::{Peer, PeerTable};
