//! What a request means to storage, and what storage's failures mean to the client.
//!
//! Owns: which state of a kind a list is of ([`versions`]), where a list goes on ([`token`]), and the words of failures.

pub mod memory;
pub mod own;
pub mod token;
pub mod versions;

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use apiclient_core::wire::Status;
use control_core::kind::Kind;
use control_core::refusal;
use control_store::{ReadError, WatchEnd, WriteError};

/// The answer to a read that failed.
pub fn read_failed(error: &ReadError) -> Status {
    match error {
        ReadError::TooLarge { asked, current } => {
            refusal::too_large_resource_version(unsigned(*asked), unsigned(*current))
        }
        ReadError::Expired { .. } => {
            refusal::expired("The resourceVersion for the provided list is too old.")
        }
        ReadError::Unavailable { reason } => refusal::unavailable(reason.as_str()),
    }
}

/// The answer to a write that failed for another reason than that the object was another.
pub fn write_failed(kind: &Kind, name: &str, error: &WriteError) -> Status {
    match error {
        WriteError::Exists(_) => refusal::already_exists(kind, name),
        WriteError::Conflict { current: Some(_) } => refusal::conflict(kind, name, refusal::MODIFIED),
        WriteError::Conflict { current: None } => refusal::not_found(kind, name),
        WriteError::Unavailable { reason } => refusal::unavailable(reason.as_str()),
        WriteError::Unknown { reason, .. } => refusal::timeout(reason, 0),
        WriteError::Refused { reason, .. } => {
            if reason.contains("database space exceeded") {
                say_what_to_do();
            }
            refusal::unknown(reason.as_str())
        }
    }
}

/// An operator is told this often what a full etcd needs.
const SAY: Duration = Duration::from_secs(60);

/// etcd is full, and takes no write until somebody has helped: clients see its own words, the log what to do.
fn say_what_to_do() {
    static SAID: Mutex<Option<Instant>> = Mutex::new(None);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.is_none_or(|last| last.elapsed() >= SAY) {
        *said = Some(Instant::now());
        tracing::error!(
            "etcd has no room left and takes no writes. Delete objects that nobody needs; then, with etcdctl: \
             `compact` to the present revision, `defrag`, and `alarm disarm`. Or give etcd a larger \
             --quota-backend-bytes, and disarm the alarm"
        );
    }
}

/// How a watch ends that has lost its place.
pub fn watch_ended(end: WatchEnd) -> Status {
    match end {
        WatchEnd::Expired { seen, oldest } => {
            refusal::expired(format!("too old resource version: {seen} ({oldest})"))
        }
        WatchEnd::Unloaded => refusal::unavailable(end.to_string()),
        WatchEnd::Closed => refusal::unavailable("the server is shutting down"),
    }
}

/// etcd would not take the object because of its size.
pub fn is_too_large(error: &WriteError) -> bool {
    matches!(error, WriteError::Refused { reason, .. } if reason.contains("too large"))
}

fn unsigned(revision: i64) -> u64 {
    u64::try_from(revision).unwrap_or(0)
}

/// Why a precondition of an update or a deletion does not hold, in the original's words, which name the key.
pub fn precondition_failed(key: &str, what: &str, wanted: &str, found: &str) -> String {
    format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{key}, ResourceVersion: 0, AdditionalErrorMsg: \
         Precondition failed: {what} in precondition: {wanted}, {what} in object meta: {found}"
    )
}
