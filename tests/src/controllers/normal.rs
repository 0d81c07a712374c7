//! What must differ between two clusters that were told the same story: names that chance makes, hashes, times, places.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

static TIME: LazyLock<Regex> = LazyLock::new(|| regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"));
/// Of Services, of pods and of nodes.
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:10\.\d+|100\.\d+|198\.1[89])\.\d+\.\d+\b"));
static NODE: LazyLock<Regex> = LazyLock::new(|| regex(r"\b(?:node|zone|region)-\d+\b"));
/// Of a ReplicaSet, while a Deployment rolls: how many pods are ready at a look is chance.
static STEP: LazyLock<Regex> = LazyLock::new(|| regex(r"\bfrom \d+ to \d+$"));
static SUFFIX: LazyLock<Regex> = LazyLock::new(|| regex("-[bcdfghjklmnpqrstvwxz2456789]{5}\\b"));
/// What the authority signed, as it is and as a Secret has it; a token as a Secret has it.
static CERTIFICATE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"-----BEGIN CERTIFICATE-----[\sA-Za-z0-9+/=-]+|LS0tLS1CRUdJTi[A-Za-z0-9+/=]+"));
static TOKEN: LazyLock<Regex> = LazyLock::new(|| regex("ZXlK[A-Za-z0-9+/=]{200,}"));
static UID: LazyLock<Regex> =
    LazyLock::new(|| regex("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));

fn regex(text: &str) -> Regex {
    Regex::new(&format!("(?-u){text}")).expect("a legal expression")
}

/// What was seen at each point of a story: lists of objects by kind, each sorted, without what must differ.
pub fn story(seen: &BTreeMap<String, Value>) -> Value {
    let hashes = seen.values().flat_map(hashes).collect();
    seen.iter().map(|(point, kinds)| (point.clone(), objects(kinds.clone(), &hashes))).collect()
}

fn objects(kinds: Value, hashes: &BTreeMap<String, String>) -> Value {
    let mut kinds: BTreeMap<String, Value> = serde_json::from_value(kinds).expect("lists by kind");
    for (kind, list) in &mut kinds {
        let items = list.as_array().cloned().unwrap_or_default().into_iter();
        let mut items: Vec<Value> = items
            .map(|item| if kind.starts_with("events") { event(&item) } else { item })
            .map(|item| value(item, hashes))
            .map(|item| if kind.starts_with("endpointslices") { unnumbered(item) } else { item })
            .collect();
        items.sort_by_key(Value::to_string);
        if kind.starts_with("events") {
            items.dedup();
        }
        *list = items.into();
    }
    serde_json::to_value(kinds).expect("JSON")
}

/// Hashes of templates, by the revisions in whose order they came.
fn hashes(kinds: &Value) -> BTreeMap<String, String> {
    let mut found: Vec<(i64, String, String)> = Vec::new();
    for object in
        kinds.as_object().into_iter().flatten().flat_map(|(_, list)| list.as_array().into_iter().flatten())
    {
        let labels = &object["metadata"]["labels"];
        let revision = object["metadata"]["annotations"]["deployment.kubernetes.io/revision"].as_str();
        let revision = revision.and_then(|text| text.parse().ok()).or_else(|| object["revision"].as_i64());
        for label in ["pod-template-hash", "controller-revision-hash", "controller.kubernetes.io/hash"] {
            if let (Some(hash), Some(revision)) = (labels[label].as_str(), revision) {
                let owner = object["metadata"]["ownerReferences"][0]["name"].as_str().unwrap_or_default();
                let hash = hash.rsplit('-').next().unwrap_or(hash);
                found.push((revision, owner.to_owned(), hash.to_owned()));
            }
        }
    }
    found.sort();
    found.into_iter().map(|(revision, _, hash)| (hash, format!("HASH{revision}"))).collect()
}

/// What is told of an event, however often and by whom in what order.
fn event(event: &Value) -> Value {
    json!({
        "about": format!("{} {}", event["involvedObject"]["kind"], event["involvedObject"]["name"]),
        "type": event["type"], "reason": event["reason"], "message": event["message"],
    })
}

/// How many writes a slice took depends on how many changes one of them took up.
fn unnumbered(mut slice: Value) -> Value {
    if let Some(metadata) = slice["metadata"].as_object_mut() {
        metadata.remove("generation");
    }
    slice
}

/// So does the time of the last change.
const LAST_CHANGE: &str = "endpoints.kubernetes.io/last-change-trigger-time";

fn value(value: Value, hashes: &BTreeMap<String, String>) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(name, field)| {
                let only_last_change = name == "annotations"
                    && field.as_object().is_some_and(|all| all.keys().all(|name| name == LAST_CHANGE));
                // The ports of fake kubelets are free ones.
                let differs = [
                    "uid",
                    "resourceVersion",
                    "managedFields",
                    "creationTimestamp",
                    "daemonEndpoints",
                    LAST_CHANGE,
                ];
                !differs.contains(&name.as_str()) && !only_last_change
            });
            let mut fields: serde_json::Map<_, _> =
                fields.map(|(name, field)| (text(&name, hashes), self::value(field, hashes))).collect();
            // Of pods, in the order of what is taken out; two workers of the original write taints.
            for list in ["endpoints", "addresses", "notReadyAddresses", "taints"] {
                if let Some(items) = fields.get_mut(list).and_then(Value::as_array_mut) {
                    items.sort_by_key(Value::to_string);
                }
            }
            fields.into()
        }
        Value::Array(items) => items.into_iter().map(|item| self::value(item, hashes)).collect(),
        Value::String(words) => text(&words, hashes).into(),
        other => other,
    }
}

fn text(words: &str, hashes: &BTreeMap<String, String>) -> String {
    let mut words = words.to_owned();
    for (hash, name) in hashes {
        words = words.replace(hash, name);
    }
    for (pattern, word) in [
        (&CERTIFICATE, "CERTIFICATE"),
        (&TOKEN, "TOKEN"),
        (&UID, "UID"),
        (&TIME, "TIME"),
        (&ADDRESS, "ADDRESS"),
        (&NODE, "NODE"),
        (&SUFFIX, "-XXXXX"),
        (&STEP, "from N to N"),
    ] {
        words = pattern.replace_all(&words, word).into_owned();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_clusters_that_were_told_the_same_compare_equal() {
        let cluster = |hash: &str, pod: &str, node: &str, uid: &str| {
            json!({
                "replicasets": [{"metadata": {
                    "name": format!("web-{hash}"), "uid": uid, "labels": {"pod-template-hash": hash},
                    "annotations": {"deployment.kubernetes.io/revision": "1"},
                }}],
                "pods": [{"metadata": {"name": format!("web-{hash}-{pod}")}, "spec": {"nodeName": node}}],
                "events": [{"reason": "SuccessfulCreate", "message": format!("Created pod: web-{hash}-{pod}"), "count": 2}],
            })
        };
        let told = |cluster: Value| story(&BTreeMap::from([("end".to_owned(), cluster)]));
        let a = told(cluster("7c5b6d", "bcdfg", "node-1", "1"));
        let b = told(cluster("99f8c4", "xz245", "node-2", "2"));
        assert_eq!(a, b);
        let a = &a["end"];
        assert_eq!(a["pods"][0]["metadata"]["name"], "web-HASH1-XXXXX");
        assert_eq!(a["events"][0]["message"], "Created pod: web-HASH1-XXXXX");
    }
}
