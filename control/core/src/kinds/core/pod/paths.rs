//! Paths of files that a pod's spec names.

use serde_json::Value;

use crate::at::Errors;
use crate::field::{FieldError, Path};

pub const MODE: &str = "must be a number between 0 and 0777 (octal), both inclusive";

/// No part of the path is `..`.
pub fn no_backsteps(text: &str, path: &Path) -> Errors {
    if text.split('/').any(|part| part == "..") {
        return vec![FieldError::invalid(path, &Value::from(text), "must not contain '..'")];
    }
    Errors::new()
}

/// Relative, and without `..`.
pub fn descending(text: &str, path: &Path) -> Errors {
    let mut errors = Errors::new();
    if text.starts_with('/') {
        errors.push(FieldError::invalid(path, &Value::from(text), "must be a relative path"));
    }
    errors.extend(no_backsteps(text, path));
    errors
}

/// As [`descending`], and does not begin with `..` either: such names are the kubelet's own.
pub fn not_reserved(text: &str, path: &Path) -> Errors {
    let mut errors = descending(text, path);
    if text.starts_with("..") && !text.starts_with("../") {
        errors.push(FieldError::invalid(path, &Value::from(text), "must not start with '..'"));
    }
    errors
}
