//! What is to be asked of the metrics APIs.

use control_core::edit::{list, text};
use control_core::selectors::Selector;
use serde_json::Value;

use super::{Target, measures};
use crate::discovery::{Group, Resource};
use crate::object;

const CUSTOM: &str = "custom.metrics.k8s.io";

/// A GET.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ask {
    /// Segments of the path, not escaped.
    pub path: Vec<String>,
    /// Not escaped.
    pub query: Vec<(&'static str, String)>,
    /// As refusals name it: `get pods.metrics.k8s.io`.
    pub what: String,
}

/// What a server serves.
#[derive(Clone, Copy, Debug)]
pub struct Served<'a> {
    pub groups: &'a [Group],
    pub resources: &'a [Resource],
}

/// The version in which custom metrics are asked for.
///
/// # Errors
/// There is none, in the original's words.
pub fn custom_version(groups: &[Group]) -> Result<&str, String> {
    let group = groups.iter().find(|group| group.name == CUSTOM);
    let group = group.ok_or_else(|| format!("no custom metrics API ({CUSTOM}) registered"))?;
    let known = |version: &&String| matches!(version.as_str(), "v1beta1" | "v1beta2");
    let version = group.versions.iter().find(known);
    version.map(String::as_str).ok_or_else(|| "no known available metric versions found".to_owned())
}

/// One for each metric of an autoscaler: what is to be asked, or why nothing can be. None where metrics do not decide.
pub fn questions(autoscaler: &Value, target: &Target, served: Served<'_>) -> Vec<Result<Ask, String>> {
    if !measures(autoscaler, target) || target.selector.is_empty() {
        return Vec::new();
    }
    let metrics = list(autoscaler, &["spec", "metrics"]).iter();
    metrics.map(|metric| question(autoscaler, metric, &target.selector, served)).collect()
}

fn question(autoscaler: &Value, metric: &Value, selector: &str, served: Served<'_>) -> Result<Ask, String> {
    let namespace = object::namespace(autoscaler);
    let labels = ("labelSelector", selector.to_owned());
    match text(metric, &["type"]) {
        "Resource" | "ContainerResource" => Ok(Ask {
            path: path(&["apis", "metrics.k8s.io", "v1beta1", "namespaces", namespace, "pods"]),
            query: vec![labels],
            what: "get pods.metrics.k8s.io".to_owned(),
        }),
        "Pods" => {
            let name = text(metric, &["pods", "metric", "name"]);
            let version = custom_version(served.groups)?;
            Ok(Ask {
                path: path(&["apis", CUSTOM, version, "namespaces", namespace, "pods", "*", name]),
                query: [vec![labels], chosen("metricLabelSelector", &metric["pods"]["metric"]["selector"])]
                    .concat(),
                what: format!("get pods.{CUSTOM} *"),
            })
        }
        "Object" => {
            let object = &metric["object"];
            let name = text(object, &["metric", "name"]);
            let (api_version, kind) = (
                text(object, &["describedObject", "apiVersion"]),
                text(object, &["describedObject", "kind"]),
            );
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            let query = chosen("metricLabelSelector", &object["metric"]["selector"]);
            let version = custom_version(served.groups)?;
            if (group, kind) == ("", "Namespace") {
                return Ok(Ask {
                    path: path(&["apis", CUSTOM, version, "namespaces", namespace, "metrics", name]),
                    query,
                    what: format!("get metrics.{CUSTOM} {name}"),
                });
            }
            let mapped = served.resources.iter().find(|found| found.group == group && found.kind == kind);
            let shown = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
            let mapped = mapped.ok_or_else(|| {
                format!(
                    "unable to map kind {shown} to resource: no matches for kind {kind:?} in group {group:?}"
                )
            })?;
            let resource = mapped.group_resource();
            let resource = resource.trim_end_matches('.');
            let described = text(object, &["describedObject", "name"]);
            Ok(Ask {
                path: path(&["apis", CUSTOM, version, "namespaces", namespace, resource, described, name]),
                query,
                what: format!("get {resource}.{CUSTOM} {described}"),
            })
        }
        "External" => {
            let name = text(metric, &["external", "metric", "name"]);
            Ok(Ask {
                path: path(&["apis", "external.metrics.k8s.io", "v1beta1", "namespaces", namespace, name]),
                query: chosen("labelSelector", &metric["external"]["metric"]["selector"]),
                what: format!("get {name}.external.metrics.k8s.io"),
            })
        }
        // The metric itself is refused.
        _ => Err(String::new()),
    }
}

fn path(segments: &[&str]) -> Vec<String> {
    segments.iter().map(|segment| (*segment).to_owned()).collect()
}

/// A selector of metrics as a parameter; none where nothing is selected by.
fn chosen(name: &'static str, selector: &Value) -> Vec<(&'static str, String)> {
    let selector = Selector::of(selector).filter(|_| selector.is_object());
    selector
        .filter(|selector| !selector.is_empty())
        .map(|selector| (name, selector.to_string()))
        .into_iter()
        .collect()
}
