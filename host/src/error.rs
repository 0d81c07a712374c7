//! What can go wrong between us and the kernel, and what to do about it.

use std::fmt::Display;
use std::io;

/// An operation on the kernel, or on a tool that speaks to it, that failed.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The kernel refused an operation.
    #[error("{op} {object}: {}", io::Error::from_raw_os_error(*errno))]
    Kernel { op: &'static str, object: String, errno: i32 },
    /// The kernel refused an operation and said more than a number (netlink's extended acknowledgement).
    #[error("{op} {object}: {} ({said})", io::Error::from_raw_os_error(*errno))]
    Explained { op: &'static str, object: String, errno: i32, said: String },
    /// A transaction failed and changed nothing; `change` is the part of it that was refused.
    #[error("{op} {change}: {}", io::Error::from_raw_os_error(*errno))]
    Transaction { op: &'static str, change: String, errno: i32 },
    /// Something stands in the way, and we know what a person can do about it.
    #[error("{op} {object}: {reason}; {advice}")]
    Refused { op: &'static str, object: String, reason: String, advice: String, errno: i32 },
    /// A system call or a file operation failed.
    #[error("{op} {object}")]
    Io {
        op: &'static str,
        object: String,
        #[source]
        source: io::Error,
    },
    /// An external command failed.
    #[error("{command}: {reason}")]
    Command { command: String, reason: String },
    /// An external command overran its time limit and was killed. `said` ends what it complained about, after a colon.
    #[error("{command}: killed at its time limit of {limit:?}{said}")]
    Overran { command: String, limit: std::time::Duration, said: String },
    /// An external command did nothing because of a lock that another program holds. A later attempt may do it.
    #[error("{command}: another program is holding {lock}; {advice}")]
    Locked { command: String, lock: &'static str, advice: &'static str },
    /// An external command is not installed. `advice` says how to get it.
    #[error("{program}: no such program in PATH; {advice}")]
    NoProgram { program: String, advice: String },
    /// The kernel has not answered in time; it may still carry the operation out.
    #[error(
        "{op} {object}: the kernel has not answered in {waited:?}; something holds its network lock (rtnl), as the \
         removal of many namespaces or links does"
    )]
    Late { op: &'static str, object: String, waited: std::time::Duration },
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
    /// A system call or file operation on `object` that failed.
    pub fn io(op: &'static str, object: impl Display, source: impl Into<io::Error>) -> Self {
        Self::Io { op, object: object.to_string(), source: source.into() }
    }

    /// A refusal by the kernel; `errno` positive.
    pub fn kernel(op: &'static str, object: impl Display, errno: i32) -> Self {
        Self::Kernel { op, object: object.to_string(), errno }
    }

    /// The number of the error in the kernel's terms, where there is one.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Kernel { errno, .. }
            | Self::Explained { errno, .. }
            | Self::Transaction { errno, .. }
            | Self::Refused { errno, .. } => Some(*errno),
            Self::Io { source, .. } => source.raw_os_error(),
            Self::Command { .. }
            | Self::Overran { .. }
            | Self::Locked { .. }
            | Self::NoProgram { .. }
            | Self::Late { .. }
            | Self::Protocol { .. } => None,
        }
    }

    /// What to do about it.
    ///
    /// Only a single `delete` of what is gone, and a single `add` of what is there, can be ignored: a part of a
    /// transaction that fails keeps all the rest from happening, and who replaces or sets something that is missing
    /// has planned on a world that is no more.
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::Refused { .. } | Self::NoProgram { .. } => return Remedy::GiveUp,
            Self::Kernel { op, errno, .. } | Self::Explained { op, errno, .. } => match (*op, *errno) {
                ("delete", libc::ENOENT | libc::ESRCH | libc::ENODEV | libc::EADDRNOTAVAIL)
                | ("add", libc::EEXIST) => return Remedy::Ignore,
                _ => {}
            },
            _ => {}
        }
        match self.errno() {
            Some(libc::EPERM | libc::EACCES | libc::EOPNOTSUPP) => Remedy::GiveUp,
            _ => Remedy::Resync,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_name_the_operation_the_object_and_the_way_out() {
        let explained = HostError::Explained {
            op: "replace route",
            object: "10.1.0.0/24".to_owned(),
            errno: libc::EINVAL,
            said: "Nexthop has invalid gateway".to_owned(),
        };
        assert_eq!(
            explained.to_string(),
            "replace route 10.1.0.0/24: Invalid argument (os error 22) (Nexthop has invalid gateway)"
        );
        assert_eq!(explained.remedy(), Remedy::Resync);
        let absent = HostError::kernel("delete", "route 10.1.0.0/24", libc::ESRCH);
        assert_eq!((absent.errno(), absent.remedy()), (Some(libc::ESRCH), Remedy::Ignore));
        let missing = HostError::NoProgram { program: "nft".to_owned(), advice: "install it".to_owned() };
        assert_eq!((missing.errno(), missing.remedy()), (None, Remedy::GiveUp));
    }

    #[test]
    fn only_what_is_already_so_is_ignored() {
        let cases = [
            ("delete", libc::ENOENT, Remedy::Ignore),
            ("delete", libc::ENODEV, Remedy::Ignore),
            ("delete", libc::EADDRNOTAVAIL, Remedy::Ignore),
            ("delete", libc::EBUSY, Remedy::Resync),
            ("add", libc::EEXIST, Remedy::Ignore),
            ("add", libc::ENODEV, Remedy::Resync),
            ("replace", libc::ENOENT, Remedy::Resync),
            ("set", libc::EEXIST, Remedy::Resync),
            ("create", libc::EEXIST, Remedy::Resync), // the name is taken, by whom we do not know
            ("set", libc::EPERM, Remedy::GiveUp),
        ];
        for (op, errno, remedy) in cases {
            assert_eq!(HostError::kernel(op, "x", errno).remedy(), remedy, "{op} {errno}");
        }
        let batch = HostError::Transaction { op: "nftables", change: "x".to_owned(), errno: libc::ENOENT };
        assert_eq!(batch.remedy(), Remedy::Resync);
    }
}
