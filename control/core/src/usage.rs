//! What nodes and pods use, from what a node's agent says (`/stats/summary`).
//!
//! Owns: [`of_node`] and [`of_pod`], objects of `metrics.k8s.io`. Facts: `k8s.io/kubelet/pkg/apis/stats/v1alpha1`.
//! Never: asks an agent.

use std::time::SystemTime;

use apiclient_core::quantity::Quantity;
use apiclient_core::time;
use serde_json::{Value, json};

use crate::edit::{list, text};

/// What an agent is asked, and for no more than is needed.
pub const QUESTION: (&str, &str) = ("/stats/summary", "only_cpu_and_memory=true");

/// How long a kubelet measures: its `--housekeeping-interval`. The summary does not say.
const WINDOW: &str = "10s";

/// `NodeMetrics`; `None` where the agent does not know yet.
pub fn of_node(summary: &Value, node: &Value, now: SystemTime) -> Option<Value> {
    let (usage, at) = usage(&summary["node"])?;
    let mut metrics = whole("NodeMetrics", node, &at, now);
    metrics["usage"] = usage;
    Some(metrics)
}

/// `PodMetrics`; `None` where the agent does not run it, or does not know yet of one of its containers.
pub fn of_pod(summary: &Value, pod: &Value, now: SystemTime) -> Option<Value> {
    let own = |field: &str| text(pod, &["metadata", field]);
    let found = list(summary, &["pods"]).iter().find(|found| {
        text(found, &["podRef", "namespace"]) == own("namespace")
            && text(found, &["podRef", "name"]) == own("name")
    })?;
    let mut first: Option<String> = None;
    let mut containers = Vec::new();
    for container in list(found, &["containers"]) {
        let (usage, at) = usage(container)?;
        first = Some(first.filter(|first| *first <= at).unwrap_or(at));
        containers.push(json!({"name": container["name"], "usage": usage}));
    }
    let mut metrics = whole("PodMetrics", pod, &first?, now);
    metrics["metadata"]["namespace"] = own("namespace").into();
    metrics["containers"] = containers.into();
    Some(metrics)
}

fn whole(kind: &str, of: &Value, at: &str, now: SystemTime) -> Value {
    let mut metadata = json!({"name": of["metadata"]["name"], "creationTimestamp": time::seconds(now)});
    if of["metadata"]["labels"].is_object() {
        metadata["labels"] = of["metadata"]["labels"].clone();
    }
    json!({
        "kind": kind, "apiVersion": "metrics.k8s.io/v1beta1", "metadata": metadata, "timestamp": at, "window": WINDOW,
    })
}

/// CPU and memory, and the earlier time of both, to the second.
fn usage(stats: &Value) -> Option<(Value, String)> {
    let cpu = stats["cpu"]["usageNanoCores"].as_i64()?;
    let memory = stats["memory"]["workingSetBytes"].as_i64()?;
    let at = ["cpu", "memory"].iter().filter_map(|part| time::parse(text(stats, &[part, "time"]))).min()?;
    let usage = json!({
        "cpu": Quantity::of_nano(cpu).to_string(), "memory": Quantity::from(memory).binary().to_string(),
    });
    Some((usage, time::seconds(at)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stats(nanos: i64, bytes: i64, second: u8) -> Value {
        let at = format!("2026-01-01T00:00:{second:02}Z");
        json!({"cpu": {"time": at, "usageNanoCores": nanos}, "memory": {"time": at, "workingSetBytes": bytes}})
    }

    fn container(name: &str, mut of: Value) -> Value {
        of["name"] = name.into();
        of
    }

    #[test]
    fn a_node_and_its_pods_use_what_the_agent_says() {
        let summary = json!({"node": stats(1_250_000_000, 3 << 30, 7), "pods": [
            {"podRef": {"namespace": "d", "name": "a"}, "containers": [
                container("x", stats(250_000_000, 64 << 20, 9)), container("y", stats(123_456_789, 2000, 8)),
            ]},
            {"podRef": {"namespace": "d", "name": "half"}, "containers": [
                container("x", stats(1, 1, 1)), container("y", json!({"cpu": {}})),
            ]},
        ]});
        let now = SystemTime::UNIX_EPOCH;
        let object = |name: &str| json!({"metadata": {"namespace": "d", "name": name, "labels": {"k": "v"}}});
        let node = of_node(&summary, &json!({"metadata": {"name": "n"}}), now).expect("it is known");
        assert_eq!(node["usage"], json!({"cpu": "1250m", "memory": "3Gi"}));
        assert_eq!((&node["timestamp"], &node["window"]), (&json!("2026-01-01T00:00:07Z"), &json!("10s")));
        let pod = of_pod(&summary, &object("a"), now).expect("it is known");
        assert_eq!(pod["metadata"]["labels"], json!({"k": "v"}));
        assert_eq!(pod["timestamp"], "2026-01-01T00:00:08Z", "the earliest of its containers");
        assert_eq!(
            pod["containers"],
            json!([
                {"name": "x", "usage": {"cpu": "250m", "memory": "64Mi"}},
                {"name": "y", "usage": {"cpu": "123456789n", "memory": "2000"}},
            ])
        );
        assert_eq!(of_pod(&summary, &object("half"), now), None, "a container of which nothing is known yet");
        assert_eq!(of_pod(&summary, &object("elsewhere"), now), None);
        assert_eq!(of_node(&json!({}), &object("n"), now), None);
    }
}
