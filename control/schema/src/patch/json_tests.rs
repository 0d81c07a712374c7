use proptest::prelude::*;
use serde_json::json;

use super::*;

fn patched(object: Value, patch: Value) -> Result<Value, u16> {
    apply(object, &patch).map_err(|error| error.code())
}

#[test]
fn operations_do_what_rfc_6902_says() {
    let object = json!({"a": {"b": [1, 2]}, "c/d": {"~e": 1}});
    let patch = json!([
        {"op": "test", "path": "/a/b/1", "value": 2},
        {"op": "add", "path": "/a/b/0", "value": 0},
        {"op": "add", "path": "/a/b/-", "value": 3},
        {"op": "move", "from": "/c~1d/~0e", "path": "/f"},
        {"op": "copy", "from": "/a/b", "path": "/g"},
        {"op": "remove", "path": "/a"},
    ]);
    assert_eq!(patched(object, patch), Ok(json!({"c/d": {}, "f": 1, "g": [0, 1, 2, 3]})));
}

#[test]
fn the_habits_of_the_originals_library_are_kept() {
    let object = json!({"a": [1, 2], "b": null});
    for (patch, want) in [
        (
            json!([{"op": "replace", "path": "/new", "value": 1}]),
            Ok(json!({"a": [1, 2], "b": null, "new": 1})),
        ),
        (json!([{"op": "replace", "path": "/a/-1", "value": 3}]), Ok(json!({"a": [1, 3], "b": null}))),
        (json!([{"op": "add", "path": "/a/-1", "value": 3}]), Ok(json!({"a": [1, 2, 3], "b": null}))),
        (
            json!([{"op": "copy", "from": "/none", "path": "/c"}]),
            Ok(json!({"a": [1, 2], "b": null, "c": null})),
        ),
        (json!([{"op": "add", "path": "/c"}]), Ok(json!({"a": [1, 2], "b": null, "c": null}))),
        (json!([{"op": "remove", "path": "no slash/b"}]), Ok(json!({"a": [1, 2]}))),
        (json!([{"op": "test", "path": "/none", "value": null}]), Ok(object.clone())),
        (json!([{"op": "replace", "path": "", "value": {"x": 1}}]), Ok(json!({"x": 1}))),
        (json!([{"op": "replace", "path": "/a/2", "value": 1}]), Err(422)),
        (json!([{"op": "add", "path": "/a/4", "value": 1}]), Err(422)),
        (json!([{"op": "add", "path": "", "value": {}}]), Err(422)),
        (json!([{"op": "add", "path": "/b/c", "value": 1}]), Err(422)),
        (json!([{"op": "remove", "path": "/none"}]), Err(422)),
        (json!([{"op": "test", "path": "/a/0", "value": 2}]), Err(422)),
        (json!([{"op": "frob", "path": "/a"}]), Err(422)),
        (json!({"op": "remove"}), Err(400)),
        (json!(["remove"]), Err(400)),
    ] {
        assert_eq!(patched(object.clone(), patch.clone()), want, "{patch}");
    }
}

#[test]
fn a_patch_of_more_than_ten_thousand_operations_is_refused() {
    let test = json!({"op": "test", "path": "/a", "value": 1});
    let of = |n| Value::Array(vec![test.clone(); n]);
    assert_eq!(patched(json!({"a": 1}), of(10_000)), Ok(json!({"a": 1})));
    let error = apply(json!({"a": 1}), &of(10_001)).unwrap_err();
    assert_eq!(error.code(), 413);
    assert_eq!(error.to_string(), "The allowed maximum operations in a JSON patch is 10000, got 10001");
}

#[test]
fn copies_cannot_grow_a_document_without_bounds() {
    let double = json!({"op": "copy", "from": "/a", "path": "/a/-"});
    assert_eq!(patched(json!({"a": ["some text"]}), Value::Array(vec![double; 100])), Err(422));
    let deeper = json!({"op": "copy", "from": "/a", "path": "/a/a"});
    assert_eq!(patched(json!({"a": {}}), Value::Array(vec![deeper; 200])), Err(422));
}

#[test]
fn unknown_members_of_operations_are_named() {
    let patch = json!([{"op": "test", "path": "/a", "value": 1}, {"op": "remove", "path": "/a", "why": 1}]);
    assert_eq!(unknown_fields(&patch), ["unknown field \"[1].why\""]);
}

pub(in crate::patch) fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0..4).prop_map(Value::from),
        "[ab/~]{0,2}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map("[ab/~]{1,2}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn what_was_added_is_there_and_removing_it_undoes_it(object in values(), value in values(), name in "[ab/~]{1,2}") {
        prop_assume!(object.is_object() && object.get(&name).is_none());
        let path = format!("/{}", name.replace('~', "~0").replace('/', "~1"));
        let add = json!([{"op": "add", "path": path, "value": value}, {"op": "test", "path": path, "value": value}]);
        let added = apply(object.clone(), &add).unwrap();
        prop_assert_eq!(&added[&name], &value);
        prop_assert_eq!(apply(added, &json!([{"op": "remove", "path": path}])).unwrap(), object);
    }

    #[test]
    fn no_patch_panics(object in values(), operations in proptest::collection::vec(
        ("add|remove|replace|move|copy|test|x", "(/([ab]|-|-?[0-3])){0,3}", "(/([ab]|[0-3])){0,3}", values()), 0..6
    )) {
        let patch = operations.into_iter()
            .map(|(op, path, from, value)| json!({"op": op, "path": path, "from": from, "value": value}));
        let _ = apply(object, &Value::Array(patch.collect()));
    }
}
