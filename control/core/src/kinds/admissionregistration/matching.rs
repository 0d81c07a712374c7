//! What webhooks, policies and bindings have in common: policies of failure and matching, selectors, conditions.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::expressions::Expressions;
use super::rules;
use crate::at::{At, Errors};
use crate::edit::{default, items};
use crate::field::FieldError;
use crate::{metadata, names, selectors};

const CONDITIONS: usize = 64;

/// What a policy or a binding is about.
pub fn set_defaults(matching: &mut Value) {
    default(matching, "matchPolicy", "Equivalent");
    default(matching, "namespaceSelector", Map::new());
    default(matching, "objectSelector", Map::new());
    for list in ["resourceRules", "excludeResourceRules"] {
        items(matching, list).for_each(rules::set_defaults);
    }
}

/// One of `all`, where it is there.
pub fn one_of(field: &At<'_>, all: &[&str]) -> Option<FieldError> {
    (!field.is_absent() && !all.contains(&field.text())).then(|| field.not_supported(all))
}

/// What a policy or a binding is about; an absent one is right.
pub fn validate(matching: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if matching.is_absent() {
        return errors;
    }
    let policy = matching.get("matchPolicy");
    if policy.is_absent() {
        errors.push(policy.required(""));
    }
    errors.extend(one_of(&policy, &["Equivalent", "Exact"]));
    for field in ["namespaceSelector", "objectSelector"] {
        let selector = matching.get(field);
        if selector.is_absent() {
            errors.push(selector.required(""));
        }
        errors.extend(selectors::validate(&selector, false));
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        errors.extend(matching.get(list).items().flat_map(|rule| rules::validate_named(&rule)));
    }
    errors
}

/// Mutation is possible on creation and update only.
pub fn mutable_operations(matching: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let path = matching.path.child("resourceRules").child("operations");
    for rule in matching.get("resourceRules").items() {
        for operation in rule.get("operations").items() {
            if !matches!(operation.text(), "CREATE" | "UPDATE" | "*") {
                let supported = ["*", "CREATE", "UPDATE"];
                errors.push(FieldError::not_supported(&path, operation.value, &supported));
            }
        }
    }
    errors
}

/// Expressions with names, each name once.
pub fn conditions(conditions: &At<'_>, params: bool) -> Errors {
    let expressions = Expressions::new(params, false);
    let mut errors = Errors::new();
    if conditions.len() > CONDITIONS {
        errors.push(FieldError::too_many(&conditions.path, conditions.len(), CONDITIONS));
    }
    let mut seen = BTreeSet::new();
    for condition in conditions.items() {
        let (name, expression) = (condition.get("name"), condition.get("expression"));
        if expression.text().trim().is_empty() {
            errors.push(expression.required(""));
        } else {
            errors.extend(expressions.condition(&expression));
        }
        if name.is_empty() {
            errors.push(name.required(""));
            continue;
        }
        errors.extend(metadata::label_name(&name));
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
    }
    errors
}

/// The parameters of a binding.
pub fn param_ref(param: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if param.is_absent() {
        return errors;
    }
    let (name, selector) = (param.get("name"), param.get("selector"));
    const BOTH: &str = "name and selector are mutually exclusive";
    if !name.is_empty() {
        errors.extend(name.invalid_each(names::path_segment(name.text())));
        if !selector.is_absent() {
            errors.push(name.forbidden(BOTH));
        }
    }
    if !selector.is_absent() {
        errors.extend(selectors::validate(&selector, false));
        if !name.is_empty() {
            errors.push(selector.forbidden(BOTH));
        }
    }
    if name.is_empty() && selector.is_absent() {
        errors.push(param.required("one of name or selector must be specified"));
    }
    let action = param.get("parameterNotFoundAction");
    if action.is_empty() {
        errors.push(action.required(""));
    } else {
        errors.extend(one_of(&action, &["Deny", "Allow"]));
    }
    errors
}

/// A selector as the original's `String` prints it.
pub fn shown_selector(selector: &At<'_>) -> String {
    let labels = selector.get("matchLabels");
    let pairs: Vec<String> =
        labels.entries().map(|(key, value)| format!("{key}: {},", value.text())).collect();
    let expression = |one: At<'_>| {
        let values: Vec<&str> = one.get("values").items().map(|value| value.text()).collect();
        format!(
            "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}}",
            one.get("key").text(),
            one.get("operator").text(),
            values.join(" ")
        )
    };
    let expressions: Vec<String> = selector.get("matchExpressions").items().map(expression).collect();
    let expressions = expressions.iter().map(|one| format!("{one},")).collect::<String>();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}",
        pairs.join("")
    )
}

/// The kind of the parameters of a policy.
pub fn param_kind(kind: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let (version, name) = (kind.get("apiVersion"), kind.get("kind"));
    let parts: Vec<&str> = version.text().split('/').collect();
    let about = |part: &str, problems: Vec<String>| {
        let problem = problems.join(",");
        (!problem.is_empty()).then(|| FieldError::invalid(&version.path, &Value::from(part), &problem))
    };
    match parts[..] {
        [""] => errors.push(version.required("")),
        [part] => errors.extend(about(part, names::dns1035_label(part))),
        [group, part] => {
            if !group.is_empty() {
                errors.extend(about(group, names::dns1123_subdomain(group)));
            }
            if part.is_empty() {
                errors.push(version.invalid("version must be specified"));
            } else {
                errors.extend(about(part, names::dns1035_label(part)));
            }
        }
        _ => errors.push(version.invalid(&format!("unexpected GroupVersion string: {}", version.text()))),
    }
    let problems = names::dns1035_label(&name.text().to_lowercase());
    if name.is_empty() {
        errors.push(name.required(""));
    } else if !problems.is_empty() {
        let problem = format!("may have mixed case, but should otherwise match: {}", problems.join(","));
        errors.push(name.invalid(&problem));
    }
    errors
}
