//! How large a pod's packet may be.

use super::Underlay;
use crate::config::NetworkConfig;

/// What every IPv4 host must accept (RFC 791) and what IPv6 demands of a link (RFC 8200).
const MIN_V4: u32 = 68;
const MIN_V6: u32 = 1280;

/// The MTU for the pods' interfaces (`FLANNEL_MTU`): what fits through the overlay of every family in use.
pub fn pod_mtu(config: &NetworkConfig, underlay: &Underlay) -> u32 {
    let mtus = config.backend.overlay().mtus(underlay.mtu);
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
