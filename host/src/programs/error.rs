//! What can go wrong with a program that runs beside us.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::HostError;

/// A program that could not be started, did not get ready, failed, or ended when it should not have.
#[derive(Debug, thiserror::Error)]
pub enum ProgramError {
    /// A tool is not on the path. Names the Debian package that brings it.
    #[error("{tool} is not installed; `apt-get install {package}` installs it")]
    ToolMissing { tool: String, package: String },
    #[error("{what} is not ready after {} s: {reason}", .waited.as_secs())]
    NotReady { what: String, waited: Duration, reason: String },
    #[error("{what} ended {how}; the end of its log:\n{log}")]
    Died { what: String, how: String, log: String },
    /// A command ended with another status than 0.
    #[error("{command} in {namespace}: {reason}")]
    Command { namespace: String, command: String, reason: String },
    /// It gave an answer that we do not understand, or refused.
    #[error("{what}: {reason}")]
    Protocol { what: String, reason: String },
    #[error("{op} {}", .path.display())]
    Io {
        op: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// What was asked for cannot be: a missing program, an object of no known kind.
    #[error("{0}")]
    Unusable(String),
    #[error(transparent)]
    Host(#[from] HostError),
}

impl ProgramError {
    /// A file operation that failed; for `map_err`.
    pub fn io(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { op, path, source }
    }
}
