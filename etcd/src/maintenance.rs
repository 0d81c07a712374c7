//! What is asked of a member rather than of the store.

use std::sync::Arc;

use tokio::time::timeout;

use crate::Client;
use crate::connection::{RPC_LIMIT, Repeat};
use crate::error::EtcdError;
use crate::kv::Header;

/// How the member we are connected to is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    pub header: Header,
    pub version: String,
    /// Bytes on disk, and of those in use.
    pub db_size: i64,
    pub db_size_in_use: i64,
    /// Member number of the leader; 0: there is none.
    pub leader: u64,
    pub is_learner: bool,
    /// Alarms and the like.
    pub errors: Vec<String>,
}

impl Client {
    /// Asks the member at the other end of the connection.
    ///
    /// # Errors
    /// It does not answer, or does not allow it.
    pub async fn status(&self) -> Result<Status, EtcdError> {
        let what = || "tell its status".to_owned();
        let question =
            |client: Arc<etcd_client::Client>| async move { client.maintenance_client().status().await };
        let answer = self.connection.ask(what, Repeat::Safe, question).await?;
        Ok(Status {
            header: Header::of(answer.header()),
            version: answer.version().to_owned(),
            db_size: answer.db_size(),
            db_size_in_use: answer.raft_used_db_size(),
            leader: answer.leader(),
            is_learner: answer.is_learner(),
            errors: answer.errors().to_vec(),
        })
    }

    /// Forgets the history before a revision. A revision that is compacted already is an error of etcd's
    /// ([`EtcdError::Compacted`]): another has done it.
    ///
    /// # Errors
    /// See above; or etcd does not answer, or does not allow it.
    pub async fn compact(&self, revision: i64) -> Result<(), EtcdError> {
        let what = || format!("compact its history before revision {revision}");
        let question = |client: Arc<etcd_client::Client>| async move {
            client.kv_client().compact(revision, None).await
        };
        self.connection.ask(what, Repeat::Safe, question).await.map(drop)
    }

    /// Reads the whole store as one file of etcd's own form, with its SHA-256 at the end: what `etcdctl snapshot save`
    /// saves. `piece` gets the parts in order, and stops the rest by an error of its own.
    ///
    /// # Errors
    /// The member does not answer or stops in between, or does not allow it. The inner result is that of `piece`.
    pub async fn snapshot<E>(
        &self,
        mut piece: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<Result<(), E>, EtcdError> {
        let what = || "give a snapshot".to_owned();
        let question =
            |client: Arc<etcd_client::Client>| async move { client.maintenance_client().snapshot().await };
        let mut stream = self.connection.ask(what, Repeat::Safe, question).await?;
        loop {
            let next = timeout(RPC_LIMIT, stream.message()).await;
            let next = next.map_err(|_| EtcdError::TimedOut { what: what(), limit: RPC_LIMIT })?;
            let broken =
                |error: etcd_client::Error| EtcdError::Rpc { what: what(), reason: error.to_string() };
            let Some(part) = next.map_err(broken)? else { return Ok(Ok(())) };
            if let Err(error) = piece(part.blob()) {
                return Ok(Err(error));
            }
        }
    }
}
