//! The order of a merged list: that of the patch for what the patch names, that of the object for the rest, and the two
//! interleaved as they were in the object.

use std::collections::{HashMap, HashSet};

use serde_json::Value;

use super::PatchError;
use super::list::item_id;

/// The items that `by` names, and the others.
pub(super) fn partition(
    items: Vec<Value>,
    by: &[Value],
    key: Option<&str>,
) -> Result<(Vec<Value>, Vec<Value>), PatchError> {
    let of = |item: &Value| match key {
        Some(key) => item.get(key).map(Value::to_string),
        None => Some(item.to_string()),
    };
    let named: HashSet<String> = by.iter().filter_map(of).collect();
    let (mut inside, mut outside) = (Vec::new(), Vec::new());
    for item in items {
        let id = item_id(&item, key)?;
        if named.contains(&id) { inside.push(item) } else { outside.push(item) }
    }
    Ok((inside, outside))
}

/// `patched` in the order of `patch_order`, `others` in that of `server_order`, merged: one of `others` goes before the
/// first of `patched` that it preceded in `server_order`.
pub(super) fn merge_order(
    patched: Vec<Value>,
    others: Vec<Value>,
    patch_order: &[Value],
    server_order: &[Value],
    key: Option<&str>,
) -> Result<Vec<Value>, PatchError> {
    let places = |order: &[Value]| -> Result<HashMap<String, usize>, PatchError> {
        let mut places = HashMap::new();
        for (n, item) in order.iter().enumerate() {
            places.entry(item_id(item, key)?).or_insert(n);
        }
        Ok(places)
    };
    let server = places(server_order)?;
    let sorted = |items: Vec<Value>, order: &HashMap<String, usize>| -> Result<Vec<Item>, PatchError> {
        let mut items = items
            .into_iter()
            .map(|item| {
                let id = item_id(&item, key)?;
                let place = order.get(&id).copied();
                Ok((place.unwrap_or(usize::MAX), (server.get(&id).copied(), item)))
            })
            .collect::<Result<Vec<_>, PatchError>>()?;
        items.sort_by_key(|(place, _)| *place);
        Ok(items.into_iter().map(|(_, item)| item).collect())
    };
    let mut patched = sorted(patched, &places(patch_order)?)?.into_iter().peekable();
    let mut others = sorted(others, &server)?.into_iter().peekable();
    let mut merged = Vec::with_capacity(patched.len() + others.len());
    loop {
        let before = match (others.peek(), patched.peek()) {
            (None, None) => return Ok(merged),
            (Some(_), None) => true,
            (None, Some(_)) => false,
            (Some((other, _)), Some((ours, _))) => other.is_some() && ours.is_some() && other < ours,
        };
        let next = if before { others.next() } else { patched.next() };
        merged.extend(next.map(|(_, item)| item));
    }
}

/// An item and its place in the object.
type Item = (Option<usize>, Value);
