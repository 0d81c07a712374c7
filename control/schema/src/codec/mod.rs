//! Objects to bytes and back, by their schemas.
//!
//! Owns: JSON, protobuf and YAML of objects, and the bodies of lists and watches made of objects that are encoded
//! already. Never: knows a kind.
//!
//! An object in work holds no zero value of a field that is not a pointer, and no empty list or map of a built-in kind:
//! decoders leave them out (`"status": {}` too), encoders write what the original always writes. So an object is the
//! same value whatever it was decoded from, and code reads an absent field as its zero value.

pub mod json;
pub mod list;
pub mod protobuf;
pub mod prune;
mod quantity;
pub(crate) mod quote;
mod time;
pub mod watch;
pub mod yaml;

use serde_json::Value;

use crate::library::{Field, Presence, Scalar, Shape};

/// An object, and what was wrong with its text without keeping it from being read.
#[derive(Clone, Debug, PartialEq)]
pub struct Decoded {
    pub value: Value,
    /// `unknown field "spec.dat"`, `duplicate field "data.a"`, in the order of the text: what `fieldValidation` is about.
    pub problems: Vec<String>,
}

/// Bytes that are no object of the schema, in the original's words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// Whether a field's value is the one that an absent field has, so that objects in work do without it.
fn is_left_out(field: &Field, value: &Value) -> bool {
    if matches!(field.presence, Presence::Optional | Presence::Null) {
        return false;
    }
    match (&field.of.shape, value) {
        (_, Value::Null) => true,
        (Shape::Scalar(Scalar::Bool), Value::Bool(value)) => !value,
        (
            Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Float | Scalar::IntOrString),
            Value::Number(number),
        ) => number.as_f64() == Some(0.0),
        (
            Shape::Scalar(Scalar::String | Scalar::Bytes | Scalar::Time | Scalar::MicroTime),
            Value::String(text),
        ) => text.is_empty(),
        (Shape::Scalar(Scalar::Quantity), Value::String(text)) => text == "0",
        (Shape::Scalar(Scalar::Duration), Value::String(text)) => text == "0s",
        (Shape::Struct { .. } | Shape::Map { .. }, Value::Object(map)) => map.is_empty(),
        (Shape::List { .. }, Value::Array(all)) => all.is_empty(),
        _ => false,
    }
}
