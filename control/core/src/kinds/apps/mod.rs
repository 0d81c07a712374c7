//! The kinds of `apps`: what keeps pods running.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::Kind;
use crate::kind::Subresource::{Scale, Status};

mod daemon_set;
mod deployment;
mod replica_set;
mod revision;
mod stateful_set;
pub mod workload;

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let apps = Group { library, name: "apps", package: "io.k8s.api.apps", versions: &["v1"] };
    vec![
        apps.kind("ControllerRevision", "controllerrevisions")
            .columns(revision::COLUMNS, revision::row)
            .strategy(revision::Strategy)
            .into(),
        apps.kind("DaemonSet", "daemonsets")
            .short(&["ds"])
            .in_all()
            .subresources(&[Status])
            .columns(daemon_set::COLUMNS, daemon_set::row)
            .strategy(daemon_set::Strategy)
            .into(),
        apps.kind("Deployment", "deployments")
            .short(&["deploy"])
            .in_all()
            .subresources(&[Scale, Status])
            .columns(deployment::COLUMNS, deployment::row)
            .strategy(deployment::Strategy)
            .into(),
        apps.kind("ReplicaSet", "replicasets")
            .short(&["rs"])
            .in_all()
            .subresources(&[Scale, Status])
            .columns(replica_set::COLUMNS, replica_set::row)
            .strategy(replica_set::Strategy)
            .into(),
        apps.kind("StatefulSet", "statefulsets")
            .short(&["sts"])
            .in_all()
            .subresources(&[Scale, Status])
            .columns(stateful_set::COLUMNS, stateful_set::row)
            .strategy(stateful_set::Strategy)
            .into(),
    ]
}
