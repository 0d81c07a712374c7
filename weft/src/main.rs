//! The one binary: `weft SUBCOMMAND`, and the same by the names of the programs it replaces.
//!
//! Owns: the command line's first word and nothing behind it. Begin at [`names::Program`].

mod allocator;
mod beside;
mod cli;
mod control;
mod docker_opts;
mod names;
mod services;
mod usage;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use names::Program;

fn main() -> ExitCode {
    telemetry::daemon::before_sleep(allocator::give_back);
    let arguments: Vec<OsString> = std::env::args_os().collect();
    let code = match names::called_as(&arguments) {
        Some((Program::Flanneld, rest)) => flanneld::main(rest),
        Some((Program::DockerOpts, rest)) => docker_opts::main(rest),
        Some((Program::Proxy, rest)) => proxy::main(rest),
        Some((Program::Apiserver, rest)) => control_apiserver::program::main(rest),
        Some((Program::Scheduler, rest)) => control_scheduler::program::main(rest),
        Some((Program::ControllerManager, rest)) => control_controllers::program::main(rest),
        None => match cli::Cli::try_parse_from(&arguments) {
            Ok(cli) => cli.run(),
            Err(answer) => usage::answer(&answer),
        },
    };
    telemetry::output::finish("weft", code)
}
