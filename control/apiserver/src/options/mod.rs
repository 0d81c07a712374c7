//! The command line of the API server, read once into one value.
//!
//! Owns: the names, defaults, kinds and help of all flags ([`flags`]), what of kube-apiserver's is refused ([`refused`]),
//! and the meaning of the values ([`Options`]). pflag's syntax is `goflags`'.
//! Never: opens a file or asks the machine other than through [`Env`]. Begin at [`resolve`].

pub mod access;
mod env;
pub mod flags;
pub mod oidc;
mod program;
mod read;
pub mod refused;
mod values;

pub use env::{Env, Fixture, Machine};
pub use goflags::{Error as OptionsError, Settings};
pub use program::PROGRAM;
pub use values::{Action, EndpointReconciler, NodePorts, Options, StorageMediaType};

use goflags::{NoEnv, Parsed};

/// Reads the arguments (without the program's name). Pure but for `env`.
///
/// # Errors
/// The first thing in the arguments that cannot be meant; see [`OptionsError`] for what each says and for the exit code
/// that goes with it.
pub fn resolve<A: AsRef<str>>(args: &[A], env: &impl Env) -> Result<Options, OptionsError> {
    match PROGRAM.parse(args)? {
        Parsed::Help => Ok(Options::only(Action::Help)),
        Parsed::Given(given) => Options::from_settings(PROGRAM.settle(&given, &NoEnv, None)?, env),
    }
}

/// The text of `--help`: for standard output, exit code 0.
pub fn help() -> String {
    PROGRAM.help()
}

/// The text of `--version`: for standard output, exit code 0.
pub fn version() -> String {
    format!("weft {}", env!("CARGO_PKG_VERSION"))
}
