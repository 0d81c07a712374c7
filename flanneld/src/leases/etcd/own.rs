//! The lease of this node: taken, kept, and noticed when it is lost.

use std::time::Duration;

use etcd::{Compare, Granted, LeaseId, Op, Repeat, Txn};
use flanneld_core::acquire::{self, Identity, Plan};
use flanneld_core::config::NetworkConfig;
use flanneld_core::lease::{Lease, LeaseAttrs, Stored, Subnets};
use futures::future::BoxFuture;
use tokio::time::sleep;

use super::EtcdSource;
use super::list::Entry;
use crate::leases::error::SourceError;
use crate::leases::{Expiry, HeldLease};

/// The lease of this node, as it stands in etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquired {
    pub lease: Lease,
    /// Its whole key, as it was found or made.
    pub key: String,
    /// None: the subnets are reserved for us, and nothing expires.
    pub etcd_lease: Option<Granted>,
    /// etcd's revision of our last write to the key.
    pub mod_revision: i64,
}

impl Acquired {
    /// Whether an administrator keeps these subnets for us: then there is nothing to renew.
    pub fn is_reservation(&self) -> bool {
        self.etcd_lease.is_none()
    }

    /// When it ends; None for a reservation.
    pub fn expiry(&self) -> Option<Expiry> {
        self.etcd_lease.map(|granted| Expiry { at: granted.expires_at, ttl: granted.ttl })
    }
}

/// [`Acquired`], with the source that keeps it.
#[derive(Debug)]
pub(super) struct EtcdLease {
    pub source: EtcdSource,
    pub acquired: Acquired,
}

impl HeldLease for EtcdLease {
    fn lease(&self) -> &Lease {
        &self.acquired.lease
    }

    fn is_reservation(&self) -> bool {
        self.acquired.is_reservation()
    }

    fn expiry(&self) -> Option<Expiry> {
        self.acquired.expiry()
    }

    fn written(&self) -> i64 {
        self.acquired.mod_revision
    }

    fn renew(&mut self) -> BoxFuture<'_, Result<(), SourceError>> {
        Box::pin(async move {
            self.acquired = self.source.renew(&self.acquired).await?;
            Ok(())
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

/// What became of a conditional write.
#[derive(Debug)]
enum Written {
    /// Done, at this revision.
    At(i64),
    /// Not done: this is what the key holds.
    Not(Option<Entry>),
}

/// How often a lost race is tried again (flannel's number; flannel then never gets there, and exits).
const TRIES: u32 = 10;

impl EtcdSource {
    /// Takes subnets for this node, as the core plans it: those that it has or had, else free ones. A race lost
    /// against another node is run again, up to ten times.
    ///
    /// # Errors
    /// [`SourceError::NoSubnet`] if none is free, [`SourceError::Contended`], or etcd does not answer.
    pub async fn acquire(
        &self,
        config: &NetworkConfig,
        attrs: &LeaseAttrs,
        node: &Identity,
    ) -> Result<Acquired, SourceError> {
        let mut races = 0;
        while races < TRIES {
            let entries = self.list().await?.entries;
            let stored: Vec<&Stored> = entries.iter().map(|entry| &entry.stored).collect();
            let plan = acquire::plan(config, node, &stored, |below| rand::random_range(0..below))?;
            tracing::info!(%plan, "acquiring a lease");
            match self.execute(plan, attrs, node, &entries).await? {
                Step::Acquired(acquired) => return Ok(*acquired),
                Step::Deleted => {}
                Step::Lost => {
                    races += 1;
                    step_aside().await;
                }
            }
        }
        Err(SourceError::Contended { tries: TRIES })
    }

    async fn execute(
        &self,
        plan: Plan,
        attrs: &LeaseAttrs,
        node: &Identity,
        entries: &[Entry],
    ) -> Result<Step, SourceError> {
        let ours = |subnets: &Subnets| {
            entries.iter().find(|entry| entry.stored.subnets == *subnets && node.owns(&entry.stored))
        };
        let (subnets, key, expect, reserved, old) = match plan {
            Plan::Delete { subnets } => {
                let Some(entry) = ours(&subnets) else { return Ok(Step::Lost) };
                if !self.delete_if(&entry.key, entry.stored.written).await? {
                    return Ok(Step::Lost);
                }
                if let Some(old) = entry.etcd_lease {
                    self.revoke_if_unused(old).await;
                }
                return Ok(Step::Deleted);
            }
            Plan::Reuse { subnets, reserved, .. } => {
                let Some(entry) = ours(&subnets) else { return Ok(Step::Lost) };
                (subnets, entry.key.clone(), entry.stored.written, reserved, entry.etcd_lease)
            }
            Plan::Previous { subnets } | Plan::Pick { subnets } => {
                (subnets, self.prefix.lease(&subnets), ABSENT, false, None)
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
    /// [`SourceError::Taken`] and [`SourceError::Gone`] if the lease is lost; else etcd did not answer, and the lease
    /// lives on until it expires.
    pub async fn renew(&self, own: &Acquired) -> Result<Acquired, SourceError> {
        let mut expected = own.mod_revision;
        let mut reserved = own.is_reservation();
        let mut old = own.etcd_lease.map(|granted| granted.id);
        for _ in 0..TRIES {
            match self.write(&own.key, &own.lease.attrs, expected, reserved).await? {
                (Written::At(mod_revision), etcd_lease) => {
                    if let Some(old) = old {
                        self.revoke_if_unused(old).await;
                    }
                    return Ok(Acquired { etcd_lease, mod_revision, ..own.clone() });
                }
                (Written::Not(None), _) => return Err(SourceError::Gone { key: own.key.clone() }),
                (Written::Not(Some(entry)), _) => match &entry.stored.attrs {
                    Ok(by) if by.public_ip != own.lease.attrs.public_ip => {
                        return Err(SourceError::Taken { key: own.key.clone(), by: Box::new(by.clone()) });
                    }
                    _ => {
                        tracing::warn!(key = own.key, "somebody else wrote our lease; writing it again");
                        expected = entry.stored.written;
                        reserved = entry.stored.reserved;
                        old = entry.etcd_lease.or(old);
                    }
                },
            }
        }
        Err(SourceError::Contended { tries: TRIES })
    }

    /// Writes a lease's value under a new etcd lease (or none, for a reservation) if the key's last write was at this
    /// revision.
    async fn write(
        &self,
        key: &str,
        attrs: &LeaseAttrs,
        expect: i64,
        reserved: bool,
    ) -> Result<(Written, Option<Granted>), SourceError> {
        let granted = match reserved {
            true => None,
            false => Some(self.client.grant(self.ttl).await.map_err(|error| self.error(error))?),
        };
        let id = granted.map(|granted| granted.id);
        match self.put_if(key, attrs, expect, id).await {
            Ok(at @ Written::At(_)) => Ok((at, granted)),
            Ok(not) => {
                self.forget(id).await;
                Ok((not, None))
            }
            // The write may have happened all the same. Look; and never revoke a lease that may carry our key.
            Err(error) if error.is_absence() => match self.read(key).await {
                Ok(Some(entry)) if entry.etcd_lease == id && entry.stored.attrs.as_ref() == Ok(attrs) => {
                    Ok((Written::At(entry.stored.written), granted))
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
    async fn delete_if(&self, key: &str, revision: i64) -> Result<bool, SourceError> {
        let txn = Txn {
            when: vec![Compare::mod_revision(key, revision)],
            then: vec![Op::Delete(key.into())],
            ..Txn::default()
        };
        let outcome = self.client.txn("delete a stale lease", Repeat::Safe, txn).await;
        outcome.map(|outcome| outcome.succeeded).map_err(|error| self.error(error))
    }

    /// Ends an etcd lease of ours, unless a key still lives with it: revoking deletes its keys.
    async fn revoke_if_unused(&self, id: LeaseId) {
        match self.client.lease_info(id).await {
            Ok(Some(info)) if info.keys.is_empty() => self.forget(Some(id)).await,
            Ok(_) => {}
            // It expires by itself.
            Err(error) => tracing::debug!(%error, "an old etcd lease is left to expire"),
        }
    }

    /// Revokes an etcd lease that carries nothing. Failing is harmless: it expires.
    async fn forget(&self, id: Option<LeaseId>) {
        let Some(id) = id else { return };
        if let Err(error) = self.client.revoke(id).await {
            tracing::debug!(%error, "an etcd lease is left to expire");
        }
    }

    async fn put_if(
        &self,
        key: &str,
        attrs: &LeaseAttrs,
        expect: i64,
        lease: Option<LeaseId>,
    ) -> Result<Written, SourceError> {
        let txn = Txn {
            when: vec![Compare::mod_revision(key, expect)],
            then: vec![Op::Put { key: key.into(), value: attrs.to_json().into(), lease }],
            otherwise: vec![Op::Get(key.into())],
        };
        let outcome = self
            .client
            .txn("write the lease of this node", Repeat::Refused, txn)
            .await
            .map_err(|error| self.error(error))?;
        match outcome.succeeded {
            true => Ok(Written::At(outcome.header.revision)),
            false => Ok(Written::Not(outcome.found().and_then(|kv| self.entry(kv)))),
        }
    }

    /// What a key holds now.
    async fn read(&self, key: &str) -> Result<Option<Entry>, SourceError> {
        let found = self.client.get(key).await.map_err(|error| self.error(error))?;
        Ok(found.and_then(|kv| self.entry(kv)))
    }
}

/// The revision of a key that is not there.
const ABSENT: i64 = 0;

/// A moment for the winner of a race to be gone: 10 to 100 ms.
async fn step_aside() {
    sleep(Duration::from_millis(rand::random_range(10..=100))).await;
}
