//! flanneld: the overlay network daemon.
//!
//! Owns: the command line in flannel's words, the lease in etcd, and the loop that keeps the kernel as the
//! leases want it. What the kernel should hold is decided in `flanneld-core`; this package looks and does.
//! Begin at [`daemon`]. Never: decides what a table should hold, or knows a netlink message.

mod accounting;
pub mod daemon;
mod error;
mod files;
mod firewall;
mod kernel;
pub mod leases;
mod metrics;
pub mod options;
mod peers;
mod traffic;
pub mod udp;
mod underlay;
mod vtep;

use std::ffi::OsString;
use std::process::ExitCode;

pub use error::FlanneldError;
use options::{Action, ProcessEnv};
use telemetry::daemon::Threads;

/// flanneld as a program: arguments (without the program's name) to exit code.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let options = match options::resolve(&arguments, &ProcessEnv) {
        Ok(options) => options,
        Err(error) => {
            telemetry::note!("flanneld: {error}");
            return ExitCode::from(error.exit_code());
        }
    };
    match options.action {
        Action::Help => {
            telemetry::put!("{}", options::help());
            return ExitCode::SUCCESS;
        }
        Action::Version => {
            telemetry::note!("{}", options::version());
            return ExitCode::SUCCESS;
        }
        Action::Run | Action::Cleanup => {}
    }
    telemetry::logs::init(options.log_level().parse().expect("a level's own name"));
    if let Err(error) = host::limits::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let work = async {
        if options.action == Action::Cleanup {
            daemon::cleanup(&options).await
        } else {
            daemon::run(options).await
        }
    };
    telemetry::daemon::program("flanneld", Threads::Few, work, FlanneldError::chain)
}
