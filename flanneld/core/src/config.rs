//! The network configuration: the JSON at `<prefix>/config` in etcd, the same text that flannel reads.
//!
//! Begin at [`NetworkConfig::parse`]. Everything behind it may trust the values: pools are aligned and lie in their
//! networks, numbers are in range, the backend can carry the families. Source of the rules: flannel 0.28.4,
//! `pkg/subnet/config.go`; the options of a backend are in its own package there.

mod backend;
mod changes;
mod error;
pub(crate) mod fields;
mod pool;
#[cfg(test)]
mod tests;
mod vni;

use std::fmt;

pub use error::ConfigError;
pub use pool::Pool;
pub use vni::{BadVni, Vni};

pub use crate::overlay::{Backend, Datapath, Udp, Vxlan};

use ipnet::IpNet;

use crate::overlay::PerFamily;
use fields::Fields;

/// The configuration of the whole network, the same for every node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NetworkConfig {
    /// IPv4 subnets. Always there with etcd, which cannot hold a lease without one.
    pub v4: Option<Pool>,
    pub v6: Option<Pool>,
    /// `EnableNFTables`. Absent means that the daemon chooses; flannel takes it for `false`.
    pub enable_nftables: Option<bool>,
    pub backend: Backend,
}

impl NetworkConfig {
    /// The whole network of each family in use.
    pub fn networks(&self) -> PerFamily<Option<IpNet>> {
        let network = |pool: &Option<Pool>| pool.as_ref().map(|pool| pool.network);
        PerFamily { v4: network(&self.v4), v6: network(&self.v6) }
    }

    /// Reads and checks the configuration. Keys match in any case, unknown ones are ignored, and of a repeated
    /// one the last counts, as in flannel.
    ///
    /// # Errors
    ///
    /// Each names the key, the bad value, the legal ones and what to do.
    pub fn parse(json: impl AsRef<[u8]>) -> Result<Self, ConfigError> {
        let fields = Fields::parse(json.as_ref())?;
        let (v4, v6) =
            (fields.flag("EnableIPv4")?.unwrap_or(true), fields.flag("EnableIPv6")?.unwrap_or(false));
        if !v4 {
            return Err(if v6 { ConfigError::Ipv6Only } else { ConfigError::NoFamily });
        }
        let config = Self {
            v4: Some(pool::read(&fields, &pool::V4)?),
            v6: v6.then(|| pool::read(&fields, &pool::V6)).transpose()?,
            enable_nftables: fields.flag("EnableNFTables")?,
            backend: backend::read(&fields, v6)?,
        };
        Ok(config)
    }
}

/// One line for the log.
impl fmt::Display for NetworkConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for pool in [&self.v4, &self.v6].into_iter().flatten() {
            write!(f, "{pool}, ")?;
        }
        match self.enable_nftables {
            Some(true) => write!(f, "nftables, ")?,
            Some(false) => write!(f, "iptables, ")?,
            None => {}
        }
        write!(f, "backend {}", self.backend)
    }
}
