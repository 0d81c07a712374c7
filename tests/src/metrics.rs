//! Pages of metrics, to be compared: names, types, labels, buckets.

use std::collections::{BTreeMap, BTreeSet};

/// One metric of a page.
#[derive(Debug, Default, PartialEq)]
pub struct Metric {
    pub kind: String,
    pub labels: BTreeSet<String>,
    /// Of a histogram, as text of the same form for both.
    pub buckets: BTreeSet<String>,
}

/// All metrics of a page, by their names.
///
/// # Panics
/// A sample has no type.
pub fn read(page: &str) -> BTreeMap<String, Metric> {
    let mut found: BTreeMap<String, Metric> = BTreeMap::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) {
            found.entry(name.to_owned()).or_default().kind = kind.to_owned();
        }
    }
    for sample in telemetry::samples::parse(page) {
        let plain = ["_bucket", "_sum", "_count"].iter().find_map(|end| sample.name.strip_suffix(end));
        let name = plain.filter(|name| found.contains_key(*name)).unwrap_or(&sample.name).to_owned();
        let metric = found.get_mut(&name).unwrap_or_else(|| panic!("{name} has no type"));
        for (key, value) in &sample.labels {
            if key == "le" && metric.kind == "histogram" {
                let bound: f64 = value.parse().expect("a bound");
                metric.buckets.insert(bound.to_string());
            } else {
                metric.labels.insert(key.clone());
            }
        }
    }
    found
}
