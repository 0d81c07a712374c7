//! Objects to protobuf.

use base64::Engine;
use serde_json::{Map, Value};

use super::wire::{BYTES, FIXED64, VARINT, put_bytes, put_length, put_tag, put_varint};
use crate::codec::json::BASE64;
use crate::codec::time;
use crate::library::{AnyForm, Field, Library, Presence, Scalar, Schema, Shape, StructId, Type};

pub(super) fn message(schema: &Schema, object: &Value, out: &mut Vec<u8>) {
    if let Value::Object(map) = object {
        structure(&schema.library, schema.root, map, out);
    }
}

fn structure(library: &Library, id: StructId, map: &Map<String, Value>, out: &mut Vec<u8>) {
    let of = library.get(id);
    of.with_places(map, |values| {
        for (place, field) in of.in_protobuf() {
            if field.inline {
                if let Shape::Struct { id, .. } = field.of.shape {
                    nested(field.number, out, |out| structure(library, id, map, out));
                }
                continue;
            }
            self::field(library, field, values[place].filter(|value| !value.is_null()), out);
        }
    });
}

/// A message whose length is known when it has ended.
fn nested(number: u32, out: &mut Vec<u8>, write: impl FnOnce(&mut Vec<u8>)) {
    put_tag(number, BYTES, out);
    let start = out.len();
    write(out);
    put_length(start, out);
}

fn field(library: &Library, field: &Field, value: Option<&Value>, out: &mut Vec<u8>) {
    let number = field.number;
    match (&field.of.shape, value) {
        (Shape::List { items, wrapped: false, .. }, Some(Value::Array(all))) => {
            for item in all {
                self::value(library, number, items, item, out);
            }
        }
        (Shape::Map { values, .. }, Some(Value::Object(map))) => {
            for (key, item) in map {
                nested(number, out, |out| {
                    put_bytes(1, key.as_bytes(), out);
                    self::value(library, 2, values, item, out);
                });
            }
        }
        (Shape::List { .. } | Shape::Map { .. }, None) => {}
        (_, Some(value)) => self::value(library, number, &field.of, value, out),
        (_, None) if matches!(field.presence, Presence::Optional | Presence::Null) => {}
        // Bytes are a list to Go.
        (Shape::Scalar(Scalar::Bytes), None) => {}
        (Shape::Struct { id, .. }, None) => {
            nested(number, out, |out| structure(library, *id, &Map::new(), out))
        }
        (_, None) => self::value(library, number, &field.of, &Value::Null, out),
    }
}

/// A value of its own, where `null` is zero. What does not fit the type is written as zero.
fn value(library: &Library, number: u32, of: &Type, value: &Value, out: &mut Vec<u8>) {
    match &of.shape {
        Shape::Scalar(scalar) => self::scalar(number, *scalar, value, out),
        Shape::Struct { id, .. } => nested(number, out, |out| match value {
            Value::Object(map) => structure(library, *id, map, out),
            _ => structure(library, *id, &Map::new(), out),
        }),
        // In a list or a map of its own only where it is wrapped.
        Shape::List { items, .. } => nested(number, out, |out| {
            for item in value.as_array().into_iter().flatten() {
                self::value(library, 1, items, item, out);
            }
        }),
        // The originals have no maps in lists or maps.
        Shape::Map { .. } => {}
        Shape::Any(form) => any(library, number, *form, value, out),
    }
}

fn scalar(number: u32, scalar: Scalar, value: &Value, out: &mut Vec<u8>) {
    let text = || value.as_str().unwrap_or_default();
    match scalar {
        Scalar::Bool => {
            put_tag(number, VARINT, out);
            out.push(u8::from(value.as_bool() == Some(true)));
        }
        Scalar::Int32 | Scalar::Int64 => {
            put_tag(number, VARINT, out);
            put_varint(value.as_i64().unwrap_or_default().cast_unsigned(), out);
        }
        Scalar::Float => {
            put_tag(number, FIXED64, out);
            out.extend_from_slice(&value.as_f64().unwrap_or_default().to_le_bytes());
        }
        Scalar::String => put_bytes(number, text().as_bytes(), out),
        Scalar::Bytes => {
            put_tag(number, BYTES, out);
            let start = out.len();
            // What is not base64 was refused when the object was read.
            let _ = BASE64.decode_vec(text(), out);
            put_length(start, out);
        }
        Scalar::Time | Scalar::MicroTime => nested(number, out, |out| {
            let micro = scalar == Scalar::MicroTime;
            if let Ok(moment) = time::parse(text(), micro)
                && !moment.is_zero()
            {
                put_tag(1, VARINT, out);
                put_varint(moment.seconds.cast_unsigned(), out);
                put_tag(2, VARINT, out);
                put_varint(u64::from(moment.micros) * 1_000, out);
            }
        }),
        Scalar::Duration => nested(number, out, |out| {
            put_tag(1, VARINT, out);
            put_varint(time::duration(text()).unwrap_or_default().cast_unsigned(), out);
        }),
        Scalar::Quantity => nested(number, out, |out| {
            let text = match value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => "0".to_owned(),
            };
            put_bytes(1, text.as_bytes(), out);
        }),
        Scalar::IntOrString => nested(number, out, |out| {
            let number = value.as_i64().unwrap_or_default();
            put_tag(1, VARINT, out);
            out.push(u8::from(value.is_string()));
            put_tag(2, VARINT, out);
            put_varint(number.cast_unsigned(), out);
            put_bytes(3, text().as_bytes(), out);
        }),
    }
}

fn any(library: &Library, number: u32, form: AnyForm, value: &Value, out: &mut Vec<u8>) {
    let schema =
        |out: &mut Vec<u8>, number, id, map| nested(number, out, |out| structure(library, id, map, out));
    nested(number, out, |out| match (form, value) {
        (AnyForm::SchemaOrBool(id), value) => {
            put_tag(1, VARINT, out);
            out.push(u8::from(value.is_object() || value.as_bool() == Some(true)));
            if let Value::Object(map) = value {
                schema(out, 2, id, map);
            }
        }
        (AnyForm::SchemaOrSchemas(id) | AnyForm::SchemaOrStrings(id), Value::Object(map)) => {
            schema(out, 1, id, map)
        }
        (AnyForm::SchemaOrSchemas(id), Value::Array(all)) => {
            for map in all.iter().filter_map(Value::as_object) {
                schema(out, 2, id, map);
            }
        }
        (AnyForm::SchemaOrStrings(_), Value::Array(all)) => {
            for text in all.iter().filter_map(Value::as_str) {
                put_bytes(2, text.as_bytes(), out);
            }
        }
        (AnyForm::SchemaOrSchemas(_) | AnyForm::SchemaOrStrings(_), _) => {}
        (_, Value::Null) => {}
        (AnyForm::Object | AnyForm::Fields | AnyForm::Value | AnyForm::None, value) => {
            put_tag(1, BYTES, out);
            let start = out.len();
            // Writing to memory does not fail.
            let _ = serde_json::to_writer(&mut *out, value);
            put_length(start, out);
        }
    });
}
