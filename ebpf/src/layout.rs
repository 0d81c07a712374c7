//! What the programs share with us: the Rust half of `c/overlay/overlay.h`, which says what each field means.
//!
//! Whoever changes one changes both, and raises [`LAYOUT`].

use std::mem::offset_of;

/// `OVERLAY_LAYOUT`: pinned maps of another layout are replaced, never taken over.
pub const LAYOUT: u32 = 2;
/// `OVERLAY_CREDIT`
pub const CREDIT: u32 = 3;
/// `OVERLAY_EVENTS`
pub const EVENTS: u32 = 32;

/// Must match `struct overlay_config`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Config {
    pub tun: u32,
    pub underlay: u32,
    /// In network byte order as it lies in memory.
    pub local_be: u32,
    pub port_be: u16,
    pub check_source: u8,
    pub tun_mac_len: u8,
    pub underlay_mac_len: u8,
    pub pad: [u8; 3],
}
const _: () = assert!(size_of::<Config>() == 20 && offset_of!(Config, underlay_mac_len) == 16);

/// Must match `struct overlay_count`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_packets: u64,
    pub rx_bytes: u64,
}
const _: () = assert!(size_of::<Count>() == 32 && offset_of!(Count, rx_packets) == 16);

/// Must match `struct overlay_state`.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct State {
    pub layout: u32,
    pub tun: u32,
    pub underlay: u32,
    pub ready: u32,
    pub bridge: u32,
}
const _: () = assert!(size_of::<State>() == 20 && offset_of!(State, bridge) == 16);

/// Must match `struct overlay_port_key`: a MAC address and two zero bytes.
pub type PortKey = [u8; 8];

/// Must match `struct overlay_lease_key`.
pub type LeaseKey = aya::maps::lpm_trie::Key<u32>;
const _: () = assert!(size_of::<LeaseKey>() == 8);
