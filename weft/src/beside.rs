//! What runs in the API server's process in `weft control`: the controllers and the scheduler, over its memory and without a
//! connection.
//!
//! Owns: as whom each of them acts. Never: gives them more than the originals have: every request is authorized.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use apiclient::objects::Api;
use apiclient::{EventRecorder, Reporter};
use control_apiserver::Server;
use control_apiserver::authentication::service_accounts::ServiceAccounts;
use control_apiserver::in_process::InProcess;
use control_controllers::Access;
use control_controllers_core as controllers;
use control_controllers_core::Settings;
use control_controllers_core::settings::TokenSigner;
use control_core::access::User;
use control_scheduler::config::Config;
use control_scheduler::{Metrics, daemon};
use telemetry::Ready;
use serde_json::Value;

/// Runs until it is dropped. `pki` has the cluster's authority.
pub async fn run(server: Arc<Server>, pki: PathBuf) {
    let settings = Settings {
        root_ca: root_ca(&pki.join("ca.crt")),
        tokens: server.accounts().cloned().map(|accounts| Arc::new(Signer(accounts)) as Arc<dyn TokenSigner>),
        ..Settings::default()
    };
    let manager = InProcess::new(Arc::clone(&server), account(controllers::MANAGER));
    let (of, events) = (Arc::clone(&server), Arc::clone(&server));
    let access = Access {
        api: Arc::new(manager),
        of: Box::new(move |name| Arc::new(InProcess::new(Arc::clone(&of), account(name))) as Arc<dyn Api>),
        events: Box::new(move |name| {
            let client = InProcess::new(Arc::clone(&events), account(name)).client().clone();
            let reporter = Reporter { controller: name.to_owned(), instance: name.to_owned() };
            let (recorder, telling) = EventRecorder::new(client, reporter);
            tokio::spawn(telling);
            recorder
        }),
        leads: Arc::new(|| true),
    };
    tokio::select! {
        never = control_controllers::run(controllers::all(&settings), &control_controllers::OTHERS, access) => match never {},
        ended = schedule(server) => ended,
    }
}

async fn schedule(server: Arc<Server>) {
    let api = Arc::new(InProcess::new(server, user("system:kube-scheduler", &[])));
    let never = std::future::pending();
    let ended = daemon::run(api, Config::default(), Metrics::default(), Ready::default(), never).await;
    if let Err(error) = ended {
        telemetry::note!("weft control: the scheduler has ended: {error}");
    }
}

/// Without it nothing else is worse: pods reach the API by an authority that they have to be told.
fn root_ca(path: &Path) -> Option<Arc<str>> {
    match std::fs::read_to_string(path) {
        Ok(pem) => Some(pem.into()),
        Err(error) => {
            tracing::warn!(%error, "cannot read {}: no namespace gets kube-root-ca.crt", path.display());
            None
        }
    }
}

/// The server's key signs the tokens that Secrets hold.
struct Signer(Arc<ServiceAccounts>);

impl TokenSigner for Signer {
    fn sign(&self, claims: &Value) -> Option<String> {
        self.0.sign(claims)
    }
}

/// The service account of a controller, or the manager's own user: the default roles say what they may do.
fn account(name: &str) -> User {
    if name == controllers::MANAGER {
        return user("system:kube-controller-manager", &[]);
    }
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
    user(&format!("system:serviceaccount:kube-system:{name}"), &groups)
}

fn user(name: &str, groups: &[&str]) -> User {
    let groups = groups.iter().copied().chain(["system:authenticated"]).map(str::to_owned).collect();
    User { name: name.to_owned(), groups, ..User::default() }
}
