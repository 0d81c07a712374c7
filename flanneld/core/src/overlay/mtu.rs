//! How large a pod's packet may be.

use super::Underlay;
use crate::config::{Backend, NetworkConfig};

/// Outer IPv4 (20) and UDP (8).
const UDP_OVERHEAD: u32 = 28;
/// Outer IPv4 (20), UDP (8), VXLAN (8), inner Ethernet (14). RFC 7348.
const VXLAN_OVERHEAD: u32 = 50;
/// The same over IPv6 (40). flannel subtracts 50 here too, and fragments (flannel issue 1781).
const VXLAN_V6_OVERHEAD: u32 = 70;
/// What every IPv4 host must accept (RFC 791) and what IPv6 demands of a link (RFC 8200).
const MIN_V4: u32 = 68;
const MIN_V6: u32 = 1280;

/// MTU of the overlay of each family. Where a family is off, its value has no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mtus {
    pub v4: u32,
    pub v6: u32,
}

pub(super) fn of_node(config: &NetworkConfig, underlay: &Underlay) -> Mtus {
    let (outer, v4, v6) = match &config.backend {
        Backend::Udp(_) => (underlay.mtu, UDP_OVERHEAD, UDP_OVERHEAD),
        Backend::Vxlan(vxlan) => (vxlan.mtu.unwrap_or(underlay.mtu), VXLAN_OVERHEAD, VXLAN_V6_OVERHEAD),
        Backend::HostGw | Backend::Alloc => (underlay.mtu, 0, 0),
    };
    Mtus { v4: outer.saturating_sub(v4), v6: outer.saturating_sub(v6) }
}

/// The MTU for the pods' interfaces (`FLANNEL_MTU`): what fits through the overlay of every family in use.
pub fn pod_mtu(config: &NetworkConfig, underlay: &Underlay) -> u32 {
    let mtus = of_node(config, underlay);
    match (&config.v4, &config.v6) {
        (Some(_), None) => mtus.v4,
        (None, _) => mtus.v6,
        (Some(_), Some(_)) => mtus.v4.min(mtus.v6),
    }
}

/// Whether the underlay is too narrow for the overlay to carry the families in use.
pub fn too_small(config: &NetworkConfig, underlay: &Underlay) -> bool {
    pod_mtu(config, underlay) < if config.v6.is_some() { MIN_V6 } else { MIN_V4 }
}
