//! Requests about every kind by several clients: applies of two managers, writes of a status, and watches of all that
//! happens to an object.
//!
//! Begin at [`applies`], [`statuses`] and [`watches`].

use std::path::Path;

use serde_json::{Map, Value, json};

use super::generated::{PARTIAL, Sample, TABLE, leaves, other, settled};
use super::scenario::{Step, Theme};

const APPLY: &str = "application/apply-patch+yaml";
const MERGE: &str = "application/merge-patch+json";

/// Identity: of another one it would be another object.
fn is_same(place: &str) -> bool {
    matches!(place, "/apiVersion" | "/kind" | "/metadata" | "/metadata/name")
}

fn patch(name: impl Into<String>, ask: &str, kind: &str, body: &Value) -> Step {
    Step::json(name, &format!("PATCH {ask}"), Some(body)).header("Content-Type", kind)
}

fn delete(sample: &Sample) -> Step {
    Step::json("delete", &format!("DELETE {}?gracePeriodSeconds=0", sample.path()), None)
}

/// Waits for what the server's own controllers have to say of an object.
fn seen(sample: &Sample) -> Option<Step> {
    let (pointer, value) = settled(sample)?;
    Some(Step::json("get", &format!("GET {}", sample.path()), None).until(pointer, value))
}

/// Two managers apply the same object: each field in turn is changed by the other one, without force and with it, and given
/// up by the first. For show only, but for what makes the managers.
pub fn applies(sample: &Sample) -> Theme {
    let (path, object) = (sample.path(), &sample.object);
    let mut steps = vec![patch("apply", &format!("{path}?fieldManager=a"), APPLY, object)];
    steps.extend(seen(sample));
    steps.push(patch("apply again", &format!("{path}?fieldManager=a"), APPLY, object));
    let mut places = Vec::new();
    leaves(object, String::new(), &mut places);
    let places: Vec<&String> = places.iter().filter(|place| !is_same(place)).collect();
    let forced = |force: bool| format!("{path}?fieldManager=b&dryRun=All&force={force}");
    for place in &places {
        let Some(value) = object.pointer(place).and_then(|have| other(have).into_iter().next()) else {
            continue;
        };
        let mut changed = object.clone();
        if let Some(field) = changed.pointer_mut(place) {
            *field = value.clone();
        }
        steps.push(patch(format!("{place} becomes {value}"), &forced(false), APPLY, &changed));
        steps.push(patch(format!("{place} becomes {value} by force"), &forced(true), APPLY, &changed));
    }
    steps.push(patch("share all", &format!("{path}?fieldManager=b"), APPLY, object));
    let without = |place: &str| {
        let mut less = object.clone();
        let (parent, name) = place.rsplit_once('/')?;
        less.pointer_mut(parent)?.as_object_mut()?.remove(name)?;
        Some(less)
    };
    let own = format!("{path}?fieldManager=a&dryRun=All");
    let shallow = |place: &&&String| place.matches('/').count() <= 3;
    for place in places.iter().filter(shallow) {
        if let Some(less) = without(place) {
            steps.push(patch(format!("one of two gives up {place}"), &own, APPLY, &less));
        }
    }
    let mut nothing = json!({"apiVersion": object["apiVersion"], "kind": object["kind"]});
    nothing["metadata"] = json!({"name": object["metadata"]["name"]});
    steps.push(patch("give up all", &format!("{path}?fieldManager=b&force=true"), APPLY, &nothing));
    for place in &places {
        if let Some(less) = without(place) {
            steps.push(patch(format!("the only one gives up {place}"), &own, APPLY, &less));
        }
    }
    let label = |value: &str| json!({"metadata": {"labels": {"l": value}}});
    steps.push(patch("label", &format!("{path}?fieldManager=c"), MERGE, &label("c")));
    let mut labelled = object.clone();
    labelled["metadata"]["labels"]["l"] = json!("a");
    steps.push(patch("label by apply", &format!("{path}?fieldManager=a"), APPLY, &labelled));
    steps.push(patch("label by force", &format!("{path}?fieldManager=a&force=true"), APPLY, &labelled));
    steps.push(delete(sample));
    Theme { name: format!("{} that two apply", sample.kind()), steps }
}

/// An object, and the status that it gets.
#[derive(Clone, Debug)]
pub struct WithStatus {
    pub sample: Sample,
    status: Value,
}

/// One status of each kind whose clients write it, with most of its fields (`tests/apiserver/statuses.yaml`).
///
/// # Panics
/// The file is not as it should be, or one of the kinds in `samples` has no status there.
pub fn with_statuses(samples: &[Sample]) -> Vec<WithStatus> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("apiserver/statuses.yaml");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let documents = apiclient_core::yaml::values(&text).unwrap_or_else(|error| panic!("{error}"));
    let all: Map<String, Value> =
        documents.into_iter().filter_map(|one| one.as_object().cloned()).flatten().collect();
    let of = |sample: &Sample| {
        let version = sample.object["apiVersion"].as_str().unwrap_or_default();
        let status = all.get(&format!("{version} {}", sample.kind())).or_else(|| all.get(sample.kind()));
        status.unwrap_or_else(|| panic!("no status of {version} {}", sample.kind())).clone()
    };
    // A status that a controller of the server writes again and again is a matter of time.
    let has = |sample: &&Sample| {
        settled(sample).is_none() && sample.subresources.iter().any(|name| name == "status")
    };
    samples
        .iter()
        .filter(has)
        .map(|sample| WithStatus { sample: sample.clone(), status: of(sample) })
        .collect()
}

/// A status that is put, patched in every way, and applied by two; and each of its fields changed and taken away.
pub fn statuses(with: &WithStatus) -> Theme {
    let sample = &with.sample;
    let path = sample.path();
    let at = format!("{path}/status");
    let mut whole = sample.object.clone();
    whole["status"] = with.status.clone();
    let mut steps = vec![Step::json(
        "create with a status",
        &format!("POST {}?fieldManager=a", sample.collection),
        Some(&whole),
    )];
    steps.extend(seen(sample));
    let mut labelled = whole.clone();
    labelled["metadata"]["labels"] = json!({"of": "status"});
    steps.push(Step::json("put", &format!("PUT {at}?fieldManager=b"), Some(&labelled)));
    steps.push(Step::json("get", &format!("GET {at}"), None));
    steps.push(Step::json("put the object", &format!("PUT {path}?fieldManager=a"), Some(&sample.object)));
    let mut old = whole.clone();
    old["metadata"]["resourceVersion"] = json!("1");
    steps.push(Step::json("put an old version", &format!("PUT {at}"), Some(&old)));
    let only = json!({"status": with.status});
    let strategic = "application/strategic-merge-patch+json";
    steps.push(patch("merge patch of nothing new", &format!("{at}?fieldManager=c"), MERGE, &only));
    steps.push(patch("strategic patch of nothing new", &format!("{at}?fieldManager=c"), strategic, &only));
    let mut places = Vec::new();
    leaves(&with.status, String::new(), &mut places);
    let shown = format!("{at}?fieldManager=c&dryRun=All");
    for place in &places {
        let Some(have) = with.status.pointer(place) else { continue };
        for value in other(have) {
            let operation = json!([{"op": "replace", "path": format!("/status{place}"), "value": value}]);
            let name = format!("{place} becomes {value}");
            steps.push(patch(name, &shown, "application/json-patch+json", &operation));
        }
        let operation = json!([{"op": "remove", "path": format!("/status{place}")}]);
        steps.push(patch(format!("{place} goes"), &shown, "application/json-patch+json", &operation));
        // One field alone, by the keys of the lists that it is in.
        let one = alone(&with.status, place);
        if place.matches('/').count() <= 2 {
            let one = json!({"status": one});
            steps.push(patch(format!("merge patch of {place}"), &shown, MERGE, &one));
            steps.push(patch(format!("strategic patch of {place}"), &shown, strategic, &one));
        }
    }
    let mut applied = json!({"apiVersion": whole["apiVersion"], "kind": whole["kind"]});
    applied["metadata"] = json!({"name": whole["metadata"]["name"]});
    applied["status"] = with.status.clone();
    steps.push(patch("apply", &format!("{at}?fieldManager=d"), APPLY, &applied));
    steps.push(patch("apply by force", &format!("{at}?fieldManager=d&force=true"), APPLY, &applied));
    for place in places.iter().filter(|place| place.matches('/').count() <= 3) {
        let Some(value) = with.status.pointer(place).and_then(|have| other(have).into_iter().next()) else {
            continue;
        };
        let mut changed = applied.clone();
        if let Some(field) = changed.pointer_mut(&format!("/status{place}")) {
            *field = value.clone();
        }
        let ask = format!("{at}?fieldManager=e&dryRun=All");
        steps.push(patch(format!("apply of {place} as {value}"), &ask, APPLY, &changed));
    }
    steps.push(patch("apply to the object", &format!("{path}?fieldManager=e"), APPLY, &applied));
    steps.push(Step::json("get after", &format!("GET {path}"), None));
    steps.push(delete(sample));
    Theme { name: format!("{} with a status", sample.kind()), steps }
}

/// The value at a pointer with all that is around it, and nothing beside it.
fn alone(value: &Value, place: &str) -> Value {
    let Some((name, rest)) = place.trim_start_matches('/').split_once('/').map_or_else(
        || (!place.is_empty()).then(|| (place.trim_start_matches('/'), "")),
        |(name, rest)| Some((name, rest)),
    ) else {
        return value.clone();
    };
    let below = |value: &Value| if rest.is_empty() { value.clone() } else { alone(value, rest) };
    match value {
        Value::Object(map) => map.get(name).map_or(Value::Null, |value| json!({name: below(value)})),
        Value::Array(items) => {
            let item = name.parse().ok().and_then(|nth: usize| items.get(nth));
            item.map_or(Value::Null, |item| json!([item]))
        }
        _ => Value::Null,
    }
}

/// All that happens to an object, watched from before, from between and from now on, by selectors that it comes to fit and
/// ceases to fit, in every form.
pub fn watches(sample: &Sample) -> Theme {
    let (collection, path) = (&sample.collection, sample.path());
    let name = sample.object["metadata"]["name"].as_str().unwrap_or_default();
    let named = format!("fieldSelector=metadata.name%3D{name}");
    let mut labelled = sample.object.clone();
    labelled["metadata"]["labels"] = json!({"w": "yes"});
    let version = "/metadata/resourceVersion";
    let save = |mut step: Step, name: &str| {
        step.save = vec![(name.to_owned(), version.to_owned())];
        step
    };
    let follow = |what: &str, query: String, events: usize| {
        let mut step = Step::json(what, &format!("GET {collection}?watch=1&{query}"), None);
        step.events = Some(events);
        step
    };
    let label = |value: Value| json!({"metadata": {"labels": {"w": value}, "annotations": {"n": "m"}}});
    let mut steps = vec![save(Step::json("list", &format!("GET {collection}?{named}"), None), "before")];
    steps.push(save(Step::json("create", &format!("POST {collection}"), Some(&labelled)), "created"));
    steps.extend(seen(sample).map(|step| save(step, "created")));
    let from = |version: &str| format!("resourceVersion={version}&{named}");
    steps.push(follow("from 0", from("0"), 1));
    steps.push(follow("from now", named.clone(), 1));
    let initial = "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersionMatch=NotOlderThan";
    steps.push(follow("with a list", format!("{initial}&{named}"), 2));
    steps.push(follow("with a list from 0", format!("{initial}&{}", from("0")), 2));
    steps.push(follow("with a list from the creation", format!("{initial}&{}", from("${created}")), 2));
    steps.push(follow(
        "with a list of what does not fit",
        format!("{initial}&{named}&labelSelector=w%3Dno"),
        1,
    ));
    let table = follow("with a list as a table", format!("{initial}&{named}"), 2);
    steps.push(table.header("Accept", TABLE));
    let partial = follow("with a list of metadata", format!("{initial}&{named}"), 2);
    steps.push(partial.header("Accept", PARTIAL));
    steps.push(save(patch("fit no more", &path, MERGE, &label(json!("no"))), "left"));
    steps.push(save(patch("fit again", &path, MERGE, &label(json!("yes"))), "came"));
    steps.push(patch("no label", &path, MERGE, &label(Value::Null)));
    steps.push(patch("fit to the end", &path, MERGE, &label(json!("yes"))));
    // What controllers say of a kind comes between, at a time of their own.
    let alone = settled(sample).is_none();
    if alone {
        steps.push(delete(sample));
    }
    let end = usize::from(alone);
    let first = if alone { "${before}" } else { "${created}" };
    let begun = usize::from(alone);
    let fitting = |value: &str| format!("{}&labelSelector=w%3D{value}", from(first));
    for (form, accept) in [("", "application/json"), (" as a table", TABLE), (" of metadata", PARTIAL)] {
        let mut add = |step: Step| {
            let name = format!("{}{form}", step.name);
            steps.push(Step { name, ..step.header("Accept", accept) });
        };
        add(follow("all from before", from(first), begun + 4 + end));
        add(follow("all that fits", fitting("yes"), begun + 4 + end));
        add(follow("all that fits the other value", fitting("no"), 2));
        add(follow("all with the label", format!("{}&labelSelector=w", from(first)), begun + 4 + end));
        add(follow("all without the label", format!("{}&labelSelector=%21w", from(first)), 2));
        add(follow("from the second change", from("${left}"), 3 + end));
        add(follow(
            "from the third change, fitting",
            format!("{}&labelSelector=w%3Dyes", from("${came}")),
            2 + end,
        ));
    }
    if !alone {
        steps.push(delete(sample));
    }
    Theme { name: format!("{} that is watched", sample.kind()), steps }
}
