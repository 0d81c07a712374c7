//! Where a pod wants to be: near nodes with certain labels, near or far from other pods.

use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::{metadata, names, selectors};

const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// `affinity` of a pod's spec.
pub fn validate(affinity: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let node = affinity.get("nodeAffinity");
    if node.has(REQUIRED) {
        errors.extend(node_selector(&node.get(REQUIRED)));
    }
    for preference in node.get(PREFERRED).items() {
        errors.extend(weight(&preference));
        errors.extend(node_term(&preference.get("preference"), true));
    }
    for kind in ["podAffinity", "podAntiAffinity"] {
        let pods = affinity.get(kind);
        for term in pods.get(REQUIRED).items() {
            errors.extend(pod_term(&term));
        }
        for preference in pods.get(PREFERRED).items() {
            errors.extend(weight(&preference));
            errors.extend(pod_term(&preference.get("podAffinityTerm")));
        }
    }
    errors
}

fn weight(preference: &At<'_>) -> Option<FieldError> {
    let weight = preference.get("weight");
    let fits = (1..=100).contains(&weight.int().unwrap_or_default());
    (!fits).then(|| weight.invalid_int("must be in the range 1-100"))
}

/// Which nodes are meant: any of the terms must fit.
pub fn node_selector(selector: &At<'_>) -> Errors {
    let terms = selector.get("nodeSelectorTerms");
    if terms.is_empty() {
        return vec![terms.required("must have at least one node selector term")];
    }
    terms.items().flat_map(|term| node_term(&term, false)).collect()
}

fn node_term(term: &At<'_>, lenient: bool) -> Errors {
    let mut errors = Errors::new();
    for requirement in term.get("matchExpressions").items() {
        errors.extend(node_requirement(&requirement, lenient));
    }
    for requirement in term.get("matchFields").items() {
        errors.extend(field_requirement(&requirement));
    }
    errors
}

fn node_requirement(requirement: &At<'_>, lenient: bool) -> Errors {
    let (key, operator, values) =
        (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
    let mut errors = Errors::new();
    match operator.text() {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors.push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                errors.push(
                    values.forbidden("may not be specified when `operator` is 'Exists' or 'DoesNotExist'"),
                );
            }
        }
        "Gt" | "Lt" => {
            if values.len() != 1 {
                errors
                    .push(values.required("must be specified single value when `operator` is 'Lt' or 'Gt'"));
            }
        }
        _ => errors.push(operator.invalid_text("not a valid selector operator")),
    }
    errors.extend(metadata::label_name(&key));
    if !lenient {
        for value in values.items() {
            errors.extend(value.invalid_each(names::label_value(value.text())));
        }
    }
    errors
}

fn field_requirement(requirement: &At<'_>) -> Errors {
    let (key, operator, values) =
        (requirement.get("key"), requirement.get("operator"), requirement.get("values"));
    let mut errors = Errors::new();
    if !matches!(operator.text(), "In" | "NotIn") {
        errors.push(operator.invalid_text("not a valid selector operator"));
    } else if values.len() != 1 {
        errors.push(
            values.required(
                "must be only one value when `operator` is 'In' or 'NotIn' for node field selector",
            ),
        );
    }
    if key.text() == "metadata.name" {
        for value in values.items() {
            errors.extend(value.invalid_each(names::dns1123_subdomain(value.text())));
        }
    } else {
        errors.push(key.invalid_text("not a valid field selector key"));
    }
    errors
}

fn pod_term(term: &At<'_>) -> Errors {
    let mut errors = selectors::validate(&term.get("labelSelector"), false);
    errors.extend(selectors::validate(&term.get("namespaceSelector"), false));
    for namespace in term.get("namespaces").items() {
        // The original's path here has no number.
        let shown = At::new(namespace.value, term.path.child("namespace"));
        errors.extend(shown.invalid_each(names::dns1123_label(namespace.text())));
    }
    errors.extend(label_keys(term));
    let topology = term.get("topologyKey");
    if topology.text().is_empty() {
        errors.push(topology.required("can not be empty"));
    }
    errors.extend(metadata::label_name(&topology));
    errors
}

/// `matchLabelKeys` and `mismatchLabelKeys`: labels of the pod itself that join the selector.
pub fn label_keys(term: &At<'_>) -> Errors {
    let selector = term.get("labelSelector");
    let (matching, mismatching) = (term.get("matchLabelKeys"), term.get("mismatchLabelKeys"));
    let mut errors = Errors::new();
    for keys in [&matching, &mismatching] {
        if keys.is_empty() {
            continue;
        }
        if selector.is_absent() {
            errors.push(keys.forbidden("must not be specified when labelSelector is not set"));
            continue;
        }
        for key in keys.items() {
            errors.extend(metadata::label_name(&key));
        }
    }
    let place = |key: &str| matching.items().collect::<Vec<_>>().iter().rposition(|own| own.text() == key);
    let mut seen: Vec<&str> = selector.get("matchLabels").entries().map(|(key, _)| key).collect();
    for expression in selector.get("matchExpressions").items() {
        let key = expression.get("key").text();
        if seen.contains(&key)
            && let Some(n) = place(key)
        {
            let path = term.path.index(n);
            let detail = "exists in both matchLabelKeys and labelSelector";
            errors.push(FieldError::invalid(&path, &key.into(), detail));
        }
        seen.push(key);
    }
    for key in matching.items() {
        if mismatching.items().any(|other| other.text() == key.text()) {
            errors.push(key.invalid("exists in both matchLabelKeys and mismatchLabelKeys"));
        }
    }
    errors
}
