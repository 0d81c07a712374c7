//! The objects that decide where pods go, each kind followed by a task of its own.

use std::sync::Arc;
use std::time::Instant;

use apiclient::objects::{Api, follow};
use apiclient::{Closed, Query, Resource, Sink, Update};
use apiclient_core::selector::FieldSelector;
use control_scheduler_core::state::{ALL, Kind};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Changes that wait to be looked at; what follows a kind waits beyond.
const WAITING: usize = 4096;

/// A change of a kind.
pub type Fed = (Kind, Update<Arc<Value>>);

/// Follows all kinds until the set is dropped.
pub fn start(api: &Arc<dyn Api>) -> (mpsc::Receiver<Fed>, JoinSet<()>) {
    let (sender, fed) = mpsc::channel(WAITING);
    let mut tasks = JoinSet::new();
    for kind in ALL {
        tasks.spawn(follow(api.clone(), query(kind), Feed { kind, sender: sender.clone() }));
    }
    (fed, tasks)
}

struct Feed {
    kind: Kind,
    sender: mpsc::Sender<Fed>,
}

impl Sink<Arc<Value>> for Feed {
    async fn send(&self, update: Update<Arc<Value>>, _: Instant) -> Result<(), Closed> {
        self.sender.send((self.kind, update)).await.map_err(|_| Closed)
    }

    async fn closed(&self) {
        self.sender.closed().await;
    }
}

pub const PODS: Resource = Resource::new("", "v1", "pods", true);
pub const CLAIMS: Resource = Resource::new("", "v1", "persistentvolumeclaims", true);
pub const VOLUMES: Resource = Resource::new("", "v1", "persistentvolumes", false);
pub const NODES: Resource = Resource::new("", "v1", "nodes", false);

fn query(kind: Kind) -> Query {
    let resource = match kind {
        Kind::Pod => PODS,
        Kind::Node => NODES,
        Kind::Namespace => Resource::new("", "v1", "namespaces", false),
        Kind::Service => Resource::new("", "v1", "services", true),
        Kind::ReplicationController => Resource::new("", "v1", "replicationcontrollers", true),
        Kind::ReplicaSet => Resource::new("apps", "v1", "replicasets", true),
        Kind::StatefulSet => Resource::new("apps", "v1", "statefulsets", true),
        Kind::Budget => Resource::new("policy", "v1", "poddisruptionbudgets", true),
        Kind::Claim => CLAIMS,
        Kind::Volume => VOLUMES,
        Kind::Class => Resource::new("storage.k8s.io", "v1", "storageclasses", false),
        Kind::NodeDrivers => Resource::new("storage.k8s.io", "v1", "csinodes", false),
        Kind::Driver => Resource::new("storage.k8s.io", "v1", "csidrivers", false),
        Kind::Capacity => Resource::new("storage.k8s.io", "v1", "csistoragecapacities", true),
        Kind::Attachment => Resource::new("storage.k8s.io", "v1", "volumeattachments", false),
    };
    let mut query = Query::new(kind.name(), resource);
    query.forbidden =
        "bind the ClusterRoles system:kube-scheduler and system:volume-scheduler to them".into();
    if kind == Kind::Pod {
        // What has ended takes no place.
        query.fields = FieldSelector::default()
            .not_equal("status.phase", "Succeeded")
            .not_equal("status.phase", "Failed");
    }
    query
}
