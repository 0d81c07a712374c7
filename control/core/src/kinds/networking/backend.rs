//! What an Ingress leads to, and references to objects of any kind.

use serde_json::Value;

use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::names;

/// A Service with a port, or an object of another kind.
pub fn validate(backend: &At<'_>) -> Errors {
    match (backend.has("resource"), backend.has("service")) {
        (true, true) => vec![wrong(backend, "cannot set both resource and service backends")],
        (true, false) => reference(&backend.get("resource")),
        (false, true) => service(backend),
        (false, false) => vec![wrong(backend, "resource or service backend is required")],
    }
}

/// The original shows an empty text for a backend.
fn wrong(backend: &At<'_>, problem: &str) -> FieldError {
    FieldError::invalid(&backend.path, &Value::from(""), problem)
}

fn service(backend: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let service = backend.get("service");
    let (name, port) = (service.get("name"), service.get("port"));
    if name.is_empty() {
        errors.push(name.required(""));
    } else {
        errors.extend(name.invalid_each(names::dns1123_label(name.text())));
    }
    let (port_name, number) = (port.get("name"), port.get("number"));
    match (port_name.text(), number.int().unwrap_or_default()) {
        ("", 0) => errors.push(backend.required("port name or number is required")),
        ("", port) => errors.extend(names::port_number(port).iter().map(|problem| number.invalid(problem))),
        (name, 0) => errors.extend(port_name.invalid_each(names::port_name(name))),
        _ => errors.push(wrong(backend, "cannot set both port name & port number")),
    }
    errors
}

/// Group, kind and name of an object.
pub fn reference(to: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let group = to.get("apiGroup");
    if !group.is_absent() {
        errors.extend(group.invalid_each(names::dns1123_subdomain(group.text())));
    }
    errors.extend(segment(&to.get("kind")));
    errors.extend(segment(&to.get("name")));
    errors
}

/// A text that must be there, and may be a part of a path.
pub fn segment(field: &At<'_>) -> Errors {
    if field.is_empty() {
        return vec![field.required("")];
    }
    field.invalid_each(names::path_segment(field.text())).collect()
}
