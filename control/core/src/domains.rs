//! Names that have a domain in them: `example.com`, `example.com/path`.

use serde_json::Value;

use crate::at::{At, Errors};
use crate::field::FieldError;
use crate::names;

/// A domain of at least `parts` parts. At most one error.
fn qualified(field: &At<'_>, name: &str, parts: usize, words: &str) -> Errors {
    let problem =
        |name: &str, problem: &str| vec![FieldError::invalid(&field.path, &Value::from(name), problem)];
    let errors = names::dns1123_subdomain(name);
    if !errors.is_empty() {
        return problem(name, &errors.join(","));
    }
    if name.split('.').count() < parts {
        let rule = format!("should be a domain with at least {words} segments separated by dots");
        return problem(field.text(), &rule);
    }
    Errors::new()
}

/// `a.b.c` (`IsFullyQualifiedName`).
pub fn three_parts(field: &At<'_>) -> Errors {
    if field.is_empty() {
        return vec![field.required("")];
    }
    qualified(field, field.text(), 3, "three")
}

/// `a.b`, with a dot at the end or without (`IsFullyQualifiedDomainName`).
pub fn two_parts(field: &At<'_>) -> Errors {
    if field.is_empty() {
        return vec![field.required("")];
    }
    let name = field.text().strip_suffix('.').unwrap_or(field.text());
    let errors = qualified(field, name, 2, "two");
    if !errors.is_empty() {
        return errors;
    }
    let wrong = name.split('.').find_map(|label| {
        let errors = names::dns1123_label(label);
        (!errors.is_empty()).then(|| FieldError::invalid(&field.path, &Value::from(label), &errors.join(",")))
    });
    wrong.into_iter().collect()
}

/// `example.com/path` (`IsDomainPrefixedPath`).
pub fn with_path(field: &At<'_>) -> Errors {
    if field.is_empty() {
        return vec![field.required("")];
    }
    let (host, path) = match field.text().split_once('/') {
        Some((host, path)) if !host.is_empty() && !path.is_empty() => (host, path),
        _ => return vec![field.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")")],
    };
    let host_errors = names::dns1123_subdomain(host);
    let wrong = |problem: String| FieldError::invalid(&field.path, &Value::from(host), &problem);
    let mut errors: Errors = host_errors.into_iter().map(wrong).collect();
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !path.bytes().all(fits) {
        let rule = r"Invalid path (regex used for validation is '[A-Za-z0-9/\-._~%!$&'()*+,;=:]+')";
        errors.push(FieldError::invalid(&field.path, &Value::from(path), rule));
    }
    errors
}
