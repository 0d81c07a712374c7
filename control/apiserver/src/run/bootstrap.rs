//! What every cluster has from the start: its namespaces, and the default roles.

use std::sync::Arc;
use std::time::Duration;

use apiclient_core::wire::Status;
use control_core::access::User;
use control_core::rbac::defaults::{self, Step};
use http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::reply::whole;
use crate::{Peer, Server};

const NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "default"];
const NAMESPACES_DONE: &str = "poststarthook/start-system-namespaces-controller";
const ROLES_DONE: &str = "poststarthook/rbac/bootstrap-roles";

/// Waits before another attempt: etcd may be away.
const PAUSE: Duration = Duration::from_millis(500);

/// The server is not ready before these are done.
pub fn expect(server: &Server) {
    server.health().expect(NAMESPACES_DONE);
    server.health().expect(ROLES_DONE);
}

/// Tries until all is there.
pub async fn run(server: &Arc<Server>) {
    let asker = Asker::new(server);
    until("the system namespaces", async || asker.namespaces().await).await;
    server.health().done(NAMESPACES_DONE);
    until("the default roles", async || asker.roles().await).await;
    server.health().done(ROLES_DONE);
}

async fn until(what: &str, attempt: impl AsyncFn() -> Result<(), Status>) {
    while let Err(refused) = attempt().await {
        tracing::warn!(error = refused.message, "cannot make {what}, and tries again");
        tokio::time::sleep(PAUSE).await;
    }
}

/// The server as its own client: the same way as for everybody.
struct Asker<'a> {
    server: &'a Arc<Server>,
    peer: Peer,
}

impl<'a> Asker<'a> {
    fn new(server: &'a Arc<Server>) -> Self {
        let user =
            User { name: User::SERVER.to_owned(), groups: vec![User::MASTERS.to_owned()], ..User::default() };
        Self { server, peer: Peer::Known(Arc::new(user)) }
    }

    async fn ask(&self, method: Method, path: &str, body: &Value) -> Result<Value, Status> {
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let request = http::Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("user-agent", "kube-apiserver")
            .body(whole(body));
        let internal = |why: String| control_core::refusal::internal(&why);
        let request = request.map_err(|error| internal(error.to_string()))?;
        let response = self.server.handle(request, &self.peer).await;
        let good = response.status().is_success();
        let bytes = response.into_body().collect().await.map_err(|error| internal(error.to_string()))?;
        let bytes = bytes.to_bytes();
        if good {
            return serde_json::from_slice(&bytes).map_err(|error| internal(error.to_string()));
        }
        Err(serde_json::from_slice(&bytes).unwrap_or_else(|error| internal(error.to_string())))
    }

    /// `None`: there is none.
    async fn get(&self, path: &str) -> Result<Option<Value>, Status> {
        match self.ask(Method::GET, path, &Value::Null).await {
            Ok(found) => Ok(Some(found)),
            Err(refused) if refused.is_not_found() => Ok(None),
            Err(refused) => Err(refused),
        }
    }

    async fn create(&self, collection: &str, object: &Value) -> Result<(), Status> {
        match self.ask(Method::POST, collection, object).await {
            // Another server was quicker.
            Err(refused) if refused.already_exists() => Ok(()),
            outcome => outcome.map(drop),
        }
    }

    async fn namespaces(&self) -> Result<(), Status> {
        for name in NAMESPACES {
            if self.get(&format!("/api/v1/namespaces/{name}")).await?.is_none() {
                let namespace = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}});
                self.create("/api/v1/namespaces", &namespace).await?;
            }
        }
        Ok(())
    }

    async fn roles(&self) -> Result<(), Status> {
        for wanted in defaults::objects() {
            let collection = collection(&wanted);
            let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
            let path = format!("{collection}/{}", escaped(name));
            match defaults::reconcile(&wanted, self.get(&path).await?.as_ref()) {
                Step::Nothing | Step::Protected => {}
                Step::Create(object) => self.create(&collection, &object).await?,
                Step::Update(object) => drop(self.ask(Method::PUT, &path, &object).await?),
                Step::Recreate { uid, object } => {
                    let only = json!({"preconditions": {"uid": uid}});
                    self.ask(Method::DELETE, &path, &only).await?;
                    self.create(&collection, &object).await?;
                }
            }
        }
        Ok(())
    }
}

fn collection(object: &Value) -> String {
    let plural = match object["kind"].as_str().unwrap_or_default() {
        "ClusterRole" => "clusterroles",
        "ClusterRoleBinding" => "clusterrolebindings",
        "Role" => "roles",
        _ => "rolebindings",
    };
    const ROOT: &str = "/apis/rbac.authorization.k8s.io/v1";
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{ROOT}/namespaces/{namespace}/{plural}"),
        None => format!("{ROOT}/{plural}"),
    }
}

/// Names of roles hold colons, which paths may.
fn escaped(name: &str) -> String {
    name.replace('%', "%25").replace('/', "%2F")
}
