//! Selectors of a query, with the original's errors.

use apiclient_core::selector::{FieldSelector, LabelSelector};

/// # Errors
/// What is wrong with the text.
pub fn labels(text: &str) -> Result<LabelSelector, String> {
    text.parse().map_err(|error: apiclient_core::selector::BadSelector| {
        format!("unable to parse requirement: {}", error.problem)
    })
}

/// # Errors
/// What is wrong with the text.
pub fn fields(text: &str) -> Result<FieldSelector, String> {
    text.parse().map_err(|_| {
        let part = text.split(',').find(|part| !part.is_empty() && !part.contains('=')).unwrap_or(text);
        format!("invalid selector: '{text}'; can't understand '{part}'")
    })
}
