//! Values that merge as one, with all that Go's structs always have.
//!
//! An applied value is compared with the one that is there as both are written. Objects at work lack what is zero, and
//! Go's JSON does not: an endpoint has `conditions: {}` even where nobody said so, and is another one than what an apply
//! without them wants.

use serde_json::Value;

use super::typed::{At, Form, fields, member};
use crate::library::{Library, ListKind, Schema};

/// The object with zero values in lists and objects that merge as one. Elsewhere each field is looked at by itself.
pub(super) fn fill(schema: &Schema, object: &Value) -> Value {
    let mut filled = object.clone();
    values(&schema.library, At::Root(schema.root), &mut filled, false);
    filled
}

fn values(library: &Library, at: At<'_>, value: &mut Value, whole: bool) {
    match (at.form(library, Some(value)), value) {
        (Form::Object { fields: id, others, atomic }, Value::Object(members)) => {
            let whole = whole || atomic;
            if let Some(id) = id.filter(|_| whole) {
                fields(library, id, &mut |field| {
                    if let Some(zero) = At::zero(field)
                        && !members.contains_key(&*field.name)
                    {
                        members.insert(field.name.to_string(), zero.clone());
                    }
                });
            }
            for (name, value) in members {
                values(library, member(library, id, others, name), value, whole);
            }
        }
        (Form::List { items, kind }, Value::Array(all)) => {
            let whole = whole || *kind == ListKind::Atomic;
            for item in all {
                values(library, items, item, whole);
            }
        }
        _ => {}
    }
}
