//! The scheduler as a program: `weft scheduler`.
//!
//! Owns: the way from arguments to an exit code, and where health and metrics are served. Begin at [`main`].

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use apiclient::leader::{self, Leading, Lost};
use apiclient::objects::Api;
use apiclient::{Access, AccessError, Client};
use control_serving::daemon as serving;
use telemetry::Ready;
use telemetry::daemon::{FrameError, Threads};
use telemetry::http::{self, Health, Routes, Texts};
use tokio::signal::unix::{SignalKind, signal};

use crate::daemon;
use crate::extenders::ExtenderError;
use crate::metrics::Metrics;
use crate::options::{self, Action, Options};

/// Why it ends other than by being told to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Extender(#[from] ExtenderError),
    #[error(transparent)]
    Serving(#[from] serving::ServingError),
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Arguments (without the program's name) to exit code.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let read = |path: &str| std::fs::read_to_string(path).map_err(|error| format!("cannot be read: {error}"));
    let options = match options::resolve(&arguments, read) {
        Ok(options) => options,
        Err(error) => {
            telemetry::note!("weft scheduler: {error}");
            return ExitCode::from(error.exit_code());
        }
    };
    match options.action {
        Action::Help => {
            telemetry::put!("{}", options::help());
            return ExitCode::SUCCESS;
        }
        Action::Version => {
            telemetry::say!("weft {}", env!("CARGO_PKG_VERSION"));
            return ExitCode::SUCCESS;
        }
        Action::Run => {}
    }
    telemetry::logs::init(telemetry::logs::level_of_verbosity(options.verbosity));
    let say = |failure: &Failure| telemetry::logs::chain(failure);
    telemetry::daemon::program("weft scheduler", Threads::Few, run(options), say)
}

async fn run(options: Options) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(FrameError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(FrameError::Signals)?;
    tracing::info!("starting weft scheduler {}: {}", env!("CARGO_PKG_VERSION"), options.settings);
    for sentence in options.settings.without_effect() {
        tracing::warn!("{sentence}");
    }
    let kubeconfigs = options.kubeconfig.into_iter().collect();
    let client = Client::connect(Access { kubeconfigs, master: options.master })?;
    let api: Arc<dyn Api> = Arc::new(client);
    let metrics = Metrics::default();
    let (routes, ready) = routes(&metrics);
    let server = match options.serve {
        Some(serve) => Some(serving::serve("kube-scheduler", serve, routes).await?),
        None => None,
    };
    telemetry::systemd::tell("READY=1");
    let (config, standing) = (options.config, options.standing);
    let leads = Arc::clone(&api);
    let work = move |leading: Leading| {
        daemon::run(leading.guard(api), config, metrics, ready, std::future::pending())
    };
    let scheduling = async {
        match standing {
            None => work(Leading::always()).await?,
            Some(standing) => leader::lead(leads, standing, work).await??,
        }
        Ok::<(), Failure>(())
    };
    let ended = tokio::select! {
        ended = scheduling => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    telemetry::systemd::tell("STOPPING=1");
    if let Some(server) = server {
        server.stop().await;
    }
    ended
}

fn routes(metrics: &Metrics) -> (Routes, Ready) {
    let texts =
        Texts { alive: "ok", ready: "ok", not_ready: "the objects of the cluster are not all known yet" };
    let metrics = metrics.clone();
    let health = Health::new(texts, move |_| metrics.text());
    let ready = health.readiness();
    let alive = |_: &http::Request| http::Answer::text(http::StatusCode::OK, "ok");
    (health.routes().any("/livez", alive), ready)
}
