//! Conditions in a status, where the original validates them (`metav1.Condition`).

use crate::at::{At, Errors};
use crate::metadata;

/// What a list of conditions must be: each type once, with a status, a reason and a time.
pub fn validate(conditions: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    let mut seen = Vec::new();
    for condition in conditions.items() {
        let of = condition.get("type");
        if seen.contains(&of.text()) {
            errors.push(of.duplicate());
        }
        seen.push(of.text());
        errors.extend(metadata::label_name(&of));
        let status = condition.get("status");
        if !matches!(status.text(), "True" | "False" | "Unknown") {
            errors.push(status.not_supported(&["False", "True", "Unknown"]));
        }
        let generation = condition.get("observedGeneration");
        if generation.int().is_some_and(|generation| generation < 0) {
            errors.push(generation.invalid("must be greater than or equal to zero"));
        }
        let time = condition.get("lastTransitionTime");
        if time.is_empty() {
            errors.push(time.required(""));
        }
        errors.extend(reason(&condition.get("reason")));
        let message = condition.get("message");
        if message.text().len() > MESSAGE {
            errors.push(crate::field::FieldError::too_long(&message.path, MESSAGE));
        }
    }
    errors
}

const MESSAGE: usize = 32_768;
const REASON: usize = 1_024;

fn reason(reason: &At<'_>) -> Errors {
    let text = reason.text();
    if text.is_empty() {
        return vec![reason.required("")];
    }
    let mut errors = Errors::new();
    let word = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let fits = text.bytes().all(|byte| word(byte) || matches!(byte, b',' | b':'))
        && text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic())
        && text.bytes().last().is_some_and(word);
    if !fits {
        errors.push(reason.invalid(
            "a condition reason must start with alphabetic character, optionally followed by a string of alphanumeric characters or '_,:', and must end with an alphanumeric character or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName',  or 'ReasonA,ReasonB',  or 'ReasonA:ReasonB', regex used for validation is '[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?')",
        ));
    }
    if text.len() > REASON {
        errors.push(crate::field::FieldError::too_long(&reason.path, REASON));
    }
    errors
}
