//! What the two directions of the data path have in common.

use super::counters::NodeCounter;
use super::routes::SharedRoutes;
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::OwnedFd;
use std::sync::Arc;

/// What both threads see.
#[derive(Debug)]
pub(super) struct Shared {
    /// Non-blocking.
    pub tun: OwnedFd,
    /// Non-blocking.
    pub socket: UdpSocket,
    /// True if a virtio header stands before each packet of the TUN.
    pub vnet_hdr: bool,
    /// Address of the TUN: the source of ICMP errors.
    pub tun_address: Ipv4Addr,
    /// MTU of the TUN: longer packets are not taken from the underlay.
    pub mtu: usize,
    /// Where peers listen: the port that we listen at.
    pub port: u16,
    pub check_source: bool,
    pub routes: Arc<SharedRoutes>,
    pub counters: Arc<NodeCounter>,
}
