//! Values of expressions. Those of the object are borrowed and looked into when asked for.

use std::cmp::Ordering;
use std::net::IpAddr;
use std::rc::Rc;

use serde_json::{Map as Members, Value as Json};

use super::super::urls::Url;
use super::maps::Entries;
use super::network::Cidr;
use super::quantity::Amount;
use super::semver::Semver;
use super::times::{self, Time};

#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    Int(i64),
    Uint(u64),
    Double(f64),
    Text(Text<'a>),
    Bytes(Rc<[u8]>),
    List(List<'a>),
    Map(Map<'a>),
    Time(Time),
    /// Nanoseconds.
    Duration(i64),
    Type(&'static str),
    Optional(Option<Rc<Value<'a>>>),
    Ip(IpAddr),
    Cidr(Cidr),
    Url(Rc<Url>),
    Quantity(Amount),
    Semver(Rc<Semver>),
    /// By its name.
    Format(&'static str),
}

#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Of(&'a str),
    Own(Rc<str>),
}

#[derive(Clone, Debug)]
pub(super) enum List<'a> {
    /// With the schema of its items.
    Of(&'a [Json], &'a Json),
    Own(Rc<Vec<Value<'a>>>),
}

#[derive(Clone, Debug)]
pub(super) enum Map<'a> {
    /// With the schema of the object.
    Of(&'a Members<String, Json>, &'a Json),
    Own(Rc<Entries<'a>>),
}

impl Text<'_> {
    pub fn get(&self) -> &str {
        match self {
            Self::Of(text) => text,
            Self::Own(text) => text,
        }
    }
}

impl<'a> List<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Of(items, _) => items.len(),
            Self::Own(items) => items.len(),
        }
    }

    pub fn get(&self, n: usize) -> Option<Value<'a>> {
        match self {
            Self::Of(items, schema) => items.get(n).map(|item| Value::of(item, schema)),
            Self::Own(items) => items.get(n).cloned(),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = Value<'a>> + '_ {
        (0..self.len()).filter_map(|n| self.get(n))
    }
}

static ANYTHING: Json = Json::Null;

impl<'a> Map<'a> {
    pub fn len(&self) -> usize {
        match self {
            Self::Of(members, _) => members.len(),
            Self::Own(entries) => entries.len(),
        }
    }

    pub fn get(&self, key: &Value<'a>) -> Option<Value<'a>> {
        match self {
            Self::Of(members, schema) => {
                let name = key.as_text()?;
                members.get(name).map(|value| Value::of(value, member(schema, name)))
            }
            Self::Own(entries) => entries.get(key).cloned(),
        }
    }

    /// A field by its name in expressions, in which `-`, `.`, `/` and reserved words are written otherwise.
    pub fn field(&self, name: &str) -> Option<Value<'a>> {
        match self {
            Self::Of(members, schema) => {
                let plain = (!name.starts_with("__")).then(|| members.get(name)).flatten();
                match plain {
                    Some(value) => Some(Value::of(value, member(schema, name))),
                    None if name.contains("__") => {
                        let name = unescape(name);
                        members.get(&name).map(|value| Value::of(value, member(schema, &name)))
                    }
                    None => None,
                }
            }
            Self::Own(_) => self.get(&Value::text(name)),
        }
    }

    pub fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Of(members, _) => members.keys().map(|name| Value::Text(Text::Of(name))).collect(),
            Self::Own(entries) => entries.iter().map(|(key, _)| key.clone()).collect(),
        }
    }
}

/// The schema of a member of an object.
fn member<'a>(schema: &'a Json, name: &str) -> &'a Json {
    let property = schema.get("properties").and_then(|all| all.get(name));
    property.or_else(|| schema.get("additionalProperties").filter(|of| of.is_object())).unwrap_or(&ANYTHING)
}

/// The name of a property, from that of a field (`__dot__` is `.`, `__namespace__` is `namespace`).
pub(super) fn unescape(name: &str) -> String {
    let bare = name.strip_prefix("__").and_then(|name| name.strip_suffix("__"));
    if let Some(word) = bare.filter(|word| super::RESERVED.contains(word)) {
        return word.to_owned();
    }
    let mut out = name.to_owned();
    for (written, meant) in
        [("__underscores__", "\0"), ("__dot__", "."), ("__dash__", "-"), ("__slash__", "/")]
    {
        out = out.replace(written, meant);
    }
    out.replace('\0', "__")
}

impl<'a> Value<'a> {
    /// A value of the object: its format decides what it is.
    pub fn of(json: &'a Json, schema: &'a Json) -> Self {
        let word = |name: &str| schema.get(name).and_then(Json::as_str).unwrap_or_default();
        match json {
            Json::Null => Self::Null,
            Json::Bool(set) => Self::Bool(*set),
            Json::Number(number) => match number.as_i64() {
                Some(n) if word("type") != "number" => Self::Int(n),
                _ => Self::Double(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => match word("format") {
                "date-time" | "date" => times::timestamp(text).map_or(Self::Text(Text::Of(text)), Self::Time),
                "duration" => times::duration(text).map_or(Self::Text(Text::Of(text)), Self::Duration),
                "byte" => super::text::from_base64(text)
                    .map_or(Self::Text(Text::Of(text)), |b| Self::Bytes(b.into())),
                _ => Self::Text(Text::Of(text)),
            },
            Json::Array(items) => Self::List(List::Of(items, schema.get("items").unwrap_or(&ANYTHING))),
            Json::Object(members) => Self::Map(Map::Of(members, schema)),
        }
    }

    /// As [`Value::of`], of what has no schema.
    pub fn plain(json: &'a Json) -> Self {
        Self::of(json, &ANYTHING)
    }

    /// In JSON; `None` for what has no such form.
    pub fn as_json(&self) -> Option<Json> {
        Some(match self {
            Self::Null => Json::Null,
            Self::Bool(set) => (*set).into(),
            Self::Int(n) => (*n).into(),
            Self::Uint(n) => (*n).into(),
            Self::Double(n) => (*n).into(),
            Self::Text(text) => text.get().into(),
            Self::List(list) => Json::Array(list.iter().map(|item| item.as_json()).collect::<Option<_>>()?),
            Self::Map(map) => {
                let entry = |key: Value<'a>| Some((key.as_text()?.to_owned(), map.get(&key)?.as_json()?));
                Json::Object(map.keys().into_iter().map(entry).collect::<Option<_>>()?)
            }
            _ => return None,
        })
    }

    pub fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Own(text.into()))
    }

    pub fn list(items: Vec<Value<'a>>) -> Self {
        Self::List(List::Own(Rc::new(items)))
    }

    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text.get()),
            _ => None,
        }
    }

    /// What working with it as a whole costs.
    pub fn cost(&self) -> u64 {
        match self {
            Self::Text(text) => text.get().len() as u64 / 10 + 1,
            Self::Bytes(bytes) => bytes.len() as u64 / 10 + 1,
            Self::List(list) => list.len() as u64 + 1,
            Self::Map(map) => map.len() as u64 + 1,
            _ => 1,
        }
    }

    /// What comparing or copying it costs, with all that is in it; of what costs more than `most`, something more than
    /// that. A value may be in another many times, and that one in a third: all of them are never walked through.
    pub fn whole_cost(&self, most: u64) -> u64 {
        let mut total: u64 = 1;
        let mut add = |inner: &Self| {
            total += inner.whole_cost(most.saturating_sub(total));
            total <= most
        };
        match self {
            Self::List(list) => {
                let _ = list.iter().all(|item| add(&item));
            }
            Self::Map(map) => {
                let _ = map.keys().iter().filter_map(|key| map.get(key)).all(|value| add(&value));
            }
            Self::Optional(Some(value)) => {
                add(value);
            }
            other => return other.cost(),
        }
        total
    }

    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null_type",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Uint(_) => "uint",
            Self::Double(_) => "double",
            Self::Text(_) => "string",
            Self::Bytes(_) => "bytes",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Time(_) => "google.protobuf.Timestamp",
            Self::Duration(_) => "google.protobuf.Duration",
            Self::Type(_) => "type",
            Self::Optional(_) => "optional_type",
            Self::Ip(_) => "net.IP",
            Self::Cidr(_) => "net.CIDR",
            Self::Url(_) => "kubernetes.URL",
            Self::Quantity(_) => "kubernetes.Quantity",
            Self::Semver(_) => "kubernetes.Semver",
            Self::Format(_) => "kubernetes.NamedFormat",
        }
    }

    /// Equality: between numbers of any kind, deep in lists and maps, and never an error.
    pub fn same(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::List(a), Self::List(b)) => {
                a.len() == b.len() && a.iter().zip(b.iter()).all(|(a, b)| a.same(&b))
            }
            (Self::Map(a), Self::Map(b)) => {
                a.len() == b.len()
                    && a.keys().iter().all(|key| match (a.get(key), b.get(key)) {
                        (Some(a), Some(b)) => a.same(&b),
                        _ => false,
                    })
            }
            (Self::Type(a), Self::Type(b)) => a == b,
            (Self::Optional(a), Self::Optional(b)) => match (a, b) {
                (None, None) => true,
                (Some(a), Some(b)) => a.same(b),
                _ => false,
            },
            (Self::Ip(a), Self::Ip(b)) => a == b,
            (Self::Cidr(a), Self::Cidr(b)) => a == b,
            (Self::Url(a), Self::Url(b)) => a == b,
            (Self::Semver(a), Self::Semver(b)) => a.cmp(b) == Ordering::Equal,
            (Self::Format(a), Self::Format(b)) => a == b,
            _ => self.order(other) == Some(Ordering::Equal),
        }
    }

    /// The order of two values; `None` where there is none.
    pub fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(a), Self::Int(b)) => Some(a.cmp(b)),
            (Self::Uint(a), Self::Uint(b)) => Some(a.cmp(b)),
            (Self::Int(a), Self::Uint(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (Self::Uint(a), Self::Int(b)) => Some(i128::from(*a).cmp(&i128::from(*b))),
            (
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
                Self::Int(_) | Self::Uint(_) | Self::Double(_),
            ) => self.as_double()?.partial_cmp(&other.as_double()?),
            (Self::Text(a), Self::Text(b)) => Some(a.get().cmp(b.get())),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.nanos.cmp(&b.nanos)),
            (Self::Duration(a), Self::Duration(b)) => Some(a.cmp(b)),
            (Self::Quantity(a), Self::Quantity(b)) => Some(a.value.cmp(&b.value)),
            _ => None,
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "as CEL compares whole numbers with others")]
    pub fn as_double(&self) -> Option<f64> {
        match self {
            Self::Int(n) => Some(*n as f64),
            Self::Uint(n) => Some(*n as f64),
            Self::Double(n) => Some(*n),
            _ => None,
        }
    }
}
