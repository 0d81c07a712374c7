//! Why there is no way to a server.

use std::path::PathBuf;

/// What waiting would not mend.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AccessError {
    #[error("cannot use the kubeconfig {path}: {problem}", path = .path.display())]
    Kubeconfig { path: PathBuf, problem: String },
    #[error("{address:?} is not the address of an API server: {problem}")]
    Master { address: String, problem: String },
    #[error("this is not a pod with a service account: {problem}")]
    InCluster { problem: String },
    /// A certificate, a key or a token, and where it is from.
    #[error("cannot use {origin}: {problem}")]
    Credentials { origin: String, problem: String },
}

impl AccessError {
    pub(crate) fn credentials(origin: impl Into<String>, problem: impl ToString) -> Self {
        Self::Credentials { origin: origin.into(), problem: problem.to_string() }
    }
}
