//! The command line and the environment of flanneld, read once into one value.
//!
//! Owns: the names, defaults, kinds and help of all flags ([`table`]), the flags of the original that this release does
//! not have ([`refused`]), and the meaning of the values ([`values`]). Go's syntax and the rest of the reading is
//! `goflags`'. Never: opens a file, looks at the machine, or reads a variable other than through [`Env`].
//! Begin at [`resolve`].

mod program;
pub mod refused;
pub mod table;
mod values;

pub use goflags::{Env, Error as OptionsError, ProcessEnv, Setting, Settings, Source};
pub use program::PROGRAM;
pub use table::DEFAULT_PIN_DIR;
pub use values::{Action, EtcdOptions, FirewallChoice, Options, PeerAccounting, Secret};

use goflags::Parsed;

/// Reads the arguments (without the program's name) and the environment.
///
/// The command line wins over `FLANNELD_X`, which wins over the default. Pure: the same arguments and the same
/// environment give the same answer. Unlike flannel, which logs and goes on, a variable that cannot be read is an error.
///
/// # Errors
/// The first thing in the arguments or in the environment that cannot be meant; see [`OptionsError`] for what
/// each says and for the exit code that goes with it.
pub fn resolve<A: AsRef<str>>(args: &[A], env: &impl Env) -> Result<Options, OptionsError> {
    match PROGRAM.parse(args)? {
        Parsed::Help => Options::only(Action::Help),
        Parsed::Given(given) => Options::from_settings(PROGRAM.settle(&given, env, None)?),
    }
}

/// The text of `--help`: for standard output, exit code 0.
pub fn help() -> String {
    PROGRAM.help()
}

/// The text of `--version`: for standard error as flannel does it, exit code 0.
pub fn version() -> String {
    format!("weft {}", env!("CARGO_PKG_VERSION"))
}

/// All flags as a table in Markdown, for the documentation.
pub fn markdown() -> String {
    PROGRAM.markdown_flags()
}
