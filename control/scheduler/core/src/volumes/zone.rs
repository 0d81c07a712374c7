//! Volumes whose labels say a zone or a region can be used there only.

use std::collections::BTreeSet;

use apiclient_core::names::ObjectName;

use super::Storage;
use crate::node::Node;
use crate::pod::Pod;
use crate::pod::uses;

const LABELS: [&str; 4] = [
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
];

/// The name that a label has now.
fn current(label: &str) -> &str {
    match label {
        "failure-domain.beta.kubernetes.io/zone" => LABELS[2],
        "failure-domain.beta.kubernetes.io/region" => LABELS[3],
        label => label,
    }
}

/// Labels that a node must have, with their values. Claims made for the pod are not looked at, as in the original.
///
/// # Errors
/// Why the pod cannot go anywhere.
pub fn wanted(storage: &Storage, pod: &Pod) -> Result<Vec<(String, BTreeSet<String>)>, String> {
    let mut found = Vec::new();
    for volume in &pod.spec.volumes {
        let uses::Volume::Claim { name, ephemeral: false } = volume else { continue };
        let key = ObjectName::new(pod.spec.namespace.as_str(), name.clone());
        let claim =
            storage.claims.get(&key).ok_or_else(|| format!("persistentvolumeclaim {name:?} not found"))?;
        if claim.volume.is_empty() {
            if claim.class.is_empty() {
                return Err("PersistentVolumeClaim had no pv name and storageClass name".to_owned());
            }
            let class = storage.classes.get(&claim.class);
            let class =
                class.ok_or_else(|| format!("storageclass.storage.k8s.io {:?} not found", claim.class))?;
            if class.waits {
                continue;
            }
            return Err("PersistentVolume had no name".to_owned());
        }
        let volume = storage.volumes.get(&claim.volume);
        let volume = volume.ok_or_else(|| format!("persistentvolume {:?} not found", claim.volume))?;
        for label in LABELS {
            if let Some(value) = volume.labels.get(label) {
                let values = value.split("__").map(|value| value.trim().to_owned()).collect();
                found.push((label.to_owned(), values));
            }
        }
    }
    Ok(found)
}

pub fn allows(wanted: &[(String, BTreeSet<String>)], node: &Node) -> bool {
    if !LABELS.iter().any(|label| node.labels.contains_key(*label)) {
        // A cluster of one zone may not name it.
        return true;
    }
    wanted.iter().all(|(label, values)| {
        let value = node.labels.get(label).or_else(|| node.labels.get(current(label)));
        value.is_some_and(|value| values.contains(value))
    })
}
