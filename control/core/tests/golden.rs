//! What kube-apiserver 1.36.3 answered to requests about the kinds of the core group, asked of ours.
//!
//! The cases are data (`golden/core.json`, one a line): an object to create, or an old one and what shall replace it, and the
//! answer: the object with its defaults, or what is wrong with it. The original was asked with `dryRun=All`.

use std::collections::BTreeSet;
use std::time::{Duration, UNIX_EPOCH};

use apiclient_core::time;
use control_core::access::User;
use control_core::allocation::{self, Family};
use control_core::edit;
use control_core::kind::{Context, Kind, Subresource};
use control_core::table::Columns;
use control_core::{kinds, lifecycle};
use control_schema::{builtin, codec, defaults};
use serde_json::{Value, json};

const CASES: &str = include_str!("golden/core.json");

/// Where ours differs on purpose: a part of what a case is about, and why.
const DIFFERENT: &[(&str, &str)] = &[
    (
        "capacity is {}",
        "objects in work do not tell an empty map from an absent one: the message shows null, not {}",
    ),
    (
        "container.apparmor.security.beta.kubernetes.io/c\": \"unconf",
        "no warning: after the annotation became a field nobody knows whether the client set both",
    ),
];

struct Answer {
    code: u16,
    object: Value,
    causes: Vec<String>,
    message: String,
    warnings: Vec<String>,
}

fn decode(kind: &Kind, object: &Value) -> Value {
    let schema = &kind.stored().schema;
    let bytes = serde_json::to_vec(object).expect("JSON");
    let mut object = codec::json::decode(schema, &bytes).expect("a case's object decodes").value;
    defaults::apply(schema, &mut object);
    kind.strategy.set_defaults(&mut object);
    object
}

fn ask(kind: &Kind, case: &Value) -> Answer {
    let subresource = match case["subresource"].as_str() {
        Some("status") => Some(Subresource::Status),
        Some("ephemeralcontainers") => Some(Subresource::EphemeralContainers),
        Some("resize") => Some(Subresource::Resize),
        Some("finalize") => Some(Subresource::Finalize),
        _ => None,
    };
    let user = User { name: "admin".to_owned(), ..User::default() };
    let context = Context {
        now: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        namespace: if kind.namespaced { "default" } else { "" },
        subresource,
        user: &user,
    };
    let old = case.get("old").map(|old| decode(kind, old));
    let mut object = decode(kind, case.get("create").or(case.get("update")).expect("an object"));
    let result = reserve(kind, &mut object, old.as_ref(), subresource).and_then(|()| match &old {
        None => {
            if edit::text(&object, &["metadata", "name"]).is_empty()
                && let Some(prefix) = object.pointer("/metadata/generateName").cloned()
            {
                object["metadata"]["name"] = json!(format!("{}x", prefix.as_str().unwrap_or_default()));
            }
            lifecycle::before_create(kind, &mut object, &context)
        }
        Some(old) => lifecycle::before_update(kind, &mut object, old, &context),
    });
    let code = if old.is_some() { 200 } else { 201 };
    match result {
        Ok(warnings) => {
            if kind.kind == "Service" {
                allocation::families::default_on_read(&mut object, Family::V4);
            }
            let bytes = codec::json::encode(&kind.stored().schema, &object);
            let mut object: Value = serde_json::from_slice(&bytes).expect("JSON");
            strip(&mut object);
            Answer { code, object, causes: Vec::new(), message: String::new(), warnings }
        }
        Err(status) => {
            let causes = status.details.iter().flat_map(|details| &details.causes);
            let causes =
                causes.map(|cause| format!("{} {}: {}", cause.reason, cause.field, cause.message)).collect();
            let message = status.message;
            Answer { code: status.code, object: Value::Null, causes, message, warnings: Vec::new() }
        }
    }
}

/// What the server does for services before all else. A dry run reserves nothing and shows the network's own address.
fn reserve(
    kind: &Kind,
    object: &mut Value,
    old: Option<&Value>,
    subresource: Option<Subresource>,
) -> Result<(), apiclient_core::wire::Status> {
    if kind.kind != "Service" || subresource.is_some() {
        return Ok(());
    }
    let of_cluster =
        serde_json::json!({"metadata": {"name": "kubernetes"}, "spec": {"cidrs": ["10.96.0.0/16"]}});
    let ranges = allocation::ranges::Ranges::of([&of_cluster]);
    let name = edit::text(object, &["metadata", "name"]).to_owned();
    let refuse = |errors: &[_]| control_core::refusal::invalid(kind, &name, errors);
    let plan = match old {
        None => allocation::prepare_create(object, &[Family::V4]),
        Some(old) => allocation::prepare_update(object, old, &[Family::V4]),
    };
    let plan = plan.map_err(|errors| refuse(&errors))?;
    let mut addresses = Vec::new();
    for wish in &plan.addresses {
        if let Some(wanted) = wish.wanted {
            ranges
                .check_dry(wanted)
                .map_err(|why| refuse(&[allocation::address_refused(object, wanted, &why.to_string())]))?;
        }
        addresses.extend(wish.wanted.or_else(|| ranges.network(wish.family)));
    }
    // A dry run does not look at the range of ports, but at what the service itself asks for twice.
    let given = allocation::ports::dry(&plan.ports, &BTreeSet::new()).map_err(|(place, wanted, why)| {
        refuse(&[allocation::port_refused(place, wanted, &why.to_string())])
    })?;
    plan.fill(object, &addresses, &given);
    Ok(())
}

/// What differs in each answer.
fn strip(object: &mut Value) {
    if let Some(Value::Object(metadata)) = object.get_mut("metadata") {
        for field in ["uid", "creationTimestamp", "managedFields", "resourceVersion", "selfLink"] {
            metadata.remove(field);
        }
        if metadata.contains_key("generateName") {
            metadata.remove("name");
        }
    }
    if let Some(status) = object.get_mut("status").and_then(Value::as_object_mut) {
        status.remove("lastPhaseTransitionTime");
        for condition in status.get_mut("conditions").and_then(Value::as_array_mut).into_iter().flatten() {
            edit::remove(condition, "lastTransitionTime");
        }
    }
    // Which port is free is not decided here.
    for port in object.pointer_mut("/spec/ports").and_then(Value::as_array_mut).into_iter().flatten() {
        if let Some(port) = port.as_object_mut()
            && port.contains_key("nodePort")
        {
            port.insert("nodePort".to_owned(), json!("some"));
        }
    }
    if let Some(spec) = object.get_mut("spec").and_then(Value::as_object_mut)
        && spec.contains_key("healthCheckNodePort")
    {
        spec.insert("healthCheckNodePort".to_owned(), json!("some"));
    }
}

/// Field, value here, value there.
fn differences(path: &str, ours: &Value, theirs: &Value, found: &mut Vec<String>) {
    match (ours, theirs) {
        (Value::Object(a), Value::Object(b)) => {
            let keys: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
            for key in keys {
                let (a, b) = (a.get(key).unwrap_or(&Value::Null), b.get(key).unwrap_or(&Value::Null));
                differences(&format!("{path}.{key}"), a, b, found);
            }
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            for (n, (a, b)) in a.iter().zip(b).enumerate() {
                differences(&format!("{path}[{n}]"), a, b, found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => found.push(format!("    {path}: ours {a}, theirs {b}")),
    }
}

/// A message that lists what changed is equal up to that list.
fn cut(message: &str) -> String {
    message.split('\n').next().unwrap_or_default().to_owned()
}

#[test]
fn objects_are_defaulted_and_refused_as_kube_apiserver_does() {
    let cases: Vec<Value> = serde_json::from_str(CASES).expect("the cases are JSON");
    let all = kinds::all(&builtin::library());
    let mut wrong = Vec::new();
    for case in &cases {
        let why = case["why"].as_str().expect("a name");
        let object = case.get("create").or(case.get("update")).expect("an object");
        let kind = all.iter().find(|kind| kind.group.is_empty() && object["kind"] == *kind.kind);
        let kind = kind.unwrap_or_else(|| panic!("{why}: no such kind"));
        if DIFFERENT.iter().any(|(part, _)| why.contains(part)) {
            continue;
        }
        let ours = ask(kind, case);
        let answer = &case["answer"];
        let mut found = Vec::new();
        if answer["code"] != ours.code {
            found.push(format!(
                "    code: ours {}, theirs {} {}",
                ours.code, answer["code"], answer["message"]
            ));
        }
        let cause = |cause: &Value| {
            let part = |n: usize| cause[n].as_str().unwrap_or_default().to_owned();
            cut(&format!("{} {}: {}", part(0), part(1), part(2)))
        };
        let mut theirs: Vec<String> = answer["causes"].as_array().into_iter().flatten().map(cause).collect();
        let mut causes: Vec<String> = ours.causes.iter().map(|cause| cut(cause)).collect();
        // The original goes through maps in any order.
        theirs.sort();
        causes.sort();
        if theirs != causes {
            found.extend(
                causes.iter().filter(|cause| !theirs.contains(cause)).map(|c| format!("    only ours: {c}")),
            );
            found.extend(
                theirs
                    .iter()
                    .filter(|cause| !causes.contains(cause))
                    .map(|c| format!("    only theirs: {c}")),
            );
            if found.is_empty() {
                found.push(format!("    how often: ours {} theirs {}", causes.len(), theirs.len()));
            }
        } else if causes.len() == 1 && answer["message"].as_str().map(cut) != Some(cut(&ours.message)) {
            found.push(format!("    message: ours {}, theirs {}", ours.message, answer["message"]));
        }
        if let (Some(theirs), false) = (answer.get("object"), ours.object.is_null()) {
            let mut theirs = theirs.clone();
            strip(&mut theirs);
            differences("", &ours.object, &theirs, &mut found);
        }
        // That a version of a kind is deprecated is the server's to say.
        let warnings: Vec<&str> = answer["warnings"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .filter(|warning| !warning.starts_with("v1 Endpoints is deprecated"))
            .collect();
        if ours.code < 300 && warnings != ours.warnings {
            found.push(format!("    warnings: ours {:?}, theirs {warnings:?}", ours.warnings));
        }
        if !found.is_empty() {
            wrong.push(format!("{why}\n{}", found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

const TABLES: &str = include_str!("golden/tables.json");

#[test]
fn tables_have_the_columns_and_cells_of_kube_apiserver() {
    let cases: Vec<Value> = serde_json::from_str(TABLES).expect("the cases are JSON");
    let all = kinds::all(&builtin::library());
    let mut wrong = Vec::new();
    for case in &cases {
        let object = &case["object"];
        let kind =
            all.iter().find(|kind| kind.group.is_empty() && object["kind"] == *kind.kind).expect("a kind");
        let decoded = decode(kind, object);
        let made = object["metadata"]["creationTimestamp"].as_str().and_then(time::parse).expect("a time");
        let (columns, cells): (Vec<Value>, Vec<Value>) = match &kind.stored().columns {
            Columns::BuiltIn { columns, cells } => (
                columns.iter().map(|own| json!([own.name, own.of, own.format, own.priority])).collect(),
                cells(&decoded, made),
            ),
            Columns::Plain => (
                vec![json!(["Name", "string", "name", 0]), json!(["Created At", "date", "", 0])],
                vec![object["metadata"]["name"].clone(), object["metadata"]["creationTimestamp"].clone()],
            ),
            Columns::Custom(_) => panic!("no kind of the core group has columns of its own"),
        };
        let mut found = Vec::new();
        differences("columns", &Value::Array(columns), &case["columns"], &mut found);
        differences("cells", &Value::Array(cells), &case["cells"], &mut found);
        let conditions = Value::Array(kind.strategy.row_conditions(&decoded));
        differences("conditions", &conditions, case.get("conditions").unwrap_or(&json!([])), &mut found);
        if !found.is_empty() {
            wrong.push(format!("{}\n{}", case["why"], found.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{} of {} tables differ:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}
