//! Definitions and objects that kube-apiserver 1.36.3 judged: `testdata/seen.json`.

use apiclient_core::wire::Cause;
use serde_json::json;

use super::*;

fn seen() -> Value {
    serde_json::from_str(include_str!("testdata/seen.json")).unwrap()
}

fn thing(spec: &Value) -> Value {
    let mut object = json!({"apiVersion": "test.io/v1", "kind": "Thing", "metadata": {"name": "x"}});
    if !spec.is_null() {
        object["spec"] = spec.clone();
    }
    object
}

fn sorted(causes: &[Cause]) -> Vec<String> {
    let mut lines: Vec<String> =
        causes.iter().map(|cause| format!("{} {} {}", cause.reason, cause.field, cause.message)).collect();
    lines.sort();
    lines
}

fn wanted(case: &Value) -> Vec<String> {
    let causes: Option<Vec<Cause>> = serde_json::from_value(case["causes"].clone()).unwrap();
    sorted(&causes.unwrap_or_default())
}

#[test]
fn objects_are_judged_as_the_original_judges_them() {
    let seen = seen();
    let validator = compile("test.io", "v1", "Thing", &seen["schema"], false).validator;
    for case in seen["create"].as_array().unwrap() {
        let found = validator.validate(&thing(&case["spec"]), None);
        assert_eq!(sorted(&found.causes), wanted(case), "{}", case["spec"]);
    }
    let old = thing(&json!({"name": "abc", "r": {"im": "a", "s": "ax"}}));
    for case in seen["update"].as_array().unwrap() {
        let found = validator.validate(&thing(&case["spec"]), Some(&old));
        assert_eq!(sorted(&found.causes), wanted(case), "{}", case["spec"]);
    }
}

#[test]
fn what_was_wrong_before_and_is_the_same_now_is_let_pass() {
    let seen = seen();
    let validator = compile("test.io", "v1", "Thing", &seen["schema"], false).validator;
    let old = thing(&json!({"name": "abc", "n": 11, "r": {"s": "b"}}));
    let new = thing(&json!({"name": "abd", "n": 11, "r": {"s": "b"}}));
    let found = validator.validate(&new, Some(&old));
    assert_eq!(sorted(&found.causes), Vec::<String>::new());
    assert_eq!(found.warnings, ["spec.r.s: Invalid value: \"b\": failed rule: self.startsWith('a')"]);
    let worse = thing(&json!({"name": "abd", "n": 12, "r": {"s": "b"}}));
    assert_eq!(validator.validate(&worse, Some(&old)).causes.len(), 1);
}

#[test]
fn definitions_are_judged_as_the_original_judges_them() {
    for case in seen()["definitions"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let causes = structural::check("spec.validation.openAPIV3Schema", &case["schema"], true, false);
        match name {
            // Another parser has words of its own.
            "cel syntax" => assert_eq!(causes.len(), 1),
            // Where the original shows the whole schema, it stops there.
            "root addl" | "nested type" => assert!(!causes.is_empty()),
            _ => assert_eq!(sorted(&causes), wanted(case), "{name}"),
        }
    }
}

#[test]
fn a_schema_becomes_a_library() {
    use crate::library::{ListKind, Scalar, Shape};
    let seen = seen();
    let schema = compile("test.io", "v1", "Thing", &seen["schema"], false).schema;
    assert_eq!(&*schema.root().name, "io.test.v1.Thing");
    let names: Vec<&str> = schema.root().fields.iter().map(|field| &*field.name).collect();
    assert_eq!(names, ["apiVersion", "kind", "metadata", "spec", "status"]);
    let Shape::Struct { id, .. } = schema.root().field("spec").unwrap().of.shape else { panic!() };
    let of = |name: &str| schema.library.field(id, name).unwrap();
    assert!(of("name").required);
    assert!(matches!(of("ios").of.shape, Shape::Scalar(Scalar::IntOrString)));
    assert!(matches!(&of("u").of.shape, Shape::List { kind: ListKind::Set, .. }));
    let Shape::List { kind: ListKind::Map { keys }, items, .. } = &of("m").of.shape else { panic!() };
    assert_eq!(keys, &["k".into()]);
    let Shape::Struct { id, .. } = items.shape else { panic!() };
    assert_eq!(schema.library.field(id, "v").unwrap().of.default, Some(json!(3)));
    assert!(matches!(&of("mp").of.shape, Shape::Map { .. }));
    assert!(of("nu").of.nullable);
    assert!(of("emb").of.rules.as_ref().unwrap().embedded_resource);
}

#[test]
fn a_kind_of_a_definition_is_applied_like_any_other() {
    use crate::apply::{self, NOTHING_RESET, Write, one_version};
    let seen = seen();
    let schema = compile("test.io", "v1", "Thing", &seen["schema"], false).schema;
    let write = |manager| Write {
        schema: &schema,
        api_version: "test.io/v1",
        kind: "Thing",
        subresource: "",
        manager,
        reset: &NOTHING_RESET,
        now: std::time::SystemTime::UNIX_EPOCH,
        convert: &one_version,
    };
    let first = thing(&json!({"name": "abc", "m": [{"k": "a", "v": 1}], "any": {"x": {"y": 1}}}));
    let live = apply::apply(&write("m1"), &Value::Null, &first, false).unwrap().object;
    let second = thing(&json!({"m": [{"k": "b", "v": 2}], "any": {"x": {"z": 2}}}));
    let live = apply::apply(&write("m2"), &live, &second, false).unwrap().object;
    assert_eq!(live["spec"]["m"], json!([{"k": "a", "v": 1}, {"k": "b", "v": 2}]));
    assert_eq!(live["spec"]["any"], json!({"x": {"y": 1, "z": 2}}));
    let taken = thing(&json!({"m": [{"k": "a", "v": 3}]}));
    let error = apply::apply(&write("m2"), &live, &taken, false).unwrap_err();
    assert_eq!(error.to_string(), "Apply failed with 1 conflict: conflict with \"m1\": .spec.m[k=\"a\"].v");
}

#[test]
fn deep_schemas_and_objects_are_bounded() {
    let mut schema = json!({"type": "string"});
    let mut value = json!("x");
    for _ in 0..120 {
        schema = json!({"type": "object", "properties": {"a": schema}});
        value = json!({"a": value});
    }
    assert!(!structural::check("s", &schema, false, false).is_empty());
    let compiled = compile("test.io", "v1", "Thing", &schema, false);
    assert!(compiled.validator.validate(&value, None).causes.is_empty());
}
