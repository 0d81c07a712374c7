//! What every cluster has from the start: its namespaces, default roles, the classes of its own pods, and what other
//! servers need to know of this one.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::time;
use apiclient_core::wire::Status;
use control_core::kinds::scheduling;
use control_core::rbac::defaults::{self, Step};
use http::Method;
use serde_json::{Map, Value, json};

use super::asker::Asker;
use super::trust;
use crate::Server;

const NAMESPACES: [&str; 4] = ["kube-system", "kube-public", "kube-node-lease", "default"];
const NAMESPACES_DONE: &str = "poststarthook/start-system-namespaces-controller";
const ROLES_DONE: &str = "poststarthook/rbac/bootstrap-roles";
const CLASSES_DONE: &str = "poststarthook/scheduling/bootstrap-system-priority-classes";
const TRUST_DONE: &str = "poststarthook/start-cluster-authentication-info-controller";
const TOKENS_DONE: &str = "poststarthook/start-legacy-token-tracking-controller";

/// Waits before another attempt: etcd may be away.
const PAUSE: Duration = Duration::from_millis(500);

/// The server is not ready before these are done.
pub fn expect(server: &Server) {
    server.health().expect(NAMESPACES_DONE);
    server.health().expect(ROLES_DONE);
    server.health().expect(CLASSES_DONE);
    server.health().expect(TRUST_DONE);
    server.health().expect(TOKENS_DONE);
}

/// Tries until all is there. `trust` is whom this server believes ([`trust::of`]).
pub async fn run(server: &Arc<Server>, trust: &Map<String, Value>) {
    let asker = Asker::new(server);
    until("the system namespaces", async || namespaces(&asker).await).await;
    server.health().done(NAMESPACES_DONE);
    until("the default roles", async || roles(&asker).await).await;
    server.health().done(ROLES_DONE);
    until("the priority classes of the system", async || priority_classes(&asker).await).await;
    server.health().done(CLASSES_DONE);
    until("what other servers may believe", async || believed(&asker, trust).await).await;
    server.health().done(TRUST_DONE);
    until("since when old tokens are tracked", async || tracked(&asker).await).await;
    server.health().done(TOKENS_DONE);
}

async fn until(what: &str, attempt: impl AsyncFn() -> Result<(), Status>) {
    while let Err(refused) = attempt().await {
        tracing::warn!(error = refused.message, "cannot make {what}, and tries again");
        tokio::time::sleep(PAUSE).await;
    }
}

async fn namespaces(asker: &Asker<'_>) -> Result<(), Status> {
    for name in NAMESPACES {
        if asker.get(&format!("/api/v1/namespaces/{name}")).await?.is_none() {
            let namespace = json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": name}});
            asker.create("/api/v1/namespaces", &namespace).await?;
        }
    }
    Ok(())
}

async fn priority_classes(asker: &Asker<'_>) -> Result<(), Status> {
    const COLLECTION: &str = "/apis/scheduling.k8s.io/v1/priorityclasses";
    for class in scheduling::system_classes() {
        let name = class["metadata"]["name"].as_str().unwrap_or_default();
        if asker.get(&format!("{COLLECTION}/{name}")).await?.is_none() {
            asker.create(COLLECTION, &class).await?;
        }
    }
    Ok(())
}

const CONFIG_MAPS: &str = "/api/v1/namespaces/kube-system/configmaps";

async fn believed(asker: &Asker<'_>, own: &Map<String, Value>) -> Result<(), Status> {
    let path = format!("{CONFIG_MAPS}/{}", trust::NAME);
    let held = asker.get(&path).await?;
    let data = trust::merged(own, held.as_ref().map_or(&Value::Null, |held| &held["data"]));
    match held {
        None => asker.create(CONFIG_MAPS, &config_map(trust::NAME, &data)).await,
        Some(held) if data.is_empty() || held["data"] == Value::Object(data.clone()) => Ok(()),
        Some(mut held) => {
            held["data"] = data.into();
            asker.ask(Method::PUT, &path, &held).await.map(drop)
        }
    }
}

/// Clients read here since when the use of tokens in Secrets is noted.
async fn tracked(asker: &Asker<'_>) -> Result<(), Status> {
    const NAME: &str = "kube-apiserver-legacy-service-account-token-tracking";
    if asker.get(&format!("{CONFIG_MAPS}/{NAME}")).await?.is_some() {
        return Ok(());
    }
    let mut today = time::seconds(SystemTime::now());
    today.truncate("2026-01-02".len());
    let data = Map::from_iter([("since".to_owned(), today.into())]);
    asker.create(CONFIG_MAPS, &config_map(NAME, &data)).await
}

fn config_map(name: &str, data: &Map<String, Value>) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": "kube-system"}, "data": data})
}

async fn roles(asker: &Asker<'_>) -> Result<(), Status> {
    for wanted in defaults::objects() {
        let collection = collection(&wanted);
        let name = wanted["metadata"]["name"].as_str().unwrap_or_default();
        let path = format!("{collection}/{}", escaped(name));
        match defaults::reconcile(&wanted, asker.get(&path).await?.as_ref()) {
            Step::Nothing | Step::Protected => {}
            Step::Create(object) => asker.create(&collection, &object).await?,
            Step::Update(object) => drop(asker.ask(Method::PUT, &path, &object).await?),
            Step::Recreate { uid, object } => {
                let only = json!({"preconditions": {"uid": uid}});
                asker.ask(Method::DELETE, &path, &only).await?;
                asker.create(&collection, &object).await?;
            }
        }
    }
    Ok(())
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
