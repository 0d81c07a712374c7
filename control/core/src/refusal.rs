//! The refusals of the API in the original's words (`metav1.Status`, apimachinery's `errors`).
//!
//! Owns: for each reason a function that makes the status. Begin at [`not_found`].

use apiclient_core::wire::{Cause, Details, Status};

use crate::field::FieldError;
use crate::kind::Kind;

/// Why an update of an old version is refused.
pub const MODIFIED: &str =
    "the object has been modified; please apply your changes to the latest version and try again";

fn failure(code: u16, reason: &str, message: String, details: Option<Details>) -> Status {
    Status {
        status: "Failure".to_owned(),
        message,
        reason: reason.to_owned(),
        details,
        code,
        ..Status::default()
    }
}

/// A kind, or a resource that no kind stands behind, as details and messages name it.
fn about(kind: &Kind, name: &str) -> Option<Details> {
    Some(Details {
        name: name.to_owned(),
        group: kind.group.to_string(),
        kind: kind.plural.to_string(),
        ..Details::default()
    })
}

fn retry(seconds: u64) -> Option<Details> {
    Some(Details { retry_after_seconds: seconds, ..Details::default() })
}

pub fn not_found(kind: &Kind, name: &str) -> Status {
    failure(404, "NotFound", format!("{} \"{name}\" not found", kind.qualified()), about(kind, name))
}

/// As [`not_found`], of a resource known by its names only.
pub fn missing(group: &str, resource: &str, name: &str) -> Status {
    let qualified = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let details = Details {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: resource.to_owned(),
        ..Details::default()
    };
    failure(404, "NotFound", format!("{qualified} \"{name}\" not found"), Some(details))
}

pub fn already_exists(kind: &Kind, name: &str) -> Status {
    failure(
        409,
        "AlreadyExists",
        format!("{} \"{name}\" already exists", kind.qualified()),
        about(kind, name),
    )
}

/// All names that were generated are taken.
pub fn no_unique_name(kind: &Kind, name: &str) -> Status {
    let mut details = about(kind, name);
    if let Some(details) = &mut details {
        details.retry_after_seconds = 1;
    }
    let message = format!(
        "{} \"{name}\" already exists, the server was not able to generate a unique name for the object",
        kind.qualified()
    );
    failure(409, "AlreadyExists", message, details)
}

/// `why` is the original's text after the colon.
pub fn conflict(kind: &Kind, name: &str, why: &str) -> Status {
    let message = format!("Operation cannot be fulfilled on {} \"{name}\": {why}", kind.qualified());
    failure(409, "Conflict", message, about(kind, name))
}

/// As [`conflict`], on something known by its names only.
pub fn conflict_on(group: &str, resource: &str, name: &str, why: &str) -> Status {
    let qualified = if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
    let details = Details {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: resource.to_owned(),
        ..Details::default()
    };
    let message = format!("Operation cannot be fulfilled on {qualified} \"{name}\": {why}");
    failure(409, "Conflict", message, Some(details))
}

/// Conflicts of server-side apply. `causes` name the managers and the fields.
pub fn apply_conflict(message: String, causes: Vec<Cause>) -> Status {
    failure(409, "Conflict", message, Some(Details { causes, ..Details::default() }))
}

pub fn bad_request(message: impl Into<String>) -> Status {
    failure(400, "BadRequest", message.into(), None)
}

/// The kind and not the plural is named here, as the original does.
pub fn invalid(kind: &Kind, name: &str, errors: &[FieldError]) -> Status {
    invalid_kind(kind.group_in_work(), &kind.kind, name, errors)
}

/// As [`invalid`], for what is no kind of the table (`ListOptions` of `meta.k8s.io`).
pub fn invalid_kind(group: &str, kind: &str, name: &str, errors: &[FieldError]) -> Status {
    let qualified = if group.is_empty() { kind.to_owned() } else { format!("{kind}.{group}") };
    // The message says each thing once; the causes may repeat, as in the original.
    let mut said: Vec<String> = Vec::new();
    for error in errors.iter().map(ToString::to_string) {
        if !said.contains(&error) {
            said.push(error);
        }
    }
    let what = match said.as_slice() {
        [] => String::new(),
        [only] => format!(": {only}"),
        all => format!(": [{}]", all.join(", ")),
    };
    let details = Details {
        name: name.to_owned(),
        group: group.to_owned(),
        kind: kind.to_owned(),
        causes: errors.iter().map(FieldError::cause).collect(),
        ..Details::default()
    };
    failure(422, "Invalid", format!("{qualified} \"{name}\" is invalid{what}"), Some(details))
}

/// There is such a path, but not for this method.
pub fn method_not_allowed() -> Status {
    let message = "the server does not allow this method on the requested resource".to_owned();
    failure(405, "MethodNotAllowed", message, Some(Details::default()))
}

pub fn not_acceptable(accepted: &str) -> Status {
    failure(406, "NotAcceptable", format!("only the following media types are accepted: {accepted}"), None)
}

/// None of the forms that a client accepts is there, whatever their parameters (go-restful's words).
pub fn no_such_form(available: &str) -> Status {
    let message = format!("406: Not Acceptable\n\nAvailable representations: {available}");
    failure(406, "NotAcceptable", message, Some(Details::default()))
}

pub fn unsupported_media_type(accepted: &str) -> Status {
    let message = format!(
        "the body of the request was in an unknown format - accepted media types include: {accepted}"
    );
    failure(415, "UnsupportedMediaType", message, None)
}

/// A version that the server has forgotten.
pub fn expired(message: impl Into<String>) -> Status {
    failure(410, "Expired", message.into(), None)
}

/// `message` is what follows `Request entity too large: `.
pub fn too_large(message: &str) -> Status {
    failure(413, "RequestEntityTooLarge", format!("Request entity too large: {message}"), None)
}

/// Something that should not happen, in the original's words for it.
pub fn internal(message: &str) -> Status {
    let causes = vec![Cause { message: message.to_owned(), ..Cause::default() }];
    let details = Some(Details { causes, ..Details::default() });
    failure(500, "InternalError", format!("Internal error occurred: {message}"), details)
}

/// What the original answers to an error that has no status of its own.
pub fn unknown(message: impl Into<String>) -> Status {
    failure(500, "", message.into(), None)
}

/// The answer of another server that is no object of the API, in the original's words for its code. `text` is its body.
pub fn of_server(code: u16, resource: &str, name: &str, text: &str) -> Status {
    let said = || text.to_owned();
    let plain = |words: &str| words.to_owned();
    let (reason, message) = match code {
        401 => ("Unauthorized", plain("the server has asked for the client to provide credentials")),
        403 => ("Forbidden", said()),
        404 => ("NotFound", plain("the server could not find the requested resource")),
        405 => ("MethodNotAllowed", plain("the server does not allow this method on the requested resource")),
        406 => ("NotAcceptable", said()),
        409 => ("Conflict", plain("the server reported a conflict")),
        415 => ("UnsupportedMediaType", said()),
        422 => ("Invalid", plain("the server rejected our request due to an error in our request")),
        429 => (
            "TooManyRequests",
            plain("the server has received too many requests and has asked us to try again later"),
        ),
        503 => ("ServiceUnavailable", plain("the server is currently unable to handle the request")),
        504 => (
            "Timeout",
            plain(
                "the server was unable to return a response in the time allotted, but may still be processing the request",
            ),
        ),
        500.. => (
            "InternalError",
            format!("an error on the server ({text:?}) has prevented the request from succeeding"),
        ),
        _ => (
            "",
            format!("the server responded with the status code {code} but did not return more information"),
        ),
    };
    let details = Details { name: name.to_owned(), kind: resource.to_owned(), ..Details::default() };
    failure(code, reason, format!("{message} ( {resource} {name})"), Some(details))
}

/// Storage is away; nothing was done, or it is not known whether it was.
pub fn unavailable(message: impl Into<String>) -> Status {
    failure(503, "ServiceUnavailable", message.into(), None)
}

/// The server has not read what etcd has.
pub fn loading() -> Status {
    let message = "the server has not read its storage yet: etcd is away, or has only just been asked";
    failure(503, "ServiceUnavailable", message.to_owned(), retry(1))
}

/// `message` is what follows `Timeout: `.
pub fn timeout(message: &str, retry_after_seconds: u64) -> Status {
    failure(504, "Timeout", format!("Timeout: {message}"), retry(retry_after_seconds))
}

/// A version that storage has not reached, and did not within the time that one may wait.
pub fn too_large_resource_version(wanted: u64, current: u64) -> Status {
    let mut status = timeout(&format!("Too large resource version: {wanted}, current: {current}"), 1);
    if let Some(details) = &mut status.details {
        details.causes = vec![Cause {
            reason: "ResourceVersionTooLarge".to_owned(),
            message: "Too large resource version".to_owned(),
            field: String::new(),
        }];
    }
    status
}

/// A patch that cannot be carried out on the object.
pub fn unprocessable() -> Status {
    let message = "the server rejected our request due to an error in our request".to_owned();
    failure(422, "Invalid", message, Some(Details::default()))
}

/// A wish that was fulfilled, where the answer is no object.
pub fn success(kind: &Kind, name: &str, uid: &str) -> Status {
    let mut details = about(kind, name);
    if let Some(details) = &mut details {
        details.uid = uid.to_owned();
    }
    Status { status: "Success".to_owned(), details, ..Status::default() }
}

/// The path is of a group and version that are served, and there is nothing under it.
pub fn no_such_resource() -> Status {
    Status {
        status: "Failure".to_owned(),
        message: "the server could not find the requested resource".to_owned(),
        reason: "NotFound".to_owned(),
        details: Some(Details::default()),
        code: 404,
        ..Status::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::Path;

    #[test]
    fn several_errors_stand_in_brackets_and_the_same_one_stands_once() {
        let at = |name: &str| FieldError::required(&Path::new(name), "");
        let message = |errors: &[FieldError]| invalid_kind("g", "K", "n", errors).message;
        assert_eq!(message(&[]), "K.g \"n\" is invalid");
        assert_eq!(message(&[at("a")]), "K.g \"n\" is invalid: a: Required value");
        assert_eq!(message(&[at("a"), at("a")]), "K.g \"n\" is invalid: a: Required value");
        let both = "K.g \"n\" is invalid: [a: Required value, b: Required value]";
        assert_eq!(message(&[at("a"), at("b"), at("a")]), both);
        assert_eq!(invalid_kind("", "K", "n", &[at("a")]).message, "K \"n\" is invalid: a: Required value");
    }
}
