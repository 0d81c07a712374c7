//! What the data path counts.

use flanneld_core::packet::DropReason;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Packets and bytes of one peer. Bytes are those of inner packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerCounts {
    pub sent_packets: u64,
    pub sent_bytes: u64,
    pub received_packets: u64,
    pub received_bytes: u64,
}

/// Everything counted since the start of the data path. Peers without a lease have left the list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UdpCounters {
    /// By public address.
    pub peers: BTreeMap<Ipv4Addr, PeerCounts>,
    /// Every reason is there, with 0 where nothing was dropped.
    pub drops: BTreeMap<DropReason, u64>,
    /// ICMP errors written to the TUN.
    pub icmp_sent: u64,
    /// ICMP errors that the rate limit held back.
    pub icmp_suppressed: u64,
    /// Packets that the packet programs left to user space, by their reason. Empty without programs.
    pub to_user: BTreeMap<ebpf::overlay::UserReason, u64>,
}

impl UdpCounters {
    /// Packets dropped for `reason`.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.drops.get(&reason).copied().unwrap_or(0)
    }

    /// Adds what the packet programs have counted.
    pub(super) fn add(&mut self, kernel: &ebpf::overlay::Counters) {
        for (peer, more) in &kernel.peers {
            let counts = self.peers.entry(*peer).or_default();
            counts.sent_packets += more.tx_packets;
            counts.sent_bytes += more.tx_bytes;
            counts.received_packets += more.rx_packets;
            counts.received_bytes += more.rx_bytes;
        }
        for (reason, more) in &kernel.drops {
            *self.drops.entry(same(*reason)).or_default() += more;
        }
        self.to_user.clone_from(&kernel.to_user);
    }
}

/// Our word for a reason of the packet programs, which make the same checks in the same order.
fn same(reason: ebpf::overlay::DropReason) -> DropReason {
    match reason {
        ebpf::overlay::DropReason::UnknownSender => DropReason::UnknownSender,
        ebpf::overlay::DropReason::Truncated => DropReason::Truncated,
        ebpf::overlay::DropReason::NotIpv4 => DropReason::NotIpv4,
        ebpf::overlay::DropReason::BadLength => DropReason::BadHeader,
        ebpf::overlay::DropReason::SpoofedSource => DropReason::SpoofedSource,
        ebpf::overlay::DropReason::Ttl => DropReason::TtlExpired,
        ebpf::overlay::DropReason::Internal => DropReason::Internal,
    }
}

/// The live form of [`PeerCounts`]. Each field has one writer.
#[derive(Debug, Default)]
pub(super) struct PeerCounter {
    sent_packets: AtomicU64,
    sent_bytes: AtomicU64,
    received_packets: AtomicU64,
    received_bytes: AtomicU64,
}

impl PeerCounter {
    pub fn sent(&self, bytes: usize) {
        self.sent_packets.fetch_add(1, Relaxed);
        self.sent_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub fn received(&self, bytes: usize) {
        self.received_packets.fetch_add(1, Relaxed);
        self.received_bytes.fetch_add(bytes as u64, Relaxed);
    }

    pub fn read(&self) -> PeerCounts {
        PeerCounts {
            sent_packets: self.sent_packets.load(Relaxed),
            sent_bytes: self.sent_bytes.load(Relaxed),
            received_packets: self.received_packets.load(Relaxed),
            received_bytes: self.received_bytes.load(Relaxed),
        }
    }
}

/// The live form of the rest of [`UdpCounters`].
#[derive(Debug, Default)]
pub(super) struct NodeCounter {
    drops: [AtomicU64; DropReason::ALL.len()],
    pub icmp_sent: AtomicU64,
    pub icmp_suppressed: AtomicU64,
}

impl NodeCounter {
    pub fn dropped(&self, reason: DropReason) {
        self.drops[reason as usize].fetch_add(1, Relaxed);
    }

    pub fn drops(&self) -> BTreeMap<DropReason, u64> {
        DropReason::ALL
            .into_iter()
            .map(|reason| (reason, self.drops[reason as usize].load(Relaxed)))
            .collect()
    }
}
