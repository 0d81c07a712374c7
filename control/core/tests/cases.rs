//! Objects through the strategies of their kinds, beside what kube-apiserver 1.36.3 answered to the same requests.
//!
//! `cases/GROUP.json` holds the requests and the answers: a case is a chain of steps on one object, each a creation, an
//! update of the object or of a subresource by a merge patch of what it was before. Times, versions and managed fields are
//! taken out of the answers.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_core::access::User;
use control_core::kind::{Context, Kind, Subresource, Version};
use control_core::table::Columns;
use control_core::{edit, kinds, lifecycle};
use control_schema::{builtin, codec, defaults};
use serde_json::{Value, json};

/// Where only fields and reasons of the causes are compared: the original shows whole templates with the names
/// that its internal structs have.
const ROUGH: &[&str] =
    &["a job gets its selector", "an indexed job", "a claim asks for one device", "a template of claims"];

struct Bench {
    kinds: Vec<Arc<Kind>>,
}

impl Bench {
    fn new() -> Self {
        Self { kinds: kinds::all(&builtin::library()).into_iter().map(Arc::new).collect() }
    }

    /// The kind and the version that a case is about: `apps/v1 Deployment`.
    fn find(&self, of: &str) -> (&Kind, &Version) {
        let (api_version, name) = of.split_once(' ').expect("an apiVersion and a kind");
        let matches = |kind: &&Arc<Kind>| {
            kind.kind == name && kind.versions.iter().any(|version| kind.api_version(version) == api_version)
        };
        let kind = self.kinds.iter().find(matches).unwrap_or_else(|| panic!("no kind {of}"));
        let version = kind.versions.iter().find(|version| kind.api_version(version) == api_version);
        (kind, version.expect("it was found by it"))
    }
}

/// A request's body as the strategies see it.
fn read(kind: &Kind, version: &Version, body: &Value) -> Value {
    let bytes = serde_json::to_vec(body).expect("JSON");
    let mut object = codec::json::decode(&version.schema, &bytes).expect("an object of the kind").value;
    defaults::apply(&version.schema, &mut object);
    if version.name != kind.stored().name {
        object = kind.strategy.convert(object, &version.name, &kind.stored().name);
    }
    kind.strategy.set_defaults(&mut object);
    object
}

/// An object as it is served, in a form to compare.
fn served(kind: &Kind, version: &Version, object: &Value) -> Value {
    let mut object = object.clone();
    if version.name != kind.stored().name {
        object = kind.strategy.convert(object, &kind.stored().name, &version.name);
    }
    comparable(version, &object)
}

/// Encoded and read again, so that one value has one form.
fn comparable(version: &Version, object: &Value) -> Value {
    let bytes = codec::json::encode(&version.schema, object);
    let mut object: Value = serde_json::from_slice(&bytes).expect("an object");
    prune(&mut object);
    if let Some(metadata) = edit::existing(&mut object, "metadata") {
        for field in ["creationTimestamp", "resourceVersion", "managedFields", "uid"] {
            edit::remove(metadata, field);
        }
    }
    object
}

/// Takes away what is as good as absent.
fn prune(value: &mut Value) {
    let empty = |value: &Value| match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(fields) => fields.is_empty(),
        _ => false,
    };
    match value {
        Value::Object(fields) => {
            fields.values_mut().for_each(prune);
            fields.retain(|_, value| !empty(value));
        }
        Value::Array(items) => items.iter_mut().for_each(prune),
        _ => {}
    }
}

fn merge(into: &mut Value, patch: &Value) {
    let Some(fields) = patch.as_object() else {
        *into = patch.clone();
        return;
    };
    if !into.is_object() {
        *into = json!({});
    }
    for (name, value) in fields {
        match value {
            Value::Null => edit::remove(into, name),
            value => {
                if into.get(name).is_none() {
                    edit::set(into, name, Value::Null);
                }
                merge(into.get_mut(name).expect("it was set"), value);
            }
        }
    }
}

fn stamp(object: &mut Value, uid: &str) {
    let metadata = edit::child(object, "metadata").expect("an object");
    edit::set(metadata, "uid", uid);
    edit::set(metadata, "creationTimestamp", "2026-11-29T06:45:00Z");
}

/// A job's uid is in its labels: where it was not created, it is in the refusal.
fn uid_of(step: &Value) -> String {
    let text = step.to_string();
    let known = "controller-uid\\\":\\\"";
    match (step["answer"]["metadata"]["uid"].as_str(), text.find(known)) {
        (Some(uid), _) => uid.to_owned(),
        (None, Some(place)) => text[place + known.len()..][..36].to_owned(),
        (None, None) => "00000000-0000-0000-0000-000000000000".to_owned(),
    }
}

/// What differs between the case's answers and ours, step by step.
fn run(bench: &Bench, case: &Value, problems: &mut Vec<String>) {
    let (name, of) = (case["case"].as_str().expect("a name"), case["of"].as_str().expect("a kind"));
    let (kind, version) = bench.find(of);
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_934_700);
    let user = User {
        name: "admin".to_owned(),
        uid: "1".to_owned(),
        groups: vec![User::MASTERS.to_owned(), User::AUTHENTICATED.to_owned()],
        ..User::default()
    };
    let mut last = Value::Null;
    for (nth, step) in case["steps"].as_array().expect("steps").iter().enumerate() {
        let verb = step["verb"].as_str().expect("a verb");
        let subresource = match verb {
            "status" => Some(Subresource::Status),
            "approval" => Some(Subresource::Approval),
            _ => None,
        };
        let context = Context { now, namespace: "cases", subresource, user: &user };
        let (result, object) = if verb == "create" {
            let mut object = read(kind, version, &step["object"]);
            stamp(&mut object, &uid_of(step));
            (lifecycle::before_create(kind, &mut object, &context), object)
        } else {
            let before = if step["before"].is_object() { &step["before"] } else { &last };
            assert!(before.is_object(), "{of}: {name}: step {nth} has nothing to update");
            let mut body = before.clone();
            merge(&mut body, &step["change"]);
            let uid = before["metadata"]["uid"].as_str().expect("it was created").to_owned();
            let (mut old, mut new) = (read(kind, version, before), read(kind, version, &body));
            for object in [&mut old, &mut new] {
                stamp(object, &uid);
                edit::set(object.get_mut("metadata").expect("an object"), "resourceVersion", "1");
            }
            (lifecycle::before_update(kind, &mut new, &old, &context), new)
        };
        let mut differs = |ours: String, theirs: String| {
            problems
                .push(format!("{of}: {name}: step {nth} ({verb}):\n  ours:   {ours}\n  theirs: {theirs}"));
        };
        match (result, step["code"].as_u64().expect("a code")) {
            (Ok(warnings), 200 | 201) => {
                let mut theirs = read_back(version, &step["answer"]);
                let mut ours = served(kind, version, &object);
                known_additions(&mut ours, &mut theirs);
                if ours != theirs {
                    differs(ours.to_string(), theirs.to_string());
                }
                let wanted: Vec<&str> =
                    step["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
                if warnings != wanted {
                    differs(format!("{warnings:?}"), format!("{wanted:?}"));
                }
                if let (Columns::BuiltIn { cells, columns }, Some(wanted)) =
                    (&kind.stored().columns, step["cells"].as_array())
                {
                    let ours: Vec<Value> = cells(&object, now).iter().map(without_age).collect();
                    let wanted: Vec<Value> = wanted.iter().map(without_age).collect();
                    if ours != wanted {
                        differs(format!("{ours:?}"), format!("{wanted:?}"));
                    }
                    assert!(
                        columns.len() >= ours.len() || kind.kind == "IPAddress",
                        "{of}: a cell without a column"
                    );
                }
            }
            (Ok(_), code) => differs("accepted".to_owned(), format!("{code} {}", step["causes"])),
            (Err(status), 200 | 201) => differs(status.message.clone(), "accepted".to_owned()),
            (Err(status), _) => {
                let rough = ROUGH.contains(&name);
                let cause = |field: &str, reason: &str, message: &str| {
                    let message = if rough { "" } else { message };
                    format!("\n    {field} {reason} {message}")
                };
                let ours = status.details.iter().flat_map(|details| &details.causes);
                let ours: Vec<String> =
                    ours.map(|one| cause(&one.field, &one.reason, &one.message)).collect();
                let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
                let theirs = step["causes"].as_array().into_iter().flatten();
                let theirs: Vec<String> =
                    theirs.map(|one| cause(&text(&one[0]), &text(&one[1]), &text(&one[2]))).collect();
                if ours != theirs {
                    differs(ours.concat(), theirs.concat());
                }
            }
        }
        if step["answer"].is_object() {
            last = step["answer"].clone();
        }
    }
}

fn read_back(version: &Version, answer: &Value) -> Value {
    let bytes = serde_json::to_vec(answer).expect("JSON");
    let object = codec::json::decode(&version.schema, &bytes).expect("an object of the kind").value;
    comparable(version, &object)
}

/// What admission adds and no strategy does.
fn known_additions(ours: &mut Value, theirs: &mut Value) {
    // Conditions that the strategy itself stamps.
    if ["CertificateSigningRequest", "APIService"].iter().any(|kind| ours["kind"] == *kind) {
        for object in [&mut *ours, &mut *theirs] {
            for condition in
                object.pointer_mut("/status/conditions").and_then(Value::as_array_mut).into_iter().flatten()
            {
                for field in ["lastUpdateTime", "lastTransitionTime"] {
                    edit::remove(condition, field);
                }
            }
        }
    }
    if theirs["kind"] == "VolumeAttributesClass" {
        edit::remove(&mut theirs["metadata"], "finalizers");
    }
}

/// Ages depend on when the answer was recorded.
fn without_age(cell: &Value) -> Value {
    let is_age = |text: &str| {
        let (digits, unit) = text.split_at(text.len().saturating_sub(1));
        !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()) && matches!(unit, "s" | "d")
    };
    match cell.as_str() {
        Some(text) if is_age(text) => "an age".into(),
        _ => cell.clone(),
    }
}

#[test]
fn objects_are_defaulted_and_refused_as_the_original_does() {
    let bench = Bench::new();
    let mut problems: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let only = std::env::var("CASES").unwrap_or_default();
    let mut count = 0;
    for entry in std::fs::read_dir(&directory).expect("the cases are there") {
        let path = entry.expect("an entry").path();
        let group = path.file_stem().expect("a name").to_string_lossy().into_owned();
        if !only.is_empty() && only != group {
            continue;
        }
        let cases: Vec<Value> = serde_json::from_slice(&std::fs::read(&path).expect("a file")).expect("JSON");
        // Files of another form are golden.rs's.
        for case in cases.iter().filter(|case| case["steps"].is_array()) {
            run(&bench, case, problems.entry(group.clone()).or_default());
            count += 1;
        }
    }
    let all: Vec<String> = problems.into_values().flatten().collect();
    assert!(count > 100 || !only.is_empty(), "only {count} cases were found");
    assert!(all.is_empty(), "{} differ:\n{}", all.len(), all.join("\n"));
}
