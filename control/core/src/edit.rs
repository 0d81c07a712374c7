//! Small changes to objects: what defaults and strategies are made of.
//!
//! Never fails: what is not of the expected type stays as it is, for the schema has refused it before.

use serde_json::{Map, Value};

/// Sets a field that is absent or `null`.
pub fn default(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut()
        && fields.get(name).is_none_or(Value::is_null)
    {
        fields.insert(name.to_owned(), value.into());
    }
}

/// Sets a text that is absent, `null` or empty.
pub fn default_text(object: &mut Value, name: &str, value: &str) {
    if object.get(name).and_then(Value::as_str).unwrap_or_default().is_empty() {
        set(object, name, value);
    }
}

pub fn set(object: &mut Value, name: &str, value: impl Into<Value>) {
    if let Some(fields) = object.as_object_mut() {
        fields.insert(name.to_owned(), value.into());
    }
}

pub fn remove(object: &mut Value, name: &str) {
    if let Some(fields) = object.as_object_mut() {
        fields.remove(name);
    }
}

/// The field of `to` becomes what it is in `from`, absent where it is absent there.
pub fn restore(to: &mut Value, from: &Value, name: &str) {
    match from.get(name) {
        Some(value) => set(to, name, value.clone()),
        None => remove(to, name),
    }
}

/// A field that is an object; an absent one is made.
pub fn child<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    default(object, name, Map::new());
    existing(object, name)
}

/// A field that is there and is not `null`.
pub fn existing<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Value> {
    object.get_mut(name).filter(|value| !value.is_null())
}

/// The items of a list, or none.
pub fn items<'a>(object: &'a mut Value, name: &str) -> impl Iterator<Item = &'a mut Value> + use<'a> {
    object.get_mut(name).and_then(Value::as_array_mut).into_iter().flatten()
}

/// The value at `path`, or `null`.
pub fn at<'a>(object: &'a Value, path: &[&str]) -> &'a Value {
    const ABSENT: &Value = &Value::Null;
    path.iter().try_fold(object, |value, name| value.get(name)).unwrap_or(ABSENT)
}

/// The text at `path`, or the empty one.
pub fn text<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).as_str().unwrap_or_default()
}

/// The list at `path`, or the empty one.
pub fn list<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).as_array().map_or(&[], Vec::as_slice)
}

/// `metadata.generation`, 0 where it is absent.
pub fn generation(object: &Value) -> i64 {
    at(object, &["metadata", "generation"]).as_i64().unwrap_or_default()
}

/// 0 is absent.
pub fn set_generation(object: &mut Value, generation: i64) {
    if let Some(metadata) = child(object, "metadata") {
        match generation {
            0 => remove(metadata, "generation"),
            generation => set(metadata, "generation", generation),
        }
    }
}

/// Equal as the original compares: absent, `null`, an empty list, map or struct are one and the same inside of maps of
/// fields, and so are two notations of one number.
pub fn semantic_eq(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => {
            let covered = |a: &Map<String, Value>, b: &Map<String, Value>| {
                a.iter().all(|(key, value)| semantic_eq(value, b.get(key).unwrap_or(&Value::Null)))
            };
            covered(a, b) && b.iter().all(|(key, value)| a.contains_key(key) || is_zero(value))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| semantic_eq(a, b))
        }
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (a, b) => a == b || (is_zero(a) && is_zero(b)),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.values().all(is_zero),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_and_empty_are_equal_and_zero_is_not_absent() {
        assert!(semantic_eq(&json!({"a": null, "b": 1}), &json!({"b": 1.0, "c": [], "d": {"e": {}}})));
        assert!(!semantic_eq(&json!({"a": 0}), &json!({})));
        assert!(!semantic_eq(&json!([1, 2]), &json!([2, 1])));
        assert!(!semantic_eq(&json!({"a": ""}), &json!({"a": "x"})));
    }

    #[test]
    fn nothing_is_changed_in_what_has_another_type() {
        let mut value = json!([1]);
        default(&mut value, "a", 1);
        remove(&mut value, "a");
        assert!(child(&mut value, "a").is_none());
        assert_eq!(value, json!([1]));
        let mut value = json!({"a": null, "b": ""});
        default(&mut value, "a", 1);
        default_text(&mut value, "b", "x");
        assert_eq!(value, json!({"a": 1, "b": "x"}));
    }
}
