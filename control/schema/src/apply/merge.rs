//! One object made of two: what is there, and what is applied over it.

use std::collections::{BTreeMap, VecDeque};

use serde_json::{Map, Value};

use super::path::Element;
use super::typed::{At, Form, item, member};
use crate::library::{Library, ListKind, Schema};

/// The live object with the applied one over it: fields by name, items by identity, in the applied one's order where
/// both have them.
///
/// # Errors
/// Items of an applied list cannot be told apart.
pub(super) fn merge(schema: &Schema, live: &Value, applied: &Value) -> Result<Value, String> {
    let merger = Merger { library: &schema.library };
    let merged = merger.values(At::Root(schema.root), Some(live), Some(applied))?;
    Ok(merged.unwrap_or_else(|| Value::Object(Map::new())))
}

struct Merger<'a> {
    library: &'a Library,
}

impl<'a> Merger<'a> {
    fn values(
        &self,
        at: At<'a>,
        live: Option<&'a Value>,
        applied: Option<&'a Value>,
    ) -> Result<Option<Value>, String> {
        let leaf = || Ok(applied.or(live).cloned());
        match at.form(self.library, applied.or(live)) {
            Form::Scalar(_) => leaf(),
            Form::Object { fields, others, atomic } => {
                let (a, b) = (live.and_then(Value::as_object), applied.and_then(Value::as_object));
                if atomic || (a.is_none_or(Map::is_empty) && b.is_none_or(Map::is_empty)) {
                    return leaf();
                }
                let mut out = Map::new();
                for (name, value) in b.into_iter().flatten() {
                    let live = a.and_then(|live| live.get(name));
                    let at = member(self.library, fields, others, name);
                    if let Some(value) = self.values(at, live, Some(value))? {
                        out.insert(name.clone(), value);
                    }
                }
                for (name, value) in a.into_iter().flatten() {
                    if b.is_none_or(|applied| !applied.contains_key(name)) {
                        out.insert(name.clone(), value.clone());
                    }
                }
                Ok((!out.is_empty()).then_some(Value::Object(out)))
            }
            Form::List { items, kind } => {
                let (a, b) = (live.and_then(Value::as_array), applied.and_then(Value::as_array));
                let (a, b) = (a.map_or(&[][..], Vec::as_slice), b.map_or(&[][..], Vec::as_slice));
                if *kind == ListKind::Atomic || (a.is_empty() && b.is_empty()) {
                    return leaf();
                }
                let out = self.lists(items, kind, a, b)?;
                Ok((!out.is_empty()).then_some(Value::Array(out)))
            }
        }
    }

    /// Items of both in the applied order; items of the live list alone where they stood between those.
    fn lists(
        &self,
        items: At<'a>,
        kind: &'a ListKind,
        live: &'a [Value],
        applied: &'a [Value],
    ) -> Result<Vec<Value>, String> {
        let identify = |values: &'a [Value]| -> Result<Vec<Element<'a>>, String> {
            let ids = values.iter().enumerate();
            ids.map(|(n, value)| {
                item(self.library, items, kind, value).map_err(|error| format!("element {n}: {error}"))
            })
            .collect()
        };
        let (live_ids, applied_ids) = (identify(live)?, identify(applied)?);
        let mut have: BTreeMap<&Element<'_>, Option<&'a Value>> = BTreeMap::new();
        for (id, value) in live_ids.iter().zip(live) {
            // Of several items with one identity none merges.
            have.entry(id).and_modify(|value| *value = None).or_insert(Some(value));
        }
        let mut want: BTreeMap<&Element<'_>, bool> = BTreeMap::new();
        for id in &applied_ids {
            if want.insert(id, false).is_some() {
                return Err(format!("duplicate entries for key {id}"));
            }
        }
        let mut shared: VecDeque<&Element<'_>> =
            applied_ids.iter().filter(|id| have.contains_key(id)).collect();
        let mut out = Vec::with_capacity(live.len().max(applied.len()));
        let (mut l, mut r) = (0, 0);
        while l < live.len() || r < applied.len() {
            if let Some(id) = live_ids.get(l) {
                let Some(&merged) = want.get(id) else {
                    out.push(live[l].clone());
                    l += 1;
                    continue;
                };
                // Both have it, and it is not next in the applied order.
                let waits = applied_ids.get(r) != Some(id) && shared.front().is_some_and(|next| *next != id);
                if merged || waits {
                    l += 1;
                }
                if waits {
                    continue;
                }
            }
            let Some(id) = applied_ids.get(r) else { continue };
            want.insert(id, true);
            let before = have.get(id).copied().flatten();
            out.extend(self.values(items, before, Some(&applied[r]))?);
            r += 1;
            if shared.front() == Some(&id) {
                shared.pop_front();
            }
            if live_ids.get(l) == Some(id) {
                l += 1;
            }
        }
        Ok(out)
    }
}
