//! What can be wrong with a command line, and what to do about it.

use goflags::remarks::{after_switch, did_you_mean};

/// A command line, or an environment, that cannot be meant.
///
/// `origin` is how the user wrote it: `-iface` or `FLANNELD_IFACE`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OptionsError {
    /// No flag has this name.
    #[error("unknown flag -{name}{}; `flanneld --help` lists all flags", did_you_mean("-", *.nearest))]
    Unknown { name: String, nearest: Option<&'static str> },
    /// An argument that is neither a flag nor the value of one. flannel ends reading here without a word.
    #[error("{argument:?} is not a flag, and flanneld takes no other arguments{}", after_switch("-", *.switch, .argument))]
    NotAFlag { argument: String, switch: Option<&'static str> },
    /// `-`, `---x` or `-=x`.
    #[error("{argument:?} is not how a flag is written; write -name, -name=value or -name value")]
    Syntax { argument: String },
    /// The last argument is a flag that wants a value.
    #[error("{origin} needs a value: {origin}={metavar}")]
    NoValue { origin: String, metavar: &'static str },
    /// A value that its flag cannot take.
    #[error("{origin}={value:?}: {expected}")]
    Value { origin: String, value: String, expected: String },
    /// Values that are legal each, but not together.
    #[error("{0}")]
    Conflict(String),
    /// A flag of flannel's that this release does not have.
    #[error("{origin}={value:?} is not supported in this release: {reason}. Instead: {instead}")]
    Refused { origin: String, value: String, reason: &'static str, instead: &'static str },
}

impl OptionsError {
    /// 2 where the arguments could not be read; 1 where they were read and refused (flannel's code for a bad
    /// renewal margin). flannel exits 0 on an unknown flag, which tells systemd that all is well.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unknown { .. } | Self::NotAFlag { .. } | Self::Syntax { .. } | Self::NoValue { .. } => 2,
            Self::Value { .. } | Self::Conflict(_) | Self::Refused { .. } => 1,
        }
    }
}
