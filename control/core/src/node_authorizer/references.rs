//! What pods and volumes refer to.

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::Value;

use super::graph::{Reference, Thing};

fn items(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Everything in its own namespace that a pod needs on its node. A mirror pod needs nothing: a node makes those itself,
/// and must not open anything by it.
pub(super) fn of_pod(pod: &Value, namespace: &str, name: &str) -> BTreeSet<Reference> {
    let mut found = Found { namespace: namespace.into(), all: BTreeSet::new() };
    if pod["metadata"]["annotations"]["kubernetes.io/config.mirror"].is_string() {
        return found.all;
    }
    let spec = &pod["spec"];
    found.add(Thing::ServiceAccount, &spec["serviceAccountName"]);
    for secret in items(&spec["imagePullSecrets"]) {
        found.add(Thing::Secret, &secret["name"]);
    }
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        items(&spec[list]).for_each(|container| found.container(container));
    }
    for volume in items(&spec["volumes"]) {
        found.volume(volume, name);
    }
    let status = &pod["status"];
    for claim in items(&spec["resourceClaims"]) {
        found.add(Thing::ResourceClaim, &claim["resourceClaimName"]);
        let made = items(&status["resourceClaimStatuses"]).find(|made| made["name"] == claim["name"]);
        found.add(Thing::ResourceClaim, made.map_or(&Value::Null, |made| &made["resourceClaimName"]));
    }
    found.add(Thing::ResourceClaim, &status["extendedResourceClaimStatus"]["resourceClaimName"]);
    found.all
}

struct Found {
    namespace: Arc<str>,
    all: BTreeSet<Reference>,
}

impl Found {
    fn add(&mut self, thing: Thing, name: &Value) {
        if let Some(name) = name.as_str().filter(|name| !name.is_empty()) {
            self.all.insert((thing, self.namespace.clone(), name.into()));
        }
    }

    fn container(&mut self, container: &Value) {
        for variable in items(&container["env"]) {
            self.add(Thing::Secret, &variable["valueFrom"]["secretKeyRef"]["name"]);
            self.add(Thing::ConfigMap, &variable["valueFrom"]["configMapKeyRef"]["name"]);
        }
        for source in items(&container["envFrom"]) {
            self.add(Thing::Secret, &source["secretRef"]["name"]);
            self.add(Thing::ConfigMap, &source["configMapRef"]["name"]);
        }
    }

    fn volume(&mut self, volume: &Value, pod: &str) {
        self.add(Thing::Secret, &volume["secret"]["secretName"]);
        self.add(Thing::Secret, &volume["azureFile"]["secretName"]);
        self.add(Thing::Secret, &volume["csi"]["nodePublishSecretRef"]["name"]);
        for of in ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"] {
            self.add(Thing::Secret, &volume[of]["secretRef"]["name"]);
        }
        self.add(Thing::ConfigMap, &volume["configMap"]["name"]);
        for source in items(&volume["projected"]["sources"]) {
            self.add(Thing::Secret, &source["secret"]["name"]);
            self.add(Thing::ConfigMap, &source["configMap"]["name"]);
        }
        self.add(Thing::Claim, &volume["persistentVolumeClaim"]["claimName"]);
        if let (true, Some(name)) = (volume["ephemeral"].is_object(), volume["name"].as_str()) {
            self.add(Thing::Claim, &format!("{pod}-{name}").into());
        }
    }
}

/// The claim that a volume is bound to, and the secrets by which a node reaches it; `None` while it is not bound.
pub(super) fn of_volume(volume: &Value) -> Option<(Reference, BTreeSet<Reference>)> {
    let spec = &volume["spec"];
    let claim = &spec["claimRef"];
    let (namespace, name) = (claim["namespace"].as_str()?, claim["name"].as_str()?);
    let mut secrets = BTreeSet::new();
    let mut add = |of: &Value, secret: &Value| {
        let of = of.as_str().filter(|of| !of.is_empty()).unwrap_or(namespace);
        if let Some(secret) = secret.as_str().filter(|secret| !secret.is_empty()) {
            secrets.insert((Thing::Secret, of.into(), secret.into()));
        }
    };
    add(&spec["azureFile"]["secretNamespace"], &spec["azureFile"]["secretName"]);
    for of in ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"] {
        let secret = &spec[of]["secretRef"];
        add(&secret["namespace"], &secret["name"]);
    }
    for of in ["nodePublishSecretRef", "nodeStageSecretRef", "nodeExpandSecretRef"] {
        let secret = &spec["csi"][of];
        add(&secret["namespace"], &secret["name"]);
    }
    Some(((Thing::Claim, namespace.into(), name.into()), secrets))
}
