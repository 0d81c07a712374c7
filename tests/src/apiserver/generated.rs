//! Requests about every kind, made from one small object of each (`tests/apiserver/minimal.yaml`) and one with most of its
//! fields (`full.yaml`).
//!
//! Begin at [`life`]: what happens to an object from its creation to its end; at [`mutations`]: what is wrong with each
//! of its fields in turn; and at [`changes`]: what becomes of a change of each field of an object that is there.

use std::path::Path;

use serde_json::{Value, json};

use super::scenario::{Step, Theme};

/// An object, and where it is created.
#[derive(Clone, Debug)]
pub struct Sample {
    /// `/api/v1/namespaces/default/configmaps`.
    pub collection: String,
    pub object: Value,
    /// `status`, `scale`.
    pub subresources: Vec<String>,
}

pub(super) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io";
pub(super) const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";

/// One small object of each kind.
///
/// # Panics
/// The file is not as it should be.
pub fn samples() -> Vec<Sample> {
    read("minimal")
}

/// One object with most of its fields, of the kinds that have more than the small ones.
///
/// # Panics
/// The file is not as it should be.
pub fn full_samples() -> Vec<Sample> {
    read("full")
}

fn read(file: &str) -> Vec<Sample> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("apiserver/{file}.yaml"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let entries = apiclient_core::yaml::values(&text).unwrap_or_else(|error| panic!("{error}"));
    entries.into_iter().map(|entry| Sample::read(&entry)).collect()
}

impl Sample {
    /// `at` is the collection's path below the version; the version is the object's own.
    fn read(entry: &Value) -> Self {
        let object = &entry["object"];
        let version = object["apiVersion"].as_str().unwrap_or_else(|| panic!("no apiVersion in {entry}"));
        let root = if version.contains('/') { "/apis" } else { "/api" };
        let at = entry["at"].as_str().unwrap_or_else(|| panic!("no place in {entry}"));
        let has = entry["has"].as_array().into_iter().flatten().filter_map(Value::as_str);
        Self {
            collection: format!("{root}/{version}/{at}"),
            object: object.clone(),
            subresources: has.map(str::to_owned).collect(),
        }
    }

    pub fn kind(&self) -> &str {
        self.object["kind"].as_str().unwrap_or_default()
    }

    pub(super) fn path(&self) -> String {
        format!("{}/{}", self.collection, self.object["metadata"]["name"].as_str().unwrap_or_default())
    }
}

/// What happens to an object from its creation to its end.
pub fn life(sample: &Sample) -> Theme {
    let (collection, path, object) = (&sample.collection, sample.path(), &sample.object);
    let mut steps = Vec::new();
    let mut step = |name: &str, ask: String, body: Option<&Value>| {
        steps.push(Step::json(name, &ask, body));
        steps.len() - 1
    };
    step("dry run", format!("POST {collection}?dryRun=All&fieldManager=a"), Some(object));
    step("create", format!("POST {collection}?fieldManager=a"), Some(object));
    step("create again", format!("POST {collection}"), Some(object));
    let seen = step("get", format!("GET {path}"), None);
    let table = step("get as table", format!("GET {path}"), None);
    let list = step("list as table", format!("GET {collection}"), None);
    let partial = step("get metadata", format!("GET {path}"), None);
    let binary = step("get protobuf", format!("GET {path}"), None);
    step("list by name", format!("GET {collection}?fieldSelector=metadata.name%3Dnone"), None);
    step("list by an unknown field", format!("GET {collection}?fieldSelector=spec.nothing%3Dx"), None);
    let merge = step(
        "merge patch",
        format!("PATCH {path}?fieldManager=b"),
        Some(&json!({"metadata": {"labels": {"a": "b"}, "annotations": {"c": "d"}}})),
    );
    let strategic = step(
        "strategic patch",
        format!("PATCH {path}?fieldManager=b"),
        Some(&json!({"metadata": {"labels": {"e": "f", "a": null}}})),
    );
    let operations = step(
        "json patch",
        format!("PATCH {path}?fieldManager=b"),
        Some(&json!([{"op": "add", "path": "/metadata/labels/g", "value": "h"}])),
    );
    let mut applied = object.clone();
    applied["metadata"]["labels"] = json!({"applied": "yes"});
    let apply = step("apply", format!("PATCH {path}?fieldManager=c&force=true"), Some(&applied));
    let mut renamed = object.clone();
    renamed["metadata"]["name"] = json!("another-name");
    step("put under another name", format!("PUT {path}"), Some(&renamed));
    let mut old = object.clone();
    old["metadata"]["resourceVersion"] = json!("1");
    step("put an old version", format!("PUT {path}"), Some(&old));
    step("put", format!("PUT {path}?fieldManager=a"), Some(object));
    for subresource in &sample.subresources {
        step(&format!("get {subresource}"), format!("GET {path}/{subresource}"), None);
    }
    if sample.subresources.iter().any(|name| name == "scale") {
        let three = json!({"spec": {"replicas": 3}});
        let scaled = step("scale", format!("PATCH {path}/scale"), Some(&three));
        steps[scaled] = steps[scaled].clone().header("Content-Type", "application/merge-patch+json");
    }
    let mut step = |name: &str, ask: String, body: Option<&Value>| steps.push(Step::json(name, &ask, body));
    if sample.subresources.iter().any(|name| name == "status") {
        step("put status", format!("PUT {path}/status"), Some(object));
    }
    let foreign = json!({"preconditions": {"uid": "0a1b2c3d-0000-4000-8000-0123456789ab"}});
    step("delete another", format!("DELETE {path}"), Some(&foreign));
    step("delete for show", format!("DELETE {path}?dryRun=All"), None);
    step("delete", format!("DELETE {path}?gracePeriodSeconds=0"), None);
    // A definition goes when its controller has seen that there is no object left, and what it says meanwhile is a matter
    // of time.
    if sample.kind() != "CustomResourceDefinition" {
        step("get after", format!("GET {path}"), None);
        step("delete again", format!("DELETE {path}"), None);
    }
    if let Some((pointer, value)) = settled(sample) {
        steps[seen] = steps[seen].clone().until(pointer, value);
    }
    for (nth, accept) in
        [(table, TABLE), (list, TABLE), (partial, PARTIAL), (binary, "application/vnd.kubernetes.protobuf")]
    {
        steps[nth] = steps[nth].clone().header("Accept", accept);
    }
    for (nth, kind) in [
        (merge, "application/merge-patch+json"),
        (strategic, "application/strategic-merge-patch+json"),
        (operations, "application/json-patch+json"),
        (apply, "application/apply-patch+yaml"),
    ] {
        steps[nth] = steps[nth].clone().header("Content-Type", kind);
    }
    Theme { name: sample.kind().to_owned(), steps }
}

/// What an object says when the server's own controllers have seen it, where there are some for its kind.
pub(super) fn settled(sample: &Sample) -> Option<(&'static str, Value)> {
    match sample.kind() {
        "CustomResourceDefinition" => Some(("/status/conditions/1/status", json!("True"))),
        "FlowSchema" => Some(("/status/conditions/0/status", json!("False"))),
        _ => None,
    }
}

/// Creations with one thing wrong: for each field of the object another type, a value that nothing takes, and its
/// absence; and a field that nobody knows. For show only, so that nothing is left.
pub fn mutations(sample: &Sample) -> Theme {
    let ask = format!("POST {}?dryRun=All&fieldValidation=Strict", sample.collection);
    let mut places = Vec::new();
    leaves(&sample.object, String::new(), &mut places);
    let mut steps = Vec::new();
    let mut add = |what: String, object: &Value| steps.push(Step::json(what, &ask, Some(object)));
    for place in &places {
        let Some(have) = sample.object.pointer(place) else { continue };
        for value in wrong(have) {
            let mut object = sample.object.clone();
            if let Some(field) = object.pointer_mut(place) {
                *field = value.clone();
            }
            add(format!("{place} is {value}"), &object);
        }
        let (parent, name) = place.rsplit_once('/').unwrap_or_default();
        let mut without = sample.object.clone();
        let removed =
            without.pointer_mut(parent).and_then(Value::as_object_mut).and_then(|map| map.remove(name));
        if removed.is_some() {
            add(format!("without {place}"), &without);
        }
        let mut more = sample.object.clone();
        if let Some(Value::Object(map)) = more.pointer_mut(parent) {
            map.insert("nobodyKnowsThis".to_owned(), json!(1));
            add(format!("an unknown field beside {place}"), &more);
        }
    }
    Theme { name: format!("{} with a fault", sample.kind()), steps }
}

/// Changes of each field of an object that is there: to another value of its type, to the empty one, and to none. For show
/// only, so that each is a change of the same object.
pub fn changes(sample: &Sample) -> Theme {
    let ask = format!("PATCH {}?dryRun=All&fieldManager=b", sample.path());
    let mut places = Vec::new();
    leaves(&sample.object, String::new(), &mut places);
    let create = format!("POST {}?fieldManager=a", sample.collection);
    let mut steps = vec![Step::json("create", &create, Some(&sample.object))];
    if let Some((pointer, value)) = settled(sample) {
        steps.push(Step::json("get", &format!("GET {}", sample.path()), None).until(pointer, value));
    }
    let mut add = |what: String, operation: Value| {
        let step = Step::json(what, &ask, Some(&Value::Array(vec![operation])));
        steps.push(step.header("Content-Type", "application/json-patch+json"));
    };
    // Of another apiVersion, kind or name it would be another object.
    let same = |place: &str| matches!(place, "/apiVersion" | "/kind" | "/metadata" | "/metadata/name");
    for place in places.iter().filter(|place| !same(place)) {
        let Some(have) = sample.object.pointer(place) else { continue };
        for value in other(have) {
            let operation = json!({"op": "replace", "path": place, "value": value});
            add(format!("{place} becomes {value}"), operation);
        }
        add(format!("{place} goes"), json!({"op": "remove", "path": place}));
    }
    steps.push(Step::json("delete", &format!("DELETE {}?propagationPolicy=Background", sample.path()), None));
    Theme { name: format!("{} that changes", sample.kind()), steps }
}

/// Other values of the same type.
pub(super) fn other(have: &Value) -> Vec<Value> {
    match have {
        Value::String(text) if text.is_empty() => vec![json!("changed")],
        // A time or an amount stays one: what is none is refused with the whole object, as in other tests.
        Value::String(text) if text.starts_with(|first: char| first.is_ascii_digit()) => {
            vec![json!(text.replacen(['1', '2'], "3", 1))]
        }
        Value::String(_) => vec![json!("changed"), json!("")],
        Value::Number(number) => vec![json!(number.as_i64().unwrap_or_default() + 1)],
        Value::Bool(value) => vec![json!(!value)],
        Value::Array(_) => vec![json!([])],
        Value::Object(_) => vec![json!({})],
        Value::Null => Vec::new(),
    }
}

/// Pointers to all fields, containers too.
pub(super) fn leaves(value: &Value, at: String, places: &mut Vec<String>) {
    if !at.is_empty() {
        places.push(at.clone());
    }
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let name = name.replace('~', "~0").replace('/', "~1");
                leaves(value, format!("{at}/{name}"), places);
            }
        }
        Value::Array(items) => {
            for (nth, item) in items.iter().enumerate() {
                leaves(item, format!("{at}/{nth}"), places);
            }
        }
        _ => {}
    }
}

fn wrong(have: &Value) -> Vec<Value> {
    match have {
        Value::String(_) => vec![json!(""), json!("X_ y"), json!(7), json!({}), json!("a".repeat(300))],
        Value::Number(_) => vec![json!(-1), json!(0), json!(1_000_000_000_000_i64), json!(1.5), json!("x")],
        Value::Bool(_) => vec![json!("true"), json!(0)],
        Value::Array(_) => vec![json!([]), json!({}), json!(null), json!("x")],
        Value::Object(_) => vec![json!({}), json!([]), json!(null), json!("x")],
        Value::Null => Vec::new(),
    }
}
