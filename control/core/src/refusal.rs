//! The refusals of the API in the original's words (`metav1.Status`, apimachinery's `errors`).

use apiclient_core::wire::{Details, Status};

use crate::field::FieldError;
use crate::kind::Kind;

fn failure(code: u16, reason: &str, message: String, details: Option<Details>) -> Status {
    Status { status: "Failure".to_owned(), message, reason: reason.to_owned(), details, code }
}

fn about(kind: &Kind, name: &str) -> Option<Details> {
    Some(Details {
        name: name.to_owned(),
        group: kind.group.to_string(),
        kind: kind.plural.to_string(),
        ..Details::default()
    })
}

pub fn not_found(kind: &Kind, name: &str) -> Status {
    failure(404, "NotFound", format!("{} \"{name}\" not found", kind.qualified()), about(kind, name))
}

pub fn already_exists(kind: &Kind, name: &str) -> Status {
    failure(
        409,
        "AlreadyExists",
        format!("{} \"{name}\" already exists", kind.qualified()),
        about(kind, name),
    )
}

/// `why` is the original's text after the colon.
pub fn conflict(kind: &Kind, name: &str, why: &str) -> Status {
    let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified());
    failure(409, "Conflict", message, about(kind, name))
}

pub fn bad_request(message: impl Into<String>) -> Status {
    failure(400, "BadRequest", message.into(), None)
}

/// The kind and not the plural is named here, as the original does.
pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Status {
    let qualified =
        if kind.group.is_empty() { kind.kind.to_string() } else { format!("{}.{}", kind.kind, kind.group) };
    // The message says each thing once; the causes may repeat, as in the original.
    let mut said: Vec<String> = Vec::new();
    for error in errors.iter().map(ToString::to_string) {
        if !said.contains(&error) {
            said.push(error);
        }
    }
    let what = match &said[..] {
        [only] => only.clone(),
        all => format!("[{}]", all.join(", ")),
    };
    let details = Details {
        name: name.to_owned(),
        group: kind.group.to_string(),
        kind: kind.kind.to_string(),
        causes: errors.iter().map(FieldError::cause).collect(),
        ..Details::default()
    };
    failure(422, "Invalid", format!("{qualified} \"{name}\" is invalid: {what}"), Some(details))
}
