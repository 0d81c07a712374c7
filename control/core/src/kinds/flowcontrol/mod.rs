//! The kinds of `flowcontrol.apiserver.k8s.io`: who gets how much of the server. Stored and served.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::{Kind, Subresource};

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let flow = Group {
        library,
        name: "flowcontrol.apiserver.k8s.io",
        package: "io.k8s.api.flowcontrol",
        versions: &["v1"],
    };
    vec![
        flow.cluster_kind("FlowSchema", "flowschemas").subresources(&[Subresource::Status]).into(),
        flow.cluster_kind("PriorityLevelConfiguration", "prioritylevelconfigurations")
            .subresources(&[Subresource::Status])
            .into(),
    ]
}
