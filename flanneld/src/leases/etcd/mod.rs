//! Leases in etcd, version 3: flannel's keys and values byte for byte, and none of its races.
//!
//! Owns: flannel's keys ([`prefix`]), the node's own lease ([`own`]), the list and the watches ([`list`],
//! [`watch`]). Begin at [`EtcdSource`].
//!
//! Where flannel loses a lease or a race, this does not (flannel 0.28.4, `pkg/subnet/etcd`): a renewal is a
//! compare-and-swap, so that another node's take-over is seen; a lost race for a subnet is tried again; a
//! reservation (a key without an etcd lease) stays one; the CA is honoured without a client certificate.

mod list;
mod own;
mod prefix;
mod watch;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use etcd::{Client, EtcdError, Secret, Settings};
use flanneld_core::acquire::Identity;
use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::LeaseAttrs;
use futures::future::BoxFuture;
use tokio::sync::mpsc::Sender;

use super::error::SourceError;
use super::{ConfigEvent, HeldLease, LeaseEvent, LeaseSource};
use crate::options::EtcdOptions;

pub use list::{Entry, Snapshot};
pub use own::Acquired;
pub use prefix::Prefix;

/// The network's configuration and leases in etcd. Cheap to clone; all clones share one connection.
#[derive(Clone, Debug)]
pub struct EtcdSource {
    client: Client,
    prefix: Prefix,
    ttl: Duration,
    /// Keys that are no leases, so that each is reported once.
    odd_keys: Arc<Mutex<BTreeSet<String>>>,
}

impl EtcdSource {
    /// Takes the user's settings; does not connect. `ttl` is the time to live of our own lease, in whole seconds.
    ///
    /// # Errors
    /// An endpoint that cannot be meant; a certificate or key that cannot be read.
    pub fn new(options: &EtcdOptions, ttl: Duration) -> Result<Self, SourceError> {
        let prefix = Prefix::new(&options.prefix);
        let password = || options.password.as_ref().map_or("", |password| password.reveal());
        let settings = Settings {
            endpoints: options.endpoints.clone(),
            ca: options.cafile.clone(),
            identity: options.certfile.clone().zip(options.keyfile.clone()),
            server_name: None,
            user: options.username.clone().map(|name| (name, Secret::new(password()))),
        };
        let client = Client::new(settings)
            .map_err(|error| SourceError::Etcd { error, prefix: prefix.root().to_owned() })?;
        Ok(Self { client, prefix, ttl, odd_keys: Arc::default() })
    }

    /// The names of this network's keys.
    pub fn prefix(&self) -> &Prefix {
        &self.prefix
    }

    /// Reads the network configuration.
    ///
    /// # Errors
    /// [`SourceError::ConfigMissing`], [`SourceError::ConfigMalformed`], or etcd does not answer. All heal without a
    /// restart: flannel, and so the daemon, asks again each second.
    pub async fn config(&self) -> Result<NetworkConfig, SourceError> {
        let found = self.client.get(self.prefix.config()).await.map_err(|error| self.error(error))?;
        self.parse_config(found.map(|kv| kv.value).as_deref())
    }

    fn parse_config(&self, value: Option<&[u8]>) -> Result<NetworkConfig, SourceError> {
        let key = || self.prefix.config().to_owned();
        let value = value.ok_or_else(|| SourceError::ConfigMissing { key: key() })?;
        NetworkConfig::parse(value).map_err(|error| SourceError::ConfigMalformed { key: key(), error })
    }

    fn error(&self, error: EtcdError) -> SourceError {
        SourceError::Etcd { error, prefix: self.prefix.root().to_owned() }
    }
}

impl LeaseSource for EtcdSource {
    fn config(&self) -> BoxFuture<'_, Result<NetworkConfig, SourceError>> {
        Box::pin(self.config())
    }

    fn published<'a>(&'a self, node: &'a Identity) -> BoxFuture<'a, Result<Option<LeaseAttrs>, SourceError>> {
        Box::pin(async move {
            let snapshot = self.list().await?;
            let mut own = snapshot.entries.into_iter().filter(|entry| node.owns(&entry.stored));
            Ok(own.find_map(|entry| entry.stored.attrs.ok()))
        })
    }

    fn acquire<'a>(
        &'a self,
        config: &'a NetworkConfig,
        attrs: &'a LeaseAttrs,
        node: &'a Identity,
    ) -> BoxFuture<'a, Result<Box<dyn HeldLease>, SourceError>> {
        Box::pin(async move {
            let acquired = self.acquire(config, attrs, node).await?;
            Ok(Box::new(own::EtcdLease { source: self.clone(), acquired }) as Box<dyn HeldLease>)
        })
    }

    fn watch(self: Arc<Self>, events: Sender<LeaseEvent>) -> BoxFuture<'static, ()> {
        Box::pin(async move { EtcdSource::watch(&self, events).await })
    }

    fn watch_config(self: Arc<Self>, events: Sender<ConfigEvent>) -> BoxFuture<'static, ()> {
        Box::pin(async move { EtcdSource::watch_config(&self, events).await })
    }
}
