//! Which labels a node may set on itself.

use std::collections::BTreeSet;

use serde_json::Value;

/// Changed labels that are not a node's to set.
pub fn forbidden_labels(new: &Value, old: &Value) -> Vec<String> {
    let [new, old] = [new, old].map(|node| &node["metadata"]["labels"]);
    let keys = |labels: &Value| -> BTreeSet<String> {
        labels.as_object().into_iter().flatten().map(|(key, _)| key.clone()).collect()
    };
    let changed =
        keys(new).union(&keys(old)).filter(|key| new.get(*key) != old.get(*key)).cloned().collect::<Vec<_>>();
    changed.into_iter().filter(|key| !is_a_nodes_label(key)).collect()
}

fn is_a_nodes_label(key: &str) -> bool {
    const OWN: [&str; 11] = [
        "kubernetes.io/hostname",
        "topology.kubernetes.io/zone",
        "topology.kubernetes.io/region",
        "failure-domain.beta.kubernetes.io/zone",
        "failure-domain.beta.kubernetes.io/region",
        "beta.kubernetes.io/instance-type",
        "node.kubernetes.io/instance-type",
        "kubernetes.io/os",
        "kubernetes.io/arch",
        "beta.kubernetes.io/os",
        "beta.kubernetes.io/arch",
    ];
    let domain = key.split_once('/').map_or("", |(domain, _)| domain);
    let within = |suffix: &str| {
        domain == suffix || domain.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.'))
    };
    if within("node-restriction.kubernetes.io") {
        return false;
    }
    let of_kubernetes = within("kubernetes.io") || within("k8s.io");
    !of_kubernetes || OWN.contains(&key) || within("kubelet.kubernetes.io") || within("node.kubernetes.io")
}
