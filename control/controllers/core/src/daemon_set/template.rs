//! The pods of a DaemonSet: bound to a node by their affinity, and indifferent to its troubles.

use std::sync::Arc;

use control_core::edit::{self, at, list, text};
use serde_json::{Value, json};

use crate::kinds::DAEMON_SETS;
use crate::{Context, object, pods};

/// On a pod: the hash of its revision.
pub const HASH_LABEL: &str = "controller-revision-hash";
const GENERATION_LABEL: &str = "pod-template-generation";
const GENERATION: &str = "deprecated.daemonset.template.generation";

/// Taints of a node in trouble, which the scheduler and the eviction of pods go by.
const TOLERATED: [(&str, &str); 6] = [
    ("node.kubernetes.io/not-ready", "NoExecute"),
    ("node.kubernetes.io/unreachable", "NoExecute"),
    ("node.kubernetes.io/disk-pressure", "NoSchedule"),
    ("node.kubernetes.io/memory-pressure", "NoSchedule"),
    ("node.kubernetes.io/pid-pressure", "NoSchedule"),
    ("node.kubernetes.io/unschedulable", "NoSchedule"),
];
const NO_NETWORK: (&str, &str) = ("node.kubernetes.io/network-unavailable", "NoSchedule");

/// The tolerations of a template's pods.
pub fn tolerations(spec: &Value) -> Vec<Value> {
    let mut tolerations = list(spec, &["tolerations"]).to_vec();
    let network = (spec["hostNetwork"] == true).then_some(NO_NETWORK);
    for (key, effect) in TOLERATED.into_iter().chain(network) {
        let added = json!({"key": key, "operator": "Exists", "effect": effect});
        // One that says the same of the taint gives way; one with a value does not.
        let same = |toleration: &Value| {
            text(toleration, &["key"]) == key
                && text(toleration, &["effect"]) == effect
                && text(toleration, &["operator"]) == "Exists"
                && text(toleration, &["value"]).is_empty()
        };
        match tolerations.iter_mut().find(|toleration| same(toleration)) {
            Some(place) => *place = added,
            None => tolerations.push(added),
        }
    }
    tolerations
}

/// The generation of the template, as the API server counts it for clients of old.
fn generation(set: &Value) -> Option<i64> {
    object::annotation(set, GENERATION)?.parse().ok()
}

/// The pod is of the present template.
pub fn is_updated(set: &Value, pod: &Value, hash: &str) -> bool {
    let of_generation =
        |generation: i64| object::label(pod, GENERATION_LABEL) == Some(&generation.to_string());
    object::label(pod, HASH_LABEL) == Some(hash) || generation(set).is_some_and(of_generation)
}

/// Pods for these nodes, without the names of nodes: the scheduler binds them.
pub fn pods_for(set: &Arc<Value>, hash: &str, nodes: &[&str], context: &Context) -> Vec<Value> {
    let mut template = set["spec"]["template"].clone();
    template["spec"]["tolerations"] = tolerations(&template["spec"]).into();
    if let Some(metadata) = edit::child(&mut template, "metadata")
        && let Some(labels) = edit::child(metadata, "labels")
    {
        edit::set(labels, HASH_LABEL, hash);
        if let Some(generation) = generation(set) {
            edit::set(labels, GENERATION_LABEL, generation.to_string());
        }
    }
    let for_node = |(nth, node): (usize, &&str)| {
        let mut pod = pods::of_template(&template, &DAEMON_SETS, set, nth, context);
        let affinity = edit::child(&mut pod["spec"], "affinity");
        let affinity = affinity.and_then(|affinity| edit::child(affinity, "nodeAffinity"));
        if let Some(affinity) = affinity {
            let field = json!({"key": "metadata.name", "operator": "In", "values": [node]});
            let terms = json!({"nodeSelectorTerms": [{"matchFields": [field]}]});
            edit::set(affinity, "requiredDuringSchedulingIgnoredDuringExecution", terms);
        }
        pod
    };
    nodes.iter().enumerate().map(for_node).collect()
}

/// The node that a pod is on, or is meant for.
pub fn target(pod: &Value) -> Option<&str> {
    if !pods::node(pod).is_empty() {
        return Some(pods::node(pod));
    }
    let required = ["spec", "affinity", "nodeAffinity", "requiredDuringSchedulingIgnoredDuringExecution"];
    let terms = list(at(pod, &required), &["nodeSelectorTerms"]).iter();
    let mut fields = terms.flat_map(|term| list(term, &["matchFields"]));
    let field = fields
        .find(|field| text(field, &["key"]) == "metadata.name" && text(field, &["operator"]) == "In")?;
    match list(field, &["values"]) {
        [node] => node.as_str(),
        _ => None,
    }
}
