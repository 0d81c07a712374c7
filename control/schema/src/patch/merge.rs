//! JSON merge patch (RFC 7386).
//!
//! As the original's library has it, nulls are also taken out of what is new, down into lists, but stay in a list that
//! takes the place of an object.

use serde_json::{Map, Value};

use super::{PatchError, go_kind};

/// The object that the patch makes of `object`.
///
/// # Errors
/// The patch is not an object.
pub fn apply(object: Value, patch: &Value) -> Result<Value, PatchError> {
    let members = match patch {
        Value::Object(members) => members,
        Value::Null => return Err(PatchError::BadRequest("Invalid JSON Patch".to_owned())),
        other => {
            let kind = go_kind(other);
            return Err(PatchError::BadRequest(format!(
                "error decoding patch: json: cannot unmarshal {kind} into Go value of type map[string]interface {{}}"
            )));
        }
    };
    let Value::Object(mut target) = object else {
        return Ok(without_nulls(patch));
    };
    merge(&mut target, members);
    Ok(Value::Object(target))
}

fn merge(target: &mut Map<String, Value>, patch: &Map<String, Value>) {
    for (name, value) in patch {
        if value.is_null() {
            target.remove(name);
            continue;
        }
        match (target.get_mut(name), value) {
            (Some(Value::Object(have)), Value::Object(want)) => merge(have, want),
            (Some(have @ Value::Object(_)), want) => *have = want.clone(),
            (Some(have), want) => *have = without_nulls(want),
            (None, want) => {
                target.insert(name.clone(), without_nulls(want));
            }
        }
    }
}

/// Members that are null do not arrive; items of lists that are null do.
pub(super) fn without_nulls(value: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), without_nulls(value)))
                .collect(),
        ),
        Value::Array(items) => Value::Array(items.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::json::tests::values;
    use super::*;

    #[test]
    fn the_examples_of_rfc_7386_hold() {
        for (object, patch, want) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(apply(object, &patch), Ok(want), "{patch}");
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let message = |patch| apply(json!({}), &patch).unwrap_err().to_string();
        assert_eq!(message(json!(null)), "Invalid JSON Patch");
        assert_eq!(
            message(json!([1])),
            "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}"
        );
    }

    proptest! {
        /// The first time, a list that takes the place of an object may bring nulls that the second takes out.
        #[test]
        fn a_third_time_changes_nothing(object in values(), patch in values()) {
            prop_assume!(object.is_object() && patch.is_object());
            let twice = apply(apply(object, &patch).unwrap(), &patch).unwrap();
            prop_assert_eq!(apply(twice.clone(), &patch).unwrap(), twice);
        }

        #[test]
        fn an_empty_patch_changes_nothing(object in values()) {
            prop_assume!(object.is_object());
            prop_assert_eq!(apply(object.clone(), &json!({})).unwrap(), object);
        }
    }
}
