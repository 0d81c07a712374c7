//! Probes and hooks of a container: what is run, asked or waited for.

use serde_json::Value;

use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::metadata::not_negative;
use crate::names;

/// The three probes of a container. A readiness probe may succeed more than once, and has no grace period.
pub fn probes(container: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    for name in ["livenessProbe", "readinessProbe", "startupProbe"] {
        let probe = container.get(name);
        if probe.is_absent() {
            continue;
        }
        errors.extend(self::probe(&probe));
        let (threshold, grace) = (probe.get("successThreshold"), probe.get("terminationGracePeriodSeconds"));
        if name != "readinessProbe" {
            if threshold.int().unwrap_or_default() != 1 {
                errors.push(threshold.invalid_int("must be 1"));
            }
        } else if !grace.is_absent() {
            errors.push(grace.invalid("must not be set for readinessProbes"));
        }
    }
    errors
}

fn probe(probe: &At<'_>) -> Errors {
    let mut errors = handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], None);
    for field in
        ["initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold"]
    {
        errors.extend(not_negative(&probe.get(field)));
    }
    let grace = probe.get("terminationGracePeriodSeconds");
    if grace.int().is_some_and(|seconds| seconds <= 0) {
        errors.push(grace.invalid("must be greater than 0"));
    }
    errors
}

/// What is run after the start and before the end. A sleep may not take longer than the pod's grace period.
pub fn lifecycle(container: &At<'_>, grace: Option<i64>) -> Errors {
    let lifecycle = container.get("lifecycle");
    let mut errors = Errors::new();
    for hook in ["postStart", "preStop"] {
        if lifecycle.has(hook) {
            errors.extend(handler(&lifecycle.get(hook), &["exec", "httpGet", "tcpSocket", "sleep"], grace));
        }
    }
    errors
}

fn handler(at: &At<'_>, kinds: &[&str], grace: Option<i64>) -> Errors {
    let mut errors = Errors::new();
    let mut found = false;
    for kind in kinds.iter().filter(|kind| at.has(kind)) {
        let action = at.get(kind);
        if found {
            errors.push(action.forbidden("may not specify more than 1 handler type"));
            continue;
        }
        found = true;
        match *kind {
            "exec" if action.get("command").is_empty() => errors.push(action.get("command").required("")),
            "exec" => {}
            "httpGet" => errors.extend(http_get(&action)),
            "sleep" => errors.extend(sleep(&action, grace)),
            _ => errors.extend(port(&action.get("port"))),
        }
    }
    if !found {
        errors.push(at.required("must specify a handler type"));
    }
    errors
}

fn http_get(action: &At<'_>) -> Errors {
    let (path, scheme) = (action.get("path"), action.get("scheme"));
    let mut errors = Errors::new();
    if path.text().is_empty() {
        errors.push(path.required(""));
    }
    errors.extend(port(&action.get("port")));
    if !matches!(scheme.text(), "HTTP" | "HTTPS") {
        errors.push(scheme.not_supported(&["HTTP", "HTTPS"]));
    }
    let headers = action.get("httpHeaders");
    for header in headers.items() {
        let name = header.get("name").text();
        let of = |detail: String| FieldError::invalid(&headers.path, &Value::from(name), &detail);
        errors.extend(names::http_header_name(name).into_iter().map(of));
    }
    errors
}

fn sleep(action: &At<'_>, grace: Option<i64>) -> Option<FieldError> {
    let seconds = action.get("seconds").int().unwrap_or_default();
    let grace = grace.filter(|grace| seconds < 0 || seconds > *grace)?;
    let detail = format!("must be non-negative and less than terminationGracePeriodSeconds ({grace})");
    Some(FieldError::invalid(&action.path, &Value::from(seconds), &detail))
}

/// A number, or the name of a port of the container.
pub fn port(port: &At<'_>) -> Errors {
    match port.value {
        Value::String(name) => port.invalid_each(names::port_name(name)).collect(),
        _ => {
            let wrong = names::port_number(port.int().unwrap_or_default());
            wrong.iter().map(|detail| port.invalid_int(detail)).collect()
        }
    }
}
