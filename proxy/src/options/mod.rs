//! The command line and the configuration file of the proxy, read once into one value.
//!
//! Owns: the names, defaults, kinds and help of all flags ([`flags`]) and fields ([`fields`]), what of kube-proxy's is
//! refused ([`refused`]), and the meaning of the values. pflag's syntax and the rest of the reading is `goflags`'.
//! Never: opens a file or asks the machine other than through [`Env`]. Begin at [`resolve`].

mod conntrack;
mod env;
pub mod fields;
pub mod flags;
mod program;
pub mod refused;
mod values;

pub use conntrack::{Conntrack, Sysctl};
pub use env::{Env, Fixture, Machine};
pub use goflags::{Error as OptionsError, Kind, Setting, Settings, Source};
pub use program::PROGRAM;
pub use values::{Action, Announce, Feed, Options};

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use apiclient_core::yaml;
use goflags::{NoEnv, Parsed};

/// Reads the arguments (without the program's name) and the configuration file that they name.
///
/// With a file, its fields decide; only flags that it has no field for, --hostname-override and the logging flags
/// hold beside it (as in the original). Pure but for `env`: the same arguments, file and name give the same answer.
///
/// # Errors
/// The first thing in the arguments or in the file that cannot be meant; see [`OptionsError`] for what each says
/// and for the exit code that goes with it.
pub fn resolve<A: AsRef<str>>(args: &[A], env: &impl Env) -> Result<Options, OptionsError> {
    let given = match PROGRAM.parse(args)? {
        Parsed::Help => return Options::only(Action::Help),
        Parsed::Given(given) => given,
    };
    let config = given.iter().rfind(|(flag, _)| flag.name == "config");
    let path = config.map(|(_, path)| Path::new(path)).filter(|path| !path.as_os_str().is_empty());
    let Some(path) = path else {
        return Options::from_settings(PROGRAM.settle(&given, &NoEnv, None)?, env);
    };
    let text = env.read(path).map_err(|error| OptionsError::Unreadable {
        flag: "config",
        path: path.to_owned(),
        source: Arc::new(error),
    })?;
    let documents = yaml::values(&text).map_err(|error| OptionsError::File {
        kind: fields::KIND,
        path: path.to_owned(),
        reason: error.to_string(),
    })?;
    let mut settings = PROGRAM.settle(&given, &NoEnv, Some((path, documents)))?;
    follow_bind_address(&mut settings);
    Options::from_settings(settings, env)
}

/// In the file, and only there, an IPv6 bindAddress moves the defaults of the two servers (as in the original).
fn follow_bind_address(settings: &mut Settings) {
    let address = settings.get("bindAddress").text().parse::<IpAddr>();
    if address.is_ok_and(|address| address.is_ipv6()) {
        settings.default_to("healthzBindAddress", "[::]:10256");
        settings.default_to("metricsBindAddress", "[::1]:10249");
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

/// A configuration as YAML, for --write-config-to.
pub fn write(options: &Options) -> String {
    yaml::write(&options.configuration()).unwrap_or_else(|_| options.configuration().to_string())
}
