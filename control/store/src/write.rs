//! Writes: each one transaction of etcd's.
//!
//! Owns: the leases of objects that end by themselves, and which write of ours is the last. Begin at [`Writer`].
//! Never: repeats a write whose outcome is unknown.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use etcd::{Client, Compare, LeaseId, Op, Repeat, Txn, TxnOutcome};
use tokio::sync::Mutex;
use tokio::time::timeout;

use crate::error::WriteError;
use crate::keys::Keys;
use crate::stored::Stored;
use crate::view::View;

/// Objects that share a lease at most, and how much longer than asked the first of them may live: etcd's leases are
/// dear. As upstream's.
const LEASE_OBJECTS: usize = 1000;
const LEASE_EXTRA: Duration = Duration::from_secs(60);
/// How long a read that may be old waits for our own last write.
const OWN: Duration = Duration::from_millis(250);

#[derive(Clone, Debug)]
pub(crate) struct Writer(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    view: Arc<View>,
    clients: Vec<Client>,
    turn: AtomicUsize,
    keys: Keys,
    lease: Mutex<Option<SharedLease>>,
    /// Revision of the last write that etcd acknowledged.
    last: AtomicI64,
}

#[derive(Debug)]
struct SharedLease {
    id: LeaseId,
    expires_at: Instant,
    objects: usize,
}

impl Writer {
    pub(crate) fn new(view: Arc<View>, client: &Client, keys: Keys, connections: usize) -> Self {
        let clients = (0..connections.max(1)).map(|_| client.separate()).collect();
        let (turn, lease, last) = (AtomicUsize::new(0), Mutex::new(None), AtomicI64::new(0));
        Self(Arc::new(Inner { view, clients, turn, keys, lease, last }))
    }

    pub(crate) async fn create(
        &self,
        key: &str,
        bytes: Bytes,
        ttl: Option<Duration>,
    ) -> Result<Stored, WriteError> {
        let when = Compare::absent(self.0.keys.key(key));
        let done = self.put(key, when, &bytes, ttl, false).await?;
        match done.succeeded {
            true => Ok(self.0.view.written(key, done.header.revision, bytes)),
            false => Err(WriteError::Exists(key.into())),
        }
    }

    pub(crate) async fn replace(
        &self,
        key: &str,
        expected: i64,
        bytes: Bytes,
        ttl: Option<Duration>,
    ) -> Result<Stored, WriteError> {
        let when = Compare::mod_revision(self.0.keys.key(key), expected);
        let done = self.put(key, when, &bytes, ttl, true).await?;
        match done.succeeded {
            true => Ok(self.0.view.written(key, done.header.revision, bytes)),
            false => Err(self.conflict(key, done)),
        }
    }

    pub(crate) async fn remove(&self, key: &str, expected: i64) -> Result<i64, WriteError> {
        let full = self.0.keys.key(key);
        let txn = Txn {
            when: vec![Compare::mod_revision(full.clone(), expected)],
            then: vec![Op::Delete(full.clone())],
            otherwise: vec![Op::Get(full)],
        };
        let done = self.run(key, &format!("delete {key}"), txn).await?;
        match done.succeeded {
            // There was none, as expected, and so nothing to delete.
            true if expected == 0 => Err(WriteError::Conflict { current: None }),
            true => Ok(done.header.revision),
            false => Err(self.conflict(key, done)),
        }
    }

    /// Waits, but not for long, until the view has what was last written here.
    pub(crate) async fn seen(&self) {
        let last = self.0.last.load(Relaxed);
        let reached = self.0.view.reached();
        if reached.revision < last && reached.connected {
            let mut reaches = self.0.view.reaches();
            let there = reaches.wait_for(|reached| reached.revision >= last || !reached.connected);
            let _ = timeout(OWN, there).await;
        }
    }

    async fn put(
        &self,
        key: &str,
        when: Compare,
        bytes: &Bytes,
        ttl: Option<Duration>,
        read: bool,
    ) -> Result<TxnOutcome, WriteError> {
        let lease = match ttl {
            Some(ttl) => Some(self.lease(ttl).await?),
            None => None,
        };
        let full = self.0.keys.key(key);
        let put = Op::Put { key: full.clone(), value: bytes.to_vec(), lease };
        let otherwise = if read { vec![Op::Get(full)] } else { Vec::new() };
        self.run(key, &format!("write {key}"), Txn { when: vec![when], then: vec![put], otherwise }).await
    }

    async fn run(&self, key: &str, what: &str, txn: Txn) -> Result<TxnOutcome, WriteError> {
        let inner = &*self.0;
        let turn = inner.turn.fetch_add(1, Relaxed) % inner.clients.len();
        let Some(client) = inner.clients.get(turn) else {
            return Err(WriteError::Unavailable { reason: "no connection".to_owned() });
        };
        let sent = client.txn(what, Repeat::Refused, txn).await;
        let done = sent.map_err(|error| WriteError::of(key, error))?;
        if done.succeeded {
            inner.last.fetch_max(done.header.revision, Relaxed);
        }
        Ok(done)
    }

    fn conflict(&self, key: &str, done: TxnOutcome) -> WriteError {
        let current = done.found().map(|kv| self.0.view.listed(key, kv.mod_revision, kv.value));
        WriteError::Conflict { current }
    }

    /// A lease that ends after `ttl` and not much later, shared with others that end then.
    async fn lease(&self, ttl: Duration) -> Result<LeaseId, WriteError> {
        let extra = (ttl / 20).min(LEASE_EXTRA);
        let now = Instant::now();
        let mut shared = self.0.lease.lock().await;
        if let Some(lease) = &mut *shared
            && lease.objects < LEASE_OBJECTS
            && (now + ttl..=now + ttl + extra).contains(&lease.expires_at)
        {
            lease.objects += 1;
            return Ok(lease.id);
        }
        let unsent = |error: etcd::EtcdError| WriteError::Unavailable { reason: error.to_string() };
        let Some(client) = self.0.clients.first() else {
            return Err(WriteError::Unavailable { reason: "no connection".to_owned() });
        };
        let granted = client.grant(ttl + extra).await.map_err(unsent)?;
        *shared = Some(SharedLease { id: granted.id, expires_at: granted.expires_at, objects: 1 });
        Ok(granted.id)
    }
}
