//! Defaults of pods that depend on other fields, and those that any spec of a pod has.
//!
//! Begin at [`pod`] for a pod and at [`spec`] for the spec of a template, which has fewer.

use serde_json::{Map, Value};

use super::requests;
use crate::edit::{at, child, default, default_text, existing, items, set, text};
use crate::kinds::core::resources::{is_huge_page, is_pod_level, may_overcommit, quantity, round_up};

/// Mode of files in volumes that are made of objects: 0644.
const FILE_MODE: i64 = 0o644;

pub const CONTAINERS: [&str; 3] = ["containers", "initContainers", "ephemeralContainers"];

/// What a pod has besides [`spec`].
pub fn pod(pod: &mut Value) {
    let Some(own) = existing(pod, "spec") else {
        return;
    };
    spec(own);
    for list in ["containers", "initContainers"] {
        items(own, list).for_each(requests_from_limits);
    }
    pod_resources(own);
    default(own, "enableServiceLinks", true);
    if at(own, &["terminationGracePeriodSeconds"]).as_i64().is_some_and(|seconds| seconds < 0) {
        set(own, "terminationGracePeriodSeconds", 1);
    }
    if at(own, &["hostNetwork"]) == true {
        for list in ["containers", "initContainers"] {
            for port in items(own, list).flat_map(|container| items(container, "ports")) {
                if at(port, &["hostPort"]).as_i64().unwrap_or_default() == 0 {
                    let same = at(port, &["containerPort"]).clone();
                    set(port, "hostPort", same);
                }
            }
        }
    }
}

/// What every spec of a pod has, in templates too.
pub fn spec(spec: &mut Value) {
    default_text(spec, "dnsPolicy", "ClusterFirst");
    default_text(spec, "restartPolicy", "Always");
    default(spec, "securityContext", Map::new());
    default(spec, "terminationGracePeriodSeconds", 30);
    default_text(spec, "schedulerName", "default-scheduler");
    // Two names of one field; the newer one decides.
    let account = match text(spec, &["serviceAccountName"]) {
        "" => text(spec, &["serviceAccount"]),
        name => name,
    };
    if !account.is_empty() {
        let account = account.to_owned();
        set(spec, "serviceAccountName", account.as_str());
        set(spec, "serviceAccount", account);
    }
    for list in CONTAINERS {
        items(spec, list).for_each(container);
    }
    items(spec, "volumes").for_each(volume);
    round_up(spec, "overhead");
    if let Some(resources) = existing(spec, "resources") {
        for field in ["limits", "requests"] {
            round_up(resources, field);
        }
    }
}

fn container(container: &mut Value) {
    if let Some(resources) = existing(container, "resources") {
        for field in ["limits", "requests"] {
            round_up(resources, field);
        }
    }
    let policy = pull_policy(text(container, &["image"]));
    default_text(container, "imagePullPolicy", policy);
    default_text(container, "terminationMessagePath", "/dev/termination-log");
    default_text(container, "terminationMessagePolicy", "File");
    for port in items(container, "ports") {
        default_text(port, "protocol", "TCP");
    }
    for variable in items(container, "env") {
        if let Some(from) = existing(variable, "valueFrom") {
            field_ref(from);
        }
    }
    for probe in ["livenessProbe", "readinessProbe", "startupProbe"] {
        if let Some(probe) = existing(container, probe) {
            for (field, value) in [
                ("timeoutSeconds", 1),
                ("periodSeconds", 10),
                ("successThreshold", 1),
                ("failureThreshold", 3),
            ] {
                if at(probe, &[field]).as_i64().unwrap_or_default() == 0 {
                    set(probe, field, value);
                }
            }
            handler(probe);
        }
    }
    if let Some(lifecycle) = existing(container, "lifecycle") {
        for hook in ["postStart", "preStop"] {
            if let Some(hook) = existing(lifecycle, hook) {
                handler(hook);
            }
        }
    }
}

fn handler(handler: &mut Value) {
    if let Some(http) = existing(handler, "httpGet") {
        default_text(http, "path", "/");
        default_text(http, "scheme", "HTTP");
    }
    if let Some(grpc) = existing(handler, "grpc") {
        default(grpc, "service", "");
    }
}

fn field_ref(from: &mut Value) {
    if let Some(field) = existing(from, "fieldRef") {
        default_text(field, "apiVersion", "v1");
    }
}

const SOURCES: [&str; 30] = [
    "emptyDir",
    "hostPath",
    "gitRepo",
    "gcePersistentDisk",
    "awsElasticBlockStore",
    "secret",
    "nfs",
    "iscsi",
    "glusterfs",
    "flocker",
    "persistentVolumeClaim",
    "rbd",
    "cinder",
    "cephfs",
    "quobyte",
    "downwardAPI",
    "fc",
    "flexVolume",
    "configMap",
    "azureFile",
    "vsphereVolume",
    "photonPersistentDisk",
    "portworxVolume",
    "azureDisk",
    "storageos",
    "projected",
    "scaleIO",
    "csi",
    "ephemeral",
    "image",
];

fn volume(volume: &mut Value) {
    if SOURCES.iter().all(|source| at(volume, &[source]).is_null()) {
        set(volume, "emptyDir", Map::new());
    }
    for source in ["secret", "configMap", "downwardAPI", "projected"] {
        if let Some(source) = existing(volume, source) {
            default(source, "defaultMode", FILE_MODE);
        }
    }
    if let Some(source) = existing(volume, "downwardAPI") {
        items(source, "items").for_each(field_ref);
    }
    if let Some(source) = existing(volume, "projected") {
        for part in items(source, "sources") {
            if let Some(token) = existing(part, "serviceAccountToken") {
                default(token, "expirationSeconds", 3_600);
            }
            if let Some(part) = existing(part, "downwardAPI") {
                items(part, "items").for_each(field_ref);
            }
        }
    }
    if let Some(image) = existing(volume, "image") {
        let policy = pull_policy(text(image, &["reference"]));
        default_text(image, "pullPolicy", policy);
    }
    persistent_source(volume);
    if let Some(template) =
        existing(volume, "ephemeral").and_then(|source| existing(source, "volumeClaimTemplate"))
        && let Some(spec) = child(template, "spec")
    {
        default(spec, "volumeMode", "Filesystem");
        if let Some(resources) = existing(spec, "resources") {
            for field in ["limits", "requests"] {
                round_up(resources, field);
            }
        }
    }
}

/// Defaults of the sources that volumes of pods and PersistentVolumes share.
pub fn persistent_source(source: &mut Value) {
    if let Some(path) = existing(source, "hostPath") {
        default(path, "type", "");
    }
    if let Some(iscsi) = existing(source, "iscsi") {
        default_text(iscsi, "iscsiInterface", "default");
    }
    if let Some(rbd) = existing(source, "rbd") {
        for (field, value) in [("pool", "rbd"), ("user", "admin"), ("keyring", "/etc/ceph/keyring")] {
            default_text(rbd, field, value);
        }
    }
    if let Some(disk) = existing(source, "azureDisk") {
        default(disk, "cachingMode", "ReadWrite");
        default(disk, "kind", "Shared");
        default(disk, "fsType", "ext4");
        default(disk, "readOnly", false);
    }
    if let Some(scale) = existing(source, "scaleIO") {
        default_text(scale, "storageMode", "ThinProvisioned");
        default_text(scale, "fsType", "xfs");
    }
}

/// An image without a tag or with `latest` may change under its name, so that it is looked for each time.
fn pull_policy(image: &str) -> &'static str {
    let (name, digest) = image.split_once('@').map_or((image, None), |(name, digest)| (name, Some(digest)));
    let tag = name.rsplit_once('/').map_or(name, |(_, last)| last).split_once(':').map(|(_, tag)| tag);
    match (tag, digest) {
        (Some("latest"), _) => "Always",
        // A name that is none has no tag either; validation refuses what it must.
        (None, None) if is_reference(name) => "Always",
        _ => "IfNotPresent",
    }
}

/// As far as it matters here: what the original cannot read as a reference has no tag, not even the default one.
fn is_reference(name: &str) -> bool {
    let component = |part: &str| {
        let word = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        let bytes = part.as_bytes();
        bytes.first().zip(bytes.last()).is_some_and(|(first, last)| word(*first) && word(*last))
            && bytes.iter().all(|byte| word(*byte) || matches!(byte, b'.' | b'_' | b'-'))
    };
    let hex_id =
        name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte));
    let path = match name.split_once('/') {
        Some((host, path))
            if host.contains(['.', ':']) || host == "localhost" || host != host.to_lowercase() =>
        {
            path
        }
        _ => name,
    };
    !hex_id && name.len() <= 255 && path.split('/').all(component)
}

fn requests_from_limits(container: &mut Value) {
    let Some(limits) = at(container, &["resources", "limits"]).as_object().cloned() else {
        return;
    };
    if let Some(resources) = existing(container, "resources")
        && !limits.is_empty()
        && let Some(Value::Object(requests)) = child(resources, "requests")
    {
        for (name, limit) in limits {
            requests.entry(name).or_insert(limit);
        }
    }
}

/// What a pod asks for as a whole, where it says some of it: huge pages from the containers' limits, requests from the
/// containers' requests and else from its own limits.
fn pod_resources(spec: &mut Value) {
    let given = |field: &str| at(spec, &["resources", field]).as_object().cloned().unwrap_or_default();
    let (mut limits, mut wanted) = (given("limits"), given("requests"));
    if limits.is_empty() && wanted.is_empty() {
        return;
    }
    for (name, amount) in requests::aggregate(spec, "limits") {
        if is_huge_page(&name) && !wanted.contains_key(&name) {
            limits.entry(name).or_insert_with(|| amount.to_string().into());
        }
    }
    if !limits.is_empty() {
        for (name, amount) in requests::aggregate(spec, "requests") {
            if is_pod_level(&name) && may_overcommit(&name) {
                wanted.entry(name).or_insert_with(|| amount.to_string().into());
            }
        }
        for (name, limit) in
            limits.iter().filter(|(name, limit)| is_pod_level(name) && quantity(limit).is_some())
        {
            wanted.entry(name.as_str()).or_insert_with(|| limit.clone());
        }
    }
    if let Some(resources) = existing(spec, "resources") {
        for (field, amounts) in [("limits", limits), ("requests", wanted)] {
            if !amounts.is_empty() {
                set(resources, field, amounts);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn images_that_may_change_are_always_pulled() {
        for image in ["a", "a:latest", "r.io:5000/a/b", "a:latest@sha256:0", "r.io/x:latest"] {
            assert_eq!(pull_policy(image), "Always", "{image}");
        }
        for image in ["a:1", "r.io:5000/a:1", "a@sha256:0", "A", " "] {
            assert_eq!(pull_policy(image), "IfNotPresent", "{image}");
        }
    }

    #[test]
    fn requests_come_from_limits_and_ports_from_the_hosts_network() {
        let mut object = json!({"spec": {"hostNetwork": true, "containers": [{"name": "a", "image": "a",
            "ports": [{"containerPort": 80}], "resources": {"limits": {"cpu": "1"}}}]}});
        pod(&mut object);
        let container = &object["spec"]["containers"][0];
        assert_eq!(container["resources"]["requests"], json!({"cpu": "1"}));
        assert_eq!(container["ports"], json!([{"containerPort": 80, "hostPort": 80, "protocol": "TCP"}]));
        assert_eq!(object["spec"]["enableServiceLinks"], json!(true));
    }

    #[test]
    fn a_pods_requests_are_its_containers_or_its_limits() {
        let mut object = json!({"spec": {"resources": {"limits": {"cpu": "4", "memory": "1Gi"}},
            "containers": [{"resources": {"requests": {"cpu": "1"}}}, {"resources": {"requests": {"cpu": "500m"}}}]}});
        pod(&mut object);
        assert_eq!(object["spec"]["resources"]["requests"], json!({"cpu": "1500m", "memory": "1Gi"}));
    }
}
