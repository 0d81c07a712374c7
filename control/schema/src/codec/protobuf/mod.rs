//! Protobuf of objects, byte for byte as the original's generated code writes it.
//!
//! Facts: `k8s.io/apimachinery/pkg/runtime/generated.proto` for the envelope; gogo's code writes the fields in the order of
//! their numbers, those that are no pointers whatever their value, and entries of maps in the order of their keys.

mod read;
mod wire;
mod write;

use serde_json::{Map, Value};

use super::json::lossy;
use super::{DecodeError, Decoded};
use crate::library::Schema;
use wire::Reader;

pub(crate) use wire::{bytes_size, put_bytes, put_length, put_varint};

/// What stands before every object: `k8s` and a zero byte.
pub const MAGIC: &[u8] = b"k8s\0";

/// `runtime.Unknown`: an object's kind, and its bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Envelope<'a> {
    pub api_version: &'a str,
    pub kind: &'a str,
    pub raw: &'a [u8],
    /// Empty for protobuf; `application/json` where `raw` is JSON.
    pub content_type: &'a str,
}

/// # Errors
/// Bytes that do not begin with [`MAGIC`], or that are no message.
pub fn open(body: &[u8]) -> Result<Envelope<'_>, DecodeError> {
    if body.is_empty() {
        return Err(DecodeError("empty data".to_owned()));
    }
    let Some(rest) = body.strip_prefix(MAGIC) else {
        let text = "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]";
        return Err(DecodeError(text.to_owned()));
    };
    if rest.is_empty() {
        return Err(DecodeError("empty body".to_owned()));
    }
    let mut found = Envelope::default();
    let text = |bytes| std::str::from_utf8(bytes).unwrap_or_default();
    let mut reader = Reader::new(rest, "Unknown");
    while let Some((number, wire)) = reader.tag()? {
        match number {
            1 => {
                let mut of = Reader::new(reader.expect_bytes(wire, "TypeMeta")?, "TypeMeta");
                while let Some((number, wire)) = of.tag()? {
                    match number {
                        1 => found.api_version = text(of.expect_bytes(wire, "APIVersion")?),
                        2 => found.kind = text(of.expect_bytes(wire, "Kind")?),
                        _ => of.skip(wire)?,
                    }
                }
            }
            2 => found.raw = reader.expect_bytes(wire, "Raw")?,
            4 => found.content_type = text(reader.expect_bytes(wire, "ContentType")?),
            _ => reader.skip(wire)?,
        }
    }
    Ok(found)
}

/// An object in its envelope, with the kind that the envelope names. Protobuf has no unknown or duplicate fields that
/// the original would tell of.
///
/// # Errors
/// As [`open`], and a message that is not of the schema.
pub fn decode(schema: &Schema, body: &[u8]) -> Result<Decoded, DecodeError> {
    let envelope = open(body)?;
    let mut map = Map::new();
    for (name, value) in [("apiVersion", envelope.api_version), ("kind", envelope.kind)] {
        if !value.is_empty() {
            map.insert(name.to_owned(), value.into());
        }
    }
    read::message(schema, envelope.raw, &mut map)?;
    Ok(Decoded { value: Value::Object(map), problems: Vec::new() })
}

/// An object in its envelope.
pub fn encode(schema: &Schema, api_version: &str, kind: &str, object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    let raw = open_envelope(api_version, kind, &mut out);
    write::message(schema, object, &mut out);
    close_envelope(raw, &mut out);
    out
}

/// Begins an object in its envelope; what follows is the object's own bytes. Returns where they begin.
pub(crate) fn open_envelope(api_version: &str, kind: &str, out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(MAGIC);
    let mut of = Vec::with_capacity(api_version.len() + kind.len() + 4);
    put_bytes(1, api_version.as_bytes(), &mut of);
    put_bytes(2, kind.as_bytes(), &mut of);
    put_bytes(1, &of, out);
    out.push(2 << 3 | wire::BYTES);
    out.len()
}

/// Ends what [`open_envelope`] began.
pub(crate) fn close_envelope(raw: usize, out: &mut Vec<u8>) {
    put_length(raw, out);
    end_envelope(out);
}

/// What follows an object's own bytes.
pub(crate) fn end_envelope(out: &mut Vec<u8>) {
    // contentEncoding and contentType: strings that are no pointers, and so are there.
    out.extend_from_slice(&[3 << 3 | wire::BYTES, 0, 4 << 3 | wire::BYTES, 0]);
}

/// An object's message alone, without kind and apiVersion.
///
/// # Errors
/// A message that is not of the schema.
pub fn decode_raw(schema: &Schema, raw: &[u8]) -> Result<Value, DecodeError> {
    let mut map = Map::new();
    read::message(schema, raw, &mut map)?;
    Ok(Value::Object(map))
}

pub fn encode_raw(schema: &Schema, object: &Value) -> Vec<u8> {
    let mut out = Vec::with_capacity(512);
    write::message(schema, object, &mut out);
    out
}

fn text(bytes: &[u8]) -> String {
    lossy(bytes).into_owned()
}
