//! The API server as a program: `weft apiserver`, and `weft control` around it.
//!
//! Owns: the way from arguments to an exit code. Begin at [`main`].

use std::ffi::OsString;
use std::future::Future;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Arc;

use telemetry::daemon::{FrameError, Threads};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::local::{LocalError, Places, Plan, Report, backup, restore};
use crate::options::{self, Action, Machine, Options};
use crate::run::{self, ServeError};
use crate::server::Server;

/// Arguments (without the program's name) to exit code.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let options = match options::resolve(&arguments, &Machine) {
        Ok(options) => options,
        Err(error) => {
            telemetry::note!("weft apiserver: {error}");
            return ExitCode::from(error.exit_code());
        }
    };
    match options.action {
        Action::Help => {
            telemetry::put!("{}", options::help());
            return ExitCode::SUCCESS;
        }
        Action::Version => {
            telemetry::say!("{}", options::version());
            return ExitCode::SUCCESS;
        }
        Action::Run => {}
    }
    telemetry::logs::init(telemetry::logs::level_of_verbosity(options.verbosity));
    let say = |error: &ServeError| telemetry::logs::chain(error);
    telemetry::daemon::program("weft apiserver", Threads::EachCpu, serve(options), say)
}

/// Serves until SIGINT or SIGTERM.
async fn serve(options: Options) -> Result<(), ServeError> {
    raise_open_files();
    announce(&options);
    run::serve(options, told_to_end()?, |_, _| {}).await
}

/// Every watch has a connection: a thousand clients are more than systemd's soft limit.
fn raise_open_files() {
    if let Err(error) = host::limits::raise_open_files() {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
}

fn announce(options: &Options) {
    tracing::info!("starting weft apiserver {}: {}", env!("CARGO_PKG_VERSION"), options.settings);
    for sentence in options.without_effect() {
        tracing::warn!("{sentence}");
    }
}

/// Ready when this process is told to end.
fn told_to_end() -> Result<impl Future<Output = ()> + Send + use<>, FrameError> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(FrameError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(FrameError::Signals)?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Why `weft control` ends other than by being told to.
#[derive(Debug, thiserror::Error)]
enum ControlError {
    #[error(transparent)]
    Local(#[from] LocalError),
    #[error(transparent)]
    Serve(#[from] ServeError),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

fn chain(error: &ControlError) -> String {
    telemetry::logs::chain(error)
}

/// What runs beside the server, in its process, for as long as it serves.
pub type Beside = Pin<Box<dyn Future<Output = ()> + Send>>;

/// `weft control`: a whole control plane of this machine, until SIGINT or SIGTERM. `beside` is made when requests are
/// answered.
pub fn control(plan: Plan, beside: impl FnOnce(&Arc<Server>) -> Beside + Send) -> ExitCode {
    telemetry::logs::init(tracing::Level::INFO);
    telemetry::daemon::program("weft control", Threads::EachCpu, run_control(plan, beside), chain)
}

async fn run_control(
    plan: Plan,
    beside: impl FnOnce(&Arc<Server>) -> Beside + Send,
) -> Result<(), ControlError> {
    raise_open_files();
    let end = told_to_end()?;
    let prepared = plan.prepare(&Machine).await?;
    announce(&prepared.options);
    let (address, kubeconfig) = (prepared.address(), prepared.kubeconfig.clone());
    let (begin, begun) = oneshot::channel();
    let greet = move |server: &Arc<Server>, _: std::net::SocketAddr| {
        // Nobody listens any more where it is already told to end.
        let _ = begin.send(beside(server));
        telemetry::say!(
            "The API serves at {address}. In another terminal:\n\n    export KUBECONFIG={}\n    kubectl get namespaces\n",
            kubeconfig.display()
        );
    };
    let served = tokio::select! {
        served = run::serve(prepared.options.clone(), end, greet) => served,
        () = prepared.renew() => Ok(()),
        () = run_beside(begun) => Ok(()),
    };
    prepared.stop().await;
    Ok(served?)
}

/// It ends with the server, and never before it.
async fn run_beside(begun: oneshot::Receiver<Beside>) {
    if let Ok(beside) = begun.await {
        // A task of its own: it shall not wait for what else this one waits for.
        let mut beside = JoinSet::from_iter([beside]);
        while beside.join_next().await.is_some() {}
    }
    std::future::pending().await
}

/// `weft control backup`.
pub fn control_backup(places: &Places, etcd_program: &str, file: &std::path::Path) -> ExitCode {
    act("weft control backup", async {
        let report = backup(places, etcd_program, file).await?;
        telemetry::say!("{} holds {} bytes, at revision {}.", file.display(), report.bytes, report.revision);
        telemetry::say!("The keys in {} are not in it: keep them too.", places.pki().display());
        Ok(())
    })
}

/// `weft control restore`.
pub fn control_restore(places: &Places, etcd_program: &str, file: &std::path::Path) -> ExitCode {
    act("weft control restore", async {
        let Report { revision, replaced, .. } = restore(places, etcd_program, file).await?;
        telemetry::say!("Restored {}; revisions go on from {revision}.", file.display());
        if let Some(replaced) = replaced {
            telemetry::say!(
                "What was there before is in {}: delete it when you no longer need it.",
                replaced.display()
            );
        }
        telemetry::say!("Start it: weft control --data-dir {}", places.root().display());
        Ok(())
    })
}

fn act(name: &str, work: impl Future<Output = Result<(), ControlError>>) -> ExitCode {
    telemetry::logs::init(tracing::Level::WARN);
    telemetry::daemon::program(name, Threads::Few, work, chain)
}
