//! The packet paths that are compared.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::arguments::write_word;

/// One way for a packet from node to node. In the order in which they run and are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Node to node over the bare veth pair: the ceiling, and what ratios refer to
    Direct,
    /// Pod to pod by our host-gw backend
    HostGw,
    /// Pod to pod by the same routes, made with ip
    HostGwByHand,
    /// Pod to pod by our vxlan backend
    Vxlan,
    /// Pod to pod by the same device and tables, made with ip and bridge
    VxlanByHand,
    /// Pod to pod by our udp backend, in the kernel
    UdpEbpf,
    /// Pod to pod by our udp backend, in user space
    UdpSimple,
    /// Pod to pod by the original flanneld's host-gw backend
    OriginalHostGw,
    /// Pod to pod by the original flanneld's vxlan backend
    OriginalVxlan,
    /// Pod to pod by the original flanneld's udp backend
    OriginalUdp,
}

impl Mode {
    /// Whether it needs the original flanneld.
    pub fn is_original(self) -> bool {
        matches!(self, Self::OriginalHostGw | Self::OriginalVxlan | Self::OriginalUdp)
    }

    /// What people read.
    pub fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::HostGw => "host-gw",
            Self::HostGwByHand => "host-gw by hand",
            Self::Vxlan => "vxlan",
            Self::VxlanByHand => "vxlan by hand",
            Self::UdpEbpf => "udp ebpf",
            Self::UdpSimple => "udp simple",
            Self::OriginalHostGw => "original host-gw",
            Self::OriginalVxlan => "original vxlan",
            Self::OriginalUdp => "original udp",
        }
    }
}

/// The word on the command line and in JSON.
impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_and_json_use_the_same_words() {
        for mode in Mode::value_variants() {
            assert_eq!(serde_json::to_value(mode).unwrap(), mode.to_string());
        }
        assert_eq!(Mode::HostGwByHand.to_string(), "host-gw-by-hand");
    }
}
