//! When a job counts as failed or as successful (`podFailurePolicy`, `successPolicy`).

use super::indexes;
use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::metadata::{label_name, not_negative};

const RULES: usize = 20;
const CONDITIONS: usize = 20;
const EXIT_CODES: usize = 255;
const SUCCEEDED_INDEXES: usize = 64 * 1024;

const ACTIONS: [&str; 4] = ["Count", "FailIndex", "FailJob", "Ignore"];
const OPERATORS: [&str; 2] = ["In", "NotIn"];
const STATUSES: [&str; 3] = ["False", "True", "Unknown"];

/// `["a" "b"]`, as Go prints a list of texts.
fn listed(all: &[&str]) -> String {
    let all: Vec<String> = all.iter().map(|one| format!("\"{one}\"")).collect();
    format!("valid values: [{}]", all.join(" "))
}

/// A text that must be there and be one of `all`.
fn one_of(field: &At<'_>, all: &[&str]) -> Option<FieldError> {
    match field.text() {
        "" => Some(field.required(&listed(all))),
        text if all.contains(&text) => None,
        _ => Some(field.not_supported(all)),
    }
}

pub fn failure(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let rules = spec.get("podFailurePolicy").get("rules");
    if rules.len() > RULES {
        errors.push(FieldError::too_many(&rules.path, rules.len(), RULES));
    }
    let pod = spec.get("template").get("spec");
    let names = |list: &str| pod.get(list).items().map(|one| one.get("name").text()).collect::<Vec<_>>();
    let containers = [names("containers"), names("initContainers")].concat();
    let per_index = spec.has("backoffLimitPerIndex");
    for rule in rules.items() {
        errors.extend(failure_rule(&rule, per_index, &containers));
    }
    errors
}

fn failure_rule(rule: &At<'_>, per_index: bool, containers: &[&str]) -> Errors {
    let mut errors = Errors::new();
    let (action, codes, conditions) =
        (rule.get("action"), rule.get("onExitCodes"), rule.get("onPodConditions"));
    match action.text() {
        "FailIndex" if per_index => {}
        "FailIndex" => errors.push(action.invalid("requires the backoffLimitPerIndex to be set")),
        _ => errors.extend(one_of(&action, &ACTIONS)),
    }
    if !codes.is_absent() {
        errors.extend(exit_codes(&codes, containers));
    }
    if conditions.len() > CONDITIONS {
        errors.push(FieldError::too_many(&conditions.path, conditions.len(), CONDITIONS));
    }
    for pattern in conditions.items() {
        errors.extend(label_name(&pattern.get("type")));
        errors.extend(one_of(&pattern.get("status"), &STATUSES));
    }
    let problem = match (codes.is_absent(), conditions.is_empty()) {
        (false, false) => "specifying both OnExitCodes and OnPodConditions is not supported",
        (true, true) => "specifying one of OnExitCodes and OnPodConditions is required",
        _ => return errors,
    };
    errors.push(FieldError::invalid_all(&rule.path, problem));
    errors
}

fn exit_codes(codes: &At<'_>, containers: &[&str]) -> Errors {
    let mut errors = Errors::new();
    let (operator, container, values) =
        (codes.get("operator"), codes.get("containerName"), codes.get("values"));
    errors.extend(one_of(&operator, &OPERATORS));
    if !container.is_absent() && !containers.contains(&container.text()) {
        let problem = "must be one of the container or initContainer names in the pod template";
        errors.push(container.invalid(problem));
    }
    if values.is_empty() {
        errors.push(values.invalid("at least one value is required"));
    } else if values.len() > EXIT_CODES {
        errors.push(FieldError::too_many(&values.path, values.len(), EXIT_CODES));
    }
    let mut seen = Vec::new();
    for value in values.items() {
        let code = value.int().unwrap_or_default();
        if operator.text() == "In" && code == 0 {
            errors.push(value.invalid("must not be 0 for the In operator"));
        }
        if seen.contains(&code) {
            errors.push(value.duplicate());
        }
        seen.push(code);
    }
    if !seen.is_sorted() {
        errors.push(values.invalid("must be ordered"));
    }
    errors
}

pub fn success(spec: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let rules = spec.get("successPolicy").get("rules");
    if rules.is_empty() {
        let problem = "at least one rules must be specified when the successPolicy is specified";
        errors.push(rules.required(problem));
    }
    if rules.len() > RULES {
        errors.push(FieldError::too_many(&rules.path, rules.len(), RULES));
    }
    let completions = spec.get("completions").int().unwrap_or_default();
    errors.extend(rules.items().flat_map(|rule| success_rule(&rule, completions)));
    errors
}

fn success_rule(rule: &At<'_>, completions: i64) -> Errors {
    let mut errors = Errors::new();
    let (indexes, count) = (rule.get("succeededIndexes"), rule.get("succeededCount"));
    if indexes.is_absent() && count.is_absent() {
        errors.push(rule.required("at least one of succeededCount or succeededIndexes must be specified"));
    }
    let mut total = 0;
    if !indexes.is_absent() {
        if indexes.text().len() > SUCCEEDED_INDEXES {
            errors.push(FieldError::too_long(&indexes.path, SUCCEEDED_INDEXES));
        }
        match indexes::count(indexes.text(), completions) {
            Ok(found) => total = found,
            Err(problem) => {
                errors.push(indexes.invalid(&format!("error parsing succeededIndexes: {problem}")));
            }
        }
    }
    if let Some(wanted) = count.int() {
        errors.extend(not_negative(&count));
        if wanted > completions {
            errors.push(count.invalid(&format!(
                "must be less than or equal to {completions} (the number of specified completions)"
            )));
        }
        if !indexes.is_absent() && wanted > total {
            errors.push(count.invalid(&format!(
                "must be less than or equal to {total} (the number of indexes in the specified succeededIndexes field)"
            )));
        }
    }
    errors
}
