//! Objects to JSON, by their schemas, as Go's encoder writes it: fields in the schema's order, keys of maps sorted, `<`,
//! `>` and `&` escaped.

use std::io::Write;

use serde_json::{Map, Number, Value};

use crate::codec::is_left_out;
use crate::library::{AnyForm, Field, Library, Presence, Scalar, Schema, Shape, Struct, StructId, Type};

pub(super) fn object(schema: &Schema, object: &Value, out: &mut Vec<u8>) {
    match object {
        Value::Object(map) => structure(&schema.library, schema.root, map, out),
        other => plain(other, out),
    }
}

fn structure(library: &Library, id: StructId, map: &Map<String, Value>, out: &mut Vec<u8>) {
    let of = library.get(id);
    if of.is_free() {
        return free(library, of, map, out);
    }
    out.push(b'{');
    let start = out.len();
    members(library, of, map, start, out);
    out.push(b'}');
}

/// The fields of a struct, and those of its inline structs among them. `start` is where the first member stands.
fn members(library: &Library, of: &Struct, map: &Map<String, Value>, start: usize, out: &mut Vec<u8>) {
    of.with_places(map, |values| {
        for (field, value) in of.fields.iter().zip(values) {
            if field.inline {
                if let Shape::Struct { id, .. } = field.of.shape {
                    members(library, library.get(id), map, start, out);
                }
                continue;
            }
            match value.filter(|value| !value.is_null()) {
                Some(value) if field.presence == Presence::OmitEmpty && is_left_out(field, value) => {}
                Some(value) => {
                    name(field, start, out);
                    self::value(library, &field.of, value, out);
                }
                None => match field.presence {
                    Presence::OmitEmpty | Presence::Optional => {}
                    Presence::Null => {
                        name(field, start, out);
                        out.extend_from_slice(b"null");
                    }
                    Presence::Always => {
                        name(field, start, out);
                        zero(library, &field.of, out);
                    }
                },
            }
        }
    });
}

/// A struct whose fields come in the order of their names, with those that the schema does not know.
fn free(library: &Library, of: &Struct, map: &Map<String, Value>, out: &mut Vec<u8>) {
    out.push(b'{');
    for (nth, (name, value)) in map.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        string(name, out);
        out.push(b':');
        match of.field(name) {
            Some(field) => self::value(library, &field.of, value, out),
            None => plain(value, out),
        }
    }
    out.push(b'}');
}

fn name(field: &Field, start: usize, out: &mut Vec<u8>) {
    if out.len() > start {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(field.name.as_bytes());
    out.extend_from_slice(b"\":");
}

fn value(library: &Library, of: &Type, value: &Value, out: &mut Vec<u8>) {
    match (&of.shape, value) {
        (Shape::Struct { id, .. }, Value::Object(map)) => structure(library, *id, map, out),
        (Shape::List { items, .. }, Value::Array(all)) => list(library, items, all, out),
        (Shape::Map { values, .. }, Value::Object(map)) => {
            out.push(b'{');
            for (nth, (key, item)) in map.iter().enumerate() {
                if nth > 0 {
                    out.push(b',');
                }
                string(key, out);
                out.push(b':');
                self::value(library, values, item, out);
            }
            out.push(b'}');
        }
        (
            Shape::Any(
                AnyForm::SchemaOrBool(id) | AnyForm::SchemaOrSchemas(id) | AnyForm::SchemaOrStrings(id),
            ),
            Value::Object(map),
        ) => {
            structure(library, *id, map, out);
        }
        (Shape::Any(AnyForm::SchemaOrSchemas(id)), Value::Array(all)) => {
            list(library, &Type::new(Shape::Struct { id: *id, atomic: false }), all, out);
        }
        (_, other) => plain(other, out),
    }
}

fn list(library: &Library, items: &Type, all: &[Value], out: &mut Vec<u8>) {
    out.push(b'[');
    for (nth, item) in all.iter().enumerate() {
        if nth > 0 {
            out.push(b',');
        }
        value(library, items, item, out);
    }
    out.push(b']');
}

/// What a field that is no pointer has where nothing was set.
fn zero(library: &Library, of: &Type, out: &mut Vec<u8>) {
    let text: &[u8] = match &of.shape {
        Shape::Struct { id, .. } => return structure(library, *id, &Map::new(), out),
        Shape::Scalar(Scalar::Bool) => b"false",
        Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::Float | Scalar::IntOrString) => b"0",
        Shape::Scalar(Scalar::String) => b"\"\"",
        Shape::Scalar(Scalar::Quantity) => b"\"0\"",
        Shape::Scalar(Scalar::Duration) => b"\"0s\"",
        Shape::Scalar(Scalar::Bytes | Scalar::Time | Scalar::MicroTime)
        | Shape::List { .. }
        | Shape::Map { .. }
        | Shape::Any(_) => b"null",
    };
    out.extend_from_slice(text);
}

/// JSON of any shape, keys in their order.
pub(crate) fn plain(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Number(number) => self::number(number, out),
        Value::String(text) => string(text, out),
        Value::Array(all) => {
            out.push(b'[');
            for (nth, item) in all.iter().enumerate() {
                if nth > 0 {
                    out.push(b',');
                }
                plain(item, out);
            }
            out.push(b']');
        }
        Value::Object(map) => {
            out.push(b'{');
            for (nth, (key, item)) in map.iter().enumerate() {
                if nth > 0 {
                    out.push(b',');
                }
                string(key, out);
                out.push(b':');
                plain(item, out);
            }
            out.push(b'}');
        }
    }
}

/// Floating point as Go writes it: `1`, `0.1`, `1e+21`.
fn number(number: &Number, out: &mut Vec<u8>) {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else {
        // Writing to memory does not fail.
        let _ = write!(out, "{number}");
        return;
    };
    let size = float.abs();
    if size != 0.0 && !(1e-6..1e21).contains(&size) {
        let text = format!("{float:e}");
        let (digits, power) = text.split_once('e').unwrap_or((&text, "0"));
        let sign = if power.starts_with('-') { "" } else { "+" };
        let _ = write!(out, "{digits}e{sign}{power}");
    } else {
        let _ = write!(out, "{float}");
    }
}

/// Bytes of a string that are not written as they are; 0xe2 begins the two line separators that Go escapes.
const SPECIAL: [bool; 256] = {
    let mut special = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        special[byte] = true;
        byte += 1;
    }
    special[b'"' as usize] = true;
    special[b'\\' as usize] = true;
    special[b'<' as usize] = true;
    special[b'>' as usize] = true;
    special[b'&' as usize] = true;
    special[0xe2] = true;
    special
};

pub(crate) fn string(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    let bytes = text.as_bytes();
    let mut run = 0;
    let mut next = 0;
    while let Some(skip) = bytes[next..].iter().position(|byte| SPECIAL[usize::from(*byte)]) {
        let at = next + skip;
        let byte = bytes[at];
        next = at + 1;
        let size = if byte == 0xe2 {
            // U+2028 and U+2029.
            if !matches!(bytes.get(at + 1..at + 3), Some([0x80, 0xa8 | 0xa9])) {
                continue;
            }
            3
        } else {
            1
        };
        out.extend_from_slice(&bytes[run..at]);
        run = at + size;
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x08 => out.extend_from_slice(b"\\b"),
            0x0c => out.extend_from_slice(b"\\f"),
            0xe2 => {
                let _ = write!(out, "\\u202{}", bytes[at + 2] & 0x0f);
            }
            byte => {
                let _ = write!(out, "\\u{byte:04x}");
            }
        }
    }
    out.extend_from_slice(&bytes[run..]);
    out.push(b'"');
}
