//! Follows FlowSchemas and PriorityLevelConfigurations, makes those that every cluster has, and says of each schema
//! whether its level is there.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::wire::Status;
use control_core::edit::text;
use control_core::fairness::{Rules, defaults};
use control_store::{Freshness, Snapshot};
use http::Method;
use serde_json::Value;

use super::asker::Asker;
use crate::Server;
use crate::encoding::object::decode;
use crate::registry::Served;

const ROOT: &str = "/apis/flowcontrol.apiserver.k8s.io/v1";
const LEVELS: &str = "prioritylevelconfigurations";
const SCHEMAS: &str = "flowschemas";
/// Readiness waits for the first look at both.
const DONE: &str = "poststarthook/priority-and-fairness-config-consumer";
const MADE: &str = "poststarthook/priority-and-fairness-config-producer";

/// Whose fields they are, by the original's names.
const PRODUCER: &str = "api-priority-and-fairness-config-producer-v1";
const CONSUMER: &str = "api-priority-and-fairness-config-consumer-v1";

/// Waits before both are looked at again after an error.
const PAUSE: Duration = Duration::from_millis(500);
/// What was made by default is looked after this often, as with the original.
const REPAIR: Duration = Duration::from_secs(60);

/// The server is not ready before requests have their places.
pub fn expect(server: &Server) {
    if server.fairness.is_some() {
        server.health().expect(DONE);
        server.health().expect(MADE);
    }
}

/// For ever. An event only means: look again.
pub async fn run(server: Arc<Server>) {
    let of = |resource| server.registry().table().by_qualified(resource).cloned();
    let levels = of("prioritylevelconfigurations.flowcontrol.apiserver.k8s.io");
    let schemas = of("flowschemas.flowcontrol.apiserver.k8s.io");
    let (Some(fairness), Some(levels), Some(schemas)) = (server.fairness.clone(), levels, schemas) else {
        return std::future::pending().await;
    };
    server.store().ready().await;
    loop {
        match look(&server, &levels, &schemas).await {
            Ok((rules, both)) => {
                fairness.replace(rules);
                server.health().done(DONE);
                server.health().done(MADE);
                let _ = tokio::time::timeout(REPAIR, changed(&server, &both)).await;
            }
            Err(refused) => {
                tracing::warn!(
                    error = refused.message,
                    "cannot keep the levels of requests, and tries again"
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

/// Comes back when either kind has changed since it was looked at.
async fn changed(server: &Server, both: &[Snapshot; 2]) {
    let follow = async |snapshot: &Snapshot| {
        if let Ok(mut watcher) = server.store().follow(snapshot) {
            // An end is a reason to look again, too.
            let _ = watcher.next().await;
        }
    };
    tokio::select! {
        () = follow(&both[0]) => {}
        () = follow(&both[1]) => {}
    }
}

/// What is stored, after what was missing is made.
async fn look(
    server: &Arc<Server>,
    levels: &Served,
    schemas: &Served,
) -> Result<(Rules, [Snapshot; 2]), Status> {
    let asker = Asker::new(server);
    let unreadable = |error: control_store::ReadError| crate::storage::read_failed(&error);
    let (mut all, mut both) = (read(server, levels, schemas).await.map_err(unreadable)?, false);
    for wanted in defaults::objects() {
        let kind = text(&wanted, &["kind"]);
        let (stored, plural) = if kind == "FlowSchema" { (&all.1, SCHEMAS) } else { (&all.0, LEVELS) };
        let name = text(&wanted, &["metadata", "name"]);
        let collection = format!("{ROOT}/{plural}");
        match stored.iter().find(|object| text(object, &["metadata", "name"]) == name) {
            None => {
                asker.create(&format!("{collection}?fieldManager={PRODUCER}"), &wanted).await?;
                both = true;
            }
            Some(found) => {
                if let Some(new) = defaults::reconcile(&wanted, found) {
                    let path = format!("{collection}/{name}?fieldManager={PRODUCER}");
                    asker.ask(Method::PUT, &path, &new).await?;
                    both = true;
                }
            }
        }
    }
    if both {
        all = read(server, levels, schemas).await.map_err(unreadable)?;
    }
    let rules = Rules::new(&all.0, &all.1);
    for schema in &all.1 {
        let level = text(schema, &["spec", "priorityLevelConfiguration", "name"]);
        let now = apiclient_core::time::seconds(SystemTime::now());
        if let Some(status) = defaults::condition(schema, rules.has_level(level), &now) {
            let name = text(schema, &["metadata", "name"]);
            let path = format!("{ROOT}/{SCHEMAS}/{name}/status?fieldManager={CONSUMER}&force=true");
            asker.apply(&path, &status).await?;
        }
    }
    Ok((rules, all.2))
}

async fn read(
    server: &Server,
    levels: &Served,
    schemas: &Served,
) -> Result<(Vec<Value>, Vec<Value>, [Snapshot; 2]), control_store::ReadError> {
    let of = async |served: &Served| {
        let snapshot = server.store().list(&served.prefix, Freshness::Latest).await?;
        let objects = snapshot.iter().filter_map(|stored| decode(served, stored).ok()).collect::<Vec<_>>();
        Ok::<_, control_store::ReadError>((objects, snapshot))
    };
    let ((levels, first), (schemas, second)) = (of(levels).await?, of(schemas).await?);
    Ok((levels, schemas, [first, second]))
}
