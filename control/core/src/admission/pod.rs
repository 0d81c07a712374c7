//! What several plugins ask about a pod.

use std::collections::{BTreeMap, BTreeSet};

use apiclient_core::quantity::Quantity;
use serde_json::Value;

use crate::edit::{list, text};

pub const MIRROR: &str = "kubernetes.io/config.mirror";

/// Made by a node for a pod of its own.
pub fn is_mirror(pod: &Value) -> bool {
    pod["metadata"]["annotations"][MIRROR].is_string()
}

/// All secrets and configmaps that a pod refers to.
pub fn secrets(pod: &Value) -> BTreeSet<String> {
    named(pod, "secret")
}

pub fn config_maps(pod: &Value) -> BTreeSet<String> {
    named(pod, "configMap")
}

fn named(pod: &Value, what: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut add = |value: &Value| {
        found.extend(value.as_str().filter(|name| !name.is_empty()).map(str::to_owned));
    };
    let (key, from) =
        if what == "secret" { ("secretKeyRef", "secretRef") } else { ("configMapKeyRef", "configMapRef") };
    for container in containers(pod) {
        list(container, &["env"]).iter().for_each(|one| add(&one["valueFrom"][key]["name"]));
        list(container, &["envFrom"]).iter().for_each(|one| add(&one[from]["name"]));
    }
    for volume in list(pod, &["spec", "volumes"]) {
        list(volume, &["projected", "sources"]).iter().for_each(|one| add(&one[what]["name"]));
        if what == "configMap" {
            add(&volume["configMap"]["name"]);
            continue;
        }
        add(&volume["secret"]["secretName"]);
        add(&volume["azureFile"]["secretName"]);
        add(&volume["csi"]["nodePublishSecretRef"]["name"]);
        for of in ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"] {
            add(&volume[of]["secretRef"]["name"]);
        }
    }
    if what == "secret" {
        list(pod, &["spec", "imagePullSecrets"]).iter().for_each(|one| add(&one["name"]));
    }
    found
}

/// Init containers, containers, ephemeral containers.
pub fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers", "ephemeralContainers"]
        .into_iter()
        .flat_map(|kind| list(pod, &["spec", kind]))
}

/// Amounts of resources by name.
pub type Resources = BTreeMap<String, Quantity>;

/// What cannot be read counts as nothing: the schema refuses it.
pub fn resources(map: &Value) -> Resources {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), quantity(value)?))).collect()
}

pub fn quantity(value: &Value) -> Option<Quantity> {
    match value {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

pub fn add(to: &mut Resources, more: &Resources) {
    for (name, amount) in more {
        let sum = to.get(name).map_or(*amount, |have| have.plus(*amount));
        to.insert(name.clone(), sum);
    }
}

pub fn raise(to: &mut Resources, other: &Resources) {
    for (name, amount) in other {
        if to.get(name).is_none_or(|have| amount > have) {
            to.insert(name.clone(), *amount);
        }
    }
}

/// What a whole pod asks for: `what` is `requests` or `limits`. Containers and sidecars at once, or the largest init
/// container with the sidecars before it; resources of the pod itself come before those of its containers. Without
/// overhead.
pub fn total(pod: &Value, what: &str) -> Resources {
    let of = |container: &Value| resources(&container["resources"][what]);
    let (mut all, mut sidecars, mut most) = (Resources::new(), Resources::new(), Resources::new());
    list(pod, &["spec", "containers"]).iter().for_each(|one| add(&mut all, &of(one)));
    for container in list(pod, &["spec", "initContainers"]) {
        let mut own = of(container);
        if text(container, &["restartPolicy"]) == "Always" {
            add(&mut all, &own);
            add(&mut sidecars, &own);
            own.clone_from(&sidecars);
        } else {
            add(&mut own, &sidecars);
        }
        raise(&mut most, &own);
    }
    raise(&mut all, &most);
    for (name, amount) in resources(&pod["spec"]["resources"][what]) {
        if matches!(name.as_str(), "cpu" | "memory") || name.starts_with("hugepages-") {
            all.insert(name, amount);
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_needs_its_containers_at_once_and_its_init_containers_one_by_one() {
        let of = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let sidecar = json!({"restartPolicy": "Always", "resources": {"requests": {"cpu": "100m"}}});
        let pod = json!({"spec": {"containers": [of("200m"), of("300m")], "initContainers": [of("1"), sidecar, of("2")]}});
        assert_eq!(total(&pod, "requests")["cpu"].to_string(), "2100m");
        let pod = json!({"spec": {"containers": [of("200m"), of("300m")], "resources": {"requests": {"cpu": "3"}}}});
        assert_eq!(total(&pod, "requests")["cpu"].to_string(), "3");
    }

    #[test]
    fn secrets_are_found_wherever_a_pod_names_them() {
        let pod = json!({"spec": {
            "imagePullSecrets": [{"name": "a"}],
            "containers": [{"env": [{"valueFrom": {"secretKeyRef": {"name": "b"}}}], "envFrom": [{"secretRef": {"name": "c"}}]}],
            "volumes": [{"secret": {"secretName": "d"}}, {"projected": {"sources": [{"secret": {"name": "e"}}]}}, {"configMap": {"name": "x"}}],
        }});
        assert_eq!(secrets(&pod).into_iter().collect::<Vec<_>>(), ["a", "b", "c", "d", "e"]);
        assert_eq!(config_maps(&pod).into_iter().collect::<Vec<_>>(), ["x"]);
    }
}
