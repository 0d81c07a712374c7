//! JSON patch (RFC 6902) with the habits of the library that the original uses.
//!
//! Those habits: `replace` of a member that is not there adds it, `copy` of one gives null, an index may be negative and
//! counts from the end, a path need not begin with `/`, and `add` without a value adds null.

use serde_json::{Map, Value};

use super::{MAX_DEPTH, PatchError, depth, go_kind};

/// More operations in one patch are refused.
pub const MAX_OPERATIONS: usize = 10_000;

/// All that the `copy` operations of one patch may copy, in bytes of JSON.
pub const MAX_COPIED: usize = 3 << 20;

/// The object that the patch makes of `object`.
///
/// # Errors
/// The patch is not a list of operations, or too long a one, or one of them fails, `test` among them.
pub fn apply(mut object: Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = operations(patch)?;
    if operations.len() > MAX_OPERATIONS {
        return Err(PatchError::TooManyOperations(operations.len()));
    }
    let mut copied = 0;
    for operation in operations {
        run(&mut object, operation, &mut copied)?;
    }
    Ok(object)
}

/// What field validation says of a patch: members of its operations that no operation has. The original writes
/// `json patch ` before each.
pub fn unknown_fields(patch: &Value) -> Vec<String> {
    let operations = patch.as_array().into_iter().flatten().enumerate();
    operations
        .flat_map(|(n, operation)| {
            let names = operation.as_object().into_iter().flat_map(Map::keys);
            names
                .filter(|name| !matches!(name.as_str(), "op" | "path" | "from" | "value"))
                .map(move |name| format!("unknown field \"[{n}].{name}\""))
        })
        .collect()
}

fn operations(patch: &Value) -> Result<&[Value], PatchError> {
    let not = |value: &Value, what: &str| {
        let kind = go_kind(value);
        PatchError::BadRequest(format!("error decoding patch: json: cannot unmarshal {kind} into Go {what}"))
    };
    match patch {
        Value::Null => Ok(&[]),
        Value::Array(operations) => match operations.iter().find(|one| !one.is_object() && !one.is_null()) {
            Some(other) => Err(not(other, "value of type handlers.jsonPatchOp")),
            None => Ok(operations),
        },
        other => Err(not(other, "value of type []handlers.jsonPatchOp")),
    }
}

fn refused<T>(why: impl Into<String>) -> Result<T, PatchError> {
    Err(PatchError::Unprocessable(why.into()))
}

fn run(object: &mut Value, operation: &Value, copied: &mut usize) -> Result<(), PatchError> {
    let text = |name: &str| match operation.get(name) {
        Some(Value::String(text)) => Ok(text.as_str()),
        _ => refused(format!("operation missing {name} field")),
    };
    let value = || operation.get("value").cloned().unwrap_or(Value::Null);
    match operation.get("op").and_then(Value::as_str) {
        Some("add") => add(object, text("path")?, value()),
        Some("remove") => remove(object, text("path")?).map(drop),
        Some("replace") => replace(object, text("path")?, value()),
        Some("move") => {
            let moved = remove(object, text("from")?)?;
            add(object, text("path")?, moved)
        }
        Some("copy") => {
            let value = get(object, text("from")?)?.clone();
            *copied += value.to_string().len();
            if *copied > MAX_COPIED {
                return refused(format!(
                    "Unable to complete the copy, the accumulated size increase of copy is {copied}, exceeding the \
                     limit {MAX_COPIED}"
                ));
            }
            add(object, text("path")?, value)
        }
        Some("test") => {
            let path = text("path")?;
            let have = if path.is_empty() { &*object } else { get(object, path)? };
            if *have == value() { Ok(()) } else { refused(format!("testing value {path} failed")) }
        }
        other => refused(format!("Unexpected kind: {}", other.unwrap_or("unknown"))),
    }
}

/// The names on the way to a member, and its own: what stands before the first `/` counts for nothing.
pub(super) fn split(path: &str) -> Result<(Vec<String>, String), PatchError> {
    let mut names: Vec<String> = path.split('/').skip(1).map(unescape).collect();
    match names.pop() {
        Some(last) => Ok((names, last)),
        None => refused(format!("doc is missing path: \"{path}\"")),
    }
}

/// `~1` and `~0` of RFC 6901, in one pass.
fn unescape(name: &str) -> String {
    let mut parts = name.split("~1").map(|part| part.replace("~0", "~"));
    let first = parts.next().unwrap_or_default();
    parts.fold(first, |all, part| all + "/" + &part)
}

/// The list or object in which a path ends.
fn container<'a>(object: &'a mut Value, names: &[String], path: &str) -> Result<&'a mut Value, PatchError> {
    let mut at = object;
    for name in names {
        let next = match at {
            Value::Object(members) => members.get_mut(name),
            Value::Array(items) => match index(name, items.len()) {
                Some(n) => items.get_mut(n),
                None => None,
            },
            _ => None,
        };
        match next {
            Some(next) => at = next,
            None => return refused(format!("doc is missing path: \"{path}\"")),
        }
    }
    if at.is_object() || at.is_array() { Ok(at) } else { refused(format!("doc is missing path: \"{path}\"")) }
}

/// The place of an item in a list of `len`: negative numbers count from the end.
pub(super) fn index(name: &str, len: usize) -> Option<usize> {
    let n: i64 = name.parse().ok()?;
    let n = if n < 0 { n.checked_add(i64::try_from(len).ok()?)? } else { n };
    usize::try_from(n).ok().filter(|n| *n < len)
}

fn bad_index<T>(name: &str) -> Result<T, PatchError> {
    refused(format!("Unable to access invalid index: {name}"))
}

fn get<'a>(object: &'a mut Value, path: &str) -> Result<&'a Value, PatchError> {
    let (names, last) = split(path)?;
    match container(object, &names, path)? {
        Value::Array(items) => match index(&last, items.len()) {
            Some(n) => Ok(&items[n]),
            None => bad_index(&last),
        },
        other => Ok(other.get(&last).unwrap_or(&Value::Null)),
    }
}

fn add(object: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    let (names, last) = split(path)?;
    if names.len() + 1 + depth(&value) > MAX_DEPTH {
        return refused("exceeded max depth");
    }
    match container(object, &names, path)? {
        Value::Object(members) => {
            members.insert(last, value);
        }
        Value::Array(items) if last == "-" => items.push(value),
        Value::Array(items) => match index(&last, items.len() + 1) {
            Some(n) => items.insert(n, value),
            None => return bad_index(&last),
        },
        _ => {}
    }
    Ok(())
}

fn replace(object: &mut Value, path: &str, value: Value) -> Result<(), PatchError> {
    if path.is_empty() {
        if !value.is_object() && !value.is_array() {
            return refused("replace operation value must be object or array");
        }
        *object = value;
        return Ok(());
    }
    let (names, last) = split(path)?;
    if names.len() + 1 + depth(&value) > MAX_DEPTH {
        return refused("exceeded max depth");
    }
    match container(object, &names, path)? {
        Value::Object(members) => {
            members.insert(last, value);
        }
        Value::Array(items) => match index(&last, items.len()) {
            Some(n) => items[n] = value,
            None => return bad_index(&last),
        },
        _ => {}
    }
    Ok(())
}

fn remove(object: &mut Value, path: &str) -> Result<Value, PatchError> {
    let (names, last) = split(path)?;
    match container(object, &names, path)? {
        Value::Array(items) => match index(&last, items.len()) {
            Some(n) => Ok(items.remove(n)),
            None => bad_index(&last),
        },
        other => match other.as_object_mut().and_then(|members| members.remove(&last)) {
            Some(value) => Ok(value),
            None => refused(format!("Unable to remove nonexistent key: {last}")),
        },
    }
}

#[cfg(test)]
#[path = "json_tests.rs"]
pub(super) mod tests;
