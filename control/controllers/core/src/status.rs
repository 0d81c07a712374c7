//! Statuses: counts, and the write of one that has changed.

use control_core::edit;
use serde_json::{Map, Value};

use crate::{Act, Kind};

/// Counts as the API has them: those that are zero are absent.
pub fn counts<'a>(counts: impl IntoIterator<Item = (&'a str, i64)>) -> Value {
    let counts = counts.into_iter().filter(|(_, count)| *count != 0);
    Value::Object(counts.map(|(name, count)| (name.to_owned(), count.into())).collect::<Map<_, _>>())
}

/// Two statuses are equal, whether a count of zero is written or not. `pointers`: counts for which zero is not absent.
pub fn same(a: &Value, b: &Value, pointers: &[&str]) -> bool {
    let shown = |status: &Value| {
        let mut shown = status.clone();
        if let Some(fields) = shown.as_object_mut() {
            fields.retain(|name, value| pointers.contains(&&**name) || value.as_i64() != Some(0));
        }
        shown
    };
    edit::semantic_eq(&shown(a), &shown(b))
}

/// Writes a status that differs from the one that is known.
pub fn update(kind: Kind, object: &Value, status: Value, pointers: &[&str]) -> Option<Act> {
    if same(&object["status"], &status, pointers) {
        return None;
    }
    let mut object = object.clone();
    object["status"] = status;
    Some(Act::status(kind, object))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn zero_is_absent_but_where_it_says_something() {
        assert_eq!(counts([("a", 0), ("b", 2)]), json!({"b": 2}));
        assert!(same(&json!({"a": 0, "c": {"x": []}}), &json!({}), &[]));
        assert!(!same(&json!({"a": 0}), &json!({}), &["a"]));
        assert!(!same(&json!({"a": 1}), &json!({}), &[]));
    }
}
