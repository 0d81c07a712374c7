//! What the programs count, with names that metrics and people can use.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

/// Everything the programs have counted since their maps were made (restarts of the daemon included).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// By the peer's public address; peers without a lease are not listed.
    pub peers: BTreeMap<Ipv4Addr, PeerCounters>,
    /// Packets dropped by the programs. Every reason is listed.
    pub drops: BTreeMap<DropReason, u64>,
    /// Packets left to user space. Every reason is listed.
    pub to_user: BTreeMap<UserReason, u64>,
}

/// Inner packets and bytes of one peer. A GSO packet counts as its segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounters {
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub rx_bytes: u64,
}

macro_rules! reasons {
    ($(#[$doc:meta])* $name:ident { $($(#[$why:meta])* $variant:ident = $index:literal, $label:literal;)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u32)]
        pub enum $name { $($(#[$why])* $variant = $index,)* }

        impl $name {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The label in metrics: never changes.
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }

        const _: () = { $(assert!($index < crate::layout::EVENTS);)* };
    };
}

reasons! {
    /// Why a program dropped a packet: `DROP_*` of `enum overlay_event`.
    DropReason {
        /// The sender holds no lease.
        UnknownSender = 0, "unknown_sender";
        /// The datagram is too short for an inner IPv4 header.
        Truncated = 1, "truncated";
        /// The inner packet is not IPv4.
        NotIpv4 = 2, "not_ipv4";
        /// A length, outer or inner, that does not fit what arrived.
        BadLength = 3, "bad_length";
        /// The inner source is not in the sender's lease.
        SpoofedSource = 4, "spoofed_source";
        /// The inner packet arrived with no hop left.
        Ttl = 5, "ttl";
        /// The kernel refused a step after the packet had been changed. Not seen so far.
        Internal = 6, "internal";
    }
}

reasons! {
    /// Why a program left a packet to user space: `USER_*` of `enum overlay_event`.
    UserReason {
        /// Out: not IPv4.
        NotIpv4 = 16, "not_ipv4";
        /// Out: a length that is not the packet's, or more than 65507 bytes.
        BadLength = 17, "bad_length";
        /// Out: no hop left.
        Ttl = 18, "ttl";
        /// Out: no lease for the destination.
        NoLease = 19, "no_lease";
        /// Out: the host has no plain route to the peer, or does not forward.
        NoRoute = 20, "no_route";
        /// Out: more than the path to the peer carries; the socket fragments it.
        TooBig = 21, "too_big";
        /// Out or in: the kernel does not move headers of this kind of packet.
        Refused = 22, "refused";
        /// In: the outer header has options.
        Options = 23, "options";
        /// In: the first fragment of an outer packet.
        Fragment = 24, "fragment";
        /// In: several datagrams in one packet, by a NIC's GRO or as UDP segments over a virtual link.
        Aggregate = 25, "aggregate";
        /// In: before the first complete set of leases.
        NotReady = 26, "not_ready";
        /// Out: the peer is not known to take packets in the kernel, so they are finished here.
        PlainPeer = 27, "plain_peer";
        /// In: the outer checksum is left to hardware that a virtual link does not have.
        Unfinished = 28, "unfinished";
    }
}
