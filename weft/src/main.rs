//! The one binary: `weft SUBCOMMAND`, and the same by the names of the programs it replaces.
//!
//! Owns: the command line's first word and nothing behind it. Begin at [`names::Program`].

mod cli;
mod docker_opts;
mod names;
mod services;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, FromArgMatches};

use names::Program;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().collect();
    match names::called_as(&arguments) {
        Some((Program::Flanneld, rest)) => flanneld::main(rest),
        Some((Program::DockerOpts, rest)) => docker_opts::main(rest),
        Some((Program::Proxy, rest)) => proxy::main(rest),
        None => subcommand(&arguments),
    }
}

fn subcommand(arguments: &[OsString]) -> ExitCode {
    let matches = cli::Cli::command().get_matches_from(arguments);
    match cli::Cli::from_arg_matches(&matches) {
        Ok(cli) => cli.run(),
        Err(error) => error.exit(),
    }
}
