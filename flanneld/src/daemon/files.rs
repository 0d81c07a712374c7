//! `subnet.env` and the CNI configuration: what tells others that packets can flow, and how large they may be.

use std::path::PathBuf;

use flanneld_core::cni_conf::CniConf;
use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::Subnets;
use flanneld_core::subnet_env::SubnetEnv;

use crate::error::FlanneldError;
use crate::files::write_atomically;
use crate::options::Options;

/// The bridge that pods get where none was named (that of flannel's CNI plugin).
const CNI_BRIDGE: &str = "cni0";
/// The network's name in the CNI configuration (that of flannel's manifest).
const CNI_NAME: &str = "cbr0";

/// The files that others wait for.
pub struct Files {
    subnet_file: PathBuf,
    cni_conf: Option<PathBuf>,
    bridge: String,
    ip_masq: bool,
    config: NetworkConfig,
    subnets: Subnets,
    /// What was written last.
    mtu: Option<u32>,
}

impl Files {
    pub fn new(options: &Options, config: &NetworkConfig, subnets: Subnets) -> Self {
        Self {
            subnet_file: options.subnet_file.clone(),
            cni_conf: options.cni_conf.clone(),
            bridge: options.bridge.clone().unwrap_or_else(|| CNI_BRIDGE.to_owned()),
            ip_masq: options.ip_masq,
            config: config.clone(),
            subnets,
            mtu: None,
        }
    }

    /// Writes both files; again when the pods' MTU has changed since.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn publish(&mut self, mtu: u32) -> Result<(), FlanneldError> {
        if self.mtu == Some(mtu) {
            return Ok(());
        }
        if let Some(path) = &self.cni_conf {
            let conf = CniConf {
                name: CNI_NAME.to_owned(),
                bridge: self.bridge.clone(),
                subnet: self.subnets.v4,
                ipv6_subnet: self.subnets.v6,
                mtu,
                ip_masq: self.ip_masq,
            };
            write_atomically(path, &conf.render())?;
            tracing::info!(file = %path.display(), "CNI configuration written");
        }
        let env = SubnetEnv::new(&self.config, &self.subnets, mtu, self.ip_masq);
        write_atomically(&self.subnet_file, &env.to_string())?;
        tracing::info!(file = %self.subnet_file.display(), mtu, "subnet file written");
        self.mtu = Some(mtu);
        Ok(())
    }
}
