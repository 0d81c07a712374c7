//! What a body says that it is.

use apiclient_core::wire::TypeMeta;
use apiclient_core::yaml::{self, Twice};
use control_schema::{builtin, codec};
use serde::Deserialize;
use serde_json::Value;

use crate::negotiation::Encoding;
use crate::registry::Served;

/// The `apiVersion` and `kind` of a body; empty where it does not say.
///
/// # Errors
/// Why it cannot be told, in the original's words.
pub fn of(bytes: &[u8], encoding: Encoding) -> Result<TypeMeta, String> {
    match encoding {
        Encoding::Json => of_json(bytes),
        Encoding::Yaml => of_yaml(bytes),
        Encoding::Protobuf => {
            let envelope = codec::protobuf::open(bytes).map_err(|error| error.to_string())?;
            Ok(TypeMeta { api_version: envelope.api_version.to_owned(), kind: envelope.kind.to_owned() })
        }
    }
}

const GO_TYPE: &str =
    r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;

fn of_json(bytes: &[u8]) -> Result<TypeMeta, String> {
    let failed = |why: String| format!("couldn't get version/kind; json parse error: {why}");
    #[derive(Deserialize)]
    struct Named {
        #[serde(rename = "apiVersion", default)]
        api_version: Value,
        #[serde(default)]
        kind: Value,
    }
    let first = bytes.iter().find(|byte| !byte.is_ascii_whitespace());
    let other = match first {
        Some(b'[') => Some("array"),
        Some(b'"') => Some("string"),
        Some(b't' | b'f') => Some("bool"),
        Some(b'0'..=b'9' | b'-') => Some("number"),
        _ => None,
    };
    if let Some(other) = other
        && serde_json::from_slice::<serde::de::IgnoredAny>(bytes).is_ok()
    {
        return Err(failed(format!("json: cannot unmarshal {other} into Go value of type {GO_TYPE}")));
    }
    let named: Option<Named> = serde_json::from_slice(bytes).map_err(|error| failed(as_go(bytes, &error)))?;
    let Some(named) = named else { return Ok(TypeMeta::default()) };
    let text = |value: Value, field: &str| match value {
        Value::Null => Ok(String::new()),
        Value::String(text) => Ok(text),
        other => {
            let kind = match other {
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::Array(_) => "array",
                _ => "object",
            };
            Err(failed(format!("json: cannot unmarshal {kind} into Go struct field .{field} of type string")))
        }
    };
    Ok(TypeMeta { api_version: text(named.api_version, "apiVersion")?, kind: text(named.kind, "kind")? })
}

fn of_yaml(bytes: &[u8]) -> Result<TypeMeta, String> {
    let failed = |why: &str| format!("couldn't get version/kind; json parse error: {why}");
    let text = std::str::from_utf8(bytes).map_err(|_| failed("yaml: invalid leading UTF-8 octet"))?;
    let Some((_, document)) = yaml::documents(text).next() else { return Ok(TypeMeta::default()) };
    let value = yaml::untrusted(document, Twice::LastWins).map_err(|error| failed(&error.to_string()))?;
    let text = |field: &str| value[field].as_str().unwrap_or_default().to_owned();
    Ok(TypeMeta { api_version: text("apiVersion"), kind: text("kind") })
}

/// What Go's decoder says of bytes that are no JSON, nearly.
fn as_go(bytes: &[u8], error: &serde_json::Error) -> String {
    if error.is_eof() {
        return "unexpected end of JSON input".to_owned();
    }
    let line = bytes.split(|byte| *byte == b'\n').nth(error.line().saturating_sub(1));
    match line.and_then(|line| line.get(error.column().saturating_sub(1))) {
        Some(byte) => format!("invalid character {:?} looking for beginning of value", char::from(*byte)),
        None => error.to_string(),
    }
}

/// Why a body is not of the kind that the path names.
#[derive(Debug, PartialEq, Eq)]
pub enum Foreign {
    /// It is of another version of it.
    OtherVersion,
    Unknown(String),
}

/// `api_version` and `kind` are the body's.
pub fn foreign(served: &Served, api_version: &str, kind: &str) -> Foreign {
    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
    let own = kind == served.kind.kind.as_ref();
    if own && group == served.kind.group.as_ref() && served.kind.version(version).is_some() {
        return Foreign::OtherVersion;
    }
    Foreign::Unknown(foreign_to(&served.kind.group, &served.kind.kind, api_version, kind))
}

/// Why a body is not of a kind that is wanted.
pub fn foreign_to(wanted_group: &str, wanted: &str, api_version: &str, kind: &str) -> String {
    let known = builtin::api_versions().any(|known| known == api_version);
    if known && builtin::kind(api_version, kind).is_some() {
        let package = if wanted_group.is_empty() { "core" } else { wanted_group };
        let package = package.split('.').next().unwrap_or_default();
        return format!("converting (v1.{kind}) to ({package}.{wanted}): unknown conversion");
    }
    unregistered(api_version, kind)
}

/// The original names a place in its own source here.
pub fn unregistered(api_version: &str, kind: &str) -> String {
    format!(
        "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/runtime/scheme.go:111\""
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_says_what_it_is_or_why_not() {
        let of = |text: &str| of(text.as_bytes(), Encoding::Json);
        let named = of(r#"{"kind":"A","apiVersion":"b/v1","x":[1]}"#).expect("named");
        assert_eq!((named.kind.as_str(), named.api_version.as_str()), ("A", "b/v1"));
        assert_eq!(of("{}"), Ok(TypeMeta::default()));
        let why = |text: &str| of(text).expect_err(text);
        let start = "couldn't get version/kind; json parse error: ";
        assert_eq!(why("{"), format!("{start}unexpected end of JSON input"));
        assert_eq!(why(""), format!("{start}unexpected end of JSON input"));
        assert!(
            why("[]")
                .starts_with(&format!("{start}json: cannot unmarshal array into Go value of type struct {{"))
        );
        let field = "json: cannot unmarshal number into Go struct field .kind of type string";
        assert_eq!(why(r#"{"kind":5}"#), format!("{start}{field}"));
    }
}
