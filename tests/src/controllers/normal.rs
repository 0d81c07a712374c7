//! What must differ between two clusters that were told the same story: names that chance makes, hashes, times, places.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use regex::Regex;
use serde_json::{Value, json};

static TIME: LazyLock<Regex> = LazyLock::new(|| regex(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z"));
static ADDRESS: LazyLock<Regex> = LazyLock::new(|| regex(r"\b10\.\d+\.\d+\.\d+\b"));
static NODE: LazyLock<Regex> = LazyLock::new(|| regex(r"\bnode-\d+\b"));
static SUFFIX: LazyLock<Regex> = LazyLock::new(|| regex("-[bcdfghjklmnpqrstvwxz2456789]{5}\\b"));
static UID: LazyLock<Regex> =
    LazyLock::new(|| regex("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"));

fn regex(text: &str) -> Regex {
    Regex::new(&format!("(?-u){text}")).expect("a legal expression")
}

/// Lists of objects by kind, each sorted, without what must differ.
pub fn objects(kinds: Value) -> Value {
    let hashes = hashes(&kinds);
    let mut kinds: BTreeMap<String, Value> = serde_json::from_value(kinds).expect("lists by kind");
    for (kind, list) in &mut kinds {
        let items = list.as_array().cloned().unwrap_or_default().into_iter();
        let mut items: Vec<Value> = items
            .map(|item| if kind == "events" { event(&item) } else { item })
            .map(|item| value(item, &hashes))
            .collect();
        items.sort_by_key(Value::to_string);
        if kind == "events" {
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
        for label in ["pod-template-hash", "controller-revision-hash"] {
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

fn value(value: Value, hashes: &BTreeMap<String, String>) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(name, _)| {
                !["uid", "resourceVersion", "managedFields", "creationTimestamp"].contains(&name.as_str())
            });
            fields.map(|(name, field)| (text(&name, hashes), self::value(field, hashes))).collect()
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
    for (pattern, word) in
        [(&UID, "UID"), (&TIME, "TIME"), (&ADDRESS, "ADDRESS"), (&NODE, "NODE"), (&SUFFIX, "-XXXXX")]
    {
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
        let a = objects(cluster("7c5b6d", "bcdfg", "node-1", "1"));
        let b = objects(cluster("99f8c4", "xz245", "node-2", "2"));
        assert_eq!(a, b);
        assert_eq!(a["pods"][0]["metadata"]["name"], "web-HASH1-XXXXX");
        assert_eq!(a["events"][0]["message"], "Created pod: web-HASH1-XXXXX");
    }
}
