//! The proxies that are compared.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

use crate::arguments::write_word;

/// A way to reach services. In the order in which they run and are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// No proxy and no rules: connections to the endpoint itself, what ratios refer to
    Direct,
    /// weft proxy with nftables
    OursNftables,
    /// kube-proxy with nftables
    KubeProxyNftables,
    /// weft proxy with iptables, by the tools of the nft flavour
    OursIptablesNft,
    /// kube-proxy with iptables, by the tools of the nft flavour
    KubeProxyIptablesNft,
    /// weft proxy with iptables, by the legacy tools
    OursIptablesLegacy,
    /// kube-proxy with iptables, by the legacy tools
    KubeProxyIptablesLegacy,
}

/// Which iptables a proxy finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flavour {
    Nft,
    Legacy,
}

impl Kind {
    pub fn is_original(self) -> bool {
        matches!(self, Self::KubeProxyNftables | Self::KubeProxyIptablesNft | Self::KubeProxyIptablesLegacy)
    }

    /// kube-proxy with the tools of ours.
    pub fn counterpart(self) -> Option<Self> {
        match self {
            Self::OursNftables => Some(Self::KubeProxyNftables),
            Self::OursIptablesNft => Some(Self::KubeProxyIptablesNft),
            Self::OursIptablesLegacy => Some(Self::KubeProxyIptablesLegacy),
            _ => None,
        }
    }

    /// None: it writes nftables.
    pub fn flavour(self) -> Option<Flavour> {
        match self {
            Self::Direct | Self::OursNftables | Self::KubeProxyNftables => None,
            Self::OursIptablesNft | Self::KubeProxyIptablesNft => Some(Flavour::Nft),
            Self::OursIptablesLegacy | Self::KubeProxyIptablesLegacy => Some(Flavour::Legacy),
        }
    }

    /// What people read.
    pub fn title(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::OursNftables => "ours, nftables",
            Self::KubeProxyNftables => "kube-proxy, nftables",
            Self::OursIptablesNft => "ours, iptables-nft",
            Self::KubeProxyIptablesNft => "kube-proxy, iptables-nft",
            Self::OursIptablesLegacy => "ours, iptables-legacy",
            Self::KubeProxyIptablesLegacy => "kube-proxy, iptables-legacy",
        }
    }

    /// Above so many services it takes minutes, and is left out unless asked for: its start grows faster than they do.
    pub fn most_services(self) -> u32 {
        match self {
            Self::KubeProxyNftables | Self::KubeProxyIptablesNft => 10_000,
            _ => u32::MAX,
        }
    }
}

/// The word on the command line and in JSON.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_word(self, f)
    }
}

/// A proxy before so many services.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Mode {
    pub services: u32,
    pub proxy: Kind,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {} services", self.proxy, self.services)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_and_json_use_the_same_words() {
        for kind in Kind::value_variants() {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.to_string());
        }
        assert_eq!(Kind::KubeProxyIptablesLegacy.to_string(), "kube-proxy-iptables-legacy");
    }

    #[test]
    fn a_counterpart_has_the_same_tools() {
        for kind in Kind::value_variants() {
            let Some(other) = kind.counterpart() else { continue };
            assert!(other.is_original() && other.flavour() == kind.flavour(), "{kind}");
        }
    }
}
