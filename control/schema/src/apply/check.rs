//! Whether an applied object is of its kind's types at all, in the original's words.

use std::collections::BTreeSet;

use serde_json::Value;

use super::path::Element;
use super::typed::{At, Form, item, member};
use crate::library::{Library, ListKind, Scalar, Schema};

/// What is wrong with the object; nothing where it is of the schema's types and no list names an item twice.
pub(super) fn check(schema: &Schema, object: &Value) -> Result<(), String> {
    let mut errors = Vec::new();
    let mut checker = Checker { library: &schema.library, errors: &mut errors };
    checker.value(At::Root(schema.root), object, "");
    match &errors[..] {
        [] => Ok(()),
        [only] => Err(only.clone()),
        several => Err(format!("errors:\n  {}", several.join("\n  "))),
    }
}

struct Checker<'a> {
    library: &'a Library,
    errors: &'a mut Vec<String>,
}

impl Checker<'_> {
    fn fail(&mut self, path: &str, what: &str) {
        self.errors.push(if path.is_empty() { what.to_owned() } else { format!("{path}: {what}") });
    }

    fn value(&mut self, at: At<'_>, value: &Value, path: &str) {
        if value.is_null() {
            return;
        }
        match at.form(self.library, Some(value)) {
            Form::Scalar(scalar) => {
                if let Some(what) = wrong_scalar(scalar, value) {
                    self.fail(path, &what);
                }
            }
            Form::Object { fields, others, .. } => {
                let Value::Object(members) = value else {
                    return self.fail(path, &format!("expected map, got &{{{}}}", plain(value)));
                };
                for (name, value) in members {
                    let path = format!("{path}.{name}");
                    match member(self.library, fields, others, name) {
                        At::Undeclared => return self.fail(&path, "field not declared in schema"),
                        at => self.value(at, value, &path),
                    }
                }
            }
            Form::List { items, kind } => {
                let Value::Array(values) = value else {
                    return self.fail(path, &format!("expected list, got &{{{}}}", plain(value)));
                };
                let mut seen = BTreeSet::new();
                for (n, value) in values.iter().enumerate() {
                    let id = match kind {
                        ListKind::Atomic => Element::Index(i64::try_from(n).unwrap_or(i64::MAX)),
                        _ => match item(self.library, items, kind, value) {
                            Ok(id) => id,
                            Err(error) => return self.fail(path, &format!("element {n}: {error}")),
                        },
                    };
                    let below = format!("{path}{id}");
                    if !seen.insert(id.clone()) {
                        self.fail(path, &format!("duplicate entries for key {id}"));
                    }
                    self.value(items, value, &below);
                }
            }
        }
    }
}

fn wrong_scalar(scalar: Option<Scalar>, value: &Value) -> Option<String> {
    let is_scalar = !value.is_object() && !value.is_array();
    match scalar {
        Some(Scalar::Bool) => {
            (!value.is_boolean()).then(|| format!("expected boolean, got &{{{}}}", plain(value)))
        }
        Some(Scalar::Int32 | Scalar::Int64 | Scalar::Float) => {
            (!value.is_number()).then(|| format!("expected numeric (int or float), got {}", go_type(value)))
        }
        Some(Scalar::String | Scalar::Bytes | Scalar::Duration) => (!value.is_string())
            .then(|| format!("expected string, got &value.valueUnstructured{{Value:{}}}", go_syntax(value))),
        Some(Scalar::Time | Scalar::MicroTime | Scalar::Quantity | Scalar::IntOrString) | None => {
            (!is_scalar).then(|| format!("expected any scalar, got &{{{}}}", plain(value)))
        }
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// Go's `%v`.
fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", items.iter().map(plain).collect::<Vec<_>>().join(" ")),
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name}:{}", plain(value)));
            format!("map[{}]", members.collect::<Vec<_>>().join(" "))
        }
        other => other.to_string(),
    }
}

/// Go's `%#v`.
fn go_syntax(value: &Value) -> String {
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => {
            format!("[]interface {{}}{{{}}}", items.iter().map(go_syntax).collect::<Vec<_>>().join(", "))
        }
        Value::Object(members) => {
            let members = members.iter().map(|(name, value)| format!("{name:?}:{}", go_syntax(value)));
            format!("map[string]interface {{}}{{{}}}", members.collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}
