//! Why a packet was dropped.

use std::fmt;

/// Why a packet went no further. The text is a metric label: few values, never renamed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// The datagram came from an address that holds no lease.
    UnknownSender,
    /// The inner source lies outside the leases of the sender.
    SpoofedSource,
    /// Fewer bytes than an IPv4 header has.
    Truncated,
    /// The version field is not 4. The kernel's own IPv6 router solicitations on the TUN end here, too.
    NotIpv4,
    /// A length in the inner header that cannot be: the header's below 20 bytes, or the whole packet's below the
    /// header's or above what arrived.
    BadHeader,
    /// A datagram longer than the MTU of the TUN. flannel reads the first part of it as if it were the whole.
    Oversized,
    /// The hop count ended here.
    TtlExpired,
    /// No lease covers the destination.
    NoRoute,
    /// A super-packet of the TUN of a kind that we cannot cut, or with contradictory offsets.
    BadOffload,
    /// The underlay socket refused the packet.
    SendFailed,
    /// The TUN refused the packet, as it does while it is down.
    DeliverFailed,
    /// The kernel refused a step to the packet programs, after they had changed the packet. Not seen so far.
    Internal,
}

impl DropReason {
    /// Every reason, in the order of the enum: `ALL[reason as usize] == reason`.
    pub const ALL: [Self; 12] = [
        Self::UnknownSender,
        Self::SpoofedSource,
        Self::Truncated,
        Self::NotIpv4,
        Self::BadHeader,
        Self::Oversized,
        Self::TtlExpired,
        Self::NoRoute,
        Self::BadOffload,
        Self::SendFailed,
        Self::DeliverFailed,
        Self::Internal,
    ];

    /// The metric label.
    pub fn label(self) -> &'static str {
        match self {
            Self::UnknownSender => "unknown_sender",
            Self::SpoofedSource => "spoofed_source",
            Self::Truncated => "truncated",
            Self::NotIpv4 => "not_ipv4",
            Self::BadHeader => "bad_header",
            Self::Oversized => "oversized",
            Self::TtlExpired => "ttl_expired",
            Self::NoRoute => "no_route",
            Self::BadOffload => "bad_offload",
            Self::SendFailed => "send_failed",
            Self::DeliverFailed => "deliver_failed",
            Self::Internal => "internal",
        }
    }
}

impl fmt::Display for DropReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn all_is_in_order_and_the_labels_differ() {
        for (i, reason) in DropReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, i);
        }
        let labels: BTreeSet<_> = DropReason::ALL.iter().map(|r| r.to_string()).collect();
        assert_eq!(labels.len(), DropReason::ALL.len());
    }
}
