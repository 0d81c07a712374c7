//! Why a control plane of one machine does not start, or cannot be saved or restored.

use std::io;
use std::path::PathBuf;

use etcd::EtcdError;

use super::bolt::BoltError;
use crate::options::OptionsError;
use crate::pki::PkiError;

#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    #[error("cannot {op} {}", .path.display())]
    File {
        op: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(
        "{} is in use: another `weft control` runs on it{by}. Stop that one, or give this one a --data-dir of its own",
        .path.display()
    )]
    InUse { path: PathBuf, by: String },
    #[error(transparent)]
    Pki(#[from] PkiError),
    #[error(transparent)]
    Options(#[from] OptionsError),
    #[error(transparent)]
    Etcd(#[from] EtcdError),
    #[error(
        "there is no program {program} on the path. Install it (Debian: apt-get install {package}), or name an etcd \
         that runs elsewhere with --etcd-endpoints"
    )]
    NoProgram { program: String, package: &'static str },
    #[error("etcd does not start: {reason}{}", said(.log))]
    EtcdStart { reason: String, log: String },
    #[error("{program} failed: {reason}")]
    Program { program: String, reason: String },
    #[error("{} cannot be restored: {reason}", .path.display())]
    Snapshot { path: PathBuf, reason: String },
}

fn said(log: &str) -> String {
    let advice = match log.contains("no space left on device") {
        true => "\nMake room where its data is: its first files alone take 130 MB",
        false => "",
    };
    if log.is_empty() { String::new() } else { format!("; it said last:\n{log}{advice}") }
}

impl LocalError {
    /// A file operation that failed; for `map_err`.
    pub(super) fn file(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { op, path, source }
    }

    pub(super) fn snapshot(path: impl Into<PathBuf>) -> impl FnOnce(BoltError) -> Self {
        let path = path.into();
        move |error| Self::Snapshot { path, reason: error.to_string() }
    }
}
