//! YAML of objects.

use apiclient_core::yaml::{self, Twice};
use serde_json::Value;

use super::json::lossy;
use super::quote::quoted;
use super::{DecodeError, Decoded};
use crate::library::Schema;

/// Reads the first document. A key that stands twice is a problem, as in JSON.
///
/// # Errors
/// What is not YAML, is more than a client may send, or is not of the schema's types.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<Decoded, DecodeError> {
    // JSON is YAML, has a reader ten times as fast, and is what kubectl sends as YAML.
    if body.starts_with(b"{")
        && let Ok(decoded) = super::json::decode(schema, body)
        && !decoded.problems.iter().any(|problem| problem.starts_with("duplicate"))
    {
        return Ok(decoded);
    }
    let (value, twice) = untyped(body)?;
    let body = serde_json::to_vec(&value).map_err(|error| DecodeError(error.to_string()))?;
    let mut decoded = super::json::decode(schema, &body)?;
    decoded.problems.splice(0..0, twice);
    Ok(decoded)
}

/// The first document, of any shape, and the problem that a key stands twice.
///
/// # Errors
/// What is not YAML, or is more than a client may send.
pub fn untyped(body: &[u8]) -> Result<(Value, Option<String>), DecodeError> {
    let text = lossy(body);
    let Some((_, text)) = yaml::documents(&text).next() else {
        return Ok((Value::Null, None));
    };
    let value = yaml::untrusted(text, Twice::LastWins).map_err(|error| {
        // The original names no first line, and says only what it did not find.
        let place = if error.line > 1 { format!("line {}: ", error.line) } else { String::new() };
        let reason = error.reason.strip_prefix("while ").and_then(|reason| reason.split_once(", "));
        DecodeError(format!("yaml: {place}{}", reason.map_or(&*error.reason, |(_, reason)| reason)))
    })?;
    let twice = yaml::untrusted(text, Twice::Refused).err().map(|error| {
        let key = error.reason.strip_prefix("duplicate mapping key: ").unwrap_or(&error.reason);
        format!("yaml: unmarshal errors:\n  line {}: key {} already set in map", error.line, quoted(key))
    });
    Ok((value, twice))
}

/// As the original's YAML: fields in the order of their names.
pub fn encode(schema: &Schema, object: &Value) -> Vec<u8> {
    let text = super::json::encode(schema, object);
    // Our own JSON, and YAML can say all of it.
    let value = serde_json::from_slice(&text).unwrap_or_default();
    yaml::write(&value).unwrap_or_default().into_bytes()
}
