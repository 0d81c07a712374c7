//! What can go wrong, in the terms in which the API answers.

use std::time::Duration;

use etcd::EtcdError;

use crate::stored::Stored;

/// A read failed.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ReadError {
    /// Nothing has happened at that revision yet, and it did not come within three seconds. HTTP 504.
    #[error("Too large resource version: {asked}, current: {current}")]
    TooLarge { asked: i64, current: i64 },
    /// Neither memory nor etcd has that revision any more. HTTP 410.
    #[error("the revision {asked} is no longer known; the oldest known is {oldest}")]
    Expired { asked: i64, oldest: i64 },
    /// etcd does not answer, or not yet. HTTP 503.
    #[error("the store is unavailable: {reason}")]
    Unavailable { reason: String },
}

/// A write was not done, or perhaps done.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is an object under this key already. From `create`.
    #[error("{0} exists already")]
    Exists(Box<str>),
    /// The object is not what was expected: another's write came first. What is there now (read in the same
    /// transaction), or None where the object has gone. From `replace` and `remove`.
    #[error("the object has changed")]
    Conflict { current: Option<Stored> },
    /// etcd cannot be asked. Nothing was written. HTTP 503.
    #[error("the store is unavailable: {reason}")]
    Unavailable { reason: String },
    /// etcd was asked and gave no answer: the object may have been written or not. HTTP 504, and the reader must look.
    #[error("it is unknown whether {key} was written: {reason}")]
    Unknown { key: Box<str>, reason: String },
    /// etcd refuses the object: it is too large (1.5 MiB unless etcd is told otherwise), or etcd has no room.
    #[error("etcd refuses {key}: {reason}")]
    Refused { key: Box<str>, reason: String },
}

/// Why a watch gives nothing more.
#[derive(Clone, Copy, Debug, thiserror::Error, PartialEq, Eq)]
pub enum WatchEnd {
    /// The watcher was too slow, or what it has seen is no longer true: it must list again. HTTP 410.
    #[error("too old resource version: {seen} ({oldest})")]
    Expired { seen: i64, oldest: i64 },
    /// The registry has not been loaded yet. HTTP 503.
    #[error("the registry has not been loaded yet")]
    Unloaded,
    /// The store has been closed.
    #[error("the store is closed")]
    Closed,
}

/// How long a read waits for a revision that has not come yet, as the original.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3);

impl ReadError {
    pub(crate) fn unavailable(error: &EtcdError) -> Self {
        Self::Unavailable { reason: error.to_string() }
    }
}

impl WriteError {
    /// What an error of etcd's means for a write.
    pub(crate) fn of(key: &str, error: EtcdError) -> Self {
        let reason = error.to_string();
        match error {
            EtcdError::NoRoom { .. } => Self::Refused { key: key.into(), reason },
            _ if error.may_have_been_done() => Self::Unknown { key: key.into(), reason },
            _ => Self::Unavailable { reason },
        }
    }
}
