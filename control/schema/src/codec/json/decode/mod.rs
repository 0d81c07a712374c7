//! JSON to objects, by their schemas.
//!
//! Facts: sigs.k8s.io/json, whose reader goes on after a value of the wrong type, and gives up at a time, quantity or
//! duration that cannot be read.

mod any;
mod errors;
mod scalar;

use std::borrow::Cow;
use std::collections::HashSet;

use serde_json::{Map, Value};

use self::errors::Step;
use self::scalar::zero;
use super::lexer::{Lexer, NotJson};
use super::syntax;
use crate::codec::{DecodeError, Decoded, is_left_out};
use crate::library::{Field, Library, Presence, Scalar, Schema, Shape, Struct, StructId, Type};

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

/// An object of a kind that is defined at run time, before its schema is looked at.
pub(super) fn decode_free(body: &[u8]) -> Result<Decoded, DecodeError> {
    let decoded = decode_any(body)?;
    let wrong = match &decoded.value {
        Value::Object(map) => ["apiVersion", "kind"].into_iter().find_map(|name| {
            let found = map.get(name).filter(|value| !value.is_string() && !value.is_null())?;
            Some(format!(
                "json: cannot unmarshal {} into Go struct field .{name} of type string",
                name_of(found)
            ))
        }),
        Value::Null => None,
        other => Some(not_an_object(name_of(other))),
    };
    match wrong {
        Some(error) => Err(DecodeError(format!("{NO_META}{error}"))),
        None => Ok(decoded),
    }
}

fn name_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Go reads kind and apiVersion into a struct without a name.
fn not_an_object(found: &str) -> String {
    format!(
        "json: cannot unmarshal {found} into Go value of type struct {{ APIVersion string \
         \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }}"
    )
}

struct Reader<'a> {
    lexer: Lexer<'a>,
    library: &'a Library,
    /// Where in the object, for `problems`.
    path: Vec<Step<'a>>,
    /// Names of fields on the way, for errors of types; Go names inline structs in it, and no keys and places.
    fields: Vec<&'a str>,
    /// The innermost struct's full name.
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
                self.wrong_meta = Some(not_an_object(found));
            }
        }
        if self.lexer.is_done() { Ok(Value::Object(map)) } else { Err(Fail::NotJson) }
    }

    /// Reads an object into what an earlier field of the same name left.
    fn fields_of(&mut self, id: StructId, map: &mut Map<String, Value>) -> Result<(), Fail> {
        let library = self.library;
        let of = library.get(id);
        let owner = std::mem::replace(&mut self.owner, &of.name);
        let depth = (self.fields.len(), self.path.len());
        let inherited = !map.is_empty();
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
            let again = seen.again(of, place, field);
            if again {
                self.note("duplicate field", &key);
            }
            self.fields.push(&field.name);
            self.path.push(Step::Key(Cow::Borrowed(&field.name)));
            let before = if again || inherited { map.remove(&*field.name) } else { None };
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
            (Shape::List { items, .. }, b'[') => self.list(items, before).map(Some),
            (Shape::Map { values, .. }, b'{') => {
                let before = match before {
                    Some(Value::Object(map)) => map,
                    _ => Map::new(),
                };
                self.map(values, before).map(Some)
            }
            (Shape::Any(form), _) => self.formed(*form, next),
            (Shape::Struct { .. } | Shape::List { .. } | Shape::Map { .. }, _) => {
                self.mismatch(of)?;
                Ok(before)
            }
        }
    }

    fn list(&mut self, items: &'a Type, before: Option<Value>) -> Result<Value, Fail> {
        // Go reads into the items that an earlier field of the same name left.
        let mut before = match before {
            Some(Value::Array(all)) => all.into_iter(),
            _ => Vec::new().into_iter(),
        };
        let mut all = Vec::new();
        self.lexer.enter(b'[')?;
        while self.lexer.more(all.is_empty(), b']')? {
            self.path.push(Step::Index(all.len()));
            let item = self.value(items, before.next(), Presence::Always)?;
            self.path.pop();
            all.push(item.unwrap_or_else(|| zero(items)));
        }
        Ok(Value::Array(all))
    }

    fn map(&mut self, values: &'a Type, mut map: Map<String, Value>) -> Result<Value, Fail> {
        // What an earlier field of the same name left is replaced, but is no duplicate.
        let mut own = if map.is_empty() { None } else { Some(HashSet::new()) };
        let mut first = true;
        self.lexer.enter(b'{')?;
        while self.lexer.more(first, b'}')? {
            first = false;
            let key = self.lexer.key()?;
            let again = match &mut own {
                None => map.contains_key(&*key),
                Some(own) => !own.insert(key.clone()),
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
        if !again {
            self.others.push(field);
        }
        again
    }
}
