//! The command line and the environment of flanneld, read once into one value.
//!
//! Owns: the names, defaults, kinds and help of all flags ([`table`]), Go's flag syntax ([`parse`]), the flags
//! of the original that this release does not have ([`refused`]), and the meaning of the values ([`values`]).
//! Never: opens a file, looks at the machine, or reads a variable other than through [`Env`].
//! Begin at [`resolve`].

mod env;
mod error;
mod help;
mod parse;
pub mod refused;
mod source;
pub mod table;
mod values;

pub use env::{Env, ProcessEnv};
pub use error::OptionsError;
pub use help::{help, markdown, version};
pub use source::{Setting, Settings, Source};
pub use table::DEFAULT_PIN_DIR;
pub use values::{Action, EtcdOptions, FirewallChoice, Options, PeerAccounting, Secret};

/// Reads the arguments (without the program's name) and the environment.
///
/// The command line wins over `FLANNELD_X`, which wins over the default. Pure: the same arguments and the same
/// environment give the same answer.
///
/// # Errors
/// The first thing in the arguments or in the environment that cannot be meant; see [`OptionsError`] for what
/// each says and for the exit code that goes with it.
pub fn resolve<A: AsRef<str>>(args: &[A], env: &impl Env) -> Result<Options, OptionsError> {
    match parse::command_line(args)? {
        parse::Parsed::Help => Options::only(Action::Help),
        parse::Parsed::Given(given) => {
            let settings = Settings::merge(given, env)?;
            refused::check(&settings)?;
            Options::from_settings(settings)
        }
    }
}
