//! `metrics.k8s.io`: nothing of it is stored; the nodes' agents are asked.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::wire::Status;
use control_core::admission::Objects;
use control_core::edit::text;
use control_core::kinds::metrics::GROUP;
use control_core::refusal;
use control_core::usage;
use control_store::Freshness;
use futures::{StreamExt, stream};
use serde_json::Value;

use super::{components, list};
use crate::call::Call;
use crate::reply::Response;
use crate::request::options::{IncludeObject, ListOptions};
use crate::storage;
use crate::storage::memory::shared;
use crate::usage::Summary;

/// Agents that are asked at once.
const AT_ONCE: usize = 64;

/// The call is for a kind of this group.
pub fn is_meant(call: &Call) -> bool {
    call.served.kind.group == GROUP
}

fn of_nodes(call: &Call) -> bool {
    call.resource.resource == "nodes"
}

/// # Errors
/// 404: there is no such object, or its node does not say what it uses.
pub async fn get(call: &Call) -> Result<Response, Status> {
    let (namespace, name) = (call.resource.namespace.as_str(), call.resource.name.as_str());
    let plural = if of_nodes(call) { "nodes" } else { "pods" };
    let shown = if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") };
    let Some(object) = call.server.memory.get(plural, namespace, name) else {
        return Err(refusal::missing("", plural, &shown));
    };
    match measured(call, &[object]).await.pop() {
        Some(metrics) => call.answer_value(200, metrics),
        None => Err(refusal::missing(GROUP, plural, &shown)),
    }
}

/// Those that selectors choose, as far as their nodes say what they use.
///
/// # Errors
/// Parameters that make no sense.
pub async fn list(call: &Call) -> Result<Response, Status> {
    let options = ListOptions::decode(&call.query, false)?;
    let include = IncludeObject::decode(&call.query)?;
    let table = call.server.registry().table();
    let served = table.find("", "v1", if of_nodes(call) { "nodes" } else { "pods" });
    let served = served.ok_or_else(refusal::no_such_resource)?;
    let selection = list::selection(served, &options)?;
    let prefix = served.prefix_of(&call.resource.namespace);
    let snapshot = call.server.store().list(&prefix, Freshness::Any).await;
    let snapshot = snapshot.map_err(|error| storage::read_failed(&error))?;
    let chosen = snapshot.iter().filter(|stored| selection.admits(served, stored));
    let objects: Vec<Arc<Value>> = chosen.filter_map(|stored| shared(served, stored)).collect();
    let found = measured(call, &objects).await;
    Ok(components::collection(call, found, include))
}

/// What nodes, or pods, use, in their order; those of which nothing is known are left out.
async fn measured(call: &Call, objects: &[Arc<Value>]) -> Vec<Value> {
    let nodes = of_nodes(call);
    let home = |object: &Arc<Value>| match nodes {
        true => Some(Arc::clone(object)),
        false => call.server.memory.get("nodes", "", text(object, &["spec", "nodeName"])),
    };
    let mut wanted: HashMap<String, Arc<Value>> = HashMap::new();
    for node in objects.iter().filter(|object| nodes || may_run(object)).filter_map(home) {
        wanted.insert(text(&node, &["metadata", "name"]).to_owned(), node);
    }
    let asked = wanted.into_iter().map(|(name, node)| async move {
        let summary = call.server.usages.of(&node, &call.server.parts.backends).await;
        (name, summary)
    });
    let answers: HashMap<String, Summary> = stream::iter(asked).buffer_unordered(AT_ONCE).collect().await;
    let now = SystemTime::now();
    let one = |object: &Arc<Value>| {
        let node = text(object, if nodes { &["metadata", "name"] } else { &["spec", "nodeName"] });
        let summary = answers.get(node)?.as_ref()?;
        if nodes { usage::of_node(summary, object, now) } else { usage::of_pod(summary, object, now) }
    };
    objects.iter().filter_map(one).collect()
}

fn may_run(pod: &Value) -> bool {
    !text(pod, &["spec", "nodeName"]).is_empty()
        && !matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed")
}
