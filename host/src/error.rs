//! What can go wrong between us and the kernel, and what to do about it.

use std::io;

/// An operation on the kernel, or on a tool that speaks to it, that failed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel refused an operation.
    #[error("{op} {object}: {}", io::Error::from_raw_os_error(*errno))]
    Kernel { op: &'static str, object: String, errno: i32 },
    /// A system call or a file operation failed.
    #[error("{op} {object}")]
    Io {
        op: &'static str,
        object: String,
        #[source]
        source: io::Error,
    },
    /// An external command failed or overran its time limit.
    #[error("{command}: {reason}")]
    Command { command: String, reason: String },
    /// The kernel or a tool answered in a way that we do not understand.
    #[error("{op}: unexpected answer: {reason}")]
    Protocol { op: &'static str, reason: String },
}

/// What a caller does about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// The world is already as the operation wanted it.
    Ignore,
    /// Look again and make a new plan.
    Resync,
    /// No later attempt can succeed until somebody changes something.
    GiveUp,
}

impl HostError {
    /// The number of the error in the kernel's terms, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { errno, .. } => Some(*errno),
            Self::Io { source, .. } => source.raw_os_error(),
            Self::Command { .. } | Self::Protocol { .. } => None,
        }
    }

    /// What to do about it.
    pub fn remedy(&self) -> Remedy {
        match self.errno() {
            Some(libc::EEXIST | libc::ESRCH | libc::ENOENT) => Remedy::Ignore,
            Some(libc::EPERM | libc::EACCES | libc::EOPNOTSUPP) => Remedy::GiveUp,
            _ => Remedy::Resync,
        }
    }
}
