//! The controllers as a program: `weft controller-manager`.
//!
//! Owns: the way from arguments to an exit code, as whom each controller acts, and where health and metrics are served. Begin
//! at [`main`].

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use apiclient::leader::{self, Leading, Lost, Standing};
use apiclient::objects::Api;
use apiclient::{Access as Server, AccessError, Account, Client, EventRecorder, Reporter};
use control_controllers_core as controllers;
use control_controllers_core::Settings;
use control_controllers_core::settings::TokenSigner;
use control_serving::authentication::jwt;
use control_serving::authentication::keys::SigningKey;
use control_serving::daemon::{self, ServingError};
use control_serving::files::{self, FileError};
use serde_json::Value;
use telemetry::daemon::{FrameError, Threads};
use telemetry::http::{self, Health, Routes, Texts};
use tokio::signal::unix::{SignalKind, signal};

use crate::options::{self, Action, Options};
use crate::{Access, OTHERS, run};

/// Where the controllers' service accounts are.
const NAMESPACE: &str = "kube-system";

/// Why it ends other than by being told to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Access(#[from] AccessError),
    #[error(transparent)]
    Serving(#[from] ServingError),
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Lost(#[from] Lost),
    #[error("cannot sign certificates: {0}")]
    Signing(#[from] control_pki::SigningError),
    #[error(transparent)]
    File(#[from] FileError),
}

/// Arguments (without the program's name) to exit code.
pub fn main(arguments: &[OsString]) -> ExitCode {
    let arguments: Vec<_> = arguments.iter().map(|argument| argument.to_string_lossy()).collect();
    let options = match options::resolve(&arguments) {
        Ok(options) => options,
        Err(error) => {
            telemetry::note!("weft controller-manager: {error}");
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
    telemetry::daemon::program("weft controller-manager", Threads::Few, serve(options), say)
}

async fn serve(options: Options) -> Result<(), Failure> {
    let mut interrupt = signal(SignalKind::interrupt()).map_err(FrameError::Signals)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(FrameError::Signals)?;
    tracing::info!("starting weft controller-manager {}: {}", env!("CARGO_PKG_VERSION"), options.settings);
    for sentence in options.settings.without_effect() {
        tracing::warn!("{sentence}");
    }
    let settings = settings(&options)?;
    let server = Server { kubeconfigs: options.kubeconfig.into_iter().collect(), master: options.master };
    let client = Client::connect(server.clone())?;
    let (routes, ready) = routes();
    let serving = match options.serve {
        Some(serve) => Some(daemon::serve("kube-controller-manager", serve, routes).await?),
        None => None,
    };
    // Who only stands for election is as ready as a process can be that does nothing yet.
    ready.set(true);
    telemetry::systemd::tell("READY=1");
    let choice = options.choice;
    let accounts = options.accounts.then_some(server);
    let api: Arc<dyn Api> = Arc::new(client.clone());
    let work = move |leading: Leading| async move {
        let chosen = controllers::all(&settings).into_iter().filter(|one| choice.has(one.name())).collect();
        let others: Vec<&str> = OTHERS.into_iter().filter(|name| choice.has(name)).collect();
        match run(chosen, &others, settings.autoscaler, access(&client, accounts, leading)).await {}
    };
    let leading = async {
        match options.election {
            None => work(Leading::always()).await,
            Some((namespace, name, timing)) => {
                let standing =
                    Standing { timing, ..Standing::new(&namespace, &name, "kube-controller-manager") };
                leader::lead(api, standing, work).await?;
            }
        }
        Ok::<(), Failure>(())
    };
    let ended = tokio::select! {
        ended = leading => ended,
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    };
    telemetry::systemd::tell("STOPPING=1");
    if let Some(serving) = serving {
        serving.stop().await;
    }
    ended
}

fn settings(options: &Options) -> Result<Settings, Failure> {
    let read = |file: &PathBuf| files::read(file).map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let root_ca = options.root_ca.as_ref().map(read).transpose()?;
    let tokens = options.account_key.as_ref().map(|file| {
        let key = SigningKey::from_pem(&files::read(file)?).map_err(|error| files::unusable(file, error))?;
        Ok::<_, FileError>(Arc::new(AccountKey(key)) as Arc<dyn TokenSigner>)
    });
    Ok(Settings {
        root_ca: root_ca.map(Into::into),
        tokens: tokens.transpose()?,
        pod_networks: options.pod_networks.clone(),
        service_networks: options.service_networks.clone(),
        node_limits: options.node_limits,
        ended_pods: options.ended_pods,
        signers: crate::signing::signers(&options.authorities)?,
        signing_duration: options.signing_duration,
        unused_tokens: options.unused_tokens,
        autoscaler: options.autoscaler,
        balanced: options.balanced.clone(),
    })
}

/// Signs the tokens that Secrets hold.
struct AccountKey(SigningKey);

impl TokenSigner for AccountKey {
    fn sign(&self, claims: &Value) -> Option<String> {
        jwt::sign(claims, &self.0)
    }
}

/// As one user, or each controller as a service account of its own.
fn access(client: &Client, accounts: Option<Server>, leading: Leading) -> Access {
    let own = client.clone();
    let of = move |name: &'static str| match &accounts {
        None => own.clone(),
        Some(_) if name == controllers::MANAGER => own.clone(),
        // What could be read at the start can be read now; a file that is being replaced is read again later.
        Some(server) => match Account::new(server, own.clone(), NAMESPACE, name) {
            Ok(account) => Client::over(account),
            Err(error) => {
                tracing::error!(%error, controller = name, "this controller acts with the credentials of the kubeconfig");
                own.clone()
            }
        },
    };
    let clients = of.clone();
    Access {
        api: Arc::new(client.clone()),
        of: Box::new(move |name| Arc::new(of(name)) as Arc<dyn Api>),
        events: Box::new(move |name| {
            let reporter = Reporter { controller: name.to_owned(), instance: name.to_owned() };
            let (recorder, telling) = EventRecorder::new(clients(name), reporter);
            tokio::spawn(telling);
            recorder
        }),
        leads: Arc::new(move || leading.holds()),
    }
}

fn routes() -> (Routes, http::Ready) {
    let texts = Texts { alive: "ok", ready: "ok", not_ready: "it is starting" };
    let health = Health::new(texts, |_| Ok(String::new()));
    let ready = health.readiness();
    let alive = |_: &http::Request| http::Answer::text(http::StatusCode::OK, "ok");
    (health.routes().any("/livez", alive), ready)
}
