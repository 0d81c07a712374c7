//! The objects that decide where pods go, each kind followed by a task of its own.

use std::sync::Arc;

use apiclient::objects::{Api, News, follow};
use apiclient::{Query, Resource};
use apiclient_core::selector::FieldSelector;
use control_scheduler_core::state::{ALL, Kind};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// What happened to a kind.
pub type Fed = (Kind, News);

/// Follows all kinds until the set is dropped. What the loop has not taken in waits without a bound: it takes in all there
/// is before it decides anything.
pub fn start(api: &Arc<dyn Api>) -> (mpsc::UnboundedReceiver<Fed>, JoinSet<()>) {
    let (sender, fed) = mpsc::unbounded_channel();
    let mut tasks = JoinSet::new();
    for kind in ALL {
        let (api, sender) = (api.clone(), sender.clone());
        tasks.spawn(async move {
            // Nobody listens where the loop has ended, and with it this task.
            let hear = |news| _ = sender.send((kind, news));
            match follow(api, query(kind), hear).await {}
        });
    }
    (fed, tasks)
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
