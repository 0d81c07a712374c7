//! The service proxy: Services and EndpointSlices into the kernel's tables.
//!
//! Owns: the feeds that bring the objects, the backends that write tables, health checks, and the loop between
//! them. What should happen to a packet is decided in `proxy-core`. Begin at [`daemon`].

mod addresses;
mod announce;
pub mod backends;
mod bridges;
#[cfg(feature = "cases")]
pub mod cases;
pub mod conntrack;
pub mod daemon;
mod error;
pub mod feeds;
pub mod health;
pub mod metrics;
pub mod modes;
pub mod options;
mod reconfigured;
pub mod tools;

use std::ffi::OsString;
use std::process::ExitCode;

pub use error::ProxyError;
use options::{Action, Machine, Options};
use telemetry::daemon::Threads;

/// The proxy as a program: arguments (without the program's name) to exit code.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let options = match options::resolve(&arguments, &Machine) {
        Ok(options) => options,
        Err(error) => {
            telemetry::note!("weft proxy: {error}");
            return ExitCode::from(error.exit_code());
        }
    };
    match &options.action {
        Action::Help => {
            telemetry::put!("{}", options::help());
            return ExitCode::SUCCESS;
        }
        Action::Version => {
            telemetry::say!("{}", options::version());
            return ExitCode::SUCCESS;
        }
        Action::Run | Action::Cleanup | Action::InitOnly | Action::WriteConfig(_) => {}
    }
    telemetry::logs::init(options.log_level().parse().expect("a level's own name"));
    if let Err(error) = host::limits::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let arguments = arguments.into_iter().map(std::borrow::Cow::into_owned).collect();
    telemetry::daemon::program("weft proxy", Threads::Few, act(options, arguments), ProxyError::chain)
}

async fn act(options: Options, arguments: Vec<String>) -> Result<(), ProxyError> {
    match &options.action {
        Action::Cleanup => {
            // It blocks, and has a runtime of its own where it needs one.
            let done = tokio::task::spawn_blocking(move || daemon::cleanup(&options)).await;
            done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
        }
        Action::InitOnly => {
            daemon::init_only(&options);
            Ok(())
        }
        Action::WriteConfig(path) => std::fs::write(path, options::write(&options))
            .map_err(|source| ProxyError::Write { path: path.clone(), source }),
        Action::Run | Action::Help | Action::Version => {
            let reconfigured = reconfigured::reconfigured(options.clone(), arguments);
            daemon::run(options, reconfigured).await
        }
    }
}
