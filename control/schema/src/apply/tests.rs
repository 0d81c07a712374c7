//! Scenarios that kube-apiserver 1.36.3 answered, replayed: `testdata/seen.json`.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::builtin;

fn resets(kind: &str, subresource: &str) -> Set<'static> {
    match (kind, subresource) {
        ("Deployment", "status") => Set::of_fields(&[&["spec"], &["metadata", "labels"]]),
        ("Deployment" | "PersistentVolume", _) => Set::of_fields(&[&["status"]]),
        _ => Set::default(),
    }
}

fn text<'v>(value: &'v Value, name: &str) -> &'v str {
    value.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn times(object: &Value) -> impl Iterator<Item = &str> {
    entries_of(object).and_then(Value::as_array).into_iter().flatten().map(|entry| text(entry, "time"))
}

/// What must be the same: without what the server allots, and nulls, which are as good as absent.
fn comparable(object: &Value) -> Value {
    fn without_nulls(value: &mut Value) {
        match value {
            Value::Object(members) => {
                members.retain(|_, value| !value.is_null());
                members.values_mut().for_each(without_nulls);
            }
            Value::Array(items) => items.iter_mut().for_each(without_nulls),
            _ => {}
        }
    }
    let mut object = object.clone();
    // As Go reads a null where a text is to be.
    let data = object.get_mut("data").and_then(Value::as_object_mut).into_iter().flat_map(Map::values_mut);
    data.filter(|value| value.is_null()).for_each(|value| *value = json!(""));
    without_nulls(&mut object);
    for name in ["uid", "resourceVersion", "creationTimestamp", "generation", "namespace", "managedFields"] {
        object["metadata"].as_object_mut().unwrap().remove(name);
    }
    object
}

/// Whether all of `part` is in `whole`, which has defaults besides, and no list is longer or shorter.
fn within(part: &Value, whole: &Value) -> bool {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => part.iter().all(|(name, part)| {
            part == &json!({}) || whole.get(name).is_some_and(|whole| within(part, whole))
        }),
        (Value::Array(part), Value::Array(whole)) => {
            part.len() == whole.len() && part.iter().zip(whole).all(|(part, whole)| within(part, whole))
        }
        (Value::String(_), Value::String(_)) if part == "0.1" => whole == "100m",
        _ => part == whole,
    }
}

/// Causes by manager: the original's order of managers changes from one time to the next.
fn sorted(causes: &Value) -> Value {
    let Some(causes) = causes.as_array() else { return Value::Null };
    let mut causes = causes.clone();
    causes.sort_by_key(|cause| text(cause, "message").to_owned());
    Value::Array(causes)
}

/// The lines of a message: those of several errors sorted, for the original gives them in any order.
fn lines(message: &str) -> Vec<&str> {
    let mut lines: Vec<_> = message.lines().collect();
    if lines[0].ends_with("errors:") {
        lines[1..].sort_unstable();
    }
    lines
}

#[test]
fn apply_and_updates_keep_the_books_as_the_original_does() {
    let scenarios: Value = serde_json::from_str(include_str!("testdata/seen.json")).unwrap();
    for scenario in scenarios.as_array().unwrap() {
        let mut live = Value::Null;
        for (n, step) in scenario["steps"].as_array().unwrap().iter().enumerate() {
            let at = format!("{}, step {n}", text(scenario, "name"));
            live = replay(&at, step, live, &scenario["steps"][0]["body"]);
        }
    }
}

/// Does one step, and gives what the original made of it.
fn replay(at: &str, step: &Value, live: Value, first: &Value) -> Value {
    let (api_version, kind) = match step["object"].is_object() {
        true => (text(&step["object"], "apiVersion"), text(&step["object"], "kind")),
        false => (text(first, "apiVersion"), text(first, "kind")),
    };
    let schema = builtin::kind(api_version, kind).unwrap();
    let subresource = text(step, "subresource");
    let reset = resets(kind, subresource);
    let want = &step["object"];
    let latest = times(want).max().and_then(time::parse).unwrap_or(SystemTime::UNIX_EPOCH);
    let write = Write {
        schema: &schema,
        api_version,
        kind,
        subresource,
        manager: text(step, "manager"),
        reset: &reset,
        now: latest,
        convert: &one_version,
    };
    let body = &step["body"];
    if step["op"] == "apply" {
        match (apply(&write, &live, body, step["force"] == true), want.is_object()) {
            (Ok(applied), true) => {
                assert_eq!(entries_of(&applied.object), entries_of(want), "{at}");
                let (have, want) = (comparable(&applied.object), comparable(want));
                match kind {
                    "ConfigMap" | "Role" => assert_eq!(have, want, "{at}"),
                    _ => assert!(within(&have, &want), "{at}: {have} is not in {want}"),
                }
            }
            (Err(error), false) => {
                let causes = match &error {
                    ApplyError::Conflict { causes, .. } => sorted(&serde_json::to_value(causes).unwrap()),
                    _ => Value::Null,
                };
                let code = match error {
                    ApplyError::BadRequest(_) => 400,
                    ApplyError::Conflict { .. } => 409,
                    ApplyError::Internal(_) => 500,
                };
                assert_eq!(lines(&error.to_string()), lines(text(step, "message")), "{at}");
                assert_eq!((code, causes), (step["code"].as_u64().unwrap(), sorted(&step["causes"])), "{at}");
            }
            // Found by validation, which comes later.
            (Ok(_), false) if step["code"] == 422 => {}
            (have, _) => panic!("{at}: {have:?}, but the original: {step}"),
        }
    } else {
        let mut new = want.clone();
        let metadata = new["metadata"].as_object_mut().unwrap();
        metadata.remove("managedFields");
        let given = entries_of(body).or(entries_of(&live));
        metadata.extend(given.map(|given| ("managedFields".to_owned(), given.clone())));
        assert_eq!(entries_of(&update(&write, &live, new)), entries_of(want), "{at}");
    }
    if want.is_object() { want.clone() } else { live }
}

fn config_map(data: &Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "x", "uid": "u"}, "data": data})
}

fn write<'a>(schema: &'a Schema, manager: &'a str) -> Write<'a> {
    Write {
        schema,
        api_version: "v1",
        kind: "ConfigMap",
        subresource: "",
        manager,
        reset: &NOTHING_RESET,
        now: SystemTime::UNIX_EPOCH,
        convert: &one_version,
    }
}

/// The entries of another version own the same fields there: `targetCPUUtilizationPercentage` of v1 is in `metrics` of v2.
#[test]
fn entries_of_another_version_are_compared_in_theirs() {
    let schema =
        |version: &str| builtin::kind(&format!("autoscaling/{version}"), "HorizontalPodAutoscaler").unwrap();
    let convert = |object: &Value, to: &str| -> Option<(Value, Schema)> {
        let mut object = object.clone();
        let version = to.strip_prefix("autoscaling/")?;
        let mut none = Map::new();
        let spec = object.get_mut("spec").and_then(Value::as_object_mut).unwrap_or(&mut none);
        if version == "v1" {
            if let Some(metrics) = spec.remove("metrics") {
                spec.insert(
                    "targetCPUUtilizationPercentage".to_owned(),
                    metrics[0]["resource"]["target"]["averageUtilization"].clone(),
                );
            }
        } else if let Some(percent) = spec.remove("targetCPUUtilizationPercentage") {
            spec.insert("metrics".to_owned(), json!([cpu(&percent)]));
        }
        object["apiVersion"] = to.into();
        matches!(version, "v1" | "v2").then(|| (object, schema(version)))
    };
    let scaler = |version: &str, spec: Value| json!({"apiVersion": format!("autoscaling/{version}"), "kind": "HorizontalPodAutoscaler", "metadata": {"name": "x"}, "spec": spec});
    let (one, two) = (schema("v1"), schema("v2"));
    let by = |schema, api_version, manager| Write {
        schema,
        api_version,
        kind: "HorizontalPodAutoscaler",
        subresource: "",
        manager,
        reset: &NOTHING_RESET,
        now: SystemTime::UNIX_EPOCH,
        convert: &convert,
    };
    let first = scaler("v1", json!({"maxReplicas": 5, "targetCPUUtilizationPercentage": 50}));
    let live = apply(&by(&one, "autoscaling/v1", "m1"), &Value::Null, &first, false).unwrap().object;
    let live = convert(&live, "autoscaling/v2").unwrap().0;
    // Another's field of v1 is taken by an apply of v2 that changes what it became.
    let second = scaler("v2", json!({"metrics": [cpu(&json!(60))]}));
    let error = apply(&by(&two, "autoscaling/v2", "m2"), &live, &second, false).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"m1\": .spec.targetCPUUtilizationPercentage"
    );
    let live = apply(&by(&two, "autoscaling/v2", "m2"), &live, &second, true).unwrap().object;
    let entries = entries_of(&live).unwrap();
    assert_eq!(entries[0]["fieldsV1"], json!({"f:spec": {"f:maxReplicas": {}}}));
    assert_eq!(entries[1]["fieldsV1"], json!({"f:spec": {"f:metrics": {}}}));
    // The manager of v1 applies again, in v2 and less: what it gives up goes, as nobody else owns it.
    let less = scaler("v2", json!({"minReplicas": 2}));
    let live = apply(&by(&two, "autoscaling/v2", "m1"), &live, &less, false).unwrap().object;
    assert_eq!(live["spec"], json!({"minReplicas": 2, "metrics": [cpu(&json!(60))]}));
}

fn cpu(percent: &Value) -> Value {
    json!({"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": percent}}})
}

fn data() -> impl Strategy<Value = BTreeMap<String, String>> {
    proptest::collection::btree_map("[a-d]", "[12]", 0..4)
}

/// Who owns a key of the data.
fn owners(object: &Value, key: &str) -> Vec<String> {
    let entries = entries_of(object).and_then(Value::as_array).into_iter().flatten();
    let owns = entries.filter(|entry| entry["fieldsV1"]["f:data"].get(format!("f:{key}")).is_some());
    owns.map(|entry| text(entry, "manager").to_owned()).collect()
}

proptest! {
    /// Against the plain model: a key belongs to those that applied it with its value, or who changed it last.
    #[test]
    fn every_field_belongs_to_whom_the_model_says(
        steps in proptest::collection::vec(("[mno]", any::<bool>(), data()), 1..8)
    ) {
        let schema = builtin::kind("v1", "ConfigMap").unwrap();
        // A field that nobody else touches, for the original keeps no account of an object without entries.
        let mut live = update(&write(&schema, "first"), &Value::Null, config_map(&json!({"z": "0"})));
        let mut model: BTreeMap<String, (String, Vec<String>)> = BTreeMap::new();
        for (manager, applies, data) in steps {
            let id = format!("{manager}{}", if applies { "a" } else { "u" });
            let before = model.clone();
            model.retain(|key, (_, owners)| {
                if !applies {
                    return data.contains_key(key);
                }
                let owned = owners.contains(&id) && !data.contains_key(key);
                owners.retain(|owner| *owner != id || !owned);
                !(owned && owners.is_empty())
            });
            for (key, value) in &data {
                match before.get(key) {
                    Some((have, _)) if have == value => {
                        let owners = &mut model.get_mut(key).unwrap().1;
                        if applies && !owners.contains(&id) {
                            owners.push(id.clone());
                        }
                    }
                    _ => {
                        model.insert(key.clone(), (value.clone(), vec![id.clone()]));
                    }
                }
            }
            let mut body = config_map(&json!(data));
            live = if applies {
                body["metadata"] = json!({"name": "x"});
                apply(&write(&schema, &id), &live, &body, true).unwrap().object
            } else {
                body["data"]["z"] = json!("0");
                update(&write(&schema, &id), &live, body)
            };
            live["metadata"]["uid"] = json!("u");
            for key in ["a", "b", "c", "d"] {
                let mut have = owners(&live, key);
                have.sort();
                let mut want = model.get(key).map(|(_, owners)| owners.clone()).unwrap_or_default();
                want.sort();
                prop_assert_eq!(live["data"].get(key).and_then(Value::as_str), model.get(key).map(|(value, _)| &**value));
                prop_assert_eq!(have, want, "{}", key);
            }
        }
    }

    #[test]
    fn sets_obey_the_laws_of_sets(a in data(), b in data()) {
        let schema = builtin::kind("v1", "ConfigMap").unwrap();
        let (a, b) = (config_map(&json!(a)), config_map(&json!(b)));
        let (a, b) = (own::set(&schema, &a).unwrap(), own::set(&schema, &b).unwrap());
        prop_assert_eq!(a.clone().union(b.clone()), b.clone().union(a.clone()));
        prop_assert_eq!(a.difference(&b).union(a.intersection(&b)), a.clone());
        let written = fields_v1::write(&a);
        prop_assert_eq!(fields_v1::read(&written).unwrap(), a);
    }
}
