//! What can go wrong with a lab, in words that say what to do about it.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use host::error::HostError;
use host::programs::ProgramError;

use crate::call;
use crate::name::{BadName, LabName};

/// An operation on a lab that failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    #[error("a lab is made of network namespaces, which only root may create; run this again with sudo")]
    NotRoot,
    #[error(transparent)]
    BadName(#[from] BadName),
    #[error("{0}")]
    BadSpec(String),
    #[error(
        "there is already a lab named {0}; `{lab} down --name {0}` removes it, `--name OTHER` makes another one beside it",
        lab = call::lab()
    )]
    NameTaken(LabName),
    #[error("there is no lab named {name}{}", known_labs(.known))]
    NoSuchLab { name: LabName, known: Vec<LabName> },
    #[error("the lab {lab} has no {wanted:?}; it has {}", .known.join(", "))]
    NoSuchMember { lab: LabName, wanted: String, known: Vec<String> },
    #[error("another command is at work on {0}; wait for it to end")]
    Busy(LabName),
    #[error("interrupted; what was made has been removed again")]
    Interrupted,
    #[error("{what} is not ready after {} s: {reason}", .waited.as_secs())]
    NotReady { what: String, waited: Duration, reason: String },
    #[error("{what}: {reason}")]
    Protocol { what: String, reason: String },
    #[error("{op} {}", .path.display())]
    Io {
        op: &'static str,
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error("{step}")]
    Step {
        /// The step of the plan that failed, as the plan prints it.
        step: String,
        #[source]
        source: HostError,
    },
    #[error(transparent)]
    Program(#[from] ProgramError),
    #[error(transparent)]
    Host(#[from] HostError),
    #[error("not everything of the lab {name} could be removed:\n  {}", .left.join("\n  "))]
    Leftovers { name: LabName, left: Vec<String> },
}

impl LabError {
    pub fn io(op: &'static str, path: impl Into<PathBuf>) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::Io { op, path, source }
    }

    /// The exit status of the command that met this error: 2 for a request that cannot be, 130 for an
    /// interruption (as a shell has it), 1 for all else.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::BadName(_) | Self::BadSpec(_) | Self::NoSuchMember { .. } => 2,
            Self::Interrupted => 130,
            _ => 1,
        }
    }
}

fn known_labs(known: &[LabName]) -> String {
    match known {
        [] => format!("; `{}` makes one", call::up()),
        some => {
            let names: Vec<&str> = some.iter().map(LabName::as_str).collect();
            format!("; there is {}", names.join(", "))
        }
    }
}
