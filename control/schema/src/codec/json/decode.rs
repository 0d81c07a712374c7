//! JSON to objects, by their schemas.
//!
//! Facts: sigs.k8s.io/json, whose reader goes on after a value of the wrong type, and gives up at a time, quantity or
//! duration that cannot be read.

use std::borrow::Cow;
use std::fmt::Write;

use crate::codec::quote::quoted;
use serde_json::{Map, Number, Value};

use super::lexer::{Lexer, NotJson};
use super::syntax;
use crate::codec::{DecodeError, Decoded, is_left_out, quantity, time};
use crate::library::{AnyForm, Field, Library, Presence, Scalar, Schema, Shape, Struct, StructId, Type};

/// The original tells of no more.
const MOST_PROBLEMS: usize = 100;

const NO_META: &str = "couldn't get version/kind; json parse error: ";

pub(super) enum Fail {
    NotJson,
    /// An error that ends the reading, and comes before those that do not.
    Now(String),
}

impl From<NotJson> for Fail {
    fn from(_: NotJson) -> Self {
        Self::NotJson
    }
}

pub(super) fn decode(schema: &Schema, body: &[u8]) -> Result<Decoded, DecodeError> {
    let mut reader = Reader::new(&schema.library, body);
    let found = reader.object(schema);
    match found {
        Ok(value) => {
            let Reader { problems, wrong_meta, saved, .. } = reader;
            if let Some(error) = wrong_meta.map(|error| format!("{NO_META}{error}")).or(saved) {
                return Err(DecodeError(error));
            }
            Ok(Decoded { value, problems })
        }
        Err(fail) => {
            // A text that is no JSON is refused before anything in it is looked at.
            if let Some(error) = syntax::error(body) {
                return Err(DecodeError(format!("{NO_META}{error}")));
            }
            Err(DecodeError(match (reader.wrong_meta, fail) {
                (Some(error), _) => format!("{NO_META}{error}"),
                (None, Fail::Now(error)) => error,
                (None, Fail::NotJson) => format!("{NO_META}unexpected end of JSON input"),
            }))
        }
    }
}

/// JSON without a schema: an object of a kind that is defined at run time. Duplicates are found, nothing is unknown.
pub(super) fn decode_any(body: &[u8]) -> Result<Decoded, DecodeError> {
    let library = Library::default();
    let mut reader = Reader::new(&library, body);
    let found = reader
        .any(true)
        .and_then(|value| if reader.lexer.is_done() { Ok(value) } else { Err(Fail::NotJson) });
    match found {
        Ok(value) => Ok(Decoded { value, problems: reader.problems }),
        Err(fail) => Err(DecodeError(match (syntax::error(body), fail) {
            (None, Fail::Now(error)) => error,
            (error, _) => format!("{NO_META}{}", error.as_deref().unwrap_or("unexpected end of JSON input")),
        })),
    }
}

enum Step<'a> {
    Key(Cow<'a, str>),
    Index(usize),
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    library: &'a Library,
    /// Where in the object, for `problems`.
    path: Vec<Step<'a>>,
    /// Names of fields on the way, for errors of types; Go names inline structs in it, and no keys and places.
    fields: Vec<&'a str>,
    /// The innermost struct.
    owner: &'a str,
    /// Problems are wanted.
    strict: bool,
    problems: Vec<String>,
    /// The first value of a wrong type.
    saved: Option<String>,
    /// `kind` or `apiVersion` of a wrong type, which are looked at before all else.
    wrong_meta: Option<String>,
}

impl<'a> Reader<'a> {
    fn new(library: &'a Library, body: &'a [u8]) -> Self {
        Self {
            lexer: Lexer::new(body),
            library,
            path: Vec::new(),
            fields: Vec::new(),
            owner: "",
            strict: true,
            problems: Vec::new(),
            saved: None,
            wrong_meta: None,
        }
    }

    fn object(&mut self, schema: &Schema) -> Result<Value, Fail> {
        let mut map = Map::new();
        match self.lexer.peek()? {
            b'{' => self.fields_of(schema.root, &mut map)?,
            b'n' => self.lexer.word("null")?,
            _ => {
                let found = self.name_of_next()?;
                self.lexer.skip()?;
                self.wrong_meta = Some(format!(
                    "json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string \
                     \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
                ));
            }
        }
        if self.lexer.is_done() { Ok(Value::Object(map)) } else { Err(Fail::NotJson) }
    }

    /// Reads an object into what an earlier field of the same name left.
    fn fields_of(&mut self, id: StructId, map: &mut Map<String, Value>) -> Result<(), Fail> {
        let library = self.library;
        let of = library.get(id);
        let owner = std::mem::replace(&mut self.owner, of.short_name());
        let depth = (self.fields.len(), self.path.len());
        let mut seen = Seen::default();
        let mut next = 0;
        let mut first = true;
        self.lexer.enter(b'{')?;
        while self.lexer.more(first, b'}')? {
            first = false;
            let key = self.lexer.key()?;
            // Texts mostly have the fields in our order.
            let hit = of
                .fields
                .get(next)
                .filter(|field| *field.name == *key && !field.inline)
                .map(|field| (next, field));
            let Some((place, field)) = hit.or_else(|| self.find(of, &key)) else {
                self.note("unknown field", &key);
                self.lexer.skip()?;
                continue;
            };
            next = place + 1;
            if seen.again(of, place, field) {
                self.note("duplicate field", &key);
            }
            self.fields.push(&field.name);
            self.path.push(Step::Key(Cow::Borrowed(&field.name)));
            let before = if map.is_empty() { None } else { map.remove(&*field.name) };
            let value = self.value(&field.of, before, field.presence)?;
            if let Some(value) = value.filter(|value| !is_left_out(field, value)) {
                map.insert(key.into_owned(), value);
            }
            self.fields.truncate(depth.0);
            self.path.truncate(depth.1);
        }
        self.owner = owner;
        Ok(())
    }

    /// A field by its name, those of inline structs too, with its place in the outermost struct. The structs on the way
    /// are part of the names in errors.
    fn find(&mut self, of: &'a Struct, key: &str) -> Option<(usize, &'a Field)> {
        if let Some(place) = of.place(key)
            && !of.fields[place].inline
        {
            return Some((place, &of.fields[place]));
        }
        let library = self.library;
        for (place, field) in of.fields.iter().enumerate().filter(|(_, field)| field.inline) {
            if let Shape::Struct { id, .. } = field.of.shape {
                let depth = self.fields.len();
                self.fields.push(&field.name);
                if let Some((_, found)) = self.find(library.get(id), key) {
                    return Some((place, found));
                }
                self.fields.truncate(depth);
            }
        }
        None
    }

    /// A value, or nothing where it is as good as absent. `before` is what an earlier field of the same name left.
    fn value(
        &mut self,
        of: &'a Type,
        before: Option<Value>,
        presence: Presence,
    ) -> Result<Option<Value>, Fail> {
        let next = self.lexer.peek()?;
        if next == b'n' {
            self.lexer.word("null")?;
            let plain = matches!(
                of.shape,
                Shape::Scalar(Scalar::Bool | Scalar::Int32 | Scalar::Int64 | Scalar::Float | Scalar::String)
                    | Shape::Struct { .. }
            );
            let pointer = matches!(presence, Presence::Optional | Presence::Null);
            return Ok(if plain && !pointer { before } else { None });
        }
        match (&of.shape, next) {
            (Shape::Scalar(scalar), _) => self.scalar(*scalar, of, next),
            (Shape::Struct { id, .. }, b'{') => {
                let mut map = match before {
                    Some(Value::Object(map)) => map,
                    _ => Map::new(),
                };
                self.fields_of(*id, &mut map)?;
                Ok(Some(Value::Object(map)))
            }
            (Shape::List { items, .. }, b'[') => self.list(items).map(Some),
            (Shape::Map { values, .. }, b'{') => {
                let before = match before {
                    Some(Value::Object(map)) => map,
                    _ => Map::new(),
                };
                self.map(values, before).map(Some)
            }
            (Shape::Any(AnyForm::SchemaOrBool(id)), _) => match next {
                b'{' => self.schema(*id).map(Some),
                b't' | b'f' => self.boolean(next).map(|value| Some(Value::Bool(value))),
                _ => Err(Fail::Now("boolean or JSON schema expected".to_owned())),
            },
            (Shape::Any(AnyForm::SchemaOrSchemas(id) | AnyForm::SchemaOrStrings(id)), b'{') => {
                self.schema(*id).map(Some)
            }
            (Shape::Any(AnyForm::SchemaOrSchemas(id)), b'[') => {
                let mut all = Vec::new();
                self.lexer.enter(b'[')?;
                while self.lexer.more(all.is_empty(), b']')? {
                    all.push(self.schema(*id)?);
                }
                Ok(Some(Value::Array(all)).filter(|all| all.as_array().is_some_and(|all| !all.is_empty())))
            }
            (Shape::Any(AnyForm::SchemaOrStrings(_)), b'[') => {
                let value = self.any(false)?;
                Ok(Some(value).filter(|all| all.as_array().is_some_and(|all| !all.is_empty())))
            }
            (Shape::Any(AnyForm::SchemaOrSchemas(_) | AnyForm::SchemaOrStrings(_)), _) => {
                self.lexer.skip()?;
                Ok(None)
            }
            (Shape::Any(_), _) => self.any(false).map(Some),
            (Shape::Struct { .. } | Shape::List { .. } | Shape::Map { .. }, _) => {
                self.mismatch(of)?;
                Ok(before)
            }
        }
    }

    fn list(&mut self, items: &'a Type) -> Result<Value, Fail> {
        let mut all = Vec::new();
        self.lexer.enter(b'[')?;
        while self.lexer.more(all.is_empty(), b']')? {
            self.path.push(Step::Index(all.len()));
            let item = self.value(items, None, Presence::Always)?;
            self.path.pop();
            all.push(item.unwrap_or_else(|| zero(items)));
        }
        Ok(Value::Array(all))
    }

    fn map(&mut self, values: &'a Type, mut map: Map<String, Value>) -> Result<Value, Fail> {
        // What an earlier field of the same name left is replaced, but is no duplicate.
        let mut own = if map.is_empty() { None } else { Some(Vec::new()) };
        let mut first = true;
        self.lexer.enter(b'{')?;
        while self.lexer.more(first, b'}')? {
            first = false;
            let key = self.lexer.key()?;
            let again = match &mut own {
                None => map.contains_key(&*key),
                Some(own) => {
                    let again = own.contains(&key);
                    own.push(key.clone());
                    again
                }
            };
            if again {
                self.note("duplicate field", &key);
            }
            self.path.push(Step::Key(key.clone()));
            let value = self.value(values, None, Presence::Always)?;
            self.path.pop();
            map.insert(key.into_owned(), value.unwrap_or_else(|| zero(values)));
        }
        Ok(Value::Object(map))
    }

    /// A schema where something else might stand: Go reads those apart, and takes what it does not know.
    fn schema(&mut self, id: StructId) -> Result<Value, Fail> {
        if self.lexer.peek()? != b'{' {
            return Err(Fail::Now("JSON schema expected".to_owned()));
        }
        let strict = std::mem::replace(&mut self.strict, false);
        let saved = self.saved.take();
        let mut map = Map::new();
        self.fields_of(id, &mut map)?;
        self.strict = strict;
        match std::mem::replace(&mut self.saved, saved) {
            Some(error) => Err(Fail::Now(error)),
            None => Ok(Value::Object(map)),
        }
    }

    fn boolean(&mut self, next: u8) -> Result<bool, Fail> {
        let value = next == b't';
        self.lexer.word(if value { "true" } else { "false" })?;
        Ok(value)
    }

    fn scalar(&mut self, scalar: Scalar, of: &'a Type, next: u8) -> Result<Option<Value>, Fail> {
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
                match super::bytes::canonical(text) {
                    Ok(text) => Ok(Some(Value::String(text))),
                    Err(error) => {
                        self.saved.get_or_insert(error);
                        Ok(None)
                    }
                }
            }
            (Scalar::Time | Scalar::MicroTime | Scalar::Duration, b'"') => {
                let text = self.lexer.string()?;
                timely(scalar, text).map_err(Fail::Now)
            }
            (Scalar::Quantity, _) => {
                let start = self.lexer.at();
                self.lexer.skip()?;
                let text = super::lexer::lossy(self.lexer.since(start));
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

    /// JSON of any shape. Go keeps the text of such values and looks for duplicates only where it reads them into maps.
    fn any(&mut self, check: bool) -> Result<Value, Fail> {
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

    /// What JSON calls the next value.
    fn name_of_next(&mut self) -> Result<&'static str, NotJson> {
        Ok(match self.lexer.peek()? {
            b'{' => "object",
            b'[' => "array",
            b'"' => "string",
            b't' | b'f' => "bool",
            _ => "number",
        })
    }

    /// Steps over a value that the type does not take.
    fn mismatch(&mut self, of: &Type) -> Result<(), Fail> {
        let found = self.name_of_next()?;
        self.lexer.skip()?;
        self.save(found, of);
        Ok(())
    }

    fn save(&mut self, found: &str, of: &Type) {
        if self.saved.is_none() {
            self.saved = Some(self.cannot(found, &self.library.go_name(of)));
        }
        if let [name @ ("kind" | "apiVersion")] = self.fields[..]
            && self.wrong_meta.is_none()
        {
            self.wrong_meta =
                Some(format!("json: cannot unmarshal {found} into Go struct field .{name} of type string"));
        }
    }

    fn cannot(&self, found: &str, of: &str) -> String {
        if self.fields.is_empty() {
            return format!("json: cannot unmarshal {found} into Go value of type {of}");
        }
        let owner = self.owner;
        format!(
            "json: cannot unmarshal {found} into Go struct field {owner}.{} of type {of}",
            self.fields.join(".")
        )
    }

    fn note(&mut self, what: &str, key: &str) {
        if !self.strict || self.problems.len() >= MOST_PROBLEMS {
            return;
        }
        let mut path = String::new();
        for step in self.path.iter().chain([&Step::Key(Cow::Borrowed(key))]) {
            match step {
                Step::Key(key) if path.is_empty() => path.push_str(key),
                Step::Key(key) => {
                    path.push('.');
                    path.push_str(key);
                }
                Step::Index(n) => {
                    let _ = write!(path, "[{n}]");
                }
            }
        }
        let problem = format!("{what} {}", quoted(&path));
        if !self.problems.contains(&problem) {
            self.problems.push(problem);
        }
    }
}

/// The fields that an object had already: by their place, those of inline structs and beyond the 128th by themselves.
#[derive(Default)]
struct Seen<'a> {
    places: u128,
    others: Vec<&'a Field>,
}

impl<'a> Seen<'a> {
    fn again(&mut self, of: &'a Struct, place: usize, field: &'a Field) -> bool {
        if place < 128 && std::ptr::eq(&of.fields[place], field) {
            let bit = 1 << place;
            let again = self.places & bit != 0;
            self.places |= bit;
            return again;
        }
        let again = self.others.iter().any(|other| std::ptr::eq(*other, field));
        self.others.push(field);
        again
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
fn zero(of: &Type) -> Value {
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
