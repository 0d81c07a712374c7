//! JSON of objects, as Go's encoder writes it and sigs.k8s.io/json reads it.

mod bytes;
mod decode;
mod lexer;
mod syntax;
mod write;

pub(crate) use bytes::BASE64;
pub(crate) use lexer::lossy;
pub(crate) use write::{plain, string};

use serde_json::Value;

use super::{DecodeError, Decoded};
use crate::library::Schema;

/// Reads one object. Names of fields are told apart by case, `null` is as good as absent, times, quantities and
/// durations get the one text that the original writes. Of kinds that are defined at run time, only metadata is read
/// like that: their values are left to validation.
///
/// # Errors
/// What is not JSON, or not of the schema's types, in the original's words.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<Decoded, DecodeError> {
    if !schema.root().is_free() {
        return decode::decode(schema, body);
    }
    let mut decoded = decode::decode_free(body)?;
    decoded.problems.extend(crate::codec::prune::coerce(schema, &mut decoded.value)?);
    Ok(decoded)
}

/// Reads JSON of any shape, as the original reads objects of kinds that are defined at run time: nothing is unknown,
/// `null` and zero are kept. [`Decoded::problems`] has the duplicates.
///
/// # Errors
/// What is not JSON.
pub fn decode_any(body: &[u8]) -> Result<Decoded, DecodeError> {
    decode::decode_any(body)
}

/// An object without the newline that a body of the API ends with.
pub fn encode(schema: &Schema, object: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode_into(schema, object, &mut out);
    out
}

/// As [`encode`], behind what `out` holds.
pub fn encode_into(schema: &Schema, object: &Value, out: &mut Vec<u8>) {
    write::object(schema, object, out);
}
