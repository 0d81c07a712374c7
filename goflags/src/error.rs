//! What can be wrong with a command line, a variable or a configuration file, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use crate::remarks::{after_switch, did_you_mean};

/// A command line, an environment or a file that cannot be meant.
///
/// `origin` is how the user wrote it: `-iface`, `FLANNELD_IFACE`, `--proxy-mode`, or
/// `/etc/kube-proxy.yaml: iptables.syncPeriod`. `dashes` is how the program writes flags.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Error {
    /// No flag has this name.
    #[error("unknown flag {dashes}{name}{}; `{command} --help` lists all flags", did_you_mean(dashes, *.nearest))]
    Unknown { dashes: &'static str, command: &'static str, name: String, nearest: Option<&'static str> },
    /// Few flags have one letter.
    #[error(
        "unknown flag -{letter} in {argument:?}; flags with one letter are {known}, all others are written --name"
    )]
    UnknownLetter { letter: char, argument: String, known: String },
    /// An argument that is neither a flag nor the value of one.
    #[error("{argument:?} is not a flag, and {program} takes no other arguments{}", after_switch(dashes, *.switch, .argument))]
    NotAFlag { dashes: &'static str, program: &'static str, argument: String, switch: Option<&'static str> },
    /// `---x` or `--=x`, and `-` in package flag's syntax.
    #[error("{argument:?} is not how a flag is written; write {0}name, {0}name=value or {0}name value", .dashes)]
    Syntax { dashes: &'static str, argument: String },
    /// The last argument is a flag that wants a value.
    #[error("{origin} needs a value: {origin}={metavar}")]
    NoValue { origin: String, metavar: &'static str },
    /// A value that its flag or field cannot take.
    #[error("{origin}={value:?}: {expected}")]
    Value { origin: String, value: String, expected: String },
    /// Values that are legal each, but not together, or not on this machine.
    #[error("{0}")]
    Conflict(String),
    /// Something of the original's that this release does not have.
    #[error("{origin}={value:?} is not supported in this release: {reason}. Instead: {instead}")]
    Refused { origin: String, value: String, reason: &'static str, instead: &'static str },
    /// The configuration file cannot be read.
    #[error("the configuration file {path} cannot be read; check --{flag}", path = .path.display())]
    Unreadable {
        flag: &'static str,
        path: PathBuf,
        #[source]
        source: Arc<io::Error>,
    },
    /// The configuration file is neither YAML nor JSON, or of another kind.
    #[error("{path} is no {kind}: {reason}", path = .path.display())]
    File { kind: &'static str, path: PathBuf, reason: String },
    /// A field that the file's kind does not have.
    #[error("{path}: unknown field {field}{}", did_you_mean("", *.nearest), path = .path.display())]
    UnknownField { path: PathBuf, field: String, nearest: Option<&'static str> },
}

impl Error {
    /// 2 where the arguments could not be read; 1 where they, a variable or the file were read and refused.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Unknown { .. }
            | Self::UnknownLetter { .. }
            | Self::NotAFlag { .. }
            | Self::Syntax { .. }
            | Self::NoValue { .. } => 2,
            _ => 1,
        }
    }
}
