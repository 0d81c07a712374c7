//! The patches of the API: JSON patch, JSON merge patch, strategic merge patch.
//!
//! Owns: what a patch makes of an object, and the refusals that the original gives. Server-side apply is in `apply`.
//! Never: decodes bytes, defaults or validates what comes out, and knows nothing of resource versions.
//! Begin at [`json::apply`], [`merge::apply`] and [`strategic::apply`]: object and patch in, new object out.

pub mod json;
pub mod merge;
pub mod shown;
pub mod strategic;

use serde_json::Value;

/// Nesting of what a patch makes, in lists and objects. Deeper documents are refused: they could not be read again.
pub const MAX_DEPTH: usize = 127;

/// Why a patch is refused, and with which code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// 400, reason `BadRequest`, with this message.
    #[error("{0}")]
    BadRequest(String),
    /// 413, reason `RequestEntityTooLarge`: a JSON patch of so many operations.
    #[error("The allowed maximum operations in a JSON patch is {max}, got {0}", max = json::MAX_OPERATIONS)]
    TooManyOperations(usize),
    /// 422, reason `Invalid`, message `the server rejected our request due to an error in our request`, details `{}`.
    /// What is wrong, in here, is not shown to the client by the original.
    #[error("{0}")]
    Unprocessable(String),
    /// 500 with this message: what the original has no better word for.
    #[error("{0}")]
    Internal(String),
}

impl PatchError {
    /// The HTTP status that the original answers with.
    pub fn code(&self) -> u16 {
        match self {
            Self::BadRequest(_) => 400,
            Self::TooManyOperations(_) => 413,
            Self::Unprocessable(_) => 422,
            Self::Internal(_) => 500,
        }
    }
}

/// How deep a value is nested: 0 for a scalar, 1 for `{}`. Stops counting beyond [`MAX_DEPTH`].
fn depth(value: &Value) -> usize {
    fn walk(value: &Value, left: usize) -> usize {
        if left == 0 {
            return 0;
        }
        match value {
            Value::Array(items) => 1 + items.iter().map(|item| walk(item, left - 1)).max().unwrap_or(0),
            Value::Object(members) => {
                1 + members.values().map(|item| walk(item, left - 1)).max().unwrap_or(0)
            }
            _ => 0,
        }
    }
    walk(value, MAX_DEPTH + 1)
}

/// What Go's decoder calls a value in its errors.
fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}
