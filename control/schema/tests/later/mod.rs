//! Takes out of golden objects what came after the version that we speak.

use std::fmt;
use std::fmt::Write;

use control_schema::library::{Library, Schema, Shape, StructId, Type};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

/// JSON with its fields in their order.
enum Json {
    Object(Vec<(String, Json)>),
    List(Vec<Json>),
    Plain(serde_json::Value),
}

/// A JSON text without blanks, and without the fields that these problems (`unknown field "spec.a[0].b"`) name.
pub fn without(text: &str, problems: &[String]) -> String {
    let mut json: Json = serde_json::from_str(text).expect("JSON");
    for problem in problems {
        let path = problem.strip_prefix("unknown field ").expect("an unknown field").trim_matches('"');
        let path = path.replace('[', ".").replace(']', "");
        remove(&mut json, &path.split('.').collect::<Vec<_>>());
    }
    let mut out = String::new();
    write(&json, &mut out);
    out
}

fn remove(json: &mut Json, path: &[&str]) {
    match (json, path) {
        (Json::Object(fields), [name]) => fields.retain(|(own, _)| own != name),
        (Json::Object(fields), [name, rest @ ..]) => {
            // Names of entries of maps may hold dots, but none of these is on the way to an unknown field.
            let (_, inner) =
                fields.iter_mut().find(|(own, _)| own == name).unwrap_or_else(|| panic!("no {path:?}"));
            remove(inner, rest);
        }
        (Json::List(all), [place, rest @ ..]) => {
            remove(&mut all[place.parse::<usize>().expect("a place")], rest)
        }
        _ => panic!("no way {path:?}"),
    }
}

fn write(json: &Json, out: &mut String) {
    match json {
        Json::Plain(value) => write!(out, "{value}").expect("memory"),
        Json::List(all) => {
            out.push('[');
            for (nth, item) in all.iter().enumerate() {
                out.push_str(if nth > 0 { "," } else { "" });
                write(item, out);
            }
            out.push(']');
        }
        Json::Object(fields) => {
            out.push('{');
            for (nth, (name, item)) in fields.iter().enumerate() {
                write!(out, "{}\"{name}\":", if nth > 0 { "," } else { "" }).expect("memory");
                write(item, out);
            }
            out.push('}');
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct InOrder;

        impl<'de> Visitor<'de> for InOrder {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("JSON")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
                let mut fields = Vec::new();
                while let Some(entry) = from.next_entry()? {
                    fields.push(entry);
                }
                Ok(Json::Object(fields))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Json, A::Error> {
                let mut all = Vec::new();
                while let Some(item) = from.next_element()? {
                    all.push(item);
                }
                Ok(Json::List(all))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(Json::Plain(value.into()))
            }

            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(Json::Plain(value.into()))
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(Json::Plain(value.into()))
            }

            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(Json::Plain(value.into()))
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(Json::Plain(value.into()))
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Plain(serde_json::Value::Null))
            }
        }

        from.deserialize_any(InOrder)
    }
}

/// An object in its envelope, of which only the fields that the schema knows are left.
pub fn known(schema: &Schema, body: &[u8]) -> Vec<u8> {
    let mut out = b"k8s\0".to_vec();
    for (tag, bytes) in fields(body.strip_prefix(b"k8s\0").expect("an envelope")) {
        match (tag >> 3, bytes) {
            (2, Some(raw)) => put(tag, &message(&schema.library, schema.root, raw), &mut out),
            (_, Some(bytes)) => put(tag, bytes, &mut out),
            _ => panic!("the envelope has only strings"),
        }
    }
    out
}

fn message(library: &Library, id: StructId, raw: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = raw;
    while !rest.is_empty() {
        let whole = rest;
        let (tag, bytes) = next(&mut rest);
        let Some(field) = library.get(id).numbered(u32::try_from(tag >> 3).expect("a number")) else {
            continue;
        };
        match bytes {
            Some(bytes) => put(tag, &value(library, &field.of, bytes), &mut out),
            None => out.extend_from_slice(&whole[..whole.len() - rest.len()]),
        }
    }
    out
}

fn value(library: &Library, of: &Type, bytes: &[u8]) -> Vec<u8> {
    match &of.shape {
        Shape::Struct { id, .. } => message(library, *id, bytes),
        Shape::List { items, wrapped: false, .. } => value(library, items, bytes),
        Shape::Map { values, .. } => {
            let mut out = Vec::new();
            for (tag, entry) in fields(bytes) {
                match (tag >> 3, entry) {
                    (2, Some(entry)) => put(tag, &value(library, values, entry), &mut out),
                    (1, Some(key)) => put(tag, key, &mut out),
                    _ => return bytes.to_vec(),
                }
            }
            out
        }
        _ => bytes.to_vec(),
    }
}

fn fields(mut raw: &[u8]) -> Vec<(u64, Option<&[u8]>)> {
    let mut all = Vec::new();
    while !raw.is_empty() {
        all.push(next(&mut raw));
    }
    all
}

/// The next tag, and its bytes where it has a length.
fn next<'a>(raw: &mut &'a [u8]) -> (u64, Option<&'a [u8]>) {
    let tag = varint(raw);
    match tag & 7 {
        0 => {
            varint(raw);
            (tag, None)
        }
        1 => {
            *raw = &raw[8..];
            (tag, None)
        }
        2 => {
            let length = usize::try_from(varint(raw)).expect("a length");
            let (bytes, rest) = raw.split_at(length);
            *raw = rest;
            (tag, Some(bytes))
        }
        wire => panic!("wire type {wire}"),
    }
}

fn varint(raw: &mut &[u8]) -> u64 {
    let mut value = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = raw.split_first().expect("a varint");
        *raw = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            break;
        }
    }
    value
}

fn put(tag: u64, bytes: &[u8], out: &mut Vec<u8>) {
    for mut value in [tag, bytes.len() as u64] {
        while value >= 0x80 {
            out.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
            value >>= 7;
        }
        out.push(u8::try_from(value).expect("seven bits"));
    }
    out.extend_from_slice(bytes);
}
