//! Lists that merge: of objects by the field that tells them apart, of scalars by their values.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::order::{merge_order, partition};
use super::show::show;
use super::{
    DIRECTIVE, Members, Merger, PatchError, SET_ORDER, parallel_name, unknown_directive, without_directives,
};
use crate::library::{Patch, Type};

impl Merger<'_> {
    /// A list with its patch. `deletes`: the patch lists what goes.
    pub(super) fn lists(
        &self,
        have: Vec<Value>,
        want: Vec<Value>,
        items: &Type,
        patch: &Patch,
        deletes: bool,
    ) -> Result<Vec<Value>, PatchError> {
        if !patch.merge && !deletes {
            return Ok(want);
        }
        if have.is_empty() && want.is_empty() {
            return Ok(have);
        }
        if !of_objects(&have, &want)? {
            return scalars(have, want, patch, deletes);
        }
        let Some(key) = patch.merge_key.as_deref() else {
            return internal("cannot merge lists without merge key for struct");
        };
        let (have, want) = special_items(have, want, key)?;
        let order = have.clone();
        let merged = self.merge_items(have, want.clone(), items, key)?;
        let (patched, others) = partition(merged, &want, Some(key))?;
        merge_order(patched, others, &want, &order, Some(key))
    }

    fn merge_items(
        &self,
        mut have: Vec<Value>,
        want: Vec<Value>,
        items: &Type,
        key: &str,
    ) -> Result<Vec<Value>, PatchError> {
        let mut places = HashMap::new();
        for (n, item) in have.iter().enumerate() {
            if let Some(value) = item.get(key) {
                places.entry(value.to_string()).or_insert(n);
            }
        }
        for item in want {
            let id = item_id(&item, Some(key))?;
            match (places.get(&id), item) {
                (Some(&n), Value::Object(patch)) => {
                    let object = have[n].as_object_mut().map(std::mem::take).unwrap_or_default();
                    have[n] = Value::Object(self.objects(object, patch, items)?);
                }
                (_, item) => {
                    places.insert(id, have.len());
                    have.push(item);
                }
            }
        }
        Ok(have)
    }

    /// The lists for which the patch gives an order, taken out of the patch and merged.
    pub(super) fn ordered_lists(
        &self,
        object: &mut Members,
        patch: &mut Members,
        of: &Type,
    ) -> Result<(), PatchError> {
        let names: Vec<String> = patch.keys().filter(|name| name.starts_with(SET_ORDER)).cloned().collect();
        for directive in names {
            let order = list(patch.remove(&directive))?.unwrap_or_default();
            let name = parallel_name(&directive, SET_ORDER)?;
            let have = list(object.get(name).cloned())?;
            let want = list(patch.get(name).cloned())?;
            let (items, how) = self.items(of, name)?;
            let key = how.merge_key.as_deref();
            check_order(want.as_deref().unwrap_or_default(), &order, key)?;
            let merged = match (have.clone(), want.clone()) {
                (None, None) => continue,
                (Some(have), None) => have,
                (None, Some(want)) => want.into_iter().filter_map(without_directives).collect(),
                (Some(have), Some(want)) => self.lists(have, want, items, how, false)?,
            };
            let (patched, others) = partition(merged, &order, key)?;
            let have = have.unwrap_or_default();
            let key =
                of_objects(&have, want.as_deref().unwrap_or_default())?.then_some(key.unwrap_or_default());
            let merged = merge_order(patched, others, &order, &have, key)?;
            object.insert(name.to_owned(), Value::Array(merged));
            patch.remove(name);
        }
        Ok(())
    }
}

pub(super) fn internal<T>(message: impl Into<String>) -> Result<T, PatchError> {
    Err(PatchError::Internal(message.into()))
}

fn list(value: Option<Value>) -> Result<Option<Vec<Value>>, PatchError> {
    match value {
        None => Ok(None),
        Some(Value::Array(items)) => Ok(Some(items)),
        Some(other) => internal(format!("expected a []interface {{}}, but received a {}", go_type(&other))),
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "%!s(<nil>)",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

/// What tells an item apart: its key, or itself.
pub(super) fn item_id(item: &Value, key: Option<&str>) -> Result<String, PatchError> {
    let Some(key) = key else {
        return Ok(item.to_string());
    };
    match item {
        Value::Object(members) => match members.get(key) {
            Some(value) => Ok(value.to_string()),
            None => internal(format!("map: {} does not contain declared merge key: {key}", show(item))),
        },
        other => internal(format!("expected a map[string]interface {{}}, but received a {}", go_type(other))),
    }
}

/// Whether the items are objects. All must be of one type.
fn of_objects(have: &[Value], want: &[Value]) -> Result<bool, PatchError> {
    let mut types = have.iter().chain(want).map(go_type);
    match types.next() {
        None => internal("no elements in any of the given slices"),
        Some("[]interface {}") => {
            Err(PatchError::Unprocessable("lists of lists are not supported".to_owned()))
        }
        Some(first) if types.any(|other| other != first) => {
            let shown = |items: &[Value]| show(&Value::Array(items.to_vec()));
            internal(format!("list element types are not identical: [{} {}]", shown(have), shown(want)))
        }
        Some(first) => Ok(first == "map[string]interface {}"),
    }
}

fn scalars(
    have: Vec<Value>,
    want: Vec<Value>,
    patch: &Patch,
    deletes: bool,
) -> Result<Vec<Value>, PatchError> {
    if deletes {
        let gone: HashSet<String> = want.iter().map(Value::to_string).collect();
        return Ok(have.into_iter().filter(|item| !gone.contains(&item.to_string())).collect());
    }
    let key = patch.merge_key.as_deref();
    let mut seen = HashSet::new();
    let merged = have.iter().chain(&want).filter(|item| seen.insert(item.to_string())).cloned().collect();
    let (patched, others) = partition(merged, &want, key)?;
    merge_order(patched, others, &want, &have, None)
}

/// Runs the directives that stand among the items, and gives what is left of both lists.
fn special_items(
    mut have: Vec<Value>,
    want: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let mut plain = Vec::with_capacity(want.len());
    let mut gone = HashSet::new();
    let mut replace = false;
    for item in want {
        let Some((directive, members)) = item.get(DIRECTIVE).zip(item.as_object()) else {
            plain.push(item);
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                gone.insert(item_id(&item, Some(key))?);
            }
            Some("replace") => replace = true,
            Some("merge") => return internal("merging lists cannot yet be specified in the patch"),
            _ => return Err(unknown_directive(directive, members)),
        }
    }
    if replace {
        return Ok((plain, Vec::new()));
    }
    if !gone.is_empty() {
        have.retain(|item| item.get(key).is_none_or(|value| !gone.contains(&value.to_string())));
    }
    Ok((have, plain))
}

/// Items of a patch must stand in the order that the patch gives.
fn check_order(want: &[Value], order: &[Value], key: Option<&str>) -> Result<(), PatchError> {
    if want.is_empty() || order.is_empty() {
        return Ok(());
    }
    let mut order_left = order.iter();
    for item in want.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        let id = item_id(item, key)?;
        let mut found = false;
        for other in order_left.by_ref() {
            if item_id(other, key)? == id {
                found = true;
                break;
            }
        }
        if !found {
            let shown = |items: &[Value]| show(&Value::Array(items.to_vec()));
            return internal(format!(
                "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                shown(want),
                shown(order)
            ));
        }
    }
    Ok(())
}
