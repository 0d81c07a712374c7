//! How much a peer sent and got.

/// Packets and bytes of inner packets, since the data path was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub rx_bytes: u64,
}

impl From<&crate::udp::PeerCounts> for Traffic {
    fn from(counts: &crate::udp::PeerCounts) -> Self {
        Self {
            tx_packets: counts.sent_packets,
            tx_bytes: counts.sent_bytes,
            rx_packets: counts.received_packets,
            rx_bytes: counts.received_bytes,
        }
    }
}
