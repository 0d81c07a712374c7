//! Compaction of etcd's history, shared between all API servers of an etcd, ours and the original's.
//!
//! Owns: the key `compact_rev_key`, by upstream's protocol. Begin at [`run`].
//! Never: compacts what is younger than the interval.
//!
//! The key's version counts compactions. Every server remembers the version it saw last and tries to write the key on the
//! condition that it is still the same. One of them succeeds, and compacts up to the revision that it saw an interval
//! ago; the others learn the new version and try again an interval later. If one dies, another is in time.

use std::time::Duration;

use etcd::{Client, Compare, EtcdError, Op, Repeat, Txn};

/// Its value is the revision up to which history was compacted last.
pub(crate) const KEY: &str = "compact_rev_key";

/// What a server knows between two attempts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Known {
    version: i64,
    /// etcd's revision at the last attempt; 0 before the first.
    revision: i64,
}

/// Compacts once in every interval, if no other server does, for ever.
pub(crate) async fn run(client: Client, interval: Duration) {
    let mut known = Known::default();
    loop {
        tokio::time::sleep(interval).await;
        match attempt(&client, known).await {
            Ok(now) => known = now,
            Err(error) => tracing::warn!(%error, "cannot compact etcd's history"),
        }
    }
}

async fn attempt(client: &Client, known: Known) -> Result<Known, EtcdError> {
    let txn = Txn {
        when: vec![Compare::Version { key: KEY.into(), is: known.version }],
        then: vec![Op::Put { key: KEY.into(), value: known.revision.to_string().into_bytes(), lease: None }],
        otherwise: vec![Op::Get(KEY.into())],
    };
    let done = client.txn("take its turn in compaction", Repeat::Refused, txn).await?;
    let (succeeded, revision) = (done.succeeded, done.header.revision);
    if !succeeded {
        let version = done.found().map_or(0, |kv| kv.version);
        return Ok(Known { version, revision });
    }
    let now = Known { version: known.version + 1, revision };
    if known.revision > 0 {
        match client.compact(known.revision).await {
            Ok(()) => tracing::debug!(revision = known.revision, "compacted etcd's history"),
            // Somebody was quicker, by hand or by etcd's own compaction.
            Err(EtcdError::Compacted { .. }) => {}
            Err(error) => tracing::warn!(%error, "cannot compact etcd's history"),
        }
    }
    Ok(now)
}
