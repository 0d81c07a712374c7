//! What the cells of several kinds' tables have in common.

use serde_json::{Map, Value};

use crate::edit::{list, text};

/// `metadata.name`, the first cell of every row.
pub fn name(object: &Value) -> Value {
    text(object, &["metadata", "name"]).into()
}

/// `a=b,c=d` in the order of the keys, or `<none>` (`labels.FormatLabels`).
pub fn labels(labels: &Value) -> Value {
    let pair = |(key, value): (&String, &Value)| format!("{key}={}", value.as_str().unwrap_or_default());
    let pairs: Vec<String> = labels.as_object().into_iter().flatten().map(pair).collect();
    or_none(&pairs.join(","))
}

pub fn or_none(text: &str) -> Value {
    if text.is_empty() { "<none>".into() } else { text.into() }
}

/// Names and images of the containers of a pod's spec, each as one cell.
pub fn containers(spec: &Value) -> [Value; 2] {
    ["name", "image"].map(|field| {
        let all: Vec<&str> =
            list(spec, &["containers"]).iter().map(|container| text(container, &[field])).collect();
        all.join(",").into()
    })
}

/// Entries of a map.
pub fn count(map: &Value) -> usize {
    map.as_object().map_or(0, Map::len)
}
