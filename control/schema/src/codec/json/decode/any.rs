//! JSON of any shape, and the schemas of CustomResourceDefinitions where something else might stand.

use serde_json::{Map, Number, Value};

use super::{Fail, Reader, Step};
use crate::library::{AnyForm, Scalar, Shape, StructId, Type};

impl<'a> Reader<'a> {
    /// JSON of any shape. Go keeps the text of such values and looks for duplicates only where it reads them into maps.
    pub(super) fn any(&mut self, check: bool) -> Result<Value, Fail> {
        Ok(match self.lexer.peek()? {
            b'{' => {
                let mut map = Map::new();
                let mut first = true;
                self.lexer.enter(b'{')?;
                while self.lexer.more(first, b'}')? {
                    first = false;
                    let key = self.lexer.key()?;
                    if check {
                        if map.contains_key(&*key) {
                            self.note("duplicate field", &key);
                        }
                        self.path.push(Step::Key(key.clone()));
                    }
                    let value = self.any(check)?;
                    if check {
                        self.path.pop();
                    }
                    map.insert(key.into_owned(), value);
                }
                Value::Object(map)
            }
            b'[' => {
                let mut all = Vec::new();
                self.lexer.enter(b'[')?;
                while self.lexer.more(all.is_empty(), b']')? {
                    if check {
                        self.path.push(Step::Index(all.len()));
                    }
                    all.push(self.any(check)?);
                    if check {
                        self.path.pop();
                    }
                }
                Value::Array(all)
            }
            b'"' => Value::String(self.lexer.string()?.into_owned()),
            next @ (b't' | b'f') => Value::Bool(self.boolean(next)?),
            b'n' => {
                self.lexer.word("null")?;
                Value::Null
            }
            _ => {
                let text = self.lexer.number()?;
                let whole = if text.contains('.') { None } else { text.parse::<i64>().ok() };
                match whole.map(Number::from).or_else(|| text.parse().ok().and_then(Number::from_f64)) {
                    Some(number) => Value::Number(number),
                    None => return Err(Fail::Now(self.cannot(&format!("number {text}"), "float64"))),
                }
            }
        })
    }

    /// A value whose shape is told by its first byte.
    pub(super) fn formed(&mut self, form: AnyForm, next: u8) -> Result<Option<Value>, Fail> {
        let full = |all: Value| Some(all).filter(|all| all.as_array().is_none_or(|all| !all.is_empty()));
        match (form, next) {
            (AnyForm::SchemaOrBool(_), b't' | b'f') => {
                self.boolean(next).map(|value| Some(Value::Bool(value)))
            }
            (
                AnyForm::SchemaOrBool(id) | AnyForm::SchemaOrSchemas(id) | AnyForm::SchemaOrStrings(id),
                b'{',
            ) => self.apart(|reader| reader.schema(id)).map(Some),
            (AnyForm::SchemaOrBool(_), _) => Err(Fail::Now("boolean or JSON schema expected".to_owned())),
            (AnyForm::SchemaOrSchemas(id), b'[') => {
                self.apart(|reader| reader.each(|reader| reader.schema(id))).map(full)
            }
            (AnyForm::SchemaOrStrings(_), b'[') => self.apart(|reader| reader.each(Self::string)).map(full),
            (AnyForm::SchemaOrSchemas(_) | AnyForm::SchemaOrStrings(_), _) => {
                self.lexer.skip()?;
                Ok(None)
            }
            (AnyForm::Object | AnyForm::Fields | AnyForm::Value | AnyForm::None, _) => {
                self.any(false).map(Some)
            }
        }
    }

    /// Go reads such values on their own: it takes what it does not know, and an error in them ends the reading.
    fn apart(&mut self, read: impl FnOnce(&mut Self) -> Result<Value, Fail>) -> Result<Value, Fail> {
        let strict = std::mem::replace(&mut self.strict, false);
        let saved = self.saved.take();
        let found = read(self)?;
        self.strict = strict;
        match std::mem::replace(&mut self.saved, saved) {
            Some(error) => Err(Fail::Now(error)),
            None => Ok(found),
        }
    }

    fn each(&mut self, mut read: impl FnMut(&mut Self) -> Result<Value, Fail>) -> Result<Value, Fail> {
        let mut all = Vec::new();
        self.lexer.enter(b'[')?;
        while self.lexer.more(all.is_empty(), b']')? {
            all.push(read(self)?);
        }
        Ok(Value::Array(all))
    }

    fn schema(&mut self, id: StructId) -> Result<Value, Fail> {
        let mut map = Map::new();
        match self.lexer.peek()? {
            b'{' => self.fields_of(id, &mut map)?,
            b'n' => self.lexer.word("null")?,
            _ => self.mismatch(&Type::new(Shape::Struct { id, atomic: false }))?,
        }
        Ok(Value::Object(map))
    }

    fn string(&mut self) -> Result<Value, Fail> {
        match self.lexer.peek()? {
            b'"' => return Ok(Value::String(self.lexer.string()?.into_owned())),
            b'n' => self.lexer.word("null")?,
            _ => self.mismatch(&Type::new(Shape::Scalar(Scalar::String)))?,
        }
        Ok(Value::String(String::new()))
    }
}
