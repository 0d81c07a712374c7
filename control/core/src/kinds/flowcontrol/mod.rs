//! The kinds of `flowcontrol.apiserver.k8s.io`: who gets how much of the server. Stored and served.

use std::sync::Arc;

use control_schema::library::Library;

use super::entry::Group;
use crate::kind::{Kind, Subresource};

mod flow;
mod level;
mod rules;

pub fn kinds(library: &Arc<Library>) -> Vec<Kind> {
    let group = Group {
        library,
        name: "flowcontrol.apiserver.k8s.io",
        package: "io.k8s.api.flowcontrol",
        versions: &["v1"],
    };
    vec![
        group
            .cluster_kind("FlowSchema", "flowschemas")
            .subresources(&[Subresource::Status])
            .columns(flow::COLUMNS, flow::row)
            .strategy(flow::Strategy)
            .into(),
        group
            .cluster_kind("PriorityLevelConfiguration", "prioritylevelconfigurations")
            .subresources(&[Subresource::Status])
            .columns(level::COLUMNS, level::row)
            .strategy(level::Strategy)
            .into(),
    ]
}

/// Conditions here have a type, each one once.
fn conditions(status: &crate::at::At<'_>) -> crate::at::Errors {
    let mut errors = Vec::new();
    let mut seen = Vec::new();
    for condition in status.get("conditions").items() {
        let of = condition.get("type");
        if seen.contains(&of.text()) {
            errors.push(of.duplicate());
        }
        seen.push(of.text());
        if of.is_empty() {
            errors.push(of.required(""));
        }
    }
    errors
}
