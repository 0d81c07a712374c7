//! What flannel keeps in the lab's etcd.

use host::programs::{Etcd, ProgramError};

/// Where flannel keeps everything in etcd.
pub const PREFIX: &str = "/coreos.com/network";

/// flannel's keys in an etcd.
pub trait NetworkKeys {
    /// The leases of the network, by the text of their key (`10.244.7.0-24`), each with its value.
    ///
    /// # Errors
    /// etcd does not answer.
    fn leases(&self) -> Result<Vec<(String, String)>, ProgramError>;

    /// Writes the network config.
    ///
    /// # Errors
    /// etcd does not answer.
    fn put_network_config(&self, json: &str) -> Result<(), ProgramError>;
}

impl NetworkKeys for Etcd {
    fn leases(&self) -> Result<Vec<(String, String)>, ProgramError> {
        let prefix = format!("{PREFIX}/subnets/");
        let leases = self.list(&prefix)?.into_iter();
        Ok(leases.map(|(key, value)| (key.trim_start_matches(&prefix).to_owned(), value)).collect())
    }

    fn put_network_config(&self, json: &str) -> Result<(), ProgramError> {
        self.put(&format!("{PREFIX}/config"), json)
    }
}
