//! What is asked of a member rather than of the store.

use crate::Client;
use crate::connection::Repeat;
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
        let question = |mut client: etcd_client::Client| async move { client.status().await };
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
        let question = |mut client: etcd_client::Client| async move { client.compact(revision, None).await };
        self.connection.ask(what, Repeat::Safe, question).await.map(drop)
    }
}
