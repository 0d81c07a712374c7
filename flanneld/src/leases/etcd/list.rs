//! All leases at one moment.

use etcd::{Header, KeyValue, LeaseId, Span};
use flanneld_core::lease::{LeaseAttrs, Stored, Subnets};

use super::EtcdSource;
use crate::leases::error::SourceError;

/// One key below `<prefix>/subnets/` that names subnets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The whole key. Two texts can name the same subnets (`10.5.1.0-24`, `10.5.1.0-024`).
    pub key: String,
    pub stored: Stored,
    /// The etcd lease that the key lives and dies with; None makes the key a reservation.
    pub etcd_lease: Option<LeaseId>,
}

/// All leases at one revision of etcd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    pub header: Header,
    /// In the order of their keys.
    pub entries: Vec<Entry>,
}

/// Odd keys that are remembered, so that a store full of them costs no memory here.
const REMEMBERED: usize = 1000;

impl EtcdSource {
    /// Reads all leases (flannel asks once more for each key).
    ///
    /// # Errors
    /// etcd does not answer, or does not allow it.
    pub async fn list(&self) -> Result<Snapshot, SourceError> {
        let all = self.client.list(&self.span()).await.map_err(|error| self.error(error))?;
        let entries = all.kvs.into_iter().filter_map(|kv| self.entry(kv)).collect();
        Ok(Snapshot { header: all.header, entries })
    }

    /// All keys that begin as those of leases do.
    pub(super) fn span(&self) -> Span {
        Span::prefix(self.prefix.subnets())
    }

    /// Reads a key and value; None for a key that is not of a lease.
    pub(super) fn entry(&self, kv: KeyValue) -> Option<Entry> {
        let (key, subnets) = self.lease_key(&kv.key)?;
        let stored = Stored {
            subnets,
            attrs: LeaseAttrs::from_json(&kv.value),
            reserved: kv.lease.is_none(),
            written: kv.mod_revision,
        };
        Some(Entry { key, stored, etcd_lease: kv.lease })
    }

    /// The whole key and its subnets, if it is that of a lease; else None, with a warning at the first time.
    pub(super) fn lease_key(&self, key: &[u8]) -> Option<(String, Subnets)> {
        let key = String::from_utf8_lossy(key).into_owned();
        let reason = match self.prefix.lease_name(&key) {
            Some(name) => match name.parse::<Subnets>() {
                Ok(subnets) => return Some((key, subnets)),
                Err(error) => error.to_string(),
            },
            None => "it only begins like those of leases".to_owned(),
        };
        let mut said = self.odd_keys.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if said.len() < REMEMBERED && said.insert(key.clone()) {
            tracing::warn!(key, reason, "ignoring a key that is not of a lease");
        }
        None
    }
}
