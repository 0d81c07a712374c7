//! What `kubectl get events` shows of an election, as the originals write it.

use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::time;
use serde_json::{Value, json};

use super::Standing;
use crate::Resource;
use crate::objects::{Api, Write};

const EVENTS: Resource = Resource::new("", "v1", "events", true);

/// Says that the candidate `did` something: "became leader". Keeps nobody waiting, and is tried once.
pub fn emit(api: &Arc<dyn Api>, standing: &Standing, lease: &Value, did: &str) {
    let (api, path) = (Arc::clone(api), EVENTS.path(&standing.namespace));
    let write = Write::Create { path, object: object(standing, lease, did, SystemTime::now()) };
    tokio::spawn(async move {
        if let Err(failure) = api.write(&write).await {
            tracing::debug!(%failure, "no Event about the leader");
        }
    });
}

fn object(standing: &Standing, lease: &Value, did: &str, now: SystemTime) -> Value {
    let Standing { namespace, name, identity, component, .. } = standing;
    let nanos = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_nanos();
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": { "namespace": namespace, "name": format!("{name}.{nanos:x}") },
        "involvedObject": {
            "kind": "Lease",
            "apiVersion": "coordination.k8s.io/v1",
            "namespace": namespace,
            "name": name,
            "uid": lease["metadata"]["uid"],
            "resourceVersion": lease["metadata"]["resourceVersion"],
        },
        "reason": "LeaderElection",
        "message": format!("{identity} {did}"),
        "source": { "component": component },
        "reportingComponent": component,
        "firstTimestamp": time::seconds(now),
        "lastTimestamp": time::seconds(now),
        "count": 1,
        "type": "Normal",
    })
}
