//! etcd's leases: keys written under one live until it ends.

use std::fmt;
use std::num::NonZeroI64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use etcd_client::LeaseTimeToLiveOptions;

use crate::Client;
use crate::connection::Repeat;
use crate::error::EtcdError;

/// A lease's number. etcd chooses it at random.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LeaseId(NonZeroI64);

impl LeaseId {
    /// None for 0, which stands for no lease.
    pub fn new(number: i64) -> Option<Self> {
        NonZeroI64::new(number).map(Self)
    }

    pub fn get(self) -> i64 {
        self.0.get()
    }
}

/// As etcdctl prints it.
impl fmt::Display for LeaseId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

/// A lease that was granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Granted {
    pub id: LeaseId,
    /// What etcd granted: at least what was asked for.
    pub ttl: Duration,
    /// When it ends unless it is renewed, counted from before the question.
    pub expires_at: Instant,
}

/// What etcd says of a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseInfo {
    /// What is left.
    pub ttl: Duration,
    pub granted_ttl: Duration,
    /// The keys that live with it.
    pub keys: Vec<Vec<u8>>,
}

impl Client {
    /// Grants a lease; whole seconds, at least one.
    ///
    /// # Errors
    /// etcd does not answer, or does not allow it.
    pub async fn grant(&self, ttl: Duration) -> Result<Granted, EtcdError> {
        let seconds = i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let asked = Instant::now();
        let what = || "grant a lease".to_owned();
        let answer = self
            .connection
            .ask(what, Repeat::Safe, |client| async move { client.lease_client().grant(seconds, None).await })
            .await?;
        let refused = || EtcdError::Rpc { what: what(), reason: "it has no number".into() };
        let ttl = whole(answer.ttl());
        Ok(Granted { id: LeaseId::new(answer.id()).ok_or_else(refused)?, ttl, expires_at: asked + ttl })
    }

    /// Renews a lease to its whole time; what that is, or None where the lease has ended.
    ///
    /// # Errors
    /// etcd does not answer, or does not allow it.
    pub async fn keep_alive(&self, id: LeaseId) -> Result<Option<Duration>, EtcdError> {
        let question = |client: Arc<etcd_client::Client>| async move {
            // The library renews once before it returns, and hides how long that is for.
            let (mut keeper, mut answers) = match client.lease_client().keep_alive(id.get()).await {
                Ok(kept) => kept,
                Err(etcd_client::Error::LeaseKeepAliveError(_)) => return Ok(None),
                Err(error) => return Err(error),
            };
            keeper.keep_alive().await?;
            Ok(answers.message().await?.map(|answer| answer.ttl()).filter(|ttl| *ttl > 0))
        };
        let kept = self.connection.ask(|| format!("renew lease {id}"), Repeat::Safe, question).await?;
        Ok(kept.map(whole))
    }

    /// Ends a lease; its keys go with it.
    ///
    /// # Errors
    /// It has ended already, or etcd does not answer or does not allow it.
    pub async fn revoke(&self, id: LeaseId) -> Result<(), EtcdError> {
        let question =
            |client: Arc<etcd_client::Client>| async move { client.lease_client().revoke(id.get()).await };
        self.connection.ask(|| format!("revoke lease {id}"), Repeat::Safe, question).await.map(drop)
    }

    /// Looks at a lease; None where it has ended.
    ///
    /// # Errors
    /// etcd does not answer, or does not allow it.
    pub async fn lease_info(&self, id: LeaseId) -> Result<Option<LeaseInfo>, EtcdError> {
        let question = |client: Arc<etcd_client::Client>| async move {
            client
                .lease_client()
                .time_to_live(id.get(), Some(LeaseTimeToLiveOptions::new().with_keys()))
                .await
        };
        let answer = self.connection.ask(|| format!("look at lease {id}"), Repeat::Safe, question).await?;
        // etcd says -1 for one that is gone.
        Ok((answer.ttl() > 0).then(|| LeaseInfo {
            ttl: whole(answer.ttl()),
            granted_ttl: whole(answer.granted_ttl()),
            keys: answer.keys().to_vec(),
        }))
    }
}

fn whole(seconds: i64) -> Duration {
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}
