//! PATCH of an object, or of a part of it, in each of the four ways.

use apiclient_core::wire::Status;
use control_core::field::{FieldError, Path};
use control_core::kind::Subresource;
use control_core::{edit, refusal};
use control_schema::codec;
use control_schema::library::Schema;
use control_schema::patch::{self, PatchError};
use http::header::CONTENT_TYPE;
use serde_json::Value;

use super::create;
use super::store_update::{self, Change, Updated};
use super::update::may_create_by_update;
use crate::call::Call;
use crate::decoding;
use crate::encoding::object::served_value;
use crate::reply::{Body, Response};
use crate::request::options::{self, FieldValidation, WriteOptions};
use crate::strategy::{managed, system};

/// How a patch says what shall change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Json,
    Merge,
    Strategic,
    Apply,
}

/// What the client wants, read once.
struct Wanted {
    way: Way,
    patch: Value,
    /// Fields that stand twice in it, or that no patch has.
    problems: Vec<String>,
}

/// # Errors
/// The patch is none, does not fit the object, or is not allowed.
pub async fn run(call: &mut Call, subresource: Option<Subresource>, body: Body) -> Result<Response, Status> {
    let way = way(call)?;
    let bytes = call.read(body).await?;
    let write = if way == Way::Apply { options::Write::Apply } else { options::Write::Patch };
    let options = WriteOptions::decode(&call.query, write)?;
    let wanted = read(&call.served.of().schema, way, &bytes, options.validation)?;
    let manager = call.manager(&options.manager);
    let force = options.force.unwrap_or(false);
    let mut make = |call: &mut Call, old: &Value| {
        if wanted.way == Way::Apply {
            return apply(call, old, &wanted, &manager, subresource, force, options.validation);
        }
        let mut new = patched(call, old, &wanted, options.validation)?;
        managed::track(call, old, &mut new, &manager, subresource);
        Ok(new)
    };
    let may_create = way == Way::Apply && subresource.is_none();
    let change = Change { subresource, options: &options, uid: None, may_create, make: &mut make };
    match store_update::run(call, change).await? {
        Updated::Written { stored, .. } => call.answer_written(200, &stored),
        Updated::Value(object) => call.answer_value(200, object),
        Updated::Absent => {
            let object =
                apply(call, &Value::Null, &wanted, &manager, subresource, force, options.validation)?;
            create_applied(call, object, &options).await
        }
    }
}

/// An apply where there is no object makes one.
async fn create_applied(call: &mut Call, object: Value, options: &WriteOptions) -> Result<Response, Status> {
    let uid = edit::text(&object, &["metadata", "uid"]);
    if !uid.is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        return Err(refusal::conflict(&call.served.kind, &call.resource.name, &why));
    }
    may_create_by_update(call).await?;
    create::finish_tracked(call, object, options).await
}

fn way(call: &Call) -> Result<Way, Status> {
    let given = call.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    match given.split(';').next().unwrap_or_default() {
        "application/json-patch+json" => Ok(Way::Json),
        "application/merge-patch+json" => Ok(Way::Merge),
        "application/strategic-merge-patch+json" if call.served.is_built_in() => Ok(Way::Strategic),
        "application/apply-patch+yaml" => Ok(Way::Apply),
        _ => {
            let mut refused = refusal::unsupported_media_type("");
            refused.message = "415: Unsupported Media Type".to_owned();
            refused.details = Some(Default::default());
            Err(refused)
        }
    }
}

fn read(schema: &Schema, way: Way, bytes: &[u8], validation: FieldValidation) -> Result<Wanted, Status> {
    if way == Way::Apply {
        let (patch, problem) = read_apply(schema, bytes, validation)?;
        return Ok(Wanted { way, patch, problems: problem.into_iter().collect() });
    }
    let patch: Value = serde_json::from_slice(bytes).map_err(|error| {
        let why = if error.is_eof() { "unexpected end of JSON input".to_owned() } else { error.to_string() };
        match way {
            Way::Strategic => refusal::bad_request(why),
            _ => refusal::bad_request(format!("error decoding patch: {why}")),
        }
    })?;
    let mut problems = Vec::new();
    if way == Way::Json && validation != FieldValidation::Ignore {
        let unknown = patch::json::unknown_fields(&patch);
        problems.extend(unknown.into_iter().map(|problem| format!("json patch {problem}")));
    }
    Ok(Wanted { way, patch, problems })
}

/// What is applied: the first document of YAML, of which JSON is a part that has a faster reader. With it, unless it is
/// ignored, the problem that a key stands twice.
fn read_apply(
    schema: &Schema,
    bytes: &[u8],
    validation: FieldValidation,
) -> Result<(Value, Option<String>), Status> {
    let heeded = validation != FieldValidation::Ignore;
    let has_twice = |text: &[u8]| {
        let twice = |problem: &String| problem.starts_with("duplicate");
        codec::json::decode(schema, text).map_or(true, |decoded| decoded.problems.iter().any(twice))
    };
    let start = bytes.trim_ascii_start();
    if start.starts_with(b"{")
        && let Ok(value) = serde_json::from_slice(start)
        && !(heeded && has_twice(start))
    {
        return Ok((value, None));
    }
    let why = |error: &dyn std::fmt::Display| format!("error converting YAML to JSON: {error}");
    let (value, twice) = codec::yaml::untyped(bytes)
        .map_err(|error| refusal::bad_request(format!("error decoding YAML: {}", why(&error))))?;
    let value = if value.is_null() { Value::Object(serde_json::Map::new()) } else { value };
    Ok((value, twice.filter(|_| heeded).map(|problem| why(&problem))))
}

/// The object as the patch makes it, in the version of storage.
fn patched(
    call: &mut Call,
    old: &Value,
    wanted: &Wanted,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let current = served_value(&call.served, old.clone());
    let outcome = match wanted.way {
        // A path may name what JSON shows though it is zero: `"podSelector": {}`, `"served": false`.
        Way::Json => {
            let shown = codec::json::encode(&call.served.of().schema, &current);
            let shown = serde_json::from_slice(&shown).unwrap_or(current);
            patch::json::apply(shown, &wanted.patch)
        }
        Way::Merge => patch::merge::apply(current, &wanted.patch),
        Way::Strategic | Way::Apply => {
            patch::strategic::apply(&call.served.of().schema, current, wanted.patch.clone())
        }
    };
    let outcome = outcome.map_err(|error| match error {
        PatchError::BadRequest(message) => refusal::bad_request(message),
        PatchError::TooManyOperations(_) => refusal::too_large(&error.to_string()),
        PatchError::Unprocessable(_) => refusal::unprocessable(),
        PatchError::Internal(message) => refusal::unknown(message),
    })?;
    decoded(call, old, &with_reset(outcome), wanted, validation)
}

/// What a patch made of the object, where that is refused.
fn refused_text(call: &Call, old: &Value, wanted: &Wanted) -> String {
    let schema = &call.served.of().schema;
    let shown = || String::from_utf8(codec::json::encode(schema, &served_value(&call.served, old.clone())));
    match (wanted.way, shown()) {
        (Way::Json, Ok(object)) => patch::shown::operated(&object, &wanted.patch).unwrap_or_default(),
        (Way::Merge, Ok(object)) => patch::shown::merged(&object, &wanted.patch),
        _ => patch::strategic::show(&wanted.patch),
    }
}

/// No entries at all mean the same as one empty entry, which decoding keeps: to begin the account again.
fn with_reset(mut object: Value) -> Value {
    let entries = object.pointer_mut("/metadata/managedFields");
    if let Some(entries) = entries.filter(|entries| entries.as_array().is_some_and(Vec::is_empty)) {
        *entries = managed::reset_entries();
    }
    object
}

/// What comes out of a patch must be an object of the kind again.
fn decoded(
    call: &mut Call,
    old: &Value,
    outcome: &Value,
    wanted: &Wanted,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let text = outcome.to_string();
    let refuse = |call: &Call, why: &str| {
        let fault = FieldError::invalid(&Path::new("patch"), &refused_text(call, old, wanted).into(), why);
        refusal::invalid_kind("", "", "", &[fault])
    };
    let served = std::sync::Arc::clone(&call.served);
    let (kind, api_version) = (edit::text(outcome, &["kind"]), edit::text(outcome, &["apiVersion"]));
    if wanted.way != Way::Strategic && (kind != served.kind.kind || api_version != served.api_version) {
        return Err(refuse(call, &decoding::kind::unregistered(api_version, kind)));
    }
    let found = codec::json::decode(&served.of().schema, text.as_bytes())
        .map_err(|error| refuse(call, &error.to_string()))?;
    let mut problems = wanted.problems.clone();
    problems.extend(found.problems);
    match validation {
        FieldValidation::Strict if !problems.is_empty() => {
            return Err(refuse(call, &format!("strict decoding error: {}", problems.join(", "))));
        }
        FieldValidation::Warn => call.warn(problems),
        FieldValidation::Strict | FieldValidation::Ignore => {}
    }
    let mut object = decoding::complete(&served, found.value);
    system::check_namespace(call, &mut object)?;
    system::check_name(call, &object)?;
    Ok(object)
}

/// The object as server-side apply makes it, in the version of storage.
fn apply(
    call: &mut Call,
    old: &Value,
    wanted: &Wanted,
    manager: &str,
    subresource: Option<Subresource>,
    force: bool,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let applied = managed::apply(call, old, &wanted.patch, manager, subresource, force)?;
    match wanted.problems.first() {
        Some(problem) if validation == FieldValidation::Strict => {
            return Err(refusal::bad_request(format!("error strict decoding YAML: {problem}")));
        }
        _ => call.warn(wanted.problems.clone()),
    }
    let served = std::sync::Arc::clone(&call.served);
    let text = applied.to_string();
    let found = codec::json::decode(&served.of().schema, text.as_bytes())
        .map_err(|error| refusal::unknown(not_of_version(&wanted.patch, &error.to_string())))?;
    if validation == FieldValidation::Warn {
        call.warn(found.problems);
    }
    let mut object = decoding::complete(&served, found.value);
    system::check_namespace(call, &mut object)?;
    system::check_name(call, &object)?;
    Ok(object)
}

/// What an apply makes has a value that the version cannot have.
fn not_of_version(patch: &Value, error: &str) -> String {
    let name = control_schema::apply::object_name(patch);
    let version = name.split_once("; ").map_or("", |(_, version)| version);
    let bytes = if error.starts_with("illegal base64") { "error decoding from json: " } else { "" };
    format!(
        "failed to convert new object ({name}) to proper version: unable to convert unstructured object to {version}: {bytes}{error}"
    )
}

#[cfg(test)]
mod tests {
    use control_schema::builtin;
    use serde_json::json;

    use super::*;

    fn read_config_map(text: &str, validation: FieldValidation) -> Result<(Value, Option<String>), Status> {
        let schema = builtin::kind("v1", "ConfigMap").expect("a kind");
        read_apply(&schema, text.as_bytes(), validation)
    }

    #[test]
    fn bytes_that_are_none_are_refused_with_the_object_and_its_version() {
        let patch = serde_json::json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "a"}});
        let want = "failed to convert new object (/a; /v1, Kind=Secret) to proper version: unable to convert unstructured object to /v1, Kind=Secret: error decoding from json: illegal base64 data at input byte 4";
        assert_eq!(not_of_version(&patch, "illegal base64 data at input byte 4"), want);
    }

    #[test]
    fn what_is_applied_may_be_hostile() {
        let read = |text: &str| read_config_map(text, FieldValidation::Strict);
        let deep = "{\"a\":".repeat(100_000) + "1" + &"}".repeat(100_000);
        assert_eq!(read(&deep).map_err(|refused| refused.code), Err(400));
        assert_eq!(read(&"[".repeat(100_000)).map_err(|refused| refused.code), Err(400));
        assert_eq!(read("  \n# nothing\n"), Ok((json!({}), None)));
        assert_eq!(read("a: {b: [1]}\n---\nc: 2"), Ok((json!({"a": {"b": [1]}}), None)));
        let broken = read("a: [").expect_err("refused").message;
        assert!(broken.starts_with("error decoding YAML: error converting YAML to JSON: yaml: "), "{broken}");
    }

    #[test]
    fn a_key_that_stands_twice_in_an_apply_is_a_problem_unless_it_is_ignored() {
        let problem =
            "error converting YAML to JSON: yaml: unmarshal errors:\n  line 3: key \"a\" already set in map";
        let json = "{\"data\": {\n\"a\": \"1\",\n\"a\": \"2\"}}";
        for text in ["data:\n  a: '1'\n  a: '2'", json] {
            for validation in [FieldValidation::Strict, FieldValidation::Warn, FieldValidation::Ignore] {
                let twice = (validation != FieldValidation::Ignore).then(|| problem.to_owned());
                assert_eq!(read_config_map(text, validation), Ok((json!({"data": {"a": "2"}}), twice)));
            }
        }
        let once = read_config_map("{\"data\": {\"a\": \"1\"}}", FieldValidation::Strict);
        assert_eq!(once, Ok((json!({"data": {"a": "1"}}), None)));
    }
}
