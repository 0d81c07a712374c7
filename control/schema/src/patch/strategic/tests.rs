use std::sync::Arc;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::library::{Field, ListKind, Presence, Scalar};

fn field(name: &str, of: Type) -> Field {
    Field {
        name: name.into(),
        number: 0,
        presence: Presence::Optional,
        inline: false,
        required: false,
        patch: Patch::default(),
        of,
    }
}

fn list(items: Type) -> Type {
    Type::new(Shape::List { items: Box::new(items), kind: ListKind::Atomic, wrapped: false })
}

/// Containers by name, finalizers by value, args as they are, a map of strings, one strategy.
fn schema() -> Schema {
    let mut library = Library::default();
    let text = || Type::new(Shape::Scalar(Scalar::String));
    let container = library.add(
        "io.test.Container",
        vec![field("name", text()), field("image", text()), field("args", list(text()))],
        false,
    );
    let containers = list(Type::new(Shape::Struct { id: container, atomic: false }));
    let by_name = Patch { merge: true, merge_key: Some("name".into()), ..Patch::default() };
    let by_value = Patch { merge: true, ..Patch::default() };
    let inner = library.add("io.test.Inner", vec![field("deep", text())], false);
    let root = library.add(
        "io.test.Pod",
        vec![
            Field { patch: by_name, ..field("containers", containers) },
            Field { patch: by_value, ..field("finalizers", list(text())) },
            field("labels", Type::new(Shape::Map { values: Box::new(text()), atomic: false })),
            field("container", Type::new(Shape::Struct { id: container, atomic: false })),
            Field { inline: true, ..field("Inner", Type::new(Shape::Struct { id: inner, atomic: false })) },
        ],
        false,
    );
    Schema { library: Arc::new(library), root }
}

fn patched(object: Value, patch: Value) -> Result<Value, (u16, String)> {
    apply(&schema(), object, patch).map_err(|error| (error.code(), error.to_string()))
}

#[test]
fn items_merge_by_their_key_and_new_ones_stand_first() {
    let object =
        json!({"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1", "args": ["x"]}]});
    let patch =
        json!({"containers": [{"name": "b", "image": "2", "args": ["y"]}, {"name": "c", "image": "3"}]});
    let want = json!({"containers": [
        {"name": "a", "image": "1"}, {"name": "b", "image": "2", "args": ["y"]}, {"name": "c", "image": "3"}
    ]});
    assert_eq!(patched(object.clone(), patch), Ok(want));
    let patch = json!({"containers": [{"name": "c", "image": "3"}]});
    let names = patched(object, patch).unwrap()["containers"].as_array().unwrap().clone();
    assert_eq!(names.iter().map(|item| &item["name"]).collect::<Vec<_>>(), ["c", "a", "b"]);
}

#[test]
fn directives_in_a_list_delete_and_replace() {
    let object = json!({"containers": [{"name": "a"}, {"name": "b"}]});
    let delete =
        json!({"containers": [{"name": "a", "$patch": "delete"}, {"name": "none", "$patch": "delete"}]});
    assert_eq!(patched(object.clone(), delete), Ok(json!({"containers": [{"name": "b"}]})));
    let replace = json!({"containers": [{"name": "c"}, {"$patch": "replace"}]});
    assert_eq!(patched(object.clone(), replace), Ok(json!({"containers": [{"name": "c"}]})));
    let merge = json!({"containers": [{"name": "c", "$patch": "merge"}]});
    assert_eq!(
        patched(object, merge),
        Err((500, "merging lists cannot yet be specified in the patch".to_owned()))
    );
}

#[test]
fn directives_in_an_object_delete_and_replace() {
    let object = json!({"labels": {"a": "1", "b": "2"}});
    let of = |labels| patched(object.clone(), json!({"labels": labels}));
    assert_eq!(of(json!({"$patch": "delete"})), Ok(json!({"labels": {}})));
    assert_eq!(of(json!({"$patch": "replace", "c": "3"})), Ok(json!({"labels": {"c": "3"}})));
    assert_eq!(of(json!({"a": null, "c": "3", "d": null})), Ok(json!({"labels": {"b": "2", "c": "3"}})));
    assert_eq!(
        of(json!({"$patch": "frob", "c": "3"})),
        Err((500, "unknown patch type: frob in map: map[$patch:frob c:3]".to_owned()))
    );
    let new = json!({"labels": {"$patch": "frob"}, "container": {"name": "a", "image": null}});
    assert_eq!(patched(json!({}), new), Ok(json!({"container": {"name": "a"}})));
}

#[test]
fn lists_of_scalars_merge_by_value() {
    let object = json!({"finalizers": ["a", "b"]});
    let of = |patch| patched(object.clone(), patch);
    assert_eq!(of(json!({"finalizers": ["b", "c"]})), Ok(json!({"finalizers": ["a", "b", "c"]})));
    assert_eq!(of(json!({"finalizers": ["c"]})), Ok(json!({"finalizers": ["c", "a", "b"]})));
    assert_eq!(
        of(json!({"$deleteFromPrimitiveList/finalizers": ["a", "x"]})),
        Ok(json!({"finalizers": ["b"]}))
    );
    assert_eq!(
        of(json!({"$deleteFromPrimitiveList/finalizers": ["a"], "$setElementOrder/finalizers": ["c", "b"],
            "finalizers": ["c"]})),
        Ok(json!({"finalizers": ["c", "b"]}))
    );
    assert_eq!(
        of(json!({"$deleteFromPrimitiveListfinalizers": ["a"]})),
        Err((400, "invalid patch format of primitive list".to_owned()))
    );
}

#[test]
fn an_order_is_followed_and_what_it_does_not_name_keeps_its_place() {
    let object = json!({"containers": [{"name": "a"}, {"name": "x"}, {"name": "b"}]});
    let of = |order: Value, patch: Value| {
        patched(object.clone(), json!({"$setElementOrder/containers": order, "containers": patch}))
    };
    let names = |result: Result<Value, (u16, String)>| {
        let result = result.unwrap();
        let items = result["containers"].as_array().unwrap().iter();
        items.map(|item| item["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>().join(" ")
    };
    let order = json!([{"name": "b"}, {"name": "c"}, {"name": "a"}]);
    assert_eq!(names(of(order.clone(), json!([{"name": "c"}]))), "x b c a");
    assert_eq!(
        names(of(json!([{"name": "a"}, {"name": "b"}]), json!([{"name": "b", "image": "2"}]))),
        "a x b"
    );
    let only = json!({"$setElementOrder/containers": [{"name": "b"}, {"name": "a"}]});
    assert_eq!(names(patched(object.clone(), only)), "x b a");
    let error = of(order, json!([{"name": "a"}, {"name": "b"}])).unwrap_err();
    assert_eq!(
        error,
        (
            500,
            "The order in patch list:\n[map[name:a] map[name:b]]\n doesn't match $setElementOrder list:\n\
            [map[name:b] map[name:c] map[name:a]]\n"
                .to_owned()
        )
    );
}

#[test]
fn retain_keys_takes_out_what_it_does_not_name() {
    let object = json!({"container": {"name": "a", "image": "1", "args": ["x"]}});
    let of = |container| patched(object.clone(), json!({"container": container}));
    assert_eq!(
        of(json!({"$retainKeys": ["name", "image"], "image": "2"})),
        Ok(json!({"container": {"name": "a", "image": "2"}}))
    );
    let bad = Err((400, "invalid patch format of retainKeys".to_owned()));
    assert_eq!(of(json!({"$retainKeys": ["name"], "image": "2"})), bad);
    assert_eq!(of(json!({"$retainKeys": "name"})), bad);
}

#[test]
fn what_makes_no_sense_is_refused_in_the_originals_words() {
    let object =
        json!({"containers": [{"name": "a"}], "container": {"name": "a"}, "finalizers": ["a"], "deep": "x"});
    for (patch, code, message) in [
        (
            json!({"containers": [{"image": "1"}]}),
            500,
            "map: map[image:1] does not contain declared merge key: name",
        ),
        (json!({"finalizers": [1]}), 500, "list element types are not identical: [[a] [1]]"),
        (json!({"finalizers": [["a"]]}), 500, "list element types are not identical: [[a] [[a]]]"),
        (json!(["x"]), 400, "json: cannot unmarshal array into Go value of type map[string]interface {}"),
        (
            json!({"$setElementOrder/containers": "x"}),
            500,
            "expected a []interface {}, but received a string",
        ),
    ] {
        assert_eq!(patched(object.clone(), patch), Err((code, message.to_owned())));
    }
    assert_eq!(
        patched(json!({"nope": {}}), json!({"nope": {}})).unwrap_err(),
        (500, "unable to find api field in struct Pod for the json field \"nope\"".to_owned())
    );
    assert_eq!(patched(object, json!({"deep": "y"})).unwrap()["deep"], "y");
}

#[test]
fn a_disruption_budgets_selector_is_replaced() {
    let schema = crate::builtin::kind("policy/v1", "PodDisruptionBudget").unwrap();
    let budget = |labels| json!({"spec": {"selector": {"matchLabels": labels}}});
    let patched = apply(&schema, budget(json!({"a": "1"})), budget(json!({"b": "2"}))).unwrap();
    assert_eq!(patched, budget(json!({"b": "2"})));
}

fn pods() -> impl Strategy<Value = Value> {
    let container = ("[a-d]", proptest::option::of("[12]")).prop_map(|(name, image)| match image {
        Some(image) => json!({"name": name, "image": image}),
        None => json!({"name": name}),
    });
    let unique = |items: Vec<Value>, key: fn(&Value) -> &Value| {
        let mut seen = Vec::new();
        items
            .into_iter()
            .filter(|item| {
                !seen.contains(key(item)) && {
                    seen.push(key(item).clone());
                    true
                }
            })
            .collect::<Vec<_>>()
    };
    (
        proptest::collection::vec(container, 0..4),
        proptest::collection::vec("[a-c]".prop_map(Value::from), 0..4),
        proptest::collection::btree_map("[ab]", "[12]", 0..3),
    )
        .prop_map(move |(containers, finalizers, labels)| {
            json!({
                "containers": unique(containers, |item| &item["name"]),
                "finalizers": unique(finalizers, |item| item),
                "labels": labels,
            })
        })
}

proptest! {
    #[test]
    fn a_patch_that_holds_what_is_there_changes_nothing(pod in pods()) {
        prop_assert_eq!(patched(pod.clone(), pod.clone()).unwrap(), pod);
    }

    #[test]
    fn a_second_time_changes_nothing(pod in pods(), patch in pods()) {
        let once = patched(pod, patch.clone()).unwrap();
        prop_assert_eq!(patched(once.clone(), patch).unwrap(), once);
    }

    #[test]
    fn nothing_that_the_patch_does_not_name_goes(pod in pods(), patch in pods()) {
        let merged = patched(pod.clone(), patch).unwrap();
        for container in pod["containers"].as_array().unwrap() {
            prop_assert!(merged["containers"].as_array().unwrap().iter().any(|item| item["name"] == container["name"]));
        }
    }
}
