//! The metrics that a HorizontalPodAutoscaler looks at, in the form of `v2`.

use serde_json::Value;

use super::strategy::{ApiVersion, api_version, reference};
use crate::at::{At, Errors};
use crate::edit::{list, text};
use crate::field::FieldError;
use crate::kinds::core::resources::{self, quantity};
use crate::names;

const KINDS: [&str; 5] = ["ContainerResource", "External", "Object", "Pods", "Resource"];

/// The field of each kind, in the order in which the original looks at them.
const SOURCES: [(&str, &str); 5] = [
    ("object", "Object"),
    ("external", "External"),
    ("pods", "Pods"),
    ("resource", "Resource"),
    ("containerResource", "ContainerResource"),
];

pub fn validate(spec: &At<'_>, old: &Value) -> Errors {
    let metrics = spec.get("metrics");
    let wrong = |metric: &Value| {
        let version = text(metric, &["object", "describedObject", "apiVersion"]);
        text(metric, &["type"]) == "Object" && api_version(version, ApiVersion::MayBeCore).is_some()
    };
    let kept = list(old, &["metrics"]).iter().any(wrong);
    let group = if kept { ApiVersion::Any } else { ApiVersion::MayBeCore };
    let mut errors: Errors = metrics.items().flat_map(|metric| one(&metric, group)).collect();
    let from_outside =
        metrics.items().any(|metric| matches!(metric.get("type").text(), "Object" | "External"));
    if spec.get("minReplicas").int() == Some(0) && !from_outside {
        let problem =
            "must specify at least one Object or External metric to support scaling to zero replicas";
        errors.push(metrics.forbidden(problem));
    }
    errors
}

fn one(metric: &At<'_>, group: ApiVersion) -> Errors {
    let mut errors = Errors::new();
    let kind = metric.get("type");
    if kind.is_empty() {
        errors.push(kind.required("must specify a metric source type"));
    }
    if !KINDS.contains(&kind.text()) {
        errors.push(kind.not_supported(&KINDS));
    }
    let present: Vec<&str> =
        SOURCES.iter().map(|(field, _)| *field).filter(|field| metric.has(field)).collect();
    // Only the first one is validated.
    if let Some(first) = present.first() {
        errors.extend(source(first, &metric.get(first), group));
    }
    let own = SOURCES.iter().find(|(_, name)| *name == kind.text()).map(|(field, _)| *field);
    match own {
        Some(own) if !metric.has(own) => {
            errors.push(metric.get(own).required("must populate information for the given metric source"));
        }
        Some(_) => {}
        None => errors.push(kind.not_supported(&KINDS)),
    }
    if present.len() != 1 {
        let others = present.iter().filter(|field| Some(**field) != own);
        errors.extend(
            others.map(|field| metric.get(field).forbidden("must populate the given metric source only")),
        );
    }
    errors
}

fn source(field: &str, source: &At<'_>, group: ApiVersion) -> Errors {
    let mut errors = Errors::new();
    let target = source.get("target");
    let (value, average, utilization) =
        (target.get("value"), target.get("averageValue"), target.get("averageUtilization"));
    match field {
        "object" => errors.extend(reference(&source.get("describedObject"), group)),
        "resource" | "containerResource" => errors.extend(resource(field, source)),
        _ => {}
    }
    if matches!(field, "object" | "external" | "pods") {
        errors.extend(identifier(&source.get("metric").get("name")));
    }
    errors.extend(validate_target(&target));
    let neither = |a: &At<'_>, b: &At<'_>| a.is_absent() && b.is_absent();
    let both = |a: &At<'_>, b: &At<'_>| !a.is_absent() && !b.is_absent();
    match field {
        "object" if neither(&value, &average) => {
            errors.push(average.required("must set either a target value or averageValue"));
        }
        "external" if neither(&value, &average) => {
            let problem = "must set either a target value for metric or a per-pod target";
            errors.push(average.required(problem));
        }
        "external" if both(&value, &average) => {
            errors.push(value.forbidden("may not set both a target value for metric and a per-pod target"));
        }
        "pods" if average.is_absent() => {
            errors.push(average.required("must specify a positive target averageValue"));
        }
        "resource" | "containerResource" if neither(&utilization, &average) => {
            let problem = "must set either a target raw value or a target utilization";
            errors.push(utilization.required(problem));
        }
        "resource" | "containerResource" if both(&utilization, &average) => {
            let problem = "may not set both a target raw value and a target utilization";
            errors.push(average.forbidden(problem));
        }
        _ => {}
    }
    errors
}

fn resource(field: &str, source: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (name, container) = (source.get("name"), source.get("container"));
    if name.is_empty() {
        errors.push(name.required("must specify a resource name"));
    } else if field == "containerResource" {
        errors.extend(resources::container_name(name.text(), &name.path));
    }
    if field == "containerResource" {
        if container.is_empty() {
            errors.push(container.required("must specify a container"));
        } else {
            errors.extend(container.invalid_each(names::dns1123_label(container.text())));
        }
    }
    errors
}

fn identifier(name: &At<'_>) -> Errors {
    if name.is_empty() {
        return vec![name.required("must specify a metric name")];
    }
    name.invalid_each(names::path_segment(name.text())).collect()
}

fn validate_target(target: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (kind, utilization) = (target.get("type"), target.get("averageUtilization"));
    if kind.is_empty() {
        errors.push(kind.required("must specify a metric target type"));
    }
    if !matches!(kind.text(), "Utilization" | "Value" | "AverageValue") {
        errors.push(kind.invalid_text("must be either Utilization, Value, or AverageValue"));
    }
    let zero = apiclient_core::quantity::Quantity::default();
    for field in ["value", "averageValue"] {
        let field = target.get(field);
        let positive = quantity(field.value).is_none_or(|amount| amount > zero);
        errors.extend((!positive).then(|| FieldError::invalid(&field.path, field.value, "must be positive")));
    }
    if utilization.int().is_some_and(|percent| percent < 1) {
        errors.push(utilization.invalid("must be greater than 0"));
    }
    errors
}
