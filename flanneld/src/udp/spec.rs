//! What a data path is made from.

use flanneld_core::config::Datapath;
use flanneld_core::overlay::Underlay;
use ipnet::Ipv4Net;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

/// What the data path is to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UdpSpec {
    /// Name of the TUN, `flannel0`.
    pub device: String,
    /// MTU that the TUN has or will have: longer inner packets are not taken from peers. Setting it is not our business.
    pub mtu: u32,
    /// Interface index of the underlay.
    pub underlay: u32,
    /// Our address there: the datagrams' source, and the only destination that we listen at.
    pub local: Ipv4Addr,
    /// UDP port, ours and every peer's.
    pub port: u16,
    /// Our lease. Its network address is the TUN's, and the source of ICMP errors.
    pub subnet: Ipv4Net,
    pub datapath: Datapath,
    /// Refuse an inner source that the sender does not hold.
    pub check_source: bool,
    /// A folder of our own for pinned programs and maps, on a BPF file system (mounted where it is missing).
    pub pin_dir: PathBuf,
}

impl UdpSpec {
    /// Where the datagram socket is bound.
    pub fn endpoint(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.local, self.port)
    }

    /// The TUN's address.
    pub fn tun_address(&self) -> Ipv4Addr {
        self.subnet.network()
    }

    /// Takes over where the underlay is now. True if that changed something, and the data path has to be made again.
    /// An underlay that has lost its address changes nothing: it may come back.
    pub fn follow(&mut self, underlay: &Underlay, mtu: u32) -> bool {
        let before = (self.underlay, self.local, self.mtu);
        self.underlay = underlay.index;
        self.local = underlay.ip.unwrap_or(self.local);
        self.mtu = mtu;
        before != (self.underlay, self.local, self.mtu)
    }
}
