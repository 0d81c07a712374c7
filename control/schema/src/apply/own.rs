//! The fields that an object holds, and an object without some of its fields.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::path::{Element, compare as order};
use super::set::{Node, Set};
use super::typed::{At, Form, item, member};
use crate::library::{Library, ListKind, Schema};

/// Every leaf of the object, items of lists themselves, and members of maps.
///
/// # Errors
/// An item of a list lacks what tells it apart.
pub(super) fn set<'a>(schema: &'a Schema, object: &'a Value) -> Result<Set<'a>, String> {
    Ok(holds(&schema.library, At::Root(schema.root), object)?.1)
}

/// Whether a value is a member by itself, and what is below it.
fn holds<'a>(library: &'a Library, at: At<'a>, value: &'a Value) -> Result<(bool, Set<'a>), String> {
    let mut out = Set::default();
    match at.form(library, Some(value)) {
        Form::Scalar(_) | Form::Object { atomic: true, .. } | Form::List { kind: ListKind::Atomic, .. } => {
            return Ok((true, out));
        }
        Form::Object { fields, others, .. } => {
            for (name, value) in value.as_object().into_iter().flatten() {
                let at = member(library, fields, others, name);
                let (itself, below) = holds(library, at, value)?;
                let blank = value.is_null() || value.as_object().is_some_and(Map::is_empty);
                let declared = fields.is_some_and(|id| library.field(id, name).is_some());
                out.attach(|| Element::Field(name.into()), itself || blank || !declared, below);
            }
        }
        Form::List { items, kind } => {
            let (mut seen, mut twice) = (BTreeSet::new(), BTreeSet::new());
            let mut ids = Vec::new();
            for (n, value) in value.as_array().into_iter().flatten().enumerate() {
                let id =
                    item(library, items, kind, value).map_err(|error| format!("element {n}: {error}"))?;
                if !seen.insert(id.clone()) {
                    twice.insert(id.clone());
                }
                ids.push((id, value));
            }
            for (id, value) in ids {
                let below =
                    if twice.contains(&id) { Set::default() } else { holds(library, items, value)?.1 };
                out.attach(|| id, true, below);
            }
        }
    }
    Ok((false, out))
}

/// The object without the fields of the set. What is left empty becomes `null`, which is no value and yet there as long as
/// somebody owns the field by itself (`spec: {}`).
pub(super) fn without(schema: &Schema, object: &Value, gone: &Set<'_>) -> Value {
    let left = strip(&schema.library, At::Root(schema.root), object, gone);
    left.unwrap_or_else(|| Value::Object(Map::new()))
}

fn strip(library: &Library, at: At<'_>, value: &Value, gone: &Set<'_>) -> Option<Value> {
    match (at.form(library, Some(value)), value) {
        (Form::Object { atomic: false, fields, others }, Value::Object(members)) => {
            let mut out = Map::new();
            for (name, value) in members {
                let left = match gone.get(&Element::Field(name.into())) {
                    None => Some(value.clone()),
                    Some(Node { member: true, .. }) => None,
                    Some(node) => {
                        let at = member(library, fields, others, name);
                        Some(strip(library, at, value, &node.below).unwrap_or(Value::Null))
                    }
                };
                if let Some(left) = left {
                    out.insert(name.clone(), left);
                }
            }
            (!out.is_empty()).then_some(Value::Object(out))
        }
        (Form::List { items, kind }, Value::Array(values)) if *kind != ListKind::Atomic => {
            let left = values.iter().filter_map(|value| {
                match item(library, items, kind, value).ok().and_then(|id| gone.get(&id)) {
                    None => Some(value.clone()),
                    Some(Node { member: true, .. }) => None,
                    Some(node) => strip(library, items, value, &node.below),
                }
            });
            let left: Vec<Value> = left.collect();
            (!left.is_empty()).then_some(Value::Array(left))
        }
        (Form::Scalar(_), _) => Some(value.clone()),
        _ => None,
    }
}

/// The set with every declared field a member that has members below it.
pub(super) fn with_named<'a>(schema: &Schema, set: &Set<'a>) -> Set<'a> {
    named(&schema.library, At::Root(schema.root), set)
}

fn named<'a>(library: &Library, at: At<'_>, set: &Set<'a>) -> Set<'a> {
    let form = at.form(library, None);
    let nodes = set.nodes.iter().map(|node| {
        let (declared, below) = match (&node.at, form) {
            (Element::Field(name), Form::Object { fields, others, .. }) => {
                let declared = fields.is_some_and(|id| library.field(id, name).is_some());
                (declared && !node.below.is_empty(), member(library, fields, others, name))
            }
            (Element::Key(_) | Element::Value(_), Form::List { items, .. }) => (false, items),
            _ => (false, At::Deduced),
        };
        Node {
            at: node.at.clone(),
            member: node.member || declared,
            below: named(library, below, &node.below),
        }
    });
    Set { nodes: nodes.collect() }
}

/// Fields below what merges as a whole by now become that whole: its schema has changed since they were written.
pub(super) fn reconcile(schema: &Schema, set: &mut Set<'_>) {
    reconcile_below(&schema.library, At::Root(schema.root), set);
}

fn reconcile_below(library: &Library, at: At<'_>, set: &mut Set<'_>) {
    let form = at.form(library, None);
    for node in set.nodes.iter_mut().filter(|node| !node.below.is_empty()) {
        let below = match (&node.at, form) {
            (Element::Field(name), Form::Object { fields, others, .. }) => {
                member(library, fields, others, name)
            }
            (Element::Key(_) | Element::Value(_), Form::List { items, .. }) => items,
            _ => continue,
        };
        match below.form(library, None) {
            Form::Object { atomic: true, .. } | Form::List { kind: ListKind::Atomic, .. }
                if !matches!(below, At::Undeclared) =>
            {
                node.member = true;
                node.below = Set::default();
            }
            _ => reconcile_below(library, below, &mut node.below),
        }
    }
}

/// Whether two objects are the same, where what Go's structs always have counts as there.
pub(super) fn equal(schema: &Schema, a: &Value, b: &Value) -> bool {
    same(&schema.library, At::Root(schema.root), a, b)
}

fn same(library: &Library, at: At<'_>, a: &Value, b: &Value) -> bool {
    match (at.form(library, Some(a)), a, b) {
        (Form::Object { fields, others, .. }, Value::Object(a), Value::Object(b)) => {
            let zero = |name: &str| fields.and_then(|id| library.field(id, name)).and_then(At::zero);
            let one_way = |a: &Map<String, Value>, b: &Map<String, Value>| {
                a.iter().all(|(name, value)| {
                    let at = member(library, fields, others, name);
                    b.get(name).or_else(|| zero(name)).is_some_and(|other| same(library, at, value, other))
                })
            };
            one_way(a, b) && one_way(b, a)
        }
        (Form::List { items, .. }, Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(library, items, a, b))
        }
        _ => order(a, b).is_eq(),
    }
}
