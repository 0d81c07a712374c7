//! What runs in the API server's process in `weft control`: controllers and scheduler, over its memory and without a
//! connection.
//!
//! Owns: as whom each of them acts, and that of several processes on one etcd one leads. Never: gives them more than the
//! originals have: every request is authorized.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use apiclient::leader::{self, Leading, Standing};
use apiclient::objects::Api;
use apiclient::{EventRecorder, Reporter};
use control_apiserver::Server;
use control_apiserver::authentication::service_accounts::ServiceAccounts;
use control_apiserver::in_process::InProcess;
use control_apiserver::pki::Authority;
use control_controllers::{Access, Choice, OTHERS};
use control_controllers_core as controllers;
use control_controllers_core::Settings;
use control_controllers_core::node_lifecycle::Limits;
use control_controllers_core::service_lb::Pools;
use control_controllers_core::settings::TokenSigner;
use control_controllers_core::signing_requests::{SIGNERS, Signer};
use control_core::access::User;
use control_scheduler::config::Config;
use control_scheduler::{Metrics, daemon};
use serde_json::Value;
use telemetry::Ready;

/// What of it is wanted.
pub struct Plan {
    /// Has the cluster's authority.
    pub pki: PathBuf,
    pub controllers: Choice,
    /// Addresses for Services of type LoadBalancer.
    pub balanced: Pools,
    /// When nodes are lost.
    pub node_limits: Limits,
    pub scheduler: bool,
    /// Others may serve the same etcd: one of them leads.
    pub elect: bool,
}

/// Runs until it is dropped.
pub async fn run(server: Arc<Server>, plan: Plan) {
    let controlling = lead(&server, &plan, "kube-controller-manager", controllers::MANAGER, |leading| {
        work(Arc::clone(&server), &plan, leading)
    });
    let scheduling = async {
        if plan.scheduler {
            let schedule = |leading| schedule(Arc::clone(&server), leading);
            lead(&server, &plan, "kube-scheduler", SCHEDULER, schedule).await;
        }
    };
    tokio::join!(controlling, scheduling);
}

/// The user that schedules.
const SCHEDULER: &str = "system:kube-scheduler";

/// Works while this process leads, or always where nobody else can.
async fn lead<F: Future<Output = ()>>(
    server: &Arc<Server>,
    plan: &Plan,
    lease: &str,
    name: &str,
    work: impl Fn(Leading) -> F,
) {
    if !plan.elect {
        return work(Leading::always()).await;
    }
    loop {
        let api: Arc<dyn Api> = Arc::new(InProcess::new(Arc::clone(server), account(name)));
        let standing = Standing::new("kube-system", lease, lease);
        match leader::lead(api, standing, &work).await {
            Ok(()) => return,
            Err(lost) => tracing::warn!("{lost}; it stands for election again"),
        }
    }
}

async fn schedule(server: Arc<Server>, leading: Leading) {
    let api = leading.guard(Arc::new(InProcess::new(server, account(SCHEDULER))));
    let never = std::future::pending();
    let ended = daemon::run(api, Config::default(), Metrics::default(), Ready::default(), never).await;
    if let Err(error) = ended {
        tracing::error!("the scheduler has ended: {error}");
    }
}

async fn work(server: Arc<Server>, plan: &Plan, leading: Leading) {
    let settings = Settings {
        root_ca: root_ca(&plan.pki.join("ca.crt")),
        tokens: server
            .accounts()
            .cloned()
            .map(|accounts| Arc::new(AccountKey(accounts)) as Arc<dyn TokenSigner>),
        signers: signers(&plan.pki),
        balanced: plan.balanced.clone(),
        node_limits: plan.node_limits,
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
        leads: Arc::new(move || leading.holds()),
    };
    let chosen =
        controllers::all(&settings).into_iter().filter(|one| plan.controllers.has(one.name())).collect();
    let others: Vec<&str> = OTHERS.into_iter().filter(|name| plan.controllers.has(name)).collect();
    match control_controllers::run(chosen, &others, settings.autoscaler, access).await {}
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

/// The cluster's authority signs for all signers.
fn signers(pki: &Path) -> BTreeMap<&'static str, Arc<dyn Signer>> {
    let own = Authority { certificate: pki.join("ca.crt"), key: pki.join("ca.key") };
    let authorities = SIGNERS.into_iter().map(|signer| (signer, own.clone())).collect();
    control_controllers::signing::signers(&authorities).unwrap_or_else(|error| {
        tracing::warn!(%error, "no certificates are signed");
        BTreeMap::new()
    })
}

/// The server's key signs the tokens that Secrets hold.
struct AccountKey(Arc<ServiceAccounts>);

impl TokenSigner for AccountKey {
    fn sign(&self, claims: &Value) -> Option<String> {
        self.0.sign(claims)
    }
}

/// The service account of a controller, or the user of the manager or the scheduler: the default roles say what they may do.
fn account(name: &str) -> User {
    match name {
        controllers::MANAGER => return user("system:kube-controller-manager", &[]),
        SCHEDULER => return user(SCHEDULER, &[]),
        _ => {}
    }
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
    user(&format!("system:serviceaccount:kube-system:{name}"), &groups)
}

fn user(name: &str, groups: &[&str]) -> User {
    let groups = groups.iter().copied().chain(["system:authenticated"]).map(str::to_owned).collect();
    User { name: name.to_owned(), groups, ..User::default() }
}
