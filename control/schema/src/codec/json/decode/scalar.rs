//! Values without parts: what Go takes for each, and the text that it gets.

use std::borrow::Cow;

use base64::Engine;
use serde_json::{Map, Number, Value};

use super::super::bytes::BASE64;
use super::super::{bytes, lexer};
use super::{Fail, Reader};
use crate::codec::{quantity, time};
use crate::library::{Scalar, Shape, Type};

impl<'a> Reader<'a> {
    pub(super) fn boolean(&mut self, next: u8) -> Result<bool, Fail> {
        let value = next == b't';
        self.lexer.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    pub(super) fn scalar(&mut self, scalar: Scalar, of: &'a Type, next: u8) -> Result<Option<Value>, Fail> {
        match (scalar, next) {
            (Scalar::Bool, b't' | b'f') => Ok(Some(Value::Bool(self.boolean(next)?))),
            (Scalar::String, b'"') => Ok(Some(Value::String(self.lexer.string()?.into_owned()))),
            (Scalar::Int32 | Scalar::Int64, b'-' | b'0'..=b'9') => {
                let text = self.lexer.number()?;
                let fits = |value: &i64| scalar == Scalar::Int64 || i32::try_from(*value).is_ok();
                if let Some(value) = text.parse::<i64>().ok().filter(fits) {
                    return Ok(Some(value.into()));
                }
                self.save(&format!("number {text}"), of);
                Ok(None)
            }
            (Scalar::Float, b'-' | b'0'..=b'9') => {
                let text = self.lexer.number()?;
                if let Some(value) = text.parse().ok().and_then(Number::from_f64) {
                    return Ok(Some(Value::Number(value)));
                }
                self.save(&format!("number {text}"), of);
                Ok(None)
            }
            (Scalar::Bytes, b'"') => {
                let text = self.lexer.string()?;
                match bytes::canonical(text) {
                    Ok(text) => Ok(Some(Value::String(text))),
                    Err(error) => {
                        self.saved.get_or_insert(error);
                        Ok(None)
                    }
                }
            }
            (Scalar::Bytes, b'[') => self.numbers().map(Some),
            (Scalar::Time | Scalar::MicroTime | Scalar::Duration, b'"') => {
                let text = self.lexer.string()?;
                timely(scalar, text).map_err(Fail::Now)
            }
            (Scalar::Quantity, _) => {
                let start = self.lexer.at();
                self.lexer.skip()?;
                let text = lexer::lossy(self.lexer.since(start));
                // Go looks at the text as it is written, escapes and all.
                let text =
                    text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(&text).trim();
                let found = quantity::canonical(text).map_err(|error| Fail::Now(error.to_owned()))?;
                Ok(Some(Value::String(found.unwrap_or_else(|| text.to_owned()))))
            }
            (Scalar::IntOrString, b'"') => Ok(Some(Value::String(self.lexer.string()?.into_owned()))),
            (Scalar::IntOrString, b'-' | b'0'..=b'9') => {
                let text = self.lexer.number()?;
                match text.parse::<i32>() {
                    Ok(value) => Ok(Some(value.into())),
                    Err(_) => Err(Fail::Now(self.cannot(&format!("number {text}"), "int32"))),
                }
            }
            (Scalar::Time | Scalar::MicroTime | Scalar::Duration | Scalar::IntOrString, _) => {
                let found = self.name_of_next()?;
                let want = if scalar == Scalar::IntOrString { "int32" } else { "string" };
                Err(Fail::Now(self.cannot(found, want)))
            }
            _ => {
                self.mismatch(of)?;
                Ok(None)
            }
        }
    }

    /// Bytes as a list of numbers, which Go takes too.
    fn numbers(&mut self) -> Result<Value, Fail> {
        let mut all = Vec::new();
        let byte = Type { go: "uint8", ..Type::new(Shape::Scalar(Scalar::Int32)) };
        self.lexer.enter(b'[')?;
        while self.lexer.more(all.is_empty(), b']')? {
            let mut value = 0;
            match self.lexer.peek()? {
                b'-' | b'0'..=b'9' => {
                    let text = self.lexer.number()?;
                    match text.parse() {
                        Ok(byte) => value = byte,
                        Err(_) => self.save(&format!("number {text}"), &byte),
                    }
                }
                b'n' => self.lexer.word("null")?,
                _ => self.mismatch(&byte)?,
            }
            all.push(value);
        }
        Ok(Value::String(BASE64.encode(all)))
    }
}

fn timely(scalar: Scalar, text: Cow<'_, str>) -> Result<Option<Value>, String> {
    match scalar {
        Scalar::Time if time::is_canonical(&text) => Ok(Some(Value::String(text.into_owned()))),
        Scalar::Duration => Ok(Some(Value::String(time::write_duration(time::duration(&text)?)))),
        _ => {
            let micro = scalar == Scalar::MicroTime;
            let found = time::parse(&text, micro)?;
            let write = |found: time::Moment| if micro { found.in_micros() } else { found.in_seconds() };
            Ok((!found.is_zero()).then(|| Value::String(write(found))))
        }
    }
}

/// What stands for `null` among the items of a list and the values of a map.
pub(super) fn zero(of: &Type) -> Value {
    match &of.shape {
        Shape::Scalar(Scalar::Bool) => Value::Bool(false),
        Shape::Scalar(Scalar::Int32 | Scalar::Int64 | Scalar::IntOrString) => 0.into(),
        Shape::Scalar(Scalar::Float) => Number::from_f64(0.0).map_or(Value::Null, Value::Number),
        Shape::Scalar(Scalar::String | Scalar::Bytes) => Value::String(String::new()),
        Shape::Scalar(Scalar::Quantity) => "0".into(),
        Shape::Scalar(Scalar::Duration) => "0s".into(),
        Shape::Struct { .. } | Shape::Map { .. } => Value::Object(Map::new()),
        Shape::List { .. } => Value::Array(Vec::new()),
        Shape::Scalar(Scalar::Time | Scalar::MicroTime) | Shape::Any(_) => Value::Null,
    }
}
