//! What is known of a variable: its type, and how large it may be, from the schema that it is of.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

use super::super::super::build::{flag, text};
use super::super::RESERVED;
use super::kinds::Type;

/// What one request may have, in bytes, as the original reckons.
const MAX_REQUEST: u64 = 3 << 20;

/// Deeper schemas are not looked into.
const MAX_DEPTH: usize = 100;

#[derive(Clone, Debug)]
pub struct Declared {
    pub of: Type,
    /// Letters, bytes, items or members that there may be at most; 0 where there is nothing to count.
    pub most: u64,
    /// Bytes of JSON that it has at least.
    pub least: u64,
    /// Items of a list, values of a map.
    pub items: Option<Arc<Declared>>,
}

/// An object whose fields are known.
#[derive(Debug)]
pub struct Object {
    pub name: String,
    pub fields: BTreeMap<String, Declared>,
    /// Has any other field too.
    pub open: bool,
}

impl Declared {
    pub fn new(of: Type, most: u64, least: u64) -> Self {
        Self { of, most, least, items: None }
    }

    /// Of which only the type is known.
    pub fn plain(of: Type) -> Self {
        Self::new(of, 0, 1)
    }

    /// An object of the API that rules may look into.
    pub fn object(name: &str, fields: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let fields = fields.into_iter().map(|(name, of)| (name.to_owned(), of)).collect();
        Self::new(Type::Object(Arc::new(Object { name: name.to_owned(), fields, open: false })), 0, 2)
    }

    /// The object with one field more.
    #[must_use]
    pub fn with_field(mut self, name: &str, of: Self) -> Self {
        if let Type::Object(object) = &self.of {
            let mut fields = object.fields.clone();
            fields.insert(name.to_owned(), of);
            let object = Object { name: object.name.clone(), fields, open: object.open };
            self.of = Type::Object(Arc::new(object));
        }
        self
    }

    /// An object of which nothing is known but its type's name.
    pub fn open_object(name: &str) -> Self {
        let object = Object { name: name.to_owned(), fields: BTreeMap::new(), open: true };
        Self::new(Type::Object(Arc::new(object)), 0, 2)
    }

    pub fn list(of: Self, most: u64) -> Self {
        Self { of: Type::list(of.of.clone()), most, least: 2, items: Some(Arc::new(of)) }
    }

    pub fn map(of: Self, most: u64) -> Self {
        Self { of: Type::map(Type::Text, of.of.clone()), most, least: 2, items: Some(Arc::new(of)) }
    }

    /// What a schema describes; `None` where rules cannot look. `root`: a whole object of the API. `name`: of the type,
    /// should it be an object.
    pub fn of_schema(schema: &Value, root: bool, name: &str) -> Option<Self> {
        declared(schema, root, name, 0)
    }

    pub fn field(&self, name: &str) -> Option<&Self> {
        match &self.of {
            Type::Object(object) => object.fields.get(name),
            _ => None,
        }
    }

    /// How often it may stand in one request.
    pub fn most_in_a_request(&self) -> u64 {
        MAX_REQUEST / (self.least + 1)
    }
}

fn count(schema: &Value, word: &str) -> Option<u64> {
    let count = schema.get(word)?;
    count.as_u64().or_else(|| count.as_i64().map(|_| 0)).or_else(|| count.as_f64().map(|_| 0))
}

fn declared(schema: &Value, root: bool, name: &str, depth: usize) -> Option<Declared> {
    if depth > MAX_DEPTH {
        return None;
    }
    // Letters are of up to four bytes.
    let letters = || count(schema, "maxLength").map(|most| most.saturating_mul(4));
    let below =
        |of: &Value, name: &str| declared(of, flag(of, "x-kubernetes-embedded-resource"), name, depth + 1);
    if flag(schema, "x-kubernetes-int-or-string") {
        return Some(Declared::new(Type::Dyn, letters().unwrap_or(MAX_REQUEST - 2), 1));
    }
    let of = if root { "object" } else { text(schema, "type") };
    Some(match of {
        "array" => {
            let items = below(schema.get("items")?, &format!("{name}.@idx"))?;
            let most = count(schema, "maxItems").unwrap_or((MAX_REQUEST - 2) / (items.least + 1));
            Declared::list(items, most)
        }
        "object" => match schema.get("additionalProperties").filter(|of| of.is_object()) {
            Some(values) if !root => {
                let values = below(values, &format!("{name}.@elem"))?;
                let most = count(schema, "maxProperties").unwrap_or((MAX_REQUEST - 2) / (values.least + 6));
                Declared::map(values, most)
            }
            _ => object(schema, root, name, &below),
        },
        "string" => match text(schema, "format") {
            "byte" => Declared::new(Type::Bytes, count(schema, "maxLength").unwrap_or(MAX_REQUEST - 2), 2),
            "duration" => Declared::new(Type::Duration, 32, 3),
            "date" => Declared::new(Type::Time, 12, 12),
            "date-time" => Declared::new(Type::Time, 32, 21),
            _ => {
                let values = schema.get("enum").and_then(Value::as_array).filter(|all| !all.is_empty());
                let longest = values.map(|all| {
                    all.iter().filter_map(Value::as_str).map(|one| one.len() as u64).max().unwrap_or(0)
                });
                Declared::new(Type::Text, letters().or(longest).unwrap_or(MAX_REQUEST - 2), 2)
            }
        },
        "boolean" => Declared::new(Type::Bool, 0, 4),
        "number" => Declared::new(Type::Double, 0, 1),
        "integer" => Declared::new(Type::Int, 0, 1),
        _ => return None,
    })
}

fn object(
    schema: &Value,
    root: bool,
    name: &str,
    below: &impl Fn(&Value, &str) -> Option<Declared>,
) -> Declared {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut fields = BTreeMap::new();
    // Its braces.
    let mut least = 2;
    for (property, of) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
        if root && matches!(property.as_str(), "apiVersion" | "kind" | "metadata") {
            continue;
        }
        let escaped = escape(property);
        let Some(of_field) = below(of, &format!("{name}.{}", escaped.as_deref().unwrap_or(property))) else {
            continue;
        };
        if required.contains(&property.as_str()) && of.get("default").is_none() {
            least += property.len() as u64 + of_field.least + 4;
        }
        fields.extend(escaped.map(|escaped| (escaped, of_field)));
    }
    if root {
        let texts = || Declared::new(Type::Text, MAX_REQUEST - 2, 2);
        let metadata =
            Declared::object(&format!("{name}.metadata"), [("name", texts()), ("generateName", texts())]);
        for (name, of) in [("apiVersion", texts()), ("kind", texts()), ("metadata", metadata)] {
            if required.contains(&name) {
                least += name.len() as u64 + of.least + 4;
            }
            fields.insert(name.to_owned(), of);
        }
    }
    let object = Object { name: name.to_owned(), fields, open: false };
    Declared::new(Type::Object(Arc::new(object)), 0, least)
}

/// A property's name in expressions; `None` for those that cannot be named.
fn escape(name: &str) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-' | '/');
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    if RESERVED.contains(&name) {
        return Some(format!("__{name}__"));
    }
    name.chars().all(plain).then(|| {
        let name = name.replace("__", "__underscores__");
        name.replace('.', "__dot__").replace('-', "__dash__").replace('/', "__slash__")
    })
}
