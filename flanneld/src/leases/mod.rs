//! Where the network's configuration and leases come from and go to.
//!
//! Owns: the traits [`LeaseSource`] and [`HeldLease`], the events of their watches, and the sources: [`etcd`] today,
//! one module per source. Never: decides which subnet to take (the core's `acquire` does), or what a lease means to
//! the kernel.

mod error;
pub mod etcd;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use flanneld_core::acquire::Identity;
use flanneld_core::book::{Continuity, LeaseBook, Outcome};
use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::{Lease, LeaseAttrs, Stored, Subnets};
use futures::future::BoxFuture;
use tokio::sync::mpsc::Sender;

pub use error::{Remedy, SourceError};

/// The configuration and the leases of one network. Made without a connection; every question has a time limit.
pub trait LeaseSource: fmt::Debug + Send + Sync {
    /// Reads the network configuration.
    ///
    /// # Errors
    /// See [`SourceError::remedy`]: a missing or malformed configuration is worth another try.
    fn config(&self) -> BoxFuture<'_, Result<NetworkConfig, SourceError>>;

    /// What this node has published before, under its present public address or a former one.
    ///
    /// # Errors
    /// The source does not answer.
    fn published<'a>(&'a self, node: &'a Identity) -> BoxFuture<'a, Result<Option<LeaseAttrs>, SourceError>>;

    /// Gets subnets for this node and publishes its attributes.
    ///
    /// # Errors
    /// [`SourceError::NoSubnet`], or the source does not answer.
    fn acquire<'a>(
        &'a self,
        config: &'a NetworkConfig,
        attrs: &'a LeaseAttrs,
        node: &'a Identity,
    ) -> BoxFuture<'a, Result<Box<dyn HeldLease>, SourceError>>;

    /// Sends all leases, and then each change, until the receiver is gone. Never fails: interruptions are logged and
    /// mended. A slow receiver holds it back and loses nothing.
    fn watch(self: Arc<Self>, events: Sender<LeaseEvent>) -> BoxFuture<'static, ()>;

    /// Sends the configuration as it is, and then each change of it, until the receiver is gone. Never fails.
    fn watch_config(self: Arc<Self>, events: Sender<ConfigEvent>) -> BoxFuture<'static, ()>;
}

/// The lease of this node, as it stands in its source.
pub trait HeldLease: fmt::Debug + Send + Sync {
    fn lease(&self) -> &Lease;

    /// Whether an administrator keeps these subnets for us.
    fn is_reservation(&self) -> bool;

    /// None: nothing expires.
    fn expiry(&self) -> Option<Expiry>;

    /// The source's number of our last write.
    fn written(&self) -> i64;

    /// Writes the same attributes again for another time to live, where nobody else has written.
    ///
    /// # Errors
    /// [`SourceError::Taken`] and [`SourceError::Gone`]: the lease is lost. Else the source did not answer, and the
    /// lease lives on until it expires.
    fn renew(&mut self) -> BoxFuture<'_, Result<(), SourceError>>;
}

/// When a lease ends unless it is renewed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Expiry {
    pub at: Instant,
    /// The whole time to live.
    pub ttl: Duration,
}

impl Expiry {
    /// When to renew, `margin` before the end. A margin that the time to live does not leave room for shrinks to a
    /// third of it.
    pub fn renew_at(&self, margin: Duration) -> Instant {
        self.at - if margin < self.ttl { margin } else { self.ttl / 3 }
    }
}

/// What the watch of the leases says: [`LeaseBook`] judges it. Our own lease is in it as any other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseEvent {
    /// All leases there are: the first event, and again whenever changes may have been missed.
    Snapshot(Vec<Stored>, Continuity),
    /// A lease is new, or its holder or his data changed; also each renewal.
    Put(Stored),
    /// A lease expired or was deleted.
    Delete(Subnets),
}

impl LeaseEvent {
    /// Writes it into the book. `now`: the time since any fixed moment.
    pub fn enter(self, book: &mut LeaseBook, now: Duration) -> Outcome {
        match self {
            Self::Snapshot(leases, continuity) => book.snapshot(leases, continuity, now),
            Self::Put(lease) => book.put(lease),
            Self::Delete(subnets) => book.delete(subnets),
        }
    }
}

/// What the watch of the configuration says.
#[derive(Debug)]
pub enum ConfigEvent {
    Is(NetworkConfig),
    /// It is not there, or cannot be used.
    Unusable(SourceError),
}
