//! The command line and the configuration file of the proxy, read once into one value.
//!
//! Owns: the names, defaults, kinds and help of all flags ([`flags`]) and fields ([`fields`]), pflag's syntax,
//! what of kube-proxy's is refused ([`refused`]), and the meaning of the values.
//! Never: opens a file or asks the machine other than through [`Env`]. Begin at [`resolve`].

mod conntrack;
mod env;
mod error;
pub mod fields;
mod file;
pub mod flags;
mod help;
mod kind;
mod parse;
pub mod refused;
mod settings;
mod values;

pub use conntrack::{Conntrack, Sysctl};
pub use env::{Env, Fixture, Machine};
pub use error::OptionsError;
pub use help::{help, markdown_fields, markdown_flags, version};
pub use kind::Kind;
pub use settings::{Setting, Settings, Source};
pub use values::{Action, Feed, Options};

use std::path::Path;
use std::sync::Arc;

/// Reads the arguments (without the program's name) and the configuration file that they name.
///
/// With a file, its fields decide; only flags that it has no field for, --hostname-override and the logging flags
/// hold beside it (as in the original). Pure but for `env`: the same arguments, file and name give the same answer.
///
/// # Errors
/// The first thing in the arguments or in the file that cannot be meant; see [`OptionsError`] for what each says
/// and for the exit code that goes with it.
pub fn resolve<A: AsRef<str>>(args: &[A], env: &impl Env) -> Result<Options, OptionsError> {
    let given = match parse::command_line(args)? {
        parse::Parsed::Help => return Options::only(Action::Help),
        parse::Parsed::Given(given) => given,
    };
    let config = given.iter().rfind(|(flag, _)| flag.name == "config");
    let path = config.map(|(_, path)| Path::new(path)).filter(|path| !path.as_os_str().is_empty());
    let text = path.map(|path| {
        let unreadable = |error| OptionsError::Unreadable { path: path.to_owned(), source: Arc::new(error) };
        env.read(path).map_err(unreadable)
    });
    let text = text.transpose()?;
    let settings = Settings::merge(&given, path.zip(text.as_deref()))?;
    refused::check(&settings)?;
    Options::from_settings(settings, env)
}

/// A configuration as YAML, for --write-config-to.
pub fn write(options: &Options) -> String {
    apiclient_core::yaml::write(&options.configuration())
        .unwrap_or_else(|_| options.configuration().to_string())
}
