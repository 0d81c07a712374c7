//! Conditions in a status (`metav1.Condition`): what the original validates of them, and how one is set.

use serde_json::{Value, json};

use crate::at::{At, Errors};
use crate::edit::{list, text};
use crate::metadata;

/// The condition of this type is `True`.
pub fn is_true(status: &Value, of: &str) -> bool {
    let mut all = list(status, &["conditions"]).iter();
    all.any(|condition| text(condition, &["type"]) == of && text(condition, &["status"]) == "True")
}

/// Sets a condition; its time changes only with its status.
pub fn set(status: &mut Value, of: &str, is: &str, reason: &str, message: &str, now: &str) {
    if !status["conditions"].is_array() {
        status["conditions"] = json!([]);
    }
    let Some(all) = status["conditions"].as_array_mut() else { return };
    let place = all.iter().position(|condition| text(condition, &["type"]) == of);
    let before = place.and_then(|place| all.get(place));
    let since = match before {
        Some(before) if text(before, &["status"]) == is => text(before, &["lastTransitionTime"]).to_owned(),
        _ => now.to_owned(),
    };
    let mut condition =
        json!({"type": of, "status": is, "lastTransitionTime": since, "reason": reason, "message": message});
    if let Some(generation) =
        before.map(|before| &before["observedGeneration"]).filter(|found| !found.is_null())
    {
        condition["observedGeneration"] = generation.clone();
    }
    match place.and_then(|place| all.get_mut(place)) {
        Some(own) => *own = condition,
        None => all.push(condition),
    }
}

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
