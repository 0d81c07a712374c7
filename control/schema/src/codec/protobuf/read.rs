//! Protobuf to objects.

use base64::Engine;
use serde_json::{Map, Number, Value};

use super::text;
use super::wire::{FIXED64, Reader};
use crate::codec::json::{self, BASE64};
use crate::codec::time::{Moment, write_duration};
use crate::codec::{DecodeError, is_left_out};
use crate::library::{AnyForm, Field, Library, Scalar, Schema, Shape, StructId, Type};

/// Messages in one another. No kind has thirty, but schemas of CustomResourceDefinitions.
const MAX_DEPTH: usize = 200;

pub(super) fn message(schema: &Schema, raw: &[u8], map: &mut Map<String, Value>) -> Result<(), DecodeError> {
    structure(&schema.library, schema.root, raw, map, 0)
}

fn structure(
    library: &Library,
    id: StructId,
    raw: &[u8],
    map: &mut Map<String, Value>,
    depth: usize,
) -> Result<(), DecodeError> {
    if depth > MAX_DEPTH {
        return Err(DecodeError("proto: messages in one another too deep".to_owned()));
    }
    let of = library.get(id);
    let mut reader = Reader::new(raw, &of.name);
    // Fields come in the order of their numbers, so that what was not there before is known without looking. Only the
    // kind and the apiVersion, which have no numbers, are in an object before.
    let mut last = if map.len() <= 2 && depth == 0 || map.is_empty() { 0 } else { u32::MAX };
    while let Some((number, wire)) = reader.tag()? {
        let first = number > last;
        last = last.max(number);
        let Some(field) = of.numbered(number) else {
            reader.skip(wire)?;
            continue;
        };
        if field.inline {
            if let Shape::Struct { id, .. } = field.of.shape {
                structure(library, id, reader.expect_bytes(wire, &field.name)?, map, depth + 1)?;
            }
            continue;
        }
        self::field(library, field, &mut reader, wire, map, (depth, first))?;
    }
    Ok(())
}

fn field(
    library: &Library,
    field: &Field,
    reader: &mut Reader<'_>,
    wire: u8,
    map: &mut Map<String, Value>,
    (depth, first): (usize, bool),
) -> Result<(), DecodeError> {
    let name = &field.name;
    match &field.of.shape {
        Shape::List { items, wrapped: false, .. } => {
            let item = value(library, items, reader, wire, name, None, depth)?;
            match if first { None } else { map.get_mut(&**name) } {
                Some(Value::Array(all)) => all.push(item),
                _ => {
                    map.insert(name.to_string(), Value::Array(vec![item]));
                }
            }
        }
        Shape::Map { values, .. } => {
            let mut entry = Reader::new(reader.expect_bytes(wire, name)?, "");
            let (mut key, mut item) = (String::new(), None);
            while let Some((number, wire)) = entry.tag()? {
                match number {
                    1 => key = text(entry.expect_bytes(wire, name)?),
                    2 => item = Some(value(library, values, &mut entry, wire, name, None, depth)?),
                    _ => entry.skip(wire)?,
                }
            }
            let item = match item {
                Some(item) => item,
                None => zero(library, values, depth)?,
            };
            match if first { None } else { map.get_mut(&**name) } {
                Some(Value::Object(all)) => {
                    all.insert(key, item);
                }
                _ => {
                    map.insert(name.to_string(), Value::Object(Map::from_iter([(key, item)])));
                }
            }
        }
        _ => {
            // A message that comes twice is one message.
            let before =
                if matches!(field.of.shape, Shape::Struct { .. }) { map.remove(&**name) } else { None };
            let found = value(library, &field.of, reader, wire, name, before, depth)?;
            if found.is_null() || is_left_out(field, &found) {
                map.remove(&**name);
            } else {
                map.insert(name.to_string(), found);
            }
        }
    }
    Ok(())
}

/// The value of an entry of a map that has none.
fn zero(library: &Library, of: &Type, depth: usize) -> Result<Value, DecodeError> {
    // As an empty message, or a varint or eight bytes that are zero.
    let mut reader = Reader::new(&[0; 8], "");
    let wire = match &of.shape {
        Shape::Scalar(Scalar::Bool | Scalar::Int32 | Scalar::Int64) => super::wire::VARINT,
        Shape::Scalar(Scalar::Float) => FIXED64,
        _ => super::wire::BYTES,
    };
    value(library, of, &mut reader, wire, "", None, depth)
}

fn value(
    library: &Library,
    of: &Type,
    reader: &mut Reader<'_>,
    wire: u8,
    name: &str,
    before: Option<Value>,
    depth: usize,
) -> Result<Value, DecodeError> {
    match &of.shape {
        Shape::Scalar(scalar) => self::scalar(*scalar, reader, wire, name),
        Shape::Struct { id, .. } => {
            let mut map = match before {
                Some(Value::Object(map)) => map,
                _ => Map::new(),
            };
            structure(library, *id, reader.expect_bytes(wire, name)?, &mut map, depth + 1)?;
            Ok(Value::Object(map))
        }
        Shape::List { items, .. } => {
            let mut of = Reader::new(reader.expect_bytes(wire, name)?, "");
            let mut all = Vec::new();
            while let Some((number, wire)) = of.tag()? {
                match number {
                    1 => all.push(value(library, items, &mut of, wire, name, None, depth + 1)?),
                    _ => of.skip(wire)?,
                }
            }
            Ok(Value::Array(all))
        }
        Shape::Map { .. } => {
            reader.skip(wire)?;
            Ok(Value::Null)
        }
        Shape::Any(form) => any(library, *form, reader.expect_bytes(wire, name)?, name, depth),
    }
}

fn scalar(scalar: Scalar, reader: &mut Reader<'_>, wire: u8, name: &str) -> Result<Value, DecodeError> {
    Ok(match scalar {
        Scalar::Bool => Value::Bool(reader.expect_varint(wire, name)? != 0),
        // Go takes the lower half of what is too large.
        Scalar::Int32 => (reader.expect_varint(wire, name)? as u32).cast_signed().into(),
        Scalar::Int64 => reader.expect_varint(wire, name)?.cast_signed().into(),
        Scalar::Float => {
            if wire != FIXED64 {
                return Err(reader.wrong(wire, name));
            }
            // JSON has no infinity.
            Number::from_f64(f64::from_bits(reader.fixed64()?)).map_or(Value::Null, Value::Number)
        }
        Scalar::String => Value::String(text(reader.expect_bytes(wire, name)?)),
        Scalar::Bytes => Value::String(BASE64.encode(reader.expect_bytes(wire, name)?)),
        Scalar::Time | Scalar::MicroTime => moment(scalar, reader.expect_bytes(wire, name)?)?,
        Scalar::Duration => {
            let mut nanos = 0;
            let mut of = Reader::new(reader.expect_bytes(wire, name)?, "Duration");
            while let Some((number, wire)) = of.tag()? {
                match number {
                    1 => nanos = of.expect_varint(wire, "Duration")?.cast_signed(),
                    _ => of.skip(wire)?,
                }
            }
            Value::String(write_duration(nanos))
        }
        Scalar::Quantity => {
            let mut found = "0".to_owned();
            let mut of = Reader::new(reader.expect_bytes(wire, name)?, "Quantity");
            while let Some((number, wire)) = of.tag()? {
                match number {
                    1 => {
                        let raw = text(of.expect_bytes(wire, "String_")?);
                        let canonical = crate::codec::quantity::canonical(&raw);
                        found = canonical.map_err(|error| DecodeError(error.to_owned()))?.unwrap_or(raw);
                    }
                    _ => of.skip(wire)?,
                }
            }
            Value::String(found)
        }
        Scalar::IntOrString => {
            let (mut kind, mut whole, mut string) = (0, 0, String::new());
            let mut of = Reader::new(reader.expect_bytes(wire, name)?, "IntOrString");
            while let Some((number, wire)) = of.tag()? {
                match number {
                    1 => kind = of.expect_varint(wire, "Type")?,
                    2 => whole = (of.expect_varint(wire, "IntVal")? as u32).cast_signed(),
                    3 => string = text(of.expect_bytes(wire, "StrVal")?),
                    _ => of.skip(wire)?,
                }
            }
            if kind == 0 { whole.into() } else { Value::String(string) }
        }
    })
}

/// `null` where no time was set.
fn moment(scalar: Scalar, raw: &[u8]) -> Result<Value, DecodeError> {
    if raw.is_empty() {
        return Ok(Value::Null);
    }
    let (mut seconds, mut nanos) = (0, 0);
    let mut of = Reader::new(raw, "Timestamp");
    while let Some((number, wire)) = of.tag()? {
        match number {
            1 => seconds = of.expect_varint(wire, "Seconds")?.cast_signed(),
            2 => nanos = (of.expect_varint(wire, "Nanos")? as u32).cast_signed(),
            _ => of.skip(wire)?,
        }
    }
    let micro = scalar == Scalar::MicroTime;
    let micros = if micro { i64::from(nanos / 1_000) } else { 0 };
    let moment = Moment {
        seconds: seconds.saturating_add(micros.div_euclid(1_000_000)),
        micros: u32::try_from(micros.rem_euclid(1_000_000)).unwrap_or_default(),
    };
    if moment.is_zero() {
        return Ok(Value::Null);
    }
    Ok(Value::String(if micro { moment.in_micros() } else { moment.in_seconds() }))
}

fn any(library: &Library, form: AnyForm, raw: &[u8], name: &str, depth: usize) -> Result<Value, DecodeError> {
    let schema = |id, raw| -> Result<Value, DecodeError> {
        let mut map = Map::new();
        structure(library, id, raw, &mut map, depth + 1)?;
        Ok(Value::Object(map))
    };
    let mut of = Reader::new(raw, "");
    let mut found = if matches!(form, AnyForm::SchemaOrBool(_)) { Value::Bool(false) } else { Value::Null };
    while let Some((number, wire)) = of.tag()? {
        match (form, number) {
            (AnyForm::SchemaOrBool(_), 1) => {
                let allows = of.expect_varint(wire, name)? != 0;
                if !found.is_object() {
                    found = Value::Bool(allows);
                }
            }
            (AnyForm::SchemaOrBool(id), 2) => found = schema(id, of.expect_bytes(wire, name)?)?,
            (AnyForm::SchemaOrSchemas(id) | AnyForm::SchemaOrStrings(id), 1) => {
                let one = schema(id, of.expect_bytes(wire, name)?)?;
                if !found.is_array() {
                    found = one;
                }
            }
            (AnyForm::SchemaOrSchemas(_) | AnyForm::SchemaOrStrings(_), 2) => {
                let raw = of.expect_bytes(wire, name)?;
                let item = match form {
                    AnyForm::SchemaOrSchemas(id) => schema(id, raw)?,
                    _ => Value::String(text(raw)),
                };
                match &mut found {
                    Value::Array(all) => all.push(item),
                    _ => found = Value::Array(vec![item]),
                }
            }
            (AnyForm::Object | AnyForm::Fields | AnyForm::Value | AnyForm::None, 1) => {
                let raw = of.expect_bytes(wire, name)?;
                if !raw.is_empty() {
                    found = json::decode_any(raw)?.value;
                }
            }
            _ => of.skip(wire)?,
        }
    }
    Ok(found)
}
