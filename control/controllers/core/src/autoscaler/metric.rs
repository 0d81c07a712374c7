//! What one metric calls for: a count, the name by which Events tell of it, and its place in the status.

use std::sync::Arc;

use apiclient_core::quantity::Quantity;
use control_core::edit::{list, text};
use serde_json::{Value, json};

use super::replicas::{self, Aim, Measure, requests};
use super::samples::{self, milli};
use super::{Answer, Scene};
use crate::object;

/// What a metric calls for.
pub struct Proposal {
    pub replicas: i64,
    pub name: String,
    pub status: Value,
}

/// Why it calls for nothing, in the original's words.
#[derive(Clone, Debug)]
pub struct Failed {
    pub reason: &'static str,
    /// In its own Event and condition.
    pub told: String,
    /// As part of the whole.
    pub whole: String,
}

/// What `spec` calls for, given the answer to its question.
pub fn propose(scene: &Scene<'_>, spec: &Value, answer: &Answer) -> Result<Proposal, Failed> {
    let of = text(spec, &["type"]);
    match of {
        "Resource" => {
            let name = text(spec, &["resource", "name"]);
            let told = of_resource(scene, &spec["resource"], "", answer);
            finish(told, "FailedGetResourceMetric", |told| {
                format!("failed to get {name} resource metric value: {told}")
            })
        }
        "ContainerResource" => {
            let container = text(spec, &["containerResource", "container"]);
            let told = of_resource(scene, &spec["containerResource"], container, answer);
            finish(told, "FailedGetContainerResourceMetric", |told| {
                format!("failed to get {container} container metric value: {told}")
            })
        }
        "Pods" => {
            let told = of_pods(scene, &spec["pods"], answer);
            finish(told, "FailedGetPodsMetric", |told| format!("failed to get pods metric value: {told}"))
        }
        "Object" => {
            let name = text(spec, &["object", "metric", "name"]);
            let average = text(spec, &["object", "target", "type"]) == "AverageValue";
            let told = of_object(scene, &spec["object"], answer);
            finish(told, "FailedGetObjectMetric", |told| match average {
                true => {
                    format!("failed to get object metric value: failed to get {name} object metric: {told}")
                }
                false => format!("failed to get object metric value: {told}"),
            })
        }
        "External" => {
            let name = text(spec, &["external", "metric", "name"]);
            let average = !spec["external"]["target"]["averageValue"].is_null();
            let told = of_external(scene, &spec["external"], answer);
            finish(told, "FailedGetExternalMetric", |told| match average {
                true => format!(
                    "failed to get {name} external metric value: failed to get {name} external metric: {told}"
                ),
                false => format!(
                    "failed to get {name} external metric value: failed to get external metric {name}: {told}"
                ),
            })
        }
        other => {
            let told = format!("unknown metric source type {other:?}");
            Err(Failed { reason: "InvalidMetricSourceType", whole: told.clone(), told })
        }
    }
}

fn finish(
    told: Result<Proposal, String>,
    reason: &'static str,
    whole: impl FnOnce(&str) -> String,
) -> Result<Proposal, Failed> {
    told.map_err(|told| Failed { reason, whole: whole(&told), told })
}

/// A quantity of thousandths, in the notation that a resource has.
fn quantity(thousandths: i64, resource: &str) -> String {
    let binary = resource == "memory";
    let quantity = Quantity::of_milli(thousandths);
    if binary { quantity.binary() } else { quantity }.to_string()
}

fn of_resource(
    scene: &Scene<'_>,
    metric: &Value,
    container: &str,
    answer: &Answer,
) -> Result<Proposal, String> {
    let resource = text(metric, &["name"]);
    let target = &metric["target"];
    let (average, percent) = (milli(&target["averageValue"]), target["averageUtilization"].as_i64());
    let (kind, of) = if container.is_empty() {
        ("Resource", "resource")
    } else {
        ("ContainerResource", "containerResource")
    };
    let (name, what) = match (average, percent, container.is_empty()) {
        (Some(_), ..) => (format!("{resource} resource"), "usage"),
        (None, Some(_), true) => {
            (format!("{resource} resource utilization (percentage of request)"), "utilization")
        }
        (None, Some(_), false) => {
            (format!("{resource} container resource utilization (percentage of request)"), "utilization")
        }
        (None, None, _) => {
            return Err(
                "invalid resource metric source: neither an average utilization target nor an average value \
                        (usage) target was set"
                    .to_owned(),
            );
        }
    };
    let words = |why: String| format!("failed to get {resource} {what}: {why}");
    let samples =
        answer.as_ref().map_err(|why| format!("unable to fetch metrics from resource metrics API: {why}"));
    let samples = samples.and_then(|answer| samples::of_resource(answer, resource, container));
    let samples =
        samples.map_err(|why| words(format!("unable to get metrics for resource {resource}: {why}")))?;
    let aim = |pods: &[Arc<Value>]| -> Result<Aim, String> {
        Ok(match average {
            Some(average) => Aim::Average(average),
            None => Aim::Utilization {
                percent: percent.unwrap_or_default(),
                requests: requests(pods, container, resource)?,
            },
        })
    };
    let (replicas, measure) = replicas::of_pods(scene, samples, resource, aim).map_err(words)?;
    let mut status = json!({"type": kind, of: {"name": resource, "current": current(&measure, resource)}});
    if !container.is_empty() {
        status[of]["container"] = container.into();
    }
    Ok(Proposal { replicas, name, status })
}

fn current(measure: &Measure, resource: &str) -> Value {
    let mut current = json!({"averageValue": quantity(measure.average, resource)});
    if let Some(percent) = measure.percent {
        current["averageUtilization"] = percent.into();
    }
    current
}

fn of_pods(scene: &Scene<'_>, metric: &Value, answer: &Answer) -> Result<Proposal, String> {
    let name = text(metric, &["metric", "name"]);
    let average = milli(&metric["target"]["averageValue"]).unwrap_or_default();
    let samples =
        answer.as_ref().map_err(|why| format!("unable to fetch metrics from custom metrics API: {why}"));
    let samples = samples.and_then(|answer| samples::of_pods(answer));
    let samples = samples.map_err(|why| format!("unable to get metric {name}: {why}"))?;
    let (replicas, measure) = replicas::of_pods(scene, samples, "", |_| Ok(Aim::Average(average)))?;
    let current = json!({"averageValue": quantity(measure.average, "")});
    let status = json!({"type": "Pods", "pods": {"metric": identity(metric), "current": current}});
    Ok(Proposal { replicas, name: format!("pods metric {name}"), status })
}

fn of_object(scene: &Scene<'_>, metric: &Value, answer: &Answer) -> Result<Proposal, String> {
    let name = text(metric, &["metric", "name"]);
    let described = &metric["describedObject"];
    let kind = text(described, &["kind"]);
    let target = &metric["target"];
    let value = || {
        let found =
            answer.as_ref().map_err(|why| format!("unable to fetch metrics from custom metrics API: {why}"));
        found.and_then(|answer| samples::of_object(answer)).map_err(|why| {
            let (namespace, object) = (object::namespace(scene.autoscaler), text(described, &["name"]));
            format!("unable to get metric {name}: {why} on {kind} {namespace}/{object}")
        })
    };
    let (replicas, shown, current) =
        match (text(target, &["type"]), milli(&target["value"]), milli(&target["averageValue"])) {
            ("Value", Some(aim), _) => {
                let value = value()?;
                let replicas = replicas::of_ratio(scene, value as f64 / aim as f64)?;
                (replicas, format!("{kind} metric {name}"), json!({"value": quantity(value, "")}))
            }
            ("AverageValue", _, Some(share)) => {
                let (replicas, average) = replicas::of_share(scene, value()?, share);
                let shown = format!("external metric {name}({})", go(&metric["metric"]["selector"]));
                (replicas, shown, json!({"averageValue": quantity(average, "")}))
            }
            _ => {
                return Err(
                "invalid object metric source: neither a value target nor an average value target was set"
                    .to_owned(),
            );
            }
        };
    let status = json!({"type": "Object", "object": {
        "describedObject": described, "metric": identity(metric), "current": current,
    }});
    Ok(Proposal { replicas, name: shown, status })
}

fn of_external(scene: &Scene<'_>, metric: &Value, answer: &Answer) -> Result<Proposal, String> {
    let name = text(metric, &["metric", "name"]);
    let selector = go(&metric["metric"]["selector"]);
    let value = || {
        let found = answer
            .as_ref()
            .map_err(|why| format!("unable to fetch metrics from external metrics API: {why}"));
        found.and_then(|answer| samples::of_external(answer)).map_err(|why| {
            let namespace = object::namespace(scene.autoscaler);
            format!("unable to get external metric {namespace}/{name}/{selector}: {why}")
        })
    };
    let target = &metric["target"];
    let (replicas, current) = match (milli(&target["averageValue"]), milli(&target["value"])) {
        (Some(share), _) => {
            let (replicas, average) = replicas::of_share(scene, value()?, share);
            (replicas, json!({"averageValue": quantity(average, "")}))
        }
        (None, Some(aim)) => {
            let value = value()?;
            (replicas::of_ratio(scene, value as f64 / aim as f64)?, json!({"value": quantity(value, "")}))
        }
        (None, None) => {
            return Err(
                "invalid external metric source: neither a value target nor an average value target was set"
                    .to_owned(),
            );
        }
    };
    let status = json!({"type": "External", "external": {"metric": identity(metric), "current": current}});
    Ok(Proposal { replicas, name: format!("external metric {name}({selector})"), status })
}

/// Name and selector, as the status repeats them.
fn identity(metric: &Value) -> Value {
    let mut identity = json!({"name": metric["metric"]["name"]});
    if !metric["metric"]["selector"].is_null() {
        identity["selector"] = metric["metric"]["selector"].clone();
    }
    identity
}

/// A selector as Go prints a pointer to one.
fn go(selector: &Value) -> String {
    if selector.is_null() {
        return "nil".to_owned();
    }
    let labels = object::texts(&selector["matchLabels"]);
    let labels: String = labels.iter().map(|(key, value)| format!("{key}: {value},")).collect();
    let expressions = list(selector, &["matchExpressions"]).iter().map(|one| {
        let values: Vec<&str> = list(one, &["values"]).iter().filter_map(Value::as_str).collect();
        format!(
            "LabelSelectorRequirement{{Key:{},Operator:{},Values:[{}],}},",
            text(one, &["key"]),
            text(one, &["operator"]),
            values.join(" ")
        )
    });
    let expressions: String = expressions.collect();
    format!(
        "&LabelSelector{{MatchLabels:map[string]string{{{labels}}},MatchExpressions:[]LabelSelectorRequirement{{{expressions}}},}}"
    )
}
