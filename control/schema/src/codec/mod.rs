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
pub mod watch;
pub mod yaml;

use serde_json::Value;

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
