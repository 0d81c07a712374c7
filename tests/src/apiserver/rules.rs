//! Requests about rules in CEL, made from `tests/apiserver/rules.yaml`.
//!
//! Begin at [`refusals`]: which definitions are refused; at [`values`]: what expressions give; and at [`ratchet`]: which
//! objects may stay as they are under rules that came later.

use std::path::Path;

use serde_json::{Value, json};

use super::scenario::{Step, Theme};

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn file() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("apiserver/rules.yaml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut documents = apiclient_core::yaml::values(&text).unwrap_or_else(|error| panic!("{error}"));
    documents.remove(0)
}

/// A definition of one version, whose kind's name begins with a capital.
fn definition(kind: &str, schema: &Value) -> Value {
    let name = kind.to_lowercase();
    json!({
        "apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition",
        "metadata": {"name": format!("{name}s.weft.example")},
        "spec": {
            "group": "weft.example", "scope": "Cluster",
            "names": {"plural": format!("{name}s"), "singular": name, "kind": kind, "listKind": format!("{kind}List")},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": schema}}],
        },
    })
}

fn with_spec(spec: &Value) -> Value {
    json!({"type": "object", "properties": {"spec": spec}})
}

fn rule(entry: &Value) -> Value {
    match entry.as_array().map(Vec::as_slice) {
        Some([rule, message]) => json!({"rule": rule, "messageExpression": message}),
        _ => json!({"rule": entry}),
    }
}

/// Every rule and schema of the file, each in a definition that is not kept. `every`: only each of so many.
///
/// # Panics
/// The file is not as it should be.
pub fn refusals(every: usize) -> Theme {
    let file = file();
    let refused = |name: String, schema: &Value| {
        Step::json(name, &format!("POST {DEFINITIONS}?dryRun=All"), Some(&definition("Weft", schema)))
    };
    let of_rules = file["definitions"].as_array().expect("rules").iter().map(|entry| {
        let mut spec = file["schema"].clone();
        spec["x-kubernetes-validations"] = json!([rule(entry)]);
        refused(format!("rule {entry}"), &with_spec(&spec))
    });
    let of_schemas = file["schemas"].as_array().expect("schemas").iter();
    let of_schemas = of_schemas.map(|schema| refused(format!("schema {schema}"), schema));
    Theme { name: "rules".to_owned(), steps: of_rules.chain(of_schemas).step_by(every).collect() }
}

/// A definition in which no rule holds and each message is an expression of the file, and an object of it.
///
/// # Panics
/// The file is not as it should be.
pub fn values() -> (Value, Theme) {
    let file = file();
    let mut spec = file["schema"].clone();
    let messages = file["expressions"].as_array().expect("expressions").iter().enumerate();
    let rules = messages.map(|(n, message)| {
        // Formatting costs little, whatever the values are, where adding texts would cost too much.
        let values: Vec<&str> =
            message.as_array().expect("a list").iter().map(|one| one.as_str().expect("a text")).collect();
        let message = format!("'{n}:{}'.format([{}])", " %s".repeat(values.len()), values.join(", "));
        json!({"rule": "self.no", "message": format!("{n} fails"), "messageExpression": message})
    });
    spec["x-kubernetes-validations"] = rules.collect::<Vec<_>>().into();
    let object = json!({
        "apiVersion": "weft.example/v1", "kind": "Answer", "metadata": {"name": "a"}, "spec": file["object"],
    });
    let step = Step::json("all", "POST /apis/weft.example/v1/answers?dryRun=All", Some(&object));
    (definition("Answer", &with_spec(&spec)), Theme { name: "values".to_owned(), steps: vec![step] })
}

/// A policy whose spec is completed by `set`.
fn policy(kind: &str, set: impl FnOnce(&mut Value)) -> Value {
    let rule = json!({
        "apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["configmaps"],
    });
    let mut policy = json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind, "metadata": {"name": "p"},
        "spec": {"matchConstraints": {"resourceRules": [rule]}},
    });
    set(&mut policy["spec"]);
    policy
}

/// Each expression of the file in an object that keeps such, none of which is kept.
///
/// # Panics
/// The file is not as it should be.
pub fn stored() -> Theme {
    let file = file();
    let validating = |set: &dyn Fn(&mut Value)| policy("ValidatingAdmissionPolicy", |spec| set(spec));
    let mutating = |mutation: Value| {
        policy("MutatingAdmissionPolicy", |spec| {
            spec["reinvocationPolicy"] = "Never".into();
            spec["mutations"] = json!([mutation]);
        })
    };
    let holds = json!([{"expression": "true"}]);
    let mut steps = Vec::new();
    for (purpose, all) in file["stored"].as_object().expect("expressions by purpose") {
        for one in all.as_array().expect("expressions") {
            let (plural, object) = match purpose.as_str() {
                "validation" => (
                    "validatingadmissionpolicies",
                    validating(&|spec| spec["validations"] = json!([{"expression": one}])),
                ),
                "message" => (
                    "validatingadmissionpolicies",
                    validating(&|spec| {
                        spec["validations"] = json!([{"expression": "true", "messageExpression": one}]);
                    }),
                ),
                "annotation" => (
                    "validatingadmissionpolicies",
                    validating(&|spec| {
                        spec["auditAnnotations"] = json!([{"key": "a", "valueExpression": one}]);
                    }),
                ),
                "condition" => (
                    "validatingadmissionpolicies",
                    validating(&|spec| {
                        spec["validations"] = holds.clone();
                        spec["paramKind"] = json!({"apiVersion": "v1", "kind": "ConfigMap"});
                        spec["matchConditions"] = json!([{"name": "c", "expression": one}]);
                    }),
                ),
                "webhook" => {
                    let hook = json!({
                        "name": "a.weft.example", "sideEffects": "None", "admissionReviewVersions": ["v1"],
                        "clientConfig": {"url": "https://weft.example/"},
                        "matchConditions": [{"name": "c", "expression": one}],
                    });
                    let object = json!({
                        "apiVersion": "admissionregistration.k8s.io/v1", "kind": "ValidatingWebhookConfiguration",
                        "metadata": {"name": "w"}, "webhooks": [hook],
                    });
                    ("validatingwebhookconfigurations", object)
                }
                "variables" => (
                    "validatingadmissionpolicies",
                    validating(&|spec| {
                        let (last, variables) = one
                            .as_array()
                            .and_then(|all| all.split_last())
                            .expect("variables and an expression");
                        let named =
                            |pair: &Value| json!({"name": pair[0].clone(), "expression": pair[1].clone()});
                        spec["variables"] = variables.iter().map(named).collect();
                        spec["validations"] = json!([{"expression": last}]);
                    }),
                ),
                "patch" => (
                    "mutatingadmissionpolicies",
                    mutating(json!({"patchType": "JSONPatch", "jsonPatch": {"expression": one}})),
                ),
                "apply" => (
                    "mutatingadmissionpolicies",
                    mutating(
                        json!({"patchType": "ApplyConfiguration", "applyConfiguration": {"expression": one}}),
                    ),
                ),
                "device" => {
                    let object = json!({
                        "apiVersion": "resource.k8s.io/v1", "kind": "DeviceClass", "metadata": {"name": "d"},
                        "spec": {"selectors": [{"cel": {"expression": one}}]},
                    });
                    ("deviceclasses", object)
                }
                other => panic!("no purpose: {other}"),
            };
            let version = object["apiVersion"].as_str().expect("a version").to_owned();
            let ask = format!("POST /apis/{version}/{plural}?dryRun=All");
            steps.push(Step::json(format!("{purpose} {one}"), &ask, Some(&object)));
        }
    }
    Theme { name: "stored".to_owned(), steps }
}

/// What is allowed first, and what the same kind must be later.
const LATER: &str = r#"{
    "type": "object",
    "properties": {
        "n": {"type": "integer", "maximum": 5, "x-kubernetes-validations": [{"rule": "self < 4"}]},
        "s": {"type": "string", "pattern": "^a", "maxLength": 3, "x-kubernetes-validations": [{"rule": "self.endsWith('z')"}]},
        "e": {"type": "string", "enum": ["x", "y"]},
        "l": {"type": "array", "maxItems": 1, "items": {"type": "string", "maxLength": 1, "x-kubernetes-validations": [{"rule": "self != 'b'"}]}},
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string", "maxLength": 1}},
        "m": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"], "items": {
            "type": "object", "required": ["k"], "properties": {
                "k": {"type": "string"}, "v": {"type": "integer", "maximum": 5, "x-kubernetes-validations": [{"rule": "self != 7"}]},
                "w": {"type": "string", "format": "ipv4"}},
            "x-kubernetes-validations": [{"rule": "!has(self.v) || self.v != 8"}, {"rule": "self == oldSelf", "message": "items stay"}]}},
        "o": {"type": "object", "required": ["must"], "properties": {
            "must": {"type": "string"}, "may": {"type": "string", "minLength": 2}, "n": {"type": "integer"}},
            "x-kubernetes-validations": [{"rule": "has(self.may)", "message": "may must"}, {"rule": "self.n >= oldSelf.n", "message": "n grows"}]},
        "map": {"type": "object", "maxProperties": 1, "additionalProperties": {"type": "string", "maxLength": 1}},
        "any": {"type": "object", "properties": {"a": {"type": "integer"}, "b": {"type": "integer"}, "c": {"type": "integer"}}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        "not": {"type": "integer", "not": {"enum": [1]}},
        "one": {"type": "integer", "oneOf": [{"maximum": 5}, {"minimum": 3}]},
        "all": {"type": "integer", "allOf": [{"maximum": 5}, {"minimum": 3}]}
    },
    "x-kubernetes-validations": [{"rule": "!has(self.n) || self.n != 9", "fieldPath": ".n"}]
}"#;

/// The definition before and after, and what becomes of objects that were good before.
///
/// # Panics
/// What is here is no JSON.
pub fn ratchet() -> (Value, Value, Vec<Value>, Theme) {
    let later: Value = serde_json::from_str(LATER).expect("a schema");
    let mut before = later.clone();
    relax(&mut before);
    let bad = json!({
        "n": 9, "s": "bbbb", "e": "q", "l": ["b", "long"], "set": ["long", "b"],
        "m": [{"k": "a", "v": 7, "w": "x"}, {"k": "b", "v": 8}, {"k": "c", "v": 1}],
        "o": {"n": 3}, "map": {"a": "long", "b": "c"}, "any": {"c": 1}, "not": 1, "one": 4, "all": 9,
    });
    let object = |spec: &Value| json!({"apiVersion": "weft.example/v1", "kind": "Ratchet", "metadata": {"name": "bad"}, "spec": spec});
    let patches = [
        json!({"metadata": {"labels": {"a": "b"}}}),
        json!({"spec": {"n": 8}}),
        json!({"spec": {"n": 3}}),
        json!({"spec": {"n": null}}),
        json!({"spec": {"s": "bbbbb"}}),
        json!({"spec": {"s": "abz"}}),
        json!({"spec": {"e": "p"}}),
        json!({"spec": {"l": ["b", "long", "c"]}}),
        json!({"spec": {"l": ["long", "b"]}}),
        json!({"spec": {"l": ["b"]}}),
        json!({"spec": {"set": ["b", "long"]}}),
        json!({"spec": {"set": ["b", "long", "longer"]}}),
        json!({"spec": {"m": [{"k": "b", "v": 8}, {"k": "a", "v": 7, "w": "x"}, {"k": "c", "v": 1}]}}),
        json!({"spec": {"m": [{"k": "a", "v": 7, "w": "y"}, {"k": "b", "v": 8}, {"k": "c", "v": 1}]}}),
        json!({"spec": {"m": [{"k": "a", "v": 7, "w": "x"}, {"k": "b", "v": 9}, {"k": "d", "v": 7}]}}),
        json!({"spec": {"m": [{"k": "a", "v": 7, "w": "x"}, {"k": "a", "v": 7, "w": "x"}]}}),
        json!({"spec": {"o": {"n": 4}}}),
        json!({"spec": {"o": {"n": 2}}}),
        json!({"spec": {"o": {"n": 4, "may": "x", "must": "y"}}}),
        json!({"spec": {"o": {"n": 4, "may": "xx", "must": "y"}}}),
        json!({"spec": {"map": {"b": "d"}}}),
        json!({"spec": {"map": {"a": "longer"}}}),
        json!({"spec": {"any": {"c": 2}}}),
        json!({"spec": {"any": {"a": 2}}}),
        json!({"spec": {"not": 2}}),
        json!({"spec": {"one": 3}}),
        json!({"spec": {"all": 10}}),
        json!({"spec": null}),
    ];
    let steps = patches.into_iter().map(|patch| {
        let ask = "PATCH /apis/weft.example/v1/ratchets/bad?dryRun=All";
        let mut step = Step::json(format!("patch {patch}"), ask, Some(&patch));
        step.headers = vec![("Content-Type".to_owned(), "application/merge-patch+json".to_owned())];
        step
    });
    let steps = steps.collect();
    let (first, last) =
        (definition("Ratchet", &with_spec(&before)), definition("Ratchet", &with_spec(&later)));
    (first, last, vec![object(&bad)], Theme { name: "ratchet".to_owned(), steps })
}

/// Takes out all that values could be refused for, but for their types.
fn relax(schema: &mut Value) {
    match schema {
        Value::Object(members) => {
            for word in [
                "maximum",
                "minimum",
                "pattern",
                "maxLength",
                "minLength",
                "enum",
                "maxItems",
                "format",
                "required",
                "maxProperties",
                "x-kubernetes-validations",
                "anyOf",
                "oneOf",
                "allOf",
                "not",
            ] {
                // Keys of lists stay required; `not` and `all` are names of properties too.
                let is_word = match members.get(word) {
                    Some(Value::Object(of)) => !of.contains_key("type"),
                    Some(Value::Array(names)) => word != "required" || names[0] != "k",
                    Some(_) => true,
                    None => false,
                };
                if is_word {
                    members.remove(word);
                }
            }
            members.values_mut().for_each(relax);
        }
        Value::Array(items) => items.iter_mut().for_each(relax),
        _ => {}
    }
}
