//! What serves services in this kernel besides the mode in use: found, named, and removed.
//!
//! Begin at [`Leftovers`]; [`look`] asks every mode. Never: takes anything away on its own.

use std::fmt;

use telemetry::logs::chain;

use super::{FOREIGN, MODES};
use crate::backends::{BackendError, Territory};

/// Finds what a mode, ours or kube-proxy's, has in the kernel.
pub trait Leftovers: Sync {
    /// In the network namespace of the calling thread. `in_use`: what the mode in use writes is no leftover.
    fn find(&self, in_use: &[Territory]) -> Look;
}

/// What a look found.
#[derive(Default)]
pub struct Look {
    pub found: Vec<Leftover>,
    /// Nobody knows whether anything is there.
    pub unseen: Vec<Unseen>,
}

/// Whose rules they are, as far as can be told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Of this program.
    Weft,
    KubeProxy,
    /// Both write the same names.
    Either,
}

/// Something that serves services, or stands in their way.
pub struct Leftover {
    /// As a person would look for it: `nftables table ip kube-proxy`.
    pub what: String,
    pub owner: Owner,
    /// What is to be done by hand after it is removed.
    pub advice: Option<&'static str>,
    removal: Box<dyn FnOnce() -> Result<(), BackendError> + Send>,
}

impl Leftover {
    pub fn new(
        what: impl Into<String>,
        owner: Owner,
        removal: impl FnOnce() -> Result<(), BackendError> + Send + 'static,
    ) -> Self {
        Self { what: what.into(), owner, advice: None, removal: Box::new(removal) }
    }

    pub fn advice(self, advice: Option<&'static str>) -> Self {
        Self { advice, ..self }
    }
}

/// Removes everything that can be, in the network namespace of the calling thread, and logs what is gone. Returns what
/// stays and why; another attempt may do it.
pub fn remove(found: Vec<Leftover>) -> Vec<String> {
    let mut stay = Vec::new();
    for leftover in found {
        let (what, advice) = (leftover.to_string(), leftover.advice);
        match (leftover.removal)() {
            Ok(()) => {
                tracing::info!("{what} removed");
                if let Some(advice) = advice {
                    tracing::warn!("{advice}");
                }
            }
            Err(error) => stay.push(format!("{what} cannot be removed: {}", chain(&error))),
        }
    }
    stay
}

impl fmt::Display for Leftover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.owner {
            Owner::Weft => write!(f, "{} (of this proxy's)", self.what),
            Owner::KubeProxy => write!(f, "{} (kube-proxy's)", self.what),
            Owner::Either => write!(f, "{} (kube-proxy's or this proxy's)", self.what),
        }
    }
}

/// What could not be looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unseen {
    pub what: String,
    pub why: String,
    pub remedy: String,
}

impl fmt::Display for Unseen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot look at {}: {}; {}", self.what, self.why, self.remedy)
    }
}

/// Asks every mode, also those that only kube-proxy has.
pub fn look(in_use: &[Territory]) -> Look {
    let mut all = Look::default();
    let modes = MODES.iter().map(|mode| mode.find(in_use));
    for look in modes.chain(FOREIGN.iter().map(|mode| mode.find(in_use))) {
        all.found.extend(look.found);
        all.unseen.extend(look.unseen);
    }
    all
}
