//! What ends flanneld, in words that name the cause and the remedy.

use flanneld_core::tables::Conflict;
pub(crate) use telemetry::logs::chain;

use crate::files::WriteError;
use crate::leases::SourceError;

/// Why flanneld stopped.
#[derive(Debug, thiserror::Error)]
pub enum FlanneldError {
    #[error(
        "flanneld needs CAP_NET_ADMIN to make links, routes and rules: run it as root, or give it the capability \
         (AmbientCapabilities=CAP_NET_ADMIN CAP_NET_RAW in a systemd unit, --cap-add=NET_ADMIN for a container)"
    )]
    NotAllowed,
    #[error("the network configuration in etcd is unusable")]
    Config(#[source] flanneld_core::config::ConfigError),
    #[error(transparent)]
    Refused(#[from] flanneld_core::preflight::Refusal),
    #[error("no interface for the overlay's packets")]
    Interface(#[source] flanneld_core::iface::IfaceError),
    #[error(
        "interface {name} has an MTU of {mtu}: too small for backend {backend}. Raise it, or choose another \
         interface with --iface"
    )]
    TooSmall { name: String, mtu: u32, backend: &'static str },
    #[error("no lease")]
    Lease(#[from] SourceError),
    #[error(
        "subnet {subnets} now belongs to {holder}: this node's lease was taken over. Look for a second node with \
         the same --public-ip, or a key put by hand; flanneld takes another subnet when it is started again"
    )]
    Taken { subnets: String, holder: String },
    #[error(transparent)]
    Conflict(#[from] Conflict),
    #[error("{0}")]
    LinkName(#[from] flanneld_core::tables::BadLinkName),
    #[error("the udp data path does not start")]
    Udp(#[source] crate::udp::UdpError),
    #[error("cannot set up the firewall rules")]
    Firewall(#[source] host::error::HostError),
    #[error(
        "{by} asks for nftables, and this kernel cannot do what the rules need: load its modules (modprobe -a \
         nf_tables nft_chain_nat nft_masq), or take --firewall=iptables"
    )]
    NoNftables {
        by: &'static str,
        #[source]
        source: host::error::HostError,
    },
    #[error("cannot look at the kernel's tables")]
    Observe(#[source] host::error::HostError),
    #[error(transparent)]
    Write(#[from] WriteError),
    #[error(transparent)]
    Health(#[from] telemetry::http::BindError),
    #[error(transparent)]
    Frame(#[from] telemetry::daemon::FrameError),
}

impl FlanneldError {
    /// Whether it may pass by itself: a kernel that is busy, a full disk.
    pub fn heals(&self) -> bool {
        match self {
            Self::Observe(error) | Self::Firewall(error) => error.remedy() != host::error::Remedy::GiveUp,
            Self::Write(_) => true,
            _ => false,
        }
    }

    /// The whole story in one line: each cause after a colon.
    pub fn chain(&self) -> String {
        chain(self)
    }
}
