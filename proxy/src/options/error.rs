//! What can be wrong with a command line or a configuration file, and what to do about it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use goflags::remarks::{after_switch, did_you_mean};

/// A command line, or a configuration file, that cannot be meant.
///
/// `origin` is how the user wrote it: `--proxy-mode`, or `/etc/kube-proxy.yaml: iptables.syncPeriod`.
#[derive(Clone, Debug, thiserror::Error)]
pub enum OptionsError {
    /// No flag has this name.
    #[error("unknown flag --{name}{}; `weft proxy --help` lists all flags", did_you_mean("--", *.nearest))]
    Unknown { name: String, nearest: Option<&'static str> },
    /// Only `-v` and `-h` have one letter.
    #[error(
        "unknown flag -{letter} in {argument:?}; flags with one letter are -v and -h, all others are written --name"
    )]
    UnknownLetter { letter: char, argument: String },
    /// An argument that is neither a flag nor the value of one.
    #[error("{argument:?} is not a flag, and kube-proxy takes no other arguments{}", after_switch("--", *.switch, .argument))]
    NotAFlag { argument: String, switch: Option<&'static str> },
    /// `---x` or `--=x`.
    #[error("{argument:?} is not how a flag is written; write --name, --name=value or --name value")]
    Syntax { argument: String },
    /// The last argument is a flag that wants a value.
    #[error("{origin} needs a value: {origin}={metavar}")]
    NoValue { origin: String, metavar: &'static str },
    /// A value that its flag or field cannot take.
    #[error("{origin}={value:?}: {expected}")]
    Value { origin: String, value: String, expected: String },
    /// Values that are legal each, but not together.
    #[error("{0}")]
    Conflict(String),
    /// Something of kube-proxy's that this release does not have.
    #[error("{origin}={value:?} is not supported in this release: {reason}. Instead: {instead}")]
    Refused { origin: String, value: String, reason: &'static str, instead: &'static str },
    /// The configuration file cannot be read.
    #[error("the configuration file {path} cannot be read; check --config", path = .path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: Arc<io::Error>,
    },
    /// The configuration file is neither YAML nor JSON, or no KubeProxyConfiguration.
    #[error("{path} is no KubeProxyConfiguration: {reason}", path = .path.display())]
    File { path: PathBuf, reason: String },
    /// A field that KubeProxyConfiguration does not have.
    #[error("{path}: unknown field {field}{}", did_you_mean("", *.nearest), path = .path.display())]
    UnknownField { path: PathBuf, field: String, nearest: Option<&'static str> },
    /// Neither --hostname-override nor the kernel gives a name.
    #[error("this node has no name: {reason}; give --hostname-override")]
    NoName { reason: String },
}

impl OptionsError {
    /// 2 where the arguments could not be read; 1 where they, or the file, were read and refused.
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
