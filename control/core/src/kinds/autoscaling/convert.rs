//! `v1` and `v2` of HorizontalPodAutoscaler. What `v1` has no field for it carries in annotations, as JSON in the form of
//! that version's own types.

use serde_json::{Map, Value, json};

use super::defaults::cpu;
use crate::edit::{at, child, default, existing, list, remove, set, text};

const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
const CURRENT: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// From `v1`. An annotation that cannot be read is as good as none; all four go.
pub fn from_v1(mut scaler: Value) -> Value {
    let note = |scaler: &Value, key: &str| {
        serde_json::from_str::<Value>(text(scaler, &["metadata", "annotations", key])).ok()
    };
    let (metrics, current) = (note(&scaler, METRICS), note(&scaler, CURRENT));
    let (behavior, conditions) = (note(&scaler, BEHAVIOR), note(&scaler, CONDITIONS));
    let had_metrics = !at(&scaler, &["metadata", "annotations", METRICS]).is_null();
    if let Some(spec) = child(&mut scaler, "spec") {
        let percent = at(spec, &["targetCPUUtilizationPercentage"]).as_i64();
        remove(spec, "targetCPUUtilizationPercentage");
        let others = metrics
            .iter()
            .flat_map(|metrics| metrics.as_array().map_or(&[] as &[Value], Vec::as_slice))
            .map(|metric| metric_from_v1(metric, TARGET));
        let all: Vec<Value> = others.chain(percent.map(cpu)).collect();
        if !all.is_empty() || had_metrics {
            set(spec, "metrics", all);
        }
        if let Some(behavior) =
            behavior.map(lower_names).filter(|found| found.as_object().is_some_and(|one| !one.is_empty()))
        {
            set(spec, "behavior", without_defaults(behavior));
        }
    }
    let percent = at(&scaler, &["status", "currentCPUUtilizationPercentage"]).as_i64();
    let notes = current.is_some() || conditions.is_some() || percent.is_some();
    if notes && let Some(status) = child(&mut scaler, "status") {
        remove(status, "currentCPUUtilizationPercentage");
        if let Some(percent) = percent {
            let resource = json!({"name": "cpu", "current": {"averageUtilization": percent}});
            set(status, "currentMetrics", json!([{"type": "Resource", "resource": resource}]));
        }
        if let Some(current) = &current {
            let all: Vec<Value> = current
                .as_array()
                .map_or(&[] as &[Value], Vec::as_slice)
                .iter()
                .map(|metric| metric_from_v1(metric, NOW))
                .collect();
            set(status, "currentMetrics", all);
        }
        if let Some(conditions) = conditions {
            set(status, "conditions", conditions);
        }
    }
    drop_notes(&mut scaler);
    scaler
}

/// Rules from an annotation have no default policies.
fn without_defaults(mut behavior: Value) -> Value {
    for direction in ["scaleUp", "scaleDown"] {
        if let Some(rules) = existing(&mut behavior, direction) {
            default(rules, "policies", Vec::<Value>::new());
        }
    }
    behavior
}

/// To `v1`.
pub fn to_v1(mut scaler: Value) -> Value {
    drop_notes(&mut scaler);
    let is_cpu = |metric: &&Value| {
        text(metric, &["type"]) == "Resource" && text(metric, &["resource", "name"]) == "cpu"
    };
    let metrics = list(&scaler, &["spec", "metrics"]);
    const PERCENT: [&str; 3] = ["resource", "target", "averageUtilization"];
    let percent = metrics.iter().filter(is_cpu).find_map(|metric| at(metric, &PERCENT).as_i64());
    let others = metrics.iter().filter(|metric| !is_cpu(metric) || at(metric, &PERCENT).is_null());
    let others: Vec<String> = others.map(|metric| metric_to_v1(metric, TARGET)).collect();
    let current = list(&scaler, &["status", "currentMetrics"]);
    let now = current.iter().filter(is_cpu);
    let now = now
        .filter_map(|metric| at(metric, &["resource", "current", "averageUtilization"]).as_i64())
        .next_back();
    let current: Vec<String> = current.iter().map(|metric| metric_to_v1(metric, NOW)).collect();
    let conditions = list(&scaler, &["status", "conditions"]).iter().map(condition).collect::<Vec<_>>();
    let behavior = existing(&mut scaler, "spec").and_then(|spec| spec.as_object_mut()?.remove("behavior"));
    let mut notes = vec![];
    for (key, all) in [(METRICS, &others), (CURRENT, &current), (CONDITIONS, &conditions)] {
        if !all.is_empty() {
            notes.push((key, format!("[{}]", all.join(","))));
        }
    }
    notes.extend(behavior.map(|behavior| (BEHAVIOR, behavior_text(&behavior))));
    if let Some(spec) = child(&mut scaler, "spec") {
        remove(spec, "metrics");
        if let Some(percent) = percent {
            set(spec, "targetCPUUtilizationPercentage", percent);
        }
    }
    if let Some(status) = existing(&mut scaler, "status") {
        remove(status, "currentMetrics");
        remove(status, "conditions");
        if let Some(now) = now {
            set(status, "currentCPUUtilizationPercentage", now);
        }
    }
    if !notes.is_empty()
        && let Some(annotations) =
            child(&mut scaler, "metadata").and_then(|metadata| child(metadata, "annotations"))
    {
        for (key, note) in notes {
            set(annotations, key, note);
        }
    }
    scaler
}

fn drop_notes(scaler: &mut Value) {
    let Some(metadata) = existing(scaler, "metadata") else {
        return;
    };
    if let Some(annotations) = existing(metadata, "annotations") {
        for key in [METRICS, CURRENT, CONDITIONS, BEHAVIOR] {
            remove(annotations, key);
        }
        if annotations.as_object().is_some_and(Map::is_empty) {
            remove(metadata, "annotations");
        }
    }
}

/// How `v1` names what a metric should be, or what it is now: value, average value, utilization, and where `v2` has them.
struct Names {
    part: &'static str,
    value: &'static str,
    average: &'static str,
    utilization: &'static str,
}

const TARGET: &Names = &Names {
    part: "target",
    value: "targetValue",
    average: "targetAverageValue",
    utilization: "targetAverageUtilization",
};
const NOW: &Names = &Names {
    part: "current",
    value: "currentValue",
    average: "currentAverageValue",
    utilization: "currentAverageUtilization",
};

const SOURCES: [&str; 5] = ["object", "pods", "resource", "containerResource", "external"];

fn metric_from_v1(metric: &Value, names: &Names) -> Value {
    let mut out = json!({"type": text(metric, &["type"])});
    for field in SOURCES {
        let source = at(metric, &[field]);
        if !source.is_null() {
            set(&mut out, field, source_from_v1(field, source, names));
        }
    }
    out
}

fn source_from_v1(field: &str, source: &Value, names: &Names) -> Value {
    let zero = Value::from("0");
    let get = |name: &str| Some(at(source, &[name])).filter(|value| !value.is_null()).cloned();
    let average_name = if field == "object" { "averageValue" } else { names.average };
    let (mut value, mut average) = (get(names.value), get(average_name));
    let utilization = get(names.utilization);
    let is_target = names.part == "target";
    // Amounts that are no pointers in `v1` are there always.
    match (field, is_target) {
        ("pods", _) | ("resource" | "containerResource", false) => average = average.or(Some(zero)),
        ("external", false) | ("object", false) => value = value.or(Some(zero)),
        ("object", true) => {
            let none = value.is_none() || value.as_ref() == Some(&zero);
            value = if average.is_some() && none { None } else { value.or(Some(zero)) };
        }
        _ => {}
    }
    let kind = match field {
        "pods" => "AverageValue",
        "object" if average.is_some() => "AverageValue",
        "object" => "Value",
        "external" if value.is_some() => "Value",
        "resource" | "containerResource" if utilization.is_some() => "Utilization",
        _ => "AverageValue",
    };
    let mut part = Map::new();
    if is_target {
        part.insert("type".to_owned(), kind.into());
    }
    for (name, amount) in [("value", value), ("averageValue", average), ("averageUtilization", utilization)] {
        part.extend(amount.map(|amount| (name.to_owned(), amount)));
    }
    let mut out = json!({names.part: part});
    match field {
        "resource" | "containerResource" => {
            for name in ["name", "container"] {
                if let Some(value) = get(name) {
                    set(&mut out, name, value);
                }
            }
        }
        _ => {
            let mut metric = json!({"name": text(source, &["metricName"])});
            let selector = if field == "external" { "metricSelector" } else { "selector" };
            if let Some(selector) = get(selector) {
                set(&mut metric, "selector", selector);
            }
            set(&mut out, "metric", metric);
            if field == "object" {
                set(&mut out, "describedObject", at(source, &["target"]).clone());
            }
        }
    }
    out
}

/// JSON in the order of the fields of `v1`'s types.
struct Text(Vec<String>);

impl Text {
    fn add(&mut self, name: &str, value: &Value) {
        if !value.is_null() {
            self.0.push(format!("\"{name}\":{value}"));
        }
    }

    fn add_text(&mut self, name: &str, json: &str) {
        self.0.push(format!("\"{name}\":{json}"));
    }

    fn close(self) -> String {
        format!("{{{}}}", self.0.join(","))
    }
}

fn metric_to_v1(metric: &Value, names: &Names) -> String {
    let mut out = Text(Vec::new());
    out.add("type", at(metric, &["type"]));
    for field in SOURCES {
        let source = at(metric, &[field]);
        if !source.is_null() {
            out.add_text(field, &source_to_v1(field, source, names));
        }
    }
    out.close()
}

fn source_to_v1(field: &str, source: &Value, names: &Names) -> String {
    let zero = Value::from("0");
    let part = |name: &str| at(source, &[names.part, name]);
    let or_zero = |name: &str| match part(name) {
        Value::Null => zero.clone(),
        value => value.clone(),
    };
    let (name, selector) = (at(source, &["metric", "name"]), at(source, &["metric", "selector"]));
    let is_target = names.part == "target";
    let mut out = Text(Vec::new());
    match field {
        "object" => {
            let object = at(source, &["describedObject"]);
            let mut target = Text(Vec::new());
            for field in ["kind", "name", "apiVersion"] {
                target.add(field, at(object, &[field]));
            }
            out.add_text("target", &target.close());
            out.add("metricName", name);
            out.add(names.value, &or_zero("value"));
            out.add("selector", selector);
            out.add("averageValue", part("averageValue"));
        }
        "pods" => {
            out.add("metricName", name);
            out.add(names.average, &or_zero("averageValue"));
            out.add("selector", selector);
        }
        "external" => {
            out.add("metricName", name);
            out.add("metricSelector", selector);
            out.add(names.value, &if is_target { part("value").clone() } else { or_zero("value") });
            out.add(names.average, part("averageValue"));
        }
        _ => {
            out.add("name", at(source, &["name"]));
            out.add(names.utilization, part("averageUtilization"));
            let average = if is_target { part("averageValue").clone() } else { or_zero("averageValue") };
            out.add(names.average, &average);
            out.add("container", at(source, &["container"]));
        }
    }
    out.close()
}

fn condition(condition: &Value) -> String {
    let mut out = Text(Vec::new());
    out.add("type", at(condition, &["type"]));
    out.add("status", at(condition, &["status"]));
    // Written always, `null` where there is none.
    out.add_text("lastTransitionTime", &at(condition, &["lastTransitionTime"]).to_string());
    out.add("reason", at(condition, &["reason"]));
    out.add("message", at(condition, &["message"]));
    out.close()
}

/// The behavior is written with the names of the original's internal fields, absent ones as `null`.
fn behavior_text(behavior: &Value) -> String {
    let rules = |direction: &str| {
        let rules = at(behavior, &[direction]);
        if rules.is_null() {
            return "null".to_owned();
        }
        let policy = |policy: &Value| {
            let int = |field: &str| at(policy, &[field]).as_i64().unwrap_or_default();
            let kind = at(policy, &["type"]);
            format!(
                "{{\"Type\":{kind},\"Value\":{},\"PeriodSeconds\":{}}}",
                int("value"),
                int("periodSeconds")
            )
        };
        let policies: Vec<String> = list(rules, &["policies"]).iter().map(policy).collect();
        format!(
            "{{\"StabilizationWindowSeconds\":{},\"SelectPolicy\":{},\"Policies\":[{}],\"Tolerance\":{}}}",
            at(rules, &["stabilizationWindowSeconds"]),
            at(rules, &["selectPolicy"]),
            policies.join(","),
            at(rules, &["tolerance"]),
        )
    };
    format!("{{\"ScaleUp\":{},\"ScaleDown\":{}}}", rules("scaleUp"), rules("scaleDown"))
}

/// Names begin with a small letter; what is `null` goes.
fn lower_names(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let lower = |name: String| {
                let mut letters = name.chars();
                letters.next().map_or(String::new(), |first| first.to_lowercase().chain(letters).collect())
            };
            let kept = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(kept.map(|(name, value)| (lower(name), lower_names(value))).collect())
        }
        Value::Array(items) => items.into_iter().map(lower_names).collect(),
        other => other,
    }
}
