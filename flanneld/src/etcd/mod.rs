//! Leases in etcd, version 3: flannel's keys and values byte for byte, and none of its races.
//!
//! Owns: the connection ([`connection`]), the node's own lease ([`own`]), the list and the watch of all leases
//! ([`list`], [`watch`]). Never: decides which subnet to take (the core's `acquire` does), or what a lease means
//! to the kernel. Begin at [`EtcdSource`].
//!
//! Where flannel loses a lease or a race, this does not (flannel 0.28.4, `pkg/subnet/etcd`): a renewal is a
//! compare-and-swap, so that another node's take-over is seen; a lost race for a subnet is tried again; a
//! reservation (a key without an etcd lease) stays one; the CA is honoured without a client certificate.

mod backoff;
mod connection;
mod error;
mod list;
mod own;
mod prefix;
mod tls;
mod watch;

use std::sync::Arc;
use std::time::Duration;

use flanneld_core::config::NetworkConfig;

use crate::options::EtcdOptions;
use connection::{Connection, Repeat};

pub use error::{Attempt, EtcdError, Remedy};
pub use list::{Entry, Snapshot};
pub use own::{Acquired, EtcdLease};
pub use prefix::Prefix;
pub use watch::LeaseEvent;

/// The network's configuration and leases in etcd. Cheap to clone; all clones share one connection.
///
/// Every question has a time limit; none is asked before the first is needed, so that this can be made while
/// etcd is absent.
#[derive(Clone, Debug)]
pub struct EtcdSource {
    connection: Arc<Connection>,
    prefix: Prefix,
    ttl: Duration,
}

impl EtcdSource {
    /// Takes the user's settings; does not connect. `ttl` is the time to live of our own lease, in whole seconds.
    ///
    /// # Errors
    /// An endpoint that cannot be meant; a certificate or key that cannot be read.
    pub fn new(options: &EtcdOptions, ttl: Duration) -> Result<Self, EtcdError> {
        let prefix = Prefix::new(&options.prefix);
        let connection = Arc::new(Connection::new(options, prefix.config())?);
        Ok(Self { connection, prefix, ttl })
    }

    /// The names of this network's keys.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Reads the network configuration.
    ///
    /// # Errors
    /// [`EtcdError::ConfigMissing`], [`EtcdError::ConfigMalformed`], or etcd does not answer. All heal without a
    /// restart: flannel, and so the daemon, asks again each second.
    pub async fn config(&self) -> Result<NetworkConfig, EtcdError> {
        let key = self.prefix.config();
        let answer = self
            .connection
            .ask("read the network configuration", Repeat::Safe, |mut client| async move {
                client.get(key, None).await
            })
            .await?;
        let Some(kv) = answer.kvs().first() else {
            return Err(EtcdError::ConfigMissing { key: key.to_owned() });
        };
        NetworkConfig::parse(kv.value())
            .map_err(|error| EtcdError::ConfigMalformed { key: key.to_owned(), error })
    }
}
