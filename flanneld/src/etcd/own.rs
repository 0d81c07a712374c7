//! The lease of this node: taken, kept, and noticed when it is lost.

use std::num::NonZeroI64;
use std::time::{Duration, Instant};

use etcd_client::{
    Client, Compare, CompareOp, KeyValue, LeaseTimeToLiveOptions, PutOptions, Txn, TxnOp, TxnOpResponse,
    TxnResponse,
};
use flanneld_core::acquire::{self, Plan, Previous, Request};
use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::{Lease, LeaseAttrs, Subnets};
use tokio::time::sleep;

use super::EtcdSource;
use super::connection::Repeat;
use super::error::EtcdError;
use super::list::Entry;

/// An etcd lease that we were granted: our key lives and dies with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EtcdLease {
    pub id: NonZeroI64,
    /// What etcd granted: at least what was asked for.
    pub ttl: Duration,
    /// When it ends unless it is renewed, counted from before the question.
    pub expires_at: Instant,
}

/// The lease of this node, as it stands in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquired {
    pub lease: Lease,
    /// Its whole key, as it was found or made.
    pub key: String,
    /// None: the subnets are reserved for us, and nothing expires.
    pub etcd_lease: Option<EtcdLease>,
    /// etcd's revision of our last write to the key.
    pub mod_revision: i64,
}

impl Acquired {
    /// Whether an administrator keeps these subnets for us: then there is nothing to renew.
    pub fn is_reservation(&self) -> bool {
        self.etcd_lease.is_none()
    }

    /// When to renew, `margin` before the end. A margin that etcd's time to live does not leave room for
    /// shrinks to a third of it. None for a reservation.
    pub fn renew_at(&self, margin: Duration) -> Option<Instant> {
        self.etcd_lease.map(|granted| {
            let margin = if margin < granted.ttl { margin } else { granted.ttl / 3 };
            granted.expires_at - margin
        })
    }
}

/// What became of one step of the core's plan.
enum Step {
    Acquired(Box<Acquired>),
    Deleted,
    /// Somebody else was faster: look again.
    Lost,
}

/// What must be true of a key for a write to happen.
#[derive(Clone, Copy, Debug)]
enum Expect {
    Absent,
    Revision(i64),
}

/// What became of a conditional write.
#[derive(Debug)]
enum Written {
    /// Done, at this revision.
    At(i64),
    /// Not done: this is what the key holds.
    Not(Option<Entry>),
}

impl EtcdSource {
    /// Takes subnets for this node, as the core plans it: those that it has or had, else free ones. A race lost
    /// against another node is run again, up to ten times.
    ///
    /// # Errors
    /// [`EtcdError::NoSubnet`] if none is free, [`EtcdError::Contended`], or etcd does not answer.
    pub async fn acquire(
        &self,
        config: &NetworkConfig,
        attrs: &LeaseAttrs,
        previous: Previous,
    ) -> Result<Acquired, EtcdError> {
        let request = Request { config, public_ip: attrs.public_ip, previous };
        let mut races = 0;
        while races < TRIES {
            let snapshot = self.list().await?;
            let stored: Vec<_> = snapshot.entries.iter().map(Entry::stored).collect();
            let plan = acquire::plan(&request, &stored, |below| rand::random_range(0..below))?;
            tracing::info!(%plan, "acquiring a lease");
            match self.execute(plan, attrs, &snapshot.entries).await? {
                Step::Acquired(acquired) => return Ok(*acquired),
                Step::Deleted => {}
                Step::Lost => {
                    races += 1;
                    step_aside().await;
                }
            }
        }
        Err(EtcdError::Contended { tries: TRIES })
    }

    async fn execute(&self, plan: Plan, attrs: &LeaseAttrs, entries: &[Entry]) -> Result<Step, EtcdError> {
        let ours = |subnets: &Subnets| {
            let is_ours = |entry: &&Entry| {
                entry.subnets == *subnets
                    && entry.attrs.as_ref().is_some_and(|found| found.public_ip == attrs.public_ip)
            };
            entries.iter().find(is_ours)
        };
        let (subnets, key, expect, reserved, old) = match plan {
            Plan::Delete { subnets } => {
                let Some(entry) = ours(&subnets) else { return Ok(Step::Lost) };
                if !self.delete_if(&entry.key, entry.mod_revision).await? {
                    return Ok(Step::Lost);
                }
                if let Some(old) = entry.etcd_lease {
                    self.revoke_if_unused(old).await;
                }
                return Ok(Step::Deleted);
            }
            Plan::Reuse { subnets, reserved } => {
                let Some(entry) = ours(&subnets) else { return Ok(Step::Lost) };
                let expect = Expect::Revision(entry.mod_revision);
                (subnets, entry.key.clone(), expect, reserved, entry.etcd_lease)
            }
            Plan::Previous { subnets } | Plan::Pick { subnets } => {
                (subnets, self.prefix.lease(&subnets), Expect::Absent, false, None)
            }
        };
        let (written, etcd_lease) = self.write(&key, attrs, expect, reserved).await?;
        let Written::At(mod_revision) = written else { return Ok(Step::Lost) };
        if let Some(old) = old {
            self.revoke_if_unused(old).await;
        }
        let lease = Lease { subnets, attrs: attrs.clone() };
        Ok(Step::Acquired(Box::new(Acquired { lease, key, etcd_lease, mod_revision })))
    }

    /// Renews our lease: a new etcd lease, and a write of the same value that happens only if nobody else has
    /// written the key. Also the way to publish changed attributes: put them into `own.lease.attrs` first.
    ///
    /// A key that somebody rewrote in our own name (flannel does, an administrator may) stays ours.
    ///
    /// # Errors
    /// [`EtcdError::Taken`] and [`EtcdError::Gone`] if the lease is lost; else etcd did not answer, and the lease
    /// lives on until it expires.
    pub async fn renew(&self, own: &Acquired) -> Result<Acquired, EtcdError> {
        let mut expected = own.mod_revision;
        let mut reserved = own.is_reservation();
        let mut old = own.etcd_lease.map(|granted| granted.id);
        for _ in 0..TRIES {
            let written =
                self.write(&own.key, &own.lease.attrs, Expect::Revision(expected), reserved).await?;
            match written {
                (Written::At(mod_revision), etcd_lease) => {
                    if let Some(old) = old {
                        self.revoke_if_unused(old).await;
                    }
                    return Ok(Acquired { etcd_lease, mod_revision, ..own.clone() });
                }
                (Written::Not(None), _) => return Err(EtcdError::Gone { key: own.key.clone() }),
                (Written::Not(Some(entry)), _) => match &entry.attrs {
                    Some(by) if by.public_ip != own.lease.attrs.public_ip => {
                        return Err(EtcdError::Taken { key: own.key.clone(), by: Box::new(by.clone()) });
                    }
                    _ => {
                        tracing::warn!(key = own.key, "somebody else wrote our lease; writing it again");
                        expected = entry.mod_revision;
                        reserved = entry.is_reservation();
                        old = entry.etcd_lease.or(old);
                    }
                },
            }
        }
        Err(EtcdError::Contended { tries: TRIES })
    }

    /// Writes a lease's value under a new etcd lease (or none, for a reservation) if the key is as expected.
    async fn write(
        &self,
        key: &str,
        attrs: &LeaseAttrs,
        expect: Expect,
        reserved: bool,
    ) -> Result<(Written, Option<EtcdLease>), EtcdError> {
        let granted = if reserved { None } else { Some(self.grant().await?) };
        let id = granted.map(|granted| granted.id);
        match self.put_if(key, attrs, expect, id).await {
            Ok(at @ Written::At(_)) => Ok((at, granted)),
            Ok(not) => {
                self.forget(id).await;
                Ok((not, None))
            }
            // The write may have happened all the same. Look; and never revoke a lease that may carry our key.
            Err(error) if error.is_absence() => match self.entry(key).await {
                Ok(Some(entry)) if entry.etcd_lease == id && entry.attrs.as_ref() == Some(attrs) => {
                    Ok((Written::At(entry.mod_revision), granted))
                }
                Ok(_) => {
                    self.forget(id).await;
                    Err(error)
                }
                Err(_) => Err(error),
            },
            Err(error) => {
                self.forget(id).await;
                Err(error)
            }
        }
    }

    /// Deletes a key if nobody has written it since; says whether it is gone now.
    async fn delete_if(&self, key: &str, revision: i64) -> Result<bool, EtcdError> {
        let unchanged = Compare::mod_revision(key, CompareOp::Equal, revision);
        let txn = Txn::new().when([unchanged]).and_then([TxnOp::delete(key, None)]);
        self.transact("delete a stale lease", Repeat::Safe, txn).await.map(|answer| answer.succeeded())
    }

    /// Ends an etcd lease of ours, unless a key still lives with it: revoking deletes its keys.
    async fn revoke_if_unused(&self, id: NonZeroI64) {
        let keys = self
            .connection
            .ask("look at an etcd lease", Repeat::Safe, |mut client| async move {
                client.lease_time_to_live(id.get(), Some(LeaseTimeToLiveOptions::new().with_keys())).await
            })
            .await;
        // It expires by itself where this fails; etcd says TTL -1 for one that is gone.
        match keys {
            Ok(keys) if keys.keys().is_empty() && keys.ttl() > 0 => self.forget(Some(id)).await,
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "an old etcd lease is left to expire"),
        }
    }

    async fn grant(&self) -> Result<EtcdLease, EtcdError> {
        let ttl = i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX).max(1);
        let asked = Instant::now();
        let answer = self
            .connection
            .ask("grant an etcd lease", Repeat::Safe, |mut client| async move {
                client.lease_grant(ttl, None).await
            })
            .await?;
        let refused = || EtcdError::Rpc { what: "grant an etcd lease", reason: "it has no number".into() };
        let id = NonZeroI64::new(answer.id()).ok_or_else(refused)?;
        let ttl = Duration::from_secs(u64::try_from(answer.ttl()).unwrap_or(0));
        Ok(EtcdLease { id, ttl, expires_at: asked + ttl })
    }

    /// Revokes an etcd lease that carries nothing. Failing is harmless: it expires.
    async fn forget(&self, id: Option<NonZeroI64>) {
        let Some(id) = id else { return };
        let outcome = self
            .connection
            .ask("revoke an etcd lease", Repeat::Safe, |mut client| async move {
                client.lease_revoke(id.get()).await
            })
            .await;
        if let Err(error) = outcome {
            tracing::debug!(%error, "an etcd lease is left to expire");
        }
    }

    async fn put_if(
        &self,
        key: &str,
        attrs: &LeaseAttrs,
        expect: Expect,
        lease: Option<NonZeroI64>,
    ) -> Result<Written, EtcdError> {
        let condition = match expect {
            Expect::Absent => Compare::version(key, CompareOp::Equal, 0),
            Expect::Revision(revision) => Compare::mod_revision(key, CompareOp::Equal, revision),
        };
        let options = PutOptions::new().with_lease(lease.map_or(0, NonZeroI64::get));
        let txn = Txn::new()
            .when([condition])
            .and_then([TxnOp::put(key, attrs.to_json(), Some(options))])
            .or_else([TxnOp::get(key, None)]);
        let answer = self.transact("write the lease of this node", Repeat::Refused, txn).await?;
        if answer.succeeded() {
            return Ok(Written::At(answer.header().map_or(0, |header| header.revision())));
        }
        let found = answer.op_responses().into_iter().find_map(|response| match response {
            TxnOpResponse::Get(found) => found.kvs().first().cloned(),
            _ => None,
        });
        Ok(Written::Not(found.and_then(|kv: KeyValue| Entry::read(&self.prefix, &kv))))
    }

    async fn transact(&self, what: &'static str, repeat: Repeat, txn: Txn) -> Result<TxnResponse, EtcdError> {
        let question = |mut client: Client| {
            let txn = txn.clone();
            async move { client.txn(txn).await }
        };
        self.connection.ask(what, repeat, question).await
    }

    /// What a key holds now.
    async fn entry(&self, key: &str) -> Result<Option<Entry>, EtcdError> {
        let answer = self
            .connection
            .ask("read the lease of this node", Repeat::Safe, |mut client| async move {
                client.get(key, None).await
            })
            .await?;
        Ok(answer.kvs().first().and_then(|kv| Entry::read(&self.prefix, kv)))
    }
}

/// How often a lost race is tried again (flannel's number; flannel then never gets there, and exits).
const TRIES: u32 = 10;

/// A moment for the winner of a race to be gone: 10 to 100 ms.
async fn step_aside() {
    sleep(Duration::from_millis(rand::random_range(10..=100))).await;
}
