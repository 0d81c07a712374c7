//! Why a feed does not start.

use std::io;
use std::path::PathBuf;

/// What waiting would not mend.
#[derive(Debug, thiserror::Error)]
pub enum FeedError {
    #[error("cannot watch the directory {path}; check --feed-dir", path = .path.display())]
    Directory {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("cannot use the kubeconfig {path}: {problem}", path = .path.display())]
    Kubeconfig { path: PathBuf, problem: String },
    #[error("{address:?} is no address of an API server: {problem}; check --master")]
    Master { address: String, problem: String },
    #[error("this is no pod with a service account ({problem}): give --kubeconfig, --master or --feed-dir")]
    NoAccess { problem: String },
    #[error("cannot make a client for the API server: {problem}")]
    Client { problem: String },
}
