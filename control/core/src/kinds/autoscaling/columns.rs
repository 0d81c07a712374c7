//! The table of HorizontalPodAutoscalers, made of the form of `v2`.

use std::time::SystemTime;

use serde_json::Value;

use crate::ages;
use crate::edit::{at, list, text};
use crate::kinds::cells;
use crate::table::BuiltIn;

pub const COLUMNS: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Reference", "string", "What is scaled."),
    BuiltIn::new("Targets", "string", "What the metrics are, and what they should be."),
    BuiltIn::new("MinPods", "string", "How many pods there are at least."),
    BuiltIn::new("MaxPods", "string", "How many pods there are at most."),
    BuiltIn::new("Replicas", "string", "How many pods there are."),
    BuiltIn::age(),
];

pub fn row(scaler: &Value, now: SystemTime) -> Vec<Value> {
    let target = at(scaler, &["spec", "scaleTargetRef"]);
    let least = at(scaler, &["spec", "minReplicas"]);
    vec![
        cells::name(scaler),
        format!("{}/{}", text(target, &["kind"]), text(target, &["name"])).into(),
        targets(list(scaler, &["spec", "metrics"]), list(scaler, &["status", "currentMetrics"])).into(),
        if least.is_null() { "<unset>".into() } else { least.to_string().into() },
        cells::int(scaler, &["spec", "maxReplicas"]),
        cells::int(scaler, &["status", "currentReplicas"]),
        ages::of(scaler, now).into(),
    ]
}

/// The first two metrics: what they are now, and what they should be.
fn targets(metrics: &[Value], statuses: &[Value]) -> String {
    const SHOWN: usize = 2;
    let shown: Vec<String> =
        metrics.iter().enumerate().map(|(nth, metric)| one(metric, statuses.get(nth))).collect();
    match shown.len() {
        0 => "<none>".to_owned(),
        1..=SHOWN => shown.join(", "),
        count => format!("{} + {} more...", shown[..SHOWN].join(", "), count - SHOWN),
    }
}

fn one(metric: &Value, status: Option<&Value>) -> String {
    let kind = text(metric, &["type"]);
    let field = match kind {
        "External" => "external",
        "Pods" => "pods",
        "Object" => "object",
        "Resource" => "resource",
        "ContainerResource" => "containerResource",
        _ => return "<unknown type>".to_owned(),
    };
    let target = at(metric, &[field, "target"]);
    let current = |value: &str, suffix: &str| {
        let now = at(status.unwrap_or(&Value::Null), &[field, "current", value]);
        if now.is_null() { "<unknown>".to_owned() } else { format!("{}{suffix}", plain(now)) }
    };
    let average = at(target, &["averageValue"]);
    let name = text(metric, &[field, "name"]);
    match (field, average.is_null()) {
        ("external" | "object", false) => format!("{}/{} (avg)", current("averageValue", ""), plain(average)),
        ("external" | "object", true) => {
            format!("{}/{}", current("value", ""), plain(at(target, &["value"])))
        }
        ("pods", _) => format!("{}/{}", current("averageValue", ""), plain(average)),
        (_, false) => format!("{name}: {}/{}", current("averageValue", ""), plain(average)),
        (_, true) => {
            let wanted = at(target, &["averageUtilization"]);
            let wanted = if wanted.is_null() { "<auto>".to_owned() } else { format!("{wanted}%") };
            format!("{name}: {}/{wanted}", current("averageUtilization", "%"))
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::Null => "<nil>".to_owned(),
        value => cells::number_or_text(value),
    }
}
