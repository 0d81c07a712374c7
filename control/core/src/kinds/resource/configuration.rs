//! What device classes, claims and templates of claims have in common: selectors, parameters for drivers, and the names of
//! requests. Expressions (CEL) are checked, and not run.

use std::collections::{BTreeMap, BTreeSet};

use control_schema::crd::cel::{Declared, Refusal, Scope, Type};
use serde_json::Value;

use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::kinds::storage::driver;

/// How many requests, constraints, selectors or parameters one claim may have.
pub const MOST: usize = 32;

/// Bytes of an expression.
const EXPRESSION: usize = 10 * 1024;

/// Bytes of parameters.
const PARAMETERS: usize = 10 * 1024;

/// The names of a claim's requests, each with those of its alternatives.
pub type Names<'a> = BTreeMap<&'a str, BTreeSet<&'a str>>;

/// `devices` is what a claim asks for.
pub fn names<'a>(devices: &At<'a>) -> Names<'a> {
    let alternatives =
        |request: &At<'a>| request.get("firstAvailable").items().map(|one| one.get("name").text()).collect();
    devices
        .get("requests")
        .items()
        .map(|request| (request.get("name").text(), alternatives(&request)))
        .collect()
}

/// No more than `most` items.
pub fn at_most(list: &At<'_>, most: usize) -> Option<FieldError> {
    (list.len() > most).then(|| FieldError::too_many(&list.path, list.len(), most))
}

pub fn selectors(selectors: &At<'_>) -> Errors {
    let mut errors: Errors = at_most(selectors, MOST).into_iter().collect();
    for selector in selectors.items() {
        let expression = selector.get("cel").get("expression");
        if !selector.has("cel") {
            errors.push(selector.get("cel").required(""));
        } else if expression.text().len() > EXPRESSION {
            errors.push(FieldError::too_long(&expression.path, EXPRESSION));
        } else {
            errors.extend(selector_of_devices(&expression));
        }
    }
    errors
}

/// An expression that chooses devices, and gives a boolean or what only a device can tell.
fn selector_of_devices(expression: &At<'_>) -> Option<FieldError> {
    let attributes = Declared::map(Declared::map(Declared::plain(Type::Any), 0), 0);
    let capacity = Declared::map(Declared::map(Declared::plain(Type::Named("kubernetes.Quantity")), 0), 0);
    let device = Declared::object(
        "kubernetes.DRADevice",
        [
            ("driver", Declared::plain(Type::Text)),
            ("allowMultipleAllocations", Declared::plain(Type::Bool)),
            ("attributes", attributes),
            ("capacity", capacity),
        ],
    );
    let scope = Scope { binds: true, ..Scope::new([("device", device)]) };
    match scope.check(expression.text()) {
        Ok(Type::Bool | Type::Any) => None,
        Ok(of) => {
            let what = format!("must evaluate to bool or the unknown type, not {}", of.name());
            Some(expression.invalid_text(&what))
        }
        Err(Refusal::Invalid(what)) => Some(expression.invalid_text(&what)),
        Err(Refusal::Internal(what)) => Some(FieldError::internal(&expression.path, &what)),
    }
}

/// Parameters for drivers; those of a claim say for which requests.
pub fn all(list: &At<'_>, names: &Names<'_>, of_claim: bool) -> Errors {
    let mut errors: Errors = at_most(list, MOST).into_iter().collect();
    for config in list.items() {
        if of_claim {
            errors.extend(references(&config.get("requests"), names));
        }
        let opaque = config.get("opaque");
        if opaque.is_absent() {
            errors.push(opaque.required(""));
            continue;
        }
        errors.extend(driver::name(&opaque.get("driver")));
        let parameters = opaque.get("parameters");
        if parameters.is_absent() {
            errors.push(parameters.required(""));
        } else if parameters.value.to_string().len() > PARAMETERS {
            errors.push(FieldError::too_long(&parameters.path, PARAMETERS));
        } else if !parameters.value.is_object() {
            let shown = Value::from("<value omitted>");
            errors.push(FieldError::invalid(&parameters.path, &shown, "must be a valid JSON object"));
        }
    }
    errors
}

/// Names of requests, or of their alternatives: `a`, `a/b`, each once.
pub fn references(list: &At<'_>, names: &Names<'_>) -> Errors {
    let mut errors: Errors = at_most(list, MOST).into_iter().collect();
    let mut seen = BTreeSet::new();
    for name in list.items() {
        errors.extend(reference(&name, names));
        if !seen.insert(name.text()) {
            errors.push(name.duplicate());
        }
    }
    errors
}

pub fn reference(name: &At<'_>, names: &Names<'_>) -> Errors {
    const PROBLEM: &str = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
    let parts: Vec<&str> = name.text().split('/').collect();
    let mut errors = Errors::new();
    if parts.len() <= 2 {
        for part in &parts {
            let shown = Value::from(*part);
            let problems = crate::names::dns1123_label(part).into_iter();
            errors.extend(problems.map(|problem| FieldError::invalid(&name.path, &shown, &problem)));
        }
    }
    let known = match parts[..] {
        [request] => names.contains_key(request),
        [request, alternative] => names.get(request).is_some_and(|own| own.contains(alternative)),
        _ => false,
    };
    if !known {
        errors.push(name.invalid_text(PROBLEM));
    }
    errors
}
