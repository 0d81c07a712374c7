//! How a value merges, by its schema: as one, field by field, or item by item.

use std::borrow::Cow;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use super::path::Element;
use crate::library::{AnyForm, Field, Library, ListKind, Presence, Scalar, Shape, StructId, Type};

/// What is known of a value's type.
#[derive(Clone, Copy, Debug)]
pub(super) enum At<'t> {
    Type(&'t Type),
    Root(StructId),
    /// Anything: objects field by field, lists as one.
    Deduced,
    /// Anything, as one.
    Whole,
    /// No field of the schema.
    Undeclared,
}

/// How a value of some type merges.
#[derive(Clone, Copy, Debug)]
pub(super) enum Form<'t> {
    Scalar(Option<Scalar>),
    Object { fields: Option<StructId>, others: At<'t>, atomic: bool },
    List { items: At<'t>, kind: &'t ListKind },
}

static ATOMIC: ListKind = ListKind::Atomic;
static EMPTY_OBJECT: LazyLock<Value> = LazyLock::new(|| Value::Object(Map::new()));
static EMPTY_TEXT: Value = Value::String(String::new());
static ZERO: LazyLock<Value> = LazyLock::new(|| Value::from(0));
static ZERO_QUANTITY: LazyLock<Value> = LazyLock::new(|| Value::from("0"));

impl<'t> At<'t> {
    /// What a value is to be merged as; where its type takes anything, its own shape decides.
    pub fn form(self, library: &Library, value: Option<&Value>) -> Form<'t> {
        let of_struct = |id: StructId, atomic| Form::Object {
            fields: Some(id),
            others: if library.get(id).preserve_unknown { At::Deduced } else { At::Undeclared },
            atomic,
        };
        let by_value = |inner: At<'t>, atomic: bool| match value {
            Some(Value::Array(_)) => Form::List { items: At::Whole, kind: &ATOMIC },
            Some(Value::Object(_) | Value::Null) | None => {
                Form::Object { fields: None, others: inner, atomic }
            }
            Some(_) => Form::Scalar(None),
        };
        match self {
            At::Root(id) => of_struct(id, false),
            At::Deduced => by_value(At::Deduced, false),
            At::Whole | At::Undeclared => by_value(At::Whole, true),
            At::Type(of) => match &of.shape {
                Shape::Scalar(scalar) => {
                    Form::Scalar(match of.rules.as_ref().and_then(|rules| rules.format.as_ref()) {
                        // What has a format may be any scalar, as far as merging goes.
                        Some(format) if *scalar == Scalar::String && **format != *"byte" => None,
                        _ => Some(*scalar),
                    })
                }
                Shape::Struct { id, atomic } => of_struct(*id, *atomic),
                Shape::Map { values, atomic } => {
                    Form::Object { fields: None, others: At::Type(values), atomic: *atomic }
                }
                Shape::List { items, kind, .. } => Form::List { items: At::Type(items), kind },
                Shape::Any(AnyForm::Object) => by_value(At::Whole, true),
                Shape::Any(_) => by_value(At::Deduced, false),
            },
        }
    }

    /// The field of an object of this type that is not absent even where JSON lacks it.
    pub fn zero(field: &Field) -> Option<&'static Value> {
        match (field.presence, &field.of.shape) {
            (Presence::OmitEmpty | Presence::Optional, _) => None,
            (Presence::Null, _) => Some(&Value::Null),
            (Presence::Always, Shape::Struct { .. }) => Some(&EMPTY_OBJECT),
            (Presence::Always, Shape::Scalar(scalar)) => match scalar {
                Scalar::Bool => Some(&Value::Bool(false)),
                Scalar::Int32 | Scalar::Int64 | Scalar::Float | Scalar::IntOrString => Some(&ZERO),
                Scalar::String => Some(&EMPTY_TEXT),
                Scalar::Quantity => Some(&ZERO_QUANTITY),
                Scalar::Duration => None,
                Scalar::Bytes | Scalar::Time | Scalar::MicroTime => Some(&Value::Null),
            },
            (Presence::Always, _) => Some(&Value::Null),
        }
    }
}

/// The type of a member of an object.
pub(super) fn member<'t>(
    library: &'t Library,
    fields: Option<StructId>,
    others: At<'t>,
    name: &str,
) -> At<'t> {
    match fields.and_then(|id| library.field(id, name)) {
        Some(field) => At::Type(&field.of),
        None => others,
    }
}

/// All fields of a struct, those of inline ones too.
pub(super) fn fields<'t>(library: &'t Library, id: StructId, f: &mut impl FnMut(&'t Field)) {
    for field in &library.get(id).fields {
        match (field.inline, &field.of.shape) {
            (true, Shape::Struct { id, .. }) => fields(library, *id, f),
            _ => f(field),
        }
    }
}

/// By what an item of a list that merges is told apart.
///
/// # Errors
/// It has nothing of the sort, in the original's words.
pub(super) fn item<'v>(
    library: &'v Library,
    items: At<'v>,
    kind: &'v ListKind,
    value: &'v Value,
) -> Result<Element<'v>, String> {
    let keys = match kind {
        ListKind::Atomic => return Err("invalid indexing of non-associative list".to_owned()),
        ListKind::Set => {
            return match value {
                Value::Object(_) => {
                    Err("associative list without keys has an element that's a map type".to_owned())
                }
                Value::Array(_) => Err("not supported: associative list with lists as elements".to_owned()),
                Value::Null => {
                    Err("associative list without keys has an element that's an explicit null".to_owned())
                }
                _ => Ok(Element::Value(Cow::Borrowed(value))),
            };
        }
        ListKind::Map { keys } => keys,
    };
    let members = match value {
        Value::Object(members) => members,
        Value::Null => return Err("associative list with keys may not have a null element".to_owned()),
        _ => return Err("associative list with keys may not have non-map elements".to_owned()),
    };
    let default = |name: &str| match items.form(library, Some(value)) {
        Form::Object { fields: Some(id), .. } => {
            let field = library.field(id, name)?;
            field.of.default.as_ref().or_else(|| At::zero(field).filter(|zero| !zero.is_null()))
        }
        _ => None,
    };
    let mut fields: Vec<_> = keys
        .iter()
        .filter_map(|name| {
            let value = members.get(&**name).or_else(|| default(name))?;
            Some((Cow::Borrowed(&**name), Cow::Borrowed(value)))
        })
        .collect();
    if fields.is_empty() && !keys.is_empty() {
        let names: Vec<String> = keys.iter().map(|name| format!("{name:?}")).collect();
        return Err(format!(
            "associative list with keys has an element that omits all key fields [{}] (and doesn't have default values \
             for any key fields)",
            names.join(" ")
        ));
    }
    fields.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(Element::Key(fields))
}
