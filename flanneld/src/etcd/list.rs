//! All leases at one moment.

use std::num::NonZeroI64;

use etcd_client::{GetOptions, KeyValue};
use flanneld_core::acquire::Stored;
use flanneld_core::lease::{LeaseAttrs, Subnets};

use super::EtcdSource;
use super::connection::Repeat;
use super::error::EtcdError;
use super::prefix::Prefix;
use super::watch::ANSWER_LIMIT;

/// One key below `<prefix>/subnets/` that names subnets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole key. Two texts can name the same subnets (`10.5.1.0-24`, `10.5.1.0-024`).
    pub key: String,
    pub subnets: Subnets,
    pub value: Vec<u8>,
    /// None where the value cannot be read: the subnets are taken, but nobody knows by whom.
    pub attrs: Option<LeaseAttrs>,
    /// The etcd lease that the key lives and dies with; None makes the key a reservation.
    pub etcd_lease: Option<NonZeroI64>,
    /// etcd's revision of the last write to the key.
    pub mod_revision: i64,
}

impl Entry {
    /// Whether an administrator keeps these subnets for a node: a key without an etcd lease.
    pub fn is_reservation(&self) -> bool {
        self.etcd_lease.is_none()
    }

    /// What the core needs to know to choose subnets.
    pub fn stored(&self) -> Stored {
        Stored { subnets: self.subnets, attrs: self.attrs.clone(), reserved: self.is_reservation() }
    }

    /// Reads a key and value; None, with a warning, for a key that is not of a lease.
    pub(super) fn read(prefix: &Prefix, kv: &KeyValue) -> Option<Self> {
        let key = lease_key(prefix, kv)?;
        Some(Self {
            subnets: key.parse().ok()?,
            key,
            value: kv.value().to_vec(),
            attrs: LeaseAttrs::from_json(kv.value()).ok(),
            etcd_lease: NonZeroI64::new(kv.lease()),
            mod_revision: kv.mod_revision(),
        })
    }
}

/// The whole key, if it is that of a lease; else None, with a warning.
pub(super) fn lease_key(prefix: &Prefix, kv: &KeyValue) -> Option<String> {
    let key = String::from_utf8_lossy(kv.key()).into_owned();
    let Some(name) = prefix.lease_name(&key) else {
        tracing::warn!(key, "ignoring a key that only begins like those of leases");
        return None;
    };
    if let Err(error) = name.parse::<Subnets>() {
        tracing::warn!(key, %error, "ignoring a key below the leases");
        return None;
    }
    Some(key)
}

/// All leases at one revision of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub revision: i64,
    /// In the order of their keys.
    pub entries: Vec<Entry>,
}

impl EtcdSource {
    /// Reads all leases in one question (flannel asks once more for each key).
    ///
    /// # Errors
    /// etcd does not answer, or does not allow it.
    pub async fn list(&self) -> Result<Snapshot, EtcdError> {
        let prefix = self.prefix.subnets();
        let answer = self
            .connection
            .ask("list the leases", Repeat::Safe, |client| async move {
                let mut kv = client.kv_client().max_decoding_message_size(ANSWER_LIMIT);
                kv.get(prefix, Some(GetOptions::new().with_prefix())).await
            })
            .await?;
        let revision = answer.header().map_or(0, |header| header.revision());
        let entries = answer.kvs().iter().filter_map(|kv| Entry::read(&self.prefix, kv)).collect();
        Ok(Snapshot { revision, entries })
    }
}
