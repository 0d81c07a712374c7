//! Connections that the kernel tracks, over ctnetlink: listing and deleting those of one protocol.
//!
//! Owns: entries as typed values ([`Entry`]) and the questions about them. Begin at [`Conntrack`].
//! Never: decides which entry is stale, or touches one that a caller did not name.
//!
//! The kernel walks its whole table for a list; what the [`Filter`] leaves out is not copied to us (CTA_FILTER, Linux 5.8;
//! older kernels send everything, which is then left out here).

mod message;

use std::io;
use std::net::SocketAddr;

use netlink_sys::protocols::NETLINK_NETFILTER;

use crate::error::HostError;
use crate::wire::Connection;

/// One tracked connection, as its two directions are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// IANA number of a protocol with ports.
    pub protocol: u8,
    /// Source of the original direction.
    pub client: SocketAddr,
    /// Destination of the original direction.
    pub destination: SocketAddr,
    /// Source of the reply direction: `destination` itself, unless it was translated.
    pub server: SocketAddr,
    /// Destination of the reply direction: `client` itself, unless it was translated.
    pub reply_to: SocketAddr,
    /// Conntrack zone.
    pub zone: u16,
    /// The kernel's own number of it: another connection of the same addresses has another one.
    pub id: u32,
}

/// Which entries to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Filter {
    pub ipv6: bool,
    /// IANA number of a protocol with ports.
    pub protocol: u8,
    /// Destination port of the original direction.
    pub port: Option<u16>,
}

impl Filter {
    fn admits(&self, entry: &Entry) -> bool {
        entry.protocol == self.protocol
            && entry.destination.is_ipv6() == self.ipv6
            && self.port.is_none_or(|port| entry.destination.port() == port)
    }
}

/// A connection to ctnetlink in the network namespace of the thread that made it. Calls block for as long as the kernel
/// works on them.
pub struct Conntrack(Connection);

impl Conntrack {
    /// Opens a socket. What it is asked for needs CAP_NET_ADMIN in the namespace.
    pub fn connect() -> Result<Self, HostError> {
        Connection::open(NETLINK_NETFILTER).map(Self).map_err(|error| failed("open", error))
    }

    /// The entries that the filter admits. One that comes or goes meanwhile may or may not be among them.
    ///
    /// `EINVAL` where the kernel has no ctnetlink.
    pub fn list(&mut self, filter: Filter) -> Result<Vec<Entry>, HostError> {
        let mut found = Vec::new();
        let refused = self.0.ask(|w, seq| message::list(w, seq, filter), &mut |answer| {
            found.extend(message::entry(answer).filter(|entry| filter.admits(entry)))
        });
        match refused.map_err(|error| failed("list", error))? {
            0 => Ok(found),
            errno => Err(HostError::kernel("list", "tracked connections", errno)),
        }
    }

    /// Deletes an entry; says whether it was still there.
    pub fn delete(&mut self, entry: &Entry) -> Result<bool, HostError> {
        let refused = self.0.ask(|w, seq| message::delete(w, seq, entry), &mut |_| {});
        match refused.map_err(|error| failed("delete", error))? {
            0 => Ok(true),
            libc::ENOENT => Ok(false),
            errno => {
                let object = format!("tracked connection {} -> {}", entry.client, entry.destination);
                Err(HostError::kernel("delete", object, errno))
            }
        }
    }
}

fn failed(op: &'static str, source: io::Error) -> HostError {
    HostError::io(op, "tracked connections", source)
}
