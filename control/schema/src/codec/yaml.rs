//! YAML of objects.

use serde_json::Value;

use super::{DecodeError, Decoded};
use crate::library::Schema;

/// # Errors
/// What is not YAML, or not of the schema's types.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<Decoded, DecodeError> {
    super::json::decode(schema, body)
}

pub fn encode(schema: &Schema, object: &Value) -> Vec<u8> {
    super::json::encode(schema, object)
}
