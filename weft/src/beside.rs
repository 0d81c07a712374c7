//! What runs in the API server's process in `weft control`: the controllers, over its memory and without a connection.
//!
//! Owns: as whom each of them acts. Never: gives them more than the originals have: every request is authorized.

use std::sync::Arc;

use apiclient::objects::Api;
use apiclient::{EventRecorder, Reporter};
use control_apiserver::Server;
use control_apiserver::in_process::InProcess;
use control_controllers::Access;
use control_controllers_core as controllers;
use control_core::access::User;

/// Runs until it is dropped.
pub async fn run(server: Arc<Server>) {
    let manager = InProcess::new(Arc::clone(&server), user("system:kube-controller-manager", &[]));
    let (of, events) = (Arc::clone(&server), Arc::clone(&server));
    let access = Access {
        api: Arc::new(manager),
        of: Box::new(move |account| {
            Arc::new(InProcess::new(Arc::clone(&of), service_account(account))) as Arc<dyn Api>
        }),
        events: Box::new(move |account| {
            let client = InProcess::new(Arc::clone(&events), service_account(account)).client().clone();
            let reporter = Reporter { controller: account.to_owned(), instance: account.to_owned() };
            let (recorder, telling) = EventRecorder::new(client, reporter);
            tokio::spawn(telling);
            recorder
        }),
        leads: Arc::new(|| true),
    };
    match control_controllers::run(controllers::all(), access).await {}
}

/// The service account of a controller: the default roles say what it may do.
fn service_account(name: &str) -> User {
    let groups = ["system:serviceaccounts", "system:serviceaccounts:kube-system"];
    user(&format!("system:serviceaccount:kube-system:{name}"), &groups)
}

fn user(name: &str, groups: &[&str]) -> User {
    let groups = groups.iter().copied().chain(["system:authenticated"]).map(str::to_owned).collect();
    User { name: name.to_owned(), groups, ..User::default() }
}
