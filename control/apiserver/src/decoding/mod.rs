//! The body of a request as an object.
//!
//! Owns: that the body is of the kind that the path names ([`object`]), what becomes of fields that are unknown or stand
//! twice, and the limit of its size ([`read`]).

pub mod body;
pub mod kind;

use apiclient_core::wire::Status;
use control_core::refusal;
use control_schema::codec::{self, DecodeError, Decoded};
use control_schema::{builtin, defaults};
use serde_json::Value;

pub use body::read;

use crate::encoding::object::to_storage;
use crate::negotiation::Encoding;
use crate::registry::Served;
use crate::request::options::{DeleteOptions, FieldValidation};
use crate::request::query::Query;

/// An object that a client sent, in the version of storage and with all defaults; and lines for `Warning` headers.
///
/// # Errors
/// 400: it is no object of the kind, or with `fieldValidation=Strict` has fields that it should not have.
pub fn object(
    served: &Served,
    bytes: &[u8],
    encoding: Encoding,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let named = kind::of(bytes, encoding).map_err(|why| unrecognized(&served.kind.kind, bytes, &why))?;
    let name = if named.kind.is_empty() { served.kind.kind.as_ref() } else { &named.kind };
    let api_version =
        if named.api_version.is_empty() { served.api_version.as_str() } else { &named.api_version };
    let refuse = |why: &str| {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        refusal::bad_request(format!(
            "{name} in version {version:?} cannot be handled as a {}: {why}",
            served.kind.kind
        ))
    };
    if name != served.kind.kind.as_ref() || api_version != served.api_version {
        return Err(match kind::foreign(served, api_version, name) {
            kind::Foreign::OtherVersion => refusal::bad_request(format!(
                "the API version in the data ({api_version}) does not match the expected API version ({})",
                served.api_version
            )),
            kind::Foreign::Unknown(why) => refuse(&why),
        });
    }
    let decoded = decode(served, bytes, encoding).map_err(|error| refuse(&error.to_string()))?;
    if validation == FieldValidation::Strict && !decoded.problems.is_empty() {
        return Err(refuse(&format!("strict decoding error: {}", decoded.problems.join(", "))));
    }
    let warnings = match validation {
        FieldValidation::Warn => decoded.problems,
        FieldValidation::Ignore | FieldValidation::Strict => Vec::new(),
    };
    Ok((complete(served, decoded.value), warnings))
}

/// The body of a part that has a kind of its own (`Eviction`), which is no resource. `versions` are those that are accepted,
/// the one that it is read as first.
///
/// # Errors
/// As [`object`].
pub fn part(
    versions: &[&str],
    name: &str,
    bytes: &[u8],
    encoding: Encoding,
    validation: FieldValidation,
) -> Result<(Value, Vec<String>), Status> {
    let own = versions.first().copied().unwrap_or_default();
    let named = kind::of(bytes, encoding).map_err(|why| unrecognized(name, bytes, &why))?;
    let given = if named.kind.is_empty() { name } else { &named.kind };
    let api_version = if named.api_version.is_empty() { own } else { &named.api_version };
    let refuse = |why: &str| {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        refusal::bad_request(format!("{given} in version {version:?} cannot be handled as a {name}: {why}"))
    };
    if given != name || !versions.contains(&api_version) {
        let group = own.split_once('/').map_or("", |(group, _)| group);
        return Err(refuse(&kind::foreign_to(group, name, api_version, given)));
    }
    let Some(schema) = builtin::kind(own, name) else {
        return Err(refusal::internal(&format!("there is no schema of {name}")));
    };
    let decoded = match encoding {
        Encoding::Json => codec::json::decode(&schema, bytes),
        Encoding::Yaml => codec::yaml::decode(&schema, bytes),
        Encoding::Protobuf => codec::protobuf::decode(&schema, bytes),
    };
    let mut decoded = decoded.map_err(|error| refuse(&error.to_string()))?;
    if validation == FieldValidation::Strict && !decoded.problems.is_empty() {
        return Err(refuse(&format!("strict decoding error: {}", decoded.problems.join(", "))));
    }
    defaults::apply(&schema, &mut decoded.value);
    let warnings = if validation == FieldValidation::Warn { decoded.problems } else { Vec::new() };
    Ok((decoded.value, warnings))
}

/// An object in the served version, with its defaults, in the version of storage.
pub fn complete(served: &Served, mut object: Value) -> Value {
    defaults::apply(&served.of().schema, &mut object);
    to_storage(served, object, &served.of().name)
}

fn decode(served: &Served, bytes: &[u8], encoding: Encoding) -> Result<Decoded, DecodeError> {
    let schema = &served.of().schema;
    match encoding {
        Encoding::Json => codec::json::decode(schema, bytes),
        Encoding::Yaml => codec::yaml::decode(schema, bytes),
        Encoding::Protobuf => codec::protobuf::decode(schema, bytes),
    }
}

/// The body has `managedFields` without any entry, which a decoded object cannot say: who set which field is to be
/// forgotten.
pub fn has_no_entries(bytes: &[u8], encoding: Encoding) -> bool {
    const NAME: &[u8] = b"managedFields";
    if encoding == Encoding::Protobuf || !bytes.windows(NAME.len()).any(|window| window == NAME) {
        return false;
    }
    let text = String::from_utf8_lossy(bytes);
    let object: Option<Value> = match encoding {
        Encoding::Yaml => apiclient_core::yaml::value(1, &text).ok(),
        _ => serde_json::from_str(&text).ok(),
    };
    let entries = object.as_ref().and_then(|object| object.pointer("/metadata/managedFields"));
    entries.and_then(Value::as_array).is_some_and(Vec::is_empty)
}

/// The body says not even what it should be.
fn unrecognized(kind: &str, bytes: &[u8], why: &str) -> Status {
    const SHOWN: usize = 30;
    let cut = &bytes[..bytes.len().min(SHOWN)];
    let mut summary = match bytes.first() {
        None => "<empty>".to_owned(),
        Some(b'{') => String::from_utf8_lossy(cut).into_owned(),
        Some(_) => cut.iter().map(|byte| format!("{byte:02x}")).collect(),
    };
    if bytes.len() > SHOWN {
        summary.push_str(" ...");
    }
    refusal::bad_request(format!(
        "the object provided is unrecognized (must be of type {kind}): {why} ({summary})"
    ))
}

/// How a deletion is meant: by the body, or by the query where there is none.
///
/// # Errors
/// 400 for a body that is none, 422 for values that are none.
pub fn delete_options(bytes: &[u8], encoding: Encoding, query: &Query) -> Result<DeleteOptions, Status> {
    if bytes.is_empty() {
        return DeleteOptions::from_query(query);
    }
    let named = kind::of(bytes, encoding).map_err(refusal::bad_request)?;
    if !matches!(named.kind.as_str(), "" | "DeleteOptions") {
        let version = if named.api_version.is_empty() { "meta.k8s.io/v1" } else { &named.api_version };
        return Err(refusal::bad_request(kind::unregistered(version, &named.kind)));
    }
    let Some(schema) = builtin::kind("meta.k8s.io/v1", "DeleteOptions") else {
        return Err(refusal::internal("there is no schema of DeleteOptions"));
    };
    let decoded = match encoding {
        Encoding::Json => codec::json::decode(&schema, bytes),
        Encoding::Yaml => codec::yaml::decode(&schema, bytes),
        Encoding::Protobuf => codec::protobuf::decode(&schema, bytes),
    };
    DeleteOptions::from_object(&decoded.map_err(|error| refusal::bad_request(error.to_string()))?.value)
}
