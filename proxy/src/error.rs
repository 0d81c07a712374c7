//! Why the proxy ends other than by being told to.

use std::path::PathBuf;

pub(crate) use telemetry::logs::chain;

use crate::backends::BackendError;
use crate::feeds::FeedError;
use crate::health::BindError;

#[derive(Debug, thiserror::Error)]
pub enum ProxyError {
    #[error(transparent)]
    Frame(#[from] telemetry::daemon::FrameError),
    #[error(transparent)]
    Feed(#[from] FeedError),
    #[error("the source of objects broke down")]
    FeedEnded,
    #[error(transparent)]
    Backend(#[from] BackendError),
    #[error(transparent)]
    Bind(#[from] BindError),
    #[error("the configuration file {path} has changed: ending, so that the supervisor starts it with the new one", path = .path.display())]
    Reconfigured { path: PathBuf },
    #[error("cannot write the configuration to {path}")]
    Write {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
}

impl ProxyError {
    /// The whole story in one line: each cause after a colon.
    pub fn chain(&self) -> String {
        chain(self)
    }
}
