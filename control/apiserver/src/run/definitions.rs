//! Serves the kinds that CustomResourceDefinitions define, and takes them away with their objects.
//!
//! Owns: the registry's kinds that are not built in, and the status of definitions. Every pass looks at all definitions;
//! a change of one only means to look again. Begin at [`run`].

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::time;
use apiclient_core::wire::Status;
use control_core::edit::{at, list, text};
use control_core::kind::Kind;
use control_core::kinds::custom::{self, FINALIZER, Names, Settled};
use control_store::{Freshness, Snapshot};
use http::Method;
use serde_json::{Value, json};

use super::asker::Asker;
use crate::Server;
use crate::encoding::object::decode;
use crate::registry::Served;

const RESOURCE: &str = "customresourcedefinitions.apiextensions.k8s.io";
const COLLECTION: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Waits before another look, after a failure or while a definition waits for its objects to go.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest time without a look.
const LONGEST: Duration = Duration::from_secs(600);

/// For ever.
pub async fn run(server: Arc<Server>) {
    server.store().ready().await;
    let Some(served) = server.registry().table().by_qualified(RESOURCE).cloned() else {
        return std::future::pending().await;
    };
    let built_in = server.registry().kinds();
    let mut definitions = Definitions { server, served, built_in, known: BTreeMap::new() };
    loop {
        if let Ok(snapshot) =
            definitions.server.store().list(&definitions.served.prefix, Freshness::Any).await
        {
            let unfinished = definitions.look(&snapshot).await;
            if let Ok(mut watch) = definitions.server.store().follow(&snapshot) {
                // Objects that wait for finalizers of their own tell nobody here when they go.
                let limit = if unfinished { PAUSE } else { LONGEST };
                if !matches!(tokio::time::timeout(limit, watch.next()).await, Ok(Err(_))) {
                    continue;
                }
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}

struct Definitions {
    server: Arc<Server>,
    /// The kind of the definitions themselves.
    served: Arc<Served>,
    built_in: Vec<Arc<Kind>>,
    /// What is served for a definition, by its name, and the spec and accepted names that it was made of.
    known: BTreeMap<String, (Value, Arc<Kind>)>,
}

impl Definitions {
    /// True where something is left to do that no change of a definition will tell of.
    async fn look(&mut self, snapshot: &Snapshot) -> bool {
        let decoded = snapshot.iter().filter_map(|stored| decode(&self.served, stored).ok());
        let definitions: Vec<Value> = decoded.collect();
        let now = time::seconds(SystemTime::now());
        let mut kinds = BTreeMap::new();
        let mut statuses = Vec::new();
        for definition in &definitions {
            let name = text(definition, &["metadata", "name"]).to_owned();
            let Settled { status, kind } =
                custom::settle(definition, &self.others(definition, &definitions), &now);
            if let Some(kind) = kind {
                let of = json!([definition["spec"], status["acceptedNames"]]);
                // What did not change keeps its compiled schemas, and every client's cached documents.
                let kind = match self.known.get(&name) {
                    Some((made_of, kind)) if *made_of == of => Arc::clone(kind),
                    _ => Arc::new(kind),
                };
                kinds.insert(name, (of, kind));
            }
            if status != definition["status"] {
                statuses.push((definition, status));
            }
        }
        self.serve(kinds);
        // A kind is served before its definition says so.
        for (definition, status) in statuses {
            let mut definition = definition.clone();
            definition["status"] = status;
            let path = format!("{COLLECTION}/{}/status", text(&definition, &["metadata", "name"]));
            self.write(Method::PUT, &path, &definition).await;
        }
        let mut unfinished = false;
        for definition in definitions.iter().filter(|definition| is_ending(definition)) {
            unfinished |= !self.end(definition).await;
        }
        unfinished
    }

    /// The names of all other kinds of a definition's group, of built-in ones and of definitions that have some.
    fn others(&self, definition: &Value, all: &[Value]) -> Vec<Names> {
        let group = text(definition, &["spec", "group"]);
        let built_in = self.built_in.iter().filter(|kind| kind.group == group).map(|kind| Names {
            plural: kind.plural.to_string(),
            singular: kind.singular.to_string(),
            short_names: kind.short_names.iter().map(ToString::to_string).collect(),
            kind: kind.kind.to_string(),
            list_kind: format!("{}List", kind.kind),
            categories: Vec::new(),
        });
        let others = all.iter().filter(|other| {
            text(other, &["spec", "group"]) == group
                && other["metadata"]["name"] != definition["metadata"]["name"]
        });
        built_in.chain(others.map(Names::of_status)).collect()
    }

    fn serve(&mut self, kinds: BTreeMap<String, (Value, Arc<Kind>)>) {
        let same = kinds.len() == self.known.len()
            && kinds
                .iter()
                .zip(&self.known)
                .all(|(new, old)| new.0 == old.0 && Arc::ptr_eq(&new.1.1, &old.1.1));
        if same {
            return;
        }
        for (_, kind) in kinds.values() {
            self.server.store().register(&format!("{}/", kind.storage));
        }
        let custom = kinds.values().map(|(_, kind)| Arc::clone(kind));
        self.server.registry().replace(self.built_in.iter().cloned().chain(custom));
        let gone = self.known.iter().filter(|(name, _)| !kinds.contains_key(*name));
        for (_, (_, kind)) in gone {
            self.server.store().unregister(&format!("{}/", kind.storage));
        }
        self.known = kinds;
    }

    /// Deletes all objects of a definition that is going, then lets go of it. False: some are left.
    async fn end(&self, definition: &Value) -> bool {
        let name = text(definition, &["metadata", "name"]);
        if let Some((_, kind)) = self.known.get(name) {
            let prefix = format!("{}/", kind.storage);
            let Ok(left) = self.server.store().list(&prefix, Freshness::Latest).await else { return false };
            if left.count() > 0 {
                self.delete_all(kind, &left).await;
                return false;
            }
        }
        let mut freed = definition.clone();
        if let Some(finalizers) = freed["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        self.write(Method::PUT, &format!("{COLLECTION}/{name}"), &freed).await;
        true
    }

    async fn delete_all(&self, kind: &Kind, left: &Snapshot) {
        let Some(version) = kind.versions.iter().find(|version| version.is_served()) else { return };
        let prefix = left.prefix().len();
        for stored in left.iter() {
            let rest = stored.key().get(prefix..).unwrap_or_default();
            let path = match rest.split_once('/') {
                Some((namespace, name)) => format!("namespaces/{namespace}/{}/{name}", kind.plural),
                None => format!("{}/{rest}", kind.plural),
            };
            let path = format!("/apis/{}/{}/{path}", kind.group, version.name);
            self.write(Method::DELETE, &path, &Value::Null).await;
        }
    }

    async fn write(&self, method: Method, path: &str, body: &Value) {
        let outcome: Result<Value, Status> = Asker::new(&self.server).ask(method, path, body).await;
        match outcome {
            Ok(_) => {}
            // Somebody else was quicker: the change wakes this up again.
            Err(refused) if refused.code == 409 || refused.is_not_found() => {}
            Err(refused) => {
                tracing::warn!(path, error = refused.message, "cannot settle a definition, and tries again")
            }
        }
    }
}

fn is_ending(definition: &Value) -> bool {
    let is_ours = |finalizer: &Value| finalizer == FINALIZER;
    !at(definition, &["metadata", "deletionTimestamp"]).is_null()
        && list(definition, &["metadata", "finalizers"]).iter().any(is_ours)
}
