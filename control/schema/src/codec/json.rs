//! JSON of objects, as Go's encoder writes it and sigs.k8s.io/json reads it.

use serde_json::Value;

use super::{DecodeError, Decoded};
use crate::library::Schema;

/// # Errors
/// What is not JSON, or not of the schema's types.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<Decoded, DecodeError> {
    let _ = schema;
    let value: Value = serde_json::from_slice(body).map_err(|error| DecodeError(error.to_string()))?;
    Ok(Decoded { value, problems: Vec::new() })
}

/// An object without the newline that a body of the API ends with.
pub fn encode(schema: &Schema, object: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(schema, object, &mut out);
    out
}

pub fn encode_into(schema: &Schema, object: &Value, out: &mut Vec<u8>) {
    let _ = schema;
    out.extend_from_slice(object.to_string().as_bytes());
}
