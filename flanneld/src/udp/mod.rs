//! The data path of the udp backend: flannel's wire format between the TUN and the underlay.
//!
//! Owns: the TUN's descriptor, the datagram socket, the threads of the `simple` data path, and, where the kernel can,
//! the packet programs of the crate `ebpf`. Begin at [`UdpPath::start`].
//! Never: sets a link up, its MTU, an address or a route (the reconciler does); speaks netlink; uses tokio;
//! decides about a packet (`flanneld_core::packet` does).
//!
//! In both data paths the threads run: with `ebpf` they get what the programs pass on, and nothing else.

mod choice;
mod counters;
mod error;
mod flow;
mod limit;
mod path;
mod routes;
mod shared;
mod simple;
mod socket;
mod spec;

pub use choice::{Chosen, InUse};
pub use counters::{PeerCounts, UdpCounters};
pub use error::UdpError;
pub use path::{AGING, UdpPath, ensure};
pub use spec::UdpSpec;
