//! ResourceQuotas: what a namespace may use in all.

use std::time::SystemTime;

use serde_json::Value;

use super::{cells, resources};
use crate::ages;
use crate::at::{At, Errors};
use crate::edit::{at, existing, remove, restore};
use crate::field::{FieldError, Path};
use crate::kind::{Context, Strategy};
use crate::kinds::status::is_status;
use crate::metadata::IMMUTABLE;
use crate::shown;
use crate::table::BuiltIn;

#[derive(Debug)]
pub struct ResourceQuota;

impl Strategy for ResourceQuota {
    fn set_defaults(&self, object: &mut Value) {
        for (part, field) in [("spec", "hard"), ("status", "hard"), ("status", "used")] {
            if let Some(part) = existing(object, part) {
                resources::round_up(part, field);
            }
        }
    }

    fn prepare_create(&self, object: &mut Value, _context: &Context<'_>) {
        remove(object, "status");
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        restore(new, old, if is_status(context) { "spec" } else { "status" });
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        let object = At::object(object);
        let mut errors = spec(&object.get("spec"));
        errors.extend(status(&object.get("status")));
        errors
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        let object = At::object(new);
        if is_status(context) {
            return status(&object.get("status"));
        }
        let mut errors = spec(&object.get("spec"));
        let scopes = object.get("spec").get("scopes");
        if names(scopes.value) != names(at(old, &["spec", "scopes"])) {
            errors.push(scopes.invalid(IMMUTABLE));
        }
        errors
    }
}

/// The names in a list, sorted, each once.
fn names(list: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = list.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
}

fn amounts(list: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for (name, amount, path) in resources::amounts(list) {
        errors.extend(resources::quota_name(name, &path));
        errors.extend(resources::amount(name, amount, &path));
    }
    errors
}

fn status(status: &At<'_>) -> Errors {
    let mut errors = amounts(&status.get("hard"));
    errors.extend(amounts(&status.get("used")));
    errors
}

fn spec(spec: &At<'_>) -> Errors {
    let mut errors = amounts(&spec.get("hard"));
    let limited: Vec<&str> = spec.get("hard").entries().map(|(name, _)| name).collect();
    let scopes = spec.get("scopes");
    for scope in scopes.items() {
        if !is_scope(scope.text()) {
            errors.push(scopes.invalid("unsupported scope"));
        }
        let unfit = limited.iter().filter(|name| !fits(scope.text(), name));
        errors.extend(unfit.map(|_| scopes.invalid("unsupported scope applied to resource")));
    }
    errors.extend(conflicts(&names(scopes.value), &scopes));
    let selector = spec.get("scopeSelector");
    let expressions = selector.get("matchExpressions");
    let mut selected = Vec::new();
    for expression in expressions.items() {
        let scope = expression.get("scopeName");
        errors.extend(scope_expression(&expression, &expressions.path));
        let unfit = limited.iter().filter(|name| !fits(scope.text(), name));
        errors.extend(unfit.map(|_| {
            let detail = "unsupported scope applied to resource";
            FieldError::invalid_shown(&expressions.path, &shown_selector(&expressions), detail)
        }));
        selected.push(scope.text());
    }
    let shown = At::new(scopes.value, expressions.path.clone());
    errors.extend(conflicts(&selected, &shown));
    errors
}

/// As the original shows its internal form.
fn shown_selector(expressions: &At<'_>) -> String {
    let one = |expression: At<'_>| {
        shown::fields(&[
            ("ScopeName", shown::text(&expression.get("scopeName"))),
            ("Operator", shown::text(&expression.get("operator"))),
            ("Values", shown::any(&expression.get("values"))),
        ])
    };
    let all: Vec<String> = expressions.items().map(one).collect();
    shown::fields(&[("MatchExpressions", shown::list(&all))])
}

/// The original's paths here are those of the list of expressions.
fn scope_expression(expression: &At<'_>, path: &Path) -> Errors {
    let field = |name: &str| At::new(expression.get(name).value, path.child(name));
    let (scope, operator, values) = (field("scopeName"), field("operator"), field("values"));
    let mut errors = Errors::new();
    if !is_scope(scope.text()) {
        errors.push(scope.invalid_text("unsupported scope"));
    }
    let only_exists = matches!(
        scope.text(),
        "BestEffort" | "NotBestEffort" | "Terminating" | "NotTerminating" | "CrossNamespacePodAffinity"
    );
    if only_exists && operator.text() != "Exists" {
        errors.push(operator.invalid_text(
            "must be 'Exists' when scope is any of ResourceQuotaScopeTerminating, ResourceQuotaScopeNotTerminating, ResourceQuotaScopeBestEffort, ResourceQuotaScopeNotBestEffort or ResourceQuotaScopeCrossNamespacePodAffinity",
        ));
    }
    match operator.text() {
        "In" | "NotIn" if values.is_empty() => errors
            .push(values.required(
                "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector",
            )),
        "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(
            values
                .invalid("must be no value when `operator` is 'Exist' or 'DoesNotExist' for scope selector"),
        ),
        "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
        _ => errors.push(operator.invalid_text("not a valid selector operator")),
    }
    errors
}

fn conflicts(scopes: &[&str], shown: &At<'_>) -> Errors {
    let both = |a, b| scopes.contains(&a) && scopes.contains(&b);
    let pairs = [both("BestEffort", "NotBestEffort"), both("Terminating", "NotTerminating")];
    pairs.iter().filter(|both| **both).map(|_| shown.invalid("conflicting scopes")).collect()
}

fn is_scope(name: &str) -> bool {
    matches!(
        name,
        "Terminating"
            | "NotTerminating"
            | "BestEffort"
            | "NotBestEffort"
            | "PriorityClass"
            | "VolumeAttributesClass"
            | "CrossNamespacePodAffinity"
    )
}

/// A limit of this resource may be narrowed to the scope.
fn fits(scope: &str, resource: &str) -> bool {
    let computes = matches!(
        resource,
        "cpu" | "memory" | "limits.cpu" | "limits.memory" | "requests.cpu" | "requests.memory"
    );
    if !resources::is_quota_resource(resource) {
        return true;
    }
    match scope {
        "Terminating"
        | "NotTerminating"
        | "NotBestEffort"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => resource == "pods" || computes,
        "BestEffort" => resource == "pods",
        "VolumeAttributesClass" => matches!(resource, "persistentvolumeclaims" | "requests.storage"),
        _ => true,
    }
}

pub const RESOURCE_QUOTA: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Request", "string", "What is used of the limits of requests and counts."),
    BuiltIn::new("Limit", "string", "What is used of the limits of limits."),
    BuiltIn::age(),
];

pub fn resource_quota(object: &Value, now: SystemTime) -> Vec<Value> {
    let mut columns = [String::new(), String::new()];
    for (name, hard) in at(object, &["status", "hard"]).as_object().into_iter().flatten() {
        let shown = |value: &Value| resources::quantity(value).unwrap_or_default().to_string();
        let used = shown(at(object, &["status", "used", name]));
        let column = &mut columns[usize::from(name.starts_with("limits."))];
        if !column.is_empty() {
            column.push_str(", ");
        }
        column.push_str(&format!("{name}: {used}/{}", shown(hard)));
    }
    let [requests, limits] = columns;
    vec![cells::name(object), requests.into(), limits.into(), ages::of(object, now).into()]
}
