//! The modes: each way to have the kernel follow the services is one module here and one entry of [`MODES`].
//!
//! Owns: the list, from which help and errors take the names, and what a mode has to say of itself ([`Definition`]):
//! its name, how to open it, how to render it without a kernel, and what of it is left in a kernel when another mode
//! serves ([`Leftovers`]).
//! Never: writes rules (the backends do), decides when leftovers go (the daemon does).

use std::fmt;
use std::ops::Deref;

use host::sysctl;
use proxy_core::names::Family;
use proxy_core::options::NodePortAddresses;
use proxy_core::table::ServiceTable;

use crate::backends::{AnyBackend, BackendError};
use crate::metrics::{self, Metrics};
use crate::options::Options;

mod iptables;
mod ipvs;
pub mod leftovers;
mod nftables;

pub use leftovers::{Leftovers, Look};

macro_rules! modes {
    ($first:ident $(, $other:ident)*) => {
        /// Every mode in which this program serves; the first is the default.
        pub static MODES: &[Mode] = &[$first::MODE $(, $other::MODE)*];

        /// The names of [`MODES`], for people, as a literal: the tables of flags are constants.
        macro_rules! mode_names {
            () => {
                concat!(stringify!($first) $(, " or ", stringify!($other))*)
            };
        }
    };
}

// A mode has its module's name.
modes!(nftables, iptables);
pub(crate) use mode_names;

/// The names of [`MODES`], for people.
pub const NAMES: &str = mode_names!();

/// Modes of kube-proxy that this program lacks: their leftovers go all the same.
static FOREIGN: [&dyn Leftovers; 1] = [&ipvs::Ipvs];

/// What a mode says of itself.
pub trait Definition: Leftovers {
    /// As in `--proxy-mode`, in `/proxyMode` and in the metrics.
    fn name(&self) -> &'static str;

    /// In the network namespace of the calling thread.
    ///
    /// # Errors
    /// The kernel or a tool lacks what the mode needs; the error says what.
    fn open(&self, options: &Options) -> Result<Box<dyn AnyBackend>, BackendError>;

    /// What the mode makes of a table on an empty kernel, both families. Needs no privilege and starts no program.
    fn render(&self, table: &ServiceTable, options: &Options) -> String;

    /// Where node ports are served when nobody says.
    fn node_port_addresses(&self) -> NodePortAddresses;

    /// Whether node ports can be served at 127.0.0.0/8, where kube-proxy does that too.
    fn serves_loopback(&self) -> bool;

    /// Registers the metrics that only this mode has.
    fn register(&self, metrics: &Metrics);

    /// Counts a pass that failed, under the name that kube-proxy has for it.
    fn count_failure(&self, metrics: &Metrics, family: Family, pass: metrics::Sync);
}

/// One of [`MODES`]. Compares and prints by its name.
#[derive(Clone, Copy)]
pub struct Mode(&'static dyn Definition);

impl Mode {
    /// The mode of that name; an empty name is the default.
    pub fn find(name: &str) -> Option<Mode> {
        MODES.iter().find(|mode| name.is_empty() || mode.as_str() == name).copied()
    }

    pub fn as_str(self) -> &'static str {
        self.0.name()
    }
}

impl Deref for Mode {
    type Target = dyn Definition;

    fn deref(&self) -> &Self::Target {
        self.0
    }
}

impl PartialEq for Mode {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Mode {}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The families that this kernel speaks.
pub fn families() -> Vec<Family> {
    let both = sysctl::exists("net/ipv6/conf/all/forwarding");
    Family::BOTH.into_iter().filter(|family| both || *family == Family::V4).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_is_found_by_its_name_and_the_first_by_none() {
        assert_eq!(Mode::find("").map(Mode::as_str), Some("nftables"));
        for mode in MODES {
            assert_eq!(Mode::find(mode.as_str()), Some(*mode));
        }
        assert_eq!(Mode::find("ipvs"), None);
        let names: Vec<&str> = MODES.iter().map(|mode| mode.as_str()).collect();
        assert_eq!(NAMES, names.join(" or "));
    }
}
