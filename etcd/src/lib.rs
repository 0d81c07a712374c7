//! etcd version 3 as our daemons use it: one connection that heals, questions with a time limit, lists in pages,
//! watches that resume, leases and transactions.
//!
//! Owns: everything that speaks to etcd; no other package knows the client library. Begin at [`Client`].
//! Never: names a flag of a daemon (the daemon does, by [`EtcdError::causes`]), waits before a retry (the caller
//! paces itself), or knows what a key means.

mod connection;
mod error;
mod kv;
mod lease;
mod maintenance;
mod settings;
mod tls;
mod transport;
mod watch;

use std::sync::Arc;

use connection::Connection;

pub use connection::Repeat;
pub use error::{Attempt, Cause, EtcdError};
pub use kv::{Compare, Header, KeyValue, Op, Page, Range, Reply, Span, Txn, TxnOutcome};
pub use lease::{Granted, LeaseId, LeaseInfo};
pub use maintenance::Status;
pub use settings::{Secret, Settings};
pub use watch::{Change, Stale, Watch, WatchError, WatchEvent};

/// An etcd cluster. Cheap to clone; all clones share one connection.
///
/// Every question has a time limit. Nothing connects before the first question, so a client can be made while etcd
/// is absent. A connection that fails is given up, and the next question makes a new one to the first endpoint that
/// serves.
#[derive(Clone, Debug)]
pub struct Client {
    connection: Arc<Connection>,
}

impl Client {
    /// Checks the settings and reads the files for TLS once; does not connect.
    ///
    /// # Errors
    /// [`EtcdError::Endpoint`]: an endpoint that cannot be meant. [`EtcdError::TlsFile`]: a certificate or key that
    /// cannot be read.
    pub fn new(settings: Settings) -> Result<Self, EtcdError> {
        Ok(Self { connection: Arc::new(Connection::new(settings)?) })
    }

    /// The same cluster over a connection of its own, so that a long answer here delays nobody there. Its clones share
    /// that one.
    pub fn separate(&self) -> Self {
        Self { connection: Arc::new(self.connection.separate()) }
    }

    /// Makes the connection if there is none.
    ///
    /// # Errors
    /// etcd cannot be reached, or does not let us in. Nothing has been asked for then.
    pub async fn connect(&self) -> Result<(), EtcdError> {
        self.connection.live().await.map(drop)
    }
}
