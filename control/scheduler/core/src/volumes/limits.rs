//! How many volumes of a driver a node takes.

use std::collections::{BTreeSet, HashMap};

use apiclient_core::names::{Name, ObjectName};

use super::Storage;
use crate::node::NodeInfo;
use crate::pod::Pod;
use crate::pod::uses;

/// Driver and handle of a pod's claims. A claim without a volume counts as one of its class's provisioner.
pub fn counted(storage: &Storage, pod: &Pod) -> Vec<(Name, String)> {
    let mut found = Vec::new();
    for volume in &pod.spec.volumes {
        let uses::Volume::Claim { name, .. } = volume else { continue };
        let key = ObjectName::new(pod.spec.namespace.as_str(), name.clone());
        let Some(claim) = storage.claims.get(&key) else { continue };
        let known = storage.volumes.get(&claim.volume);
        match known.map(|volume| &volume.csi) {
            Some(Some(csi)) => found.push(csi.clone()),
            Some(None) => {}
            None => {
                if let Some(class) = storage.classes.get(&claim.class) {
                    found.push((class.provisioner.as_str().into(), format!("{key}")));
                }
            }
        }
    }
    found
}

/// Some driver would have more than the node takes.
pub fn exceeded(storage: &Storage, info: &NodeInfo, new: &[(Name, String)]) -> bool {
    let Some(limits) = storage.limits.get(&info.name).filter(|limits| !limits.is_empty()) else {
        return false;
    };
    let mut there: BTreeSet<(Name, String)> =
        info.pods.iter().flat_map(|pod| counted(storage, pod)).collect();
    for (node, volume) in storage.attachments.values() {
        if *node == info.name
            && let Some(csi) = storage.volumes.get(volume).and_then(|volume| volume.csi.clone())
        {
            there.insert(csi);
        }
    }
    let mut counts: HashMap<&str, (i64, i64)> = HashMap::new();
    for (driver, _) in &there {
        counts.entry(driver).or_default().0 += 1;
    }
    for (driver, handle) in new {
        if !there.contains(&(driver.clone(), handle.clone())) {
            counts.entry(driver).or_default().1 += 1;
        }
    }
    counts.iter().any(|(driver, (have, more))| {
        *more > 0 && limits.get(*driver).is_some_and(|limit| have + more > *limit)
    })
}
