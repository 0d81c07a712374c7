//! Which requests a webhook or a policy is about: operations, groups, versions, resources.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::at::{At, Errors};
use crate::edit::default;
use crate::field::FieldError;
use crate::names;

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];

pub fn set_defaults(rule: &mut Value) {
    default(rule, "scope", "*");
}

/// `*` stands alone in a list.
fn alone(list: &At<'_>, what: &str) -> Option<FieldError> {
    let mixed = list.len() > 1 && list.items().any(|one| one.text() == "*");
    mixed.then(|| list.invalid(&format!("if '*' is present, must not specify other {what}")))
}

/// A rule with names of objects (policies).
pub fn validate_named(rule: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = BTreeSet::new();
    for name in rule.get("resourceNames").items() {
        errors.extend(name.invalid_each(names::path_segment(name.text())));
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
    }
    errors.extend(validate(rule));
    errors
}

pub fn validate(rule: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let [operations, groups, versions, scope] =
        ["operations", "apiGroups", "apiVersions", "scope"].map(|field| rule.get(field));
    if operations.is_empty() {
        errors.push(operations.required(""));
    }
    errors.extend(alone(&operations, "operations"));
    let unknown = operations.items().filter(|one| !OPERATIONS.contains(&one.text()));
    errors.extend(unknown.map(|one| one.not_supported(&OPERATIONS)));
    if groups.is_empty() {
        errors.push(groups.required(""));
    }
    errors.extend(alone(&groups, "API groups"));
    if versions.is_empty() {
        errors.push(versions.required(""));
    }
    errors.extend(alone(&versions, "API versions"));
    let empty = versions.items().filter(|one| one.text().is_empty());
    errors.extend(empty.map(|one| one.required("")));
    errors.extend(resources(&rule.get("resources")));
    if !scope.is_absent() && !matches!(scope.text(), "*" | "Cluster" | "Namespaced") {
        errors.push(scope.not_supported(&["*", "Cluster", "Namespaced"]));
    }
    errors
}

/// Resources with their subresources: nothing may be covered twice by a `*`.
fn resources(resources: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if resources.is_empty() {
        errors.push(resources.required(""));
    }
    let mut whole_resources = BTreeSet::new();
    let mut whole_subresources = BTreeSet::new();
    let (mut all, mut plain_all, mut plain) = (false, false, false);
    for one in resources.items() {
        let text = one.text();
        if text.is_empty() {
            errors.push(one.required(""));
            continue;
        }
        all |= text == "*/*";
        plain_all |= text == "*";
        let Some((resource, subresource)) = text.split_once('/') else {
            plain = text != "*";
            continue;
        };
        for (covered, star) in [
            (whole_resources.contains(resource), format!("{resource}/*")),
            (whole_subresources.contains(subresource), format!("*/{subresource}")),
        ] {
            if covered {
                errors.push(one.invalid(&format!("if '{star}' is present, must not specify {text}")));
            }
        }
        if subresource == "*" {
            whole_resources.insert(resource);
        }
        if resource == "*" {
            whole_subresources.insert(subresource);
        }
    }
    if resources.len() > 1 && all {
        errors.push(resources.invalid("if '*/*' is present, must not specify other resources"));
    }
    if plain_all && plain {
        let problem = "if '*' is present, must not specify other resources without subresources";
        errors.push(resources.invalid(problem));
    }
    errors
}
