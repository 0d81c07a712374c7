//! What a claim asks for: requests for devices, and how they must fit together.

use std::collections::BTreeSet;

use serde_json::Value;

use super::configuration::{self, MOST, at_most, names, references, selectors};
use crate::at::{At, Errors};
use crate::edit::{default, default_text, existing, items, text};
use crate::field::FieldError;
use crate::kinds::storage::driver;

const ALTERNATIVES: usize = 8;

/// Characters of the name of an attribute without its domain.
const IDENTIFIER: usize = 32;

/// The defaults of the spec of a claim: one device for each request.
pub fn set_defaults(spec: &mut Value) {
    let Some(devices) = existing(spec, "devices") else {
        return;
    };
    for request in items(devices, "requests") {
        if let Some(exactly) = existing(request, "exactly") {
            one_device(exactly);
        }
        items(request, "firstAvailable").for_each(one_device);
    }
}

fn one_device(request: &mut Value) {
    default_text(request, "allocationMode", "ExactCount");
    if text(request, &["allocationMode"]) == "ExactCount" {
        default(request, "count", 1);
    }
}

pub fn validate(spec: &At<'_>) -> Errors {
    let devices = spec.get("devices");
    let names = names(&devices);
    let requests = devices.get("requests");
    let mut errors: Errors = at_most(&requests, MOST).into_iter().collect();
    errors.extend(each_once(&requests, request));
    errors.extend(at_most(&devices.get("constraints"), MOST));
    for constraint in devices.get("constraints").items() {
        errors.extend(references(&constraint.get("requests"), &names));
        let attribute = ["matchAttribute", "distinctAttribute"].iter().find(|field| constraint.has(field));
        match attribute {
            Some(field) => errors.extend(attribute_name(&constraint.get(field))),
            None => errors.push(constraint.required(
                "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, but multiple fields are set",
            )),
        }
    }
    errors.extend(configuration::all(&devices.get("config"), &names, true));
    errors
}

/// The names of the items are labels, and no two are the same: the item is named as the duplicate.
fn each_once(list: &At<'_>, validate: fn(&At<'_>) -> Errors) -> Errors {
    let mut errors = Errors::new();
    let mut seen = BTreeSet::new();
    for item in list.items() {
        let name = item.get("name");
        errors.extend(name.invalid_each(crate::names::dns1123_label(name.text())));
        errors.extend(validate(&item));
        if !seen.insert(name.text()) {
            errors.push(FieldError::duplicate(&item.path, &Value::from(name.text())));
        }
    }
    errors
}

fn request(request: &At<'_>) -> Errors {
    let (exactly, first) = (request.get("exactly"), request.get("firstAvailable"));
    const ONE: &str = "exactly one of `exactly` or `firstAvailable` is required";
    match (exactly.is_absent(), first.is_empty()) {
        (true, true) => vec![request.required(ONE)],
        (false, false) => {
            let problem = format!("{ONE}, but multiple fields are set");
            vec![FieldError::invalid_shown(&request.path, "null", &problem)]
        }
        (false, true) => devices(&exactly),
        (true, false) => {
            let mut errors: Errors = at_most(&first, ALTERNATIVES).into_iter().collect();
            errors.extend(each_once(&first, devices));
            errors
        }
    }
}

/// How many devices of which class.
fn devices(request: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let [class, mode, count] = ["deviceClassName", "allocationMode", "count"].map(|field| request.get(field));
    if class.is_empty() {
        errors.push(class.required(""));
    } else {
        errors.extend(class.invalid_each(crate::names::dns1123_subdomain(class.text())));
    }
    errors.extend(selectors(&request.get("selectors")));
    match (mode.text(), count.int().unwrap_or_default()) {
        ("All", 0) => {}
        ("All", _) => errors.push(count.invalid("must not be specified when allocationMode is 'All'")),
        ("ExactCount", ..=0) => errors.push(count.invalid_int("must be greater than zero")),
        ("ExactCount", _) => {}
        _ => errors.push(mode.not_supported(&["All", "ExactCount"])),
    }
    errors
}

/// `example.com/name`. As in the original, what has more than one slash is let pass.
fn attribute_name(name: &At<'_>) -> Errors {
    let parts: Vec<&str> = name.text().split('/').collect();
    let invalid = |shown: &str, why: &str| FieldError::invalid(&name.path, &Value::from(shown), why);
    match parts.as_slice() {
        [id] => {
            let mut errors = identifier(name, id);
            let why = "a fully qualified name must be a domain and a name separated by a slash";
            errors.push(invalid(id, why));
            errors
        }
        [domain, id] => {
            let mut errors = match *domain {
                "" => vec![invalid("", "the domain must not be empty")],
                domain => driver::name(&At::new(&Value::from(domain), name.path.clone())),
            };
            match *id {
                "" => errors.push(invalid("", "the name must not be empty")),
                id => errors.extend(identifier(name, id)),
            }
            errors
        }
        _ => Errors::new(),
    }
}

fn identifier(name: &At<'_>, id: &str) -> Errors {
    let long = (id.len() > IDENTIFIER).then(|| FieldError::too_long(&name.path, IDENTIFIER));
    let problems = crate::names::c_identifier(id).into_iter();
    let errors = problems.map(|problem| FieldError::invalid(&name.path, &Value::from(id), &problem));
    long.into_iter().chain(errors).collect()
}
