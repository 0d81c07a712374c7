//! One step of the way to a field: its order among others, its text in `fieldsV1` and in messages.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt::{self, Write};

use apiclient_core::names::quoted;
use serde_json::Value;

/// A field of an object, or an item of a list.
#[derive(Clone, Debug)]
pub enum Element<'a> {
    /// `f:name`: of an object or a map.
    Field(Cow<'a, str>),
    /// `k:{"name":"a"}`: the item with these values in its key fields, which are sorted by name.
    Key(Vec<(Cow<'a, str>, Cow<'a, Value>)>),
    /// `v:"a"`: the item of a set.
    Value(Cow<'a, Value>),
    /// `i:0`: by its place, as nobody writes any more.
    Index(i64),
}

impl Element<'_> {
    pub fn into_owned(self) -> Element<'static> {
        match self {
            Self::Field(name) => Element::Field(Cow::Owned(name.into_owned())),
            Self::Key(fields) => Element::Key(
                fields
                    .into_iter()
                    .map(|(name, value)| (Cow::Owned(name.into_owned()), Cow::Owned(value.into_owned())))
                    .collect(),
            ),
            Self::Value(value) => Element::Value(Cow::Owned(value.into_owned())),
            Self::Index(n) => Element::Index(n),
        }
    }

    /// The name in `fieldsV1`.
    pub fn write(&self, out: &mut String) {
        match self {
            Self::Field(name) => {
                out.push_str("f:");
                out.push_str(name);
            }
            Self::Key(fields) => {
                out.push_str("k:{");
                for (n, (name, value)) in fields.iter().enumerate() {
                    if n > 0 {
                        out.push(',');
                    }
                    write_json(&Value::from(name.as_ref()), out);
                    out.push(':');
                    write_json(value, out);
                }
                out.push('}');
            }
            Self::Value(value) => {
                out.push_str("v:");
                write_json(value, out);
            }
            Self::Index(n) => {
                let _ = write!(out, "i:{n}");
            }
        }
    }

    /// Reads a name of `fieldsV1`. `Ok(None)`: of a sort that a later version may know.
    ///
    /// # Errors
    /// A name that is none.
    pub fn read(name: &str) -> Result<Option<Element<'_>>, String> {
        let Some((sort, rest)) = name.split_at_checked(2) else {
            return Err("key must be 2 characters long:".to_owned());
        };
        let json = |text: &str| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        match sort {
            "f:" => Ok(Some(Element::Field(Cow::Borrowed(rest)))),
            "v:" => Ok(Some(Element::Value(Cow::Owned(json(rest)?)))),
            "i:" => Ok(Some(Element::Index(rest.parse().map_err(|_| format!("no number: {rest:?}"))?))),
            "k:" => {
                let Value::Object(fields) = json(rest)? else {
                    return Err(format!("no object: {rest}"));
                };
                let mut fields: Vec<(Cow<'_, str>, Cow<'_, Value>)> =
                    fields.into_iter().map(|(name, value)| (Cow::Owned(name), Cow::Owned(value))).collect();
                fields.sort_by(|a, b| a.0.cmp(&b.0));
                Ok(Some(Element::Key(fields)))
            }
            _ if sort.ends_with(':') => Ok(None),
            _ => Err(format!("missing colon: {name}")),
        }
    }
}

/// JSON as Go writes it: `<`, `>` and `&` are escaped.
fn write_json(value: &Value, out: &mut String) {
    match value {
        Value::String(text) if text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) => {
            let text = value.to_string();
            for c in text.chars() {
                match c {
                    '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                        let _ = write!(out, "\\u{:04x}", u32::from(c));
                    }
                    c => out.push(c),
                }
            }
        }
        Value::String(text) if text.bytes().all(|b| b >= b' ' && b != b'"' && b != b'\\') => {
            out.push('"');
            out.push_str(text);
            out.push('"');
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}

/// As messages show a step: `.data`, `[name="a"]`, `[="x"]`, `[0]`.
impl fmt::Display for Element<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(f, ".{name}"),
            Self::Key(fields) => {
                f.write_char('[')?;
                for (n, (name, value)) in fields.iter().enumerate() {
                    let comma = if n > 0 { "," } else { "" };
                    write!(f, "{comma}{name}={}", shown(value))?;
                }
                f.write_char(']')
            }
            Self::Value(value) => write!(f, "[={}]", shown(value)),
            Self::Index(n) => write!(f, "[{n}]"),
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(",")),
        Value::Object(members) => {
            members.iter().map(|(name, value)| format!("{name}={}", shown(value))).collect()
        }
        other => other.to_string(),
    }
}

impl Ord for Element<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        let rank = |element: &Self| match element {
            Self::Field(_) => 0,
            Self::Key(_) => 1,
            Self::Value(_) => 2,
            Self::Index(_) => 3,
        };
        match (self, other) {
            (Self::Field(a), Self::Field(b)) => a.cmp(b),
            (Self::Key(a), Self::Key(b)) => {
                let mut pairs = a.iter().zip(b);
                let unequal = pairs.find_map(|(a, b)| {
                    let order = a.0.cmp(&b.0).then_with(|| compare(&a.1, &b.1));
                    (order != Ordering::Equal).then_some(order)
                });
                unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
            }
            (Self::Value(a), Self::Value(b)) => compare(a, b),
            (Self::Index(a), Self::Index(b)) => a.cmp(b),
            _ => rank(self).cmp(&rank(other)),
        }
    }
}

impl PartialOrd for Element<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Element<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Element<'_> {}

/// The order of values: numbers, texts, booleans, lists, objects, null.
pub(super) fn compare(a: &Value, b: &Value) -> Ordering {
    let rank = |value: &Value| match value {
        Value::Number(_) => 0,
        Value::String(_) => 1,
        Value::Bool(_) => 2,
        Value::Array(_) => 3,
        Value::Object(_) => 4,
        Value::Null => 5,
    };
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_i64(), b.as_i64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or_default().total_cmp(&b.as_f64().unwrap_or_default()),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        (Value::Array(a), Value::Array(b)) => {
            let unequal = a.iter().zip(b).map(|(a, b)| compare(a, b)).find(|order| order.is_ne());
            unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        (Value::Object(a), Value::Object(b)) => {
            let unequal = a
                .iter()
                .zip(b)
                .map(|(a, b)| a.0.cmp(b.0).then_with(|| compare(a.1, b.1)))
                .find(|order| order.is_ne());
            unequal.unwrap_or_else(|| a.len().cmp(&b.len()))
        }
        _ => rank(a).cmp(&rank(b)),
    }
}
