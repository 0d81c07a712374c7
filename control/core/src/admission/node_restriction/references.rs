//! What a pod refers to.

use serde_json::Value;

use super::super::pod::{config_maps, secrets};
use crate::access::quoted;
use crate::edit::{list, text};

/// Something that the server would let a node read for a pod, which a mirror pod must not name.
pub fn reference(pod: &Value) -> Result<Option<&'static str>, String> {
    const PLAIN: [&str; 22] = [
        "awsElasticBlockStore",
        "azureDisk",
        "cephfs",
        "cinder",
        "downwardAPI",
        "emptyDir",
        "fc",
        "flexVolume",
        "flocker",
        "gcePersistentDisk",
        "gitRepo",
        "hostPath",
        "image",
        "iscsi",
        "nfs",
        "photonPersistentDisk",
        "portworxVolume",
        "quobyte",
        "rbd",
        "scaleIO",
        "storageos",
        "vsphereVolume",
    ];
    const NOT: [(&str, &str); 7] = [
        ("configMap", "configmaps (via configmap volumes)"),
        ("secret", "secrets (via secret volumes)"),
        ("csi", "csidrivers (via CSI volumes)"),
        ("glusterfs", "endpoints (via glusterFS volumes)"),
        ("persistentVolumeClaim", "persistentvolumeclaims"),
        ("ephemeral", "persistentvolumeclaims (via ephemeral volumes)"),
        ("azureFile", "secrets (via azureFile volumes)"),
    ];
    const NOT_PROJECTED: [(&str, &str); 5] = [
        ("configMap", "configmaps (via projected volumes)"),
        ("secret", "secrets (via projected volumes)"),
        ("serviceAccountToken", "serviceaccounts (via projected volumes)"),
        ("clusterTrustBundle", "clustertrustbundles"),
        ("podCertificate", "podcertificates"),
    ];
    if !text(pod, &["spec", "serviceAccountName"]).is_empty() {
        return Ok(Some("serviceaccounts"));
    }
    if !secrets(pod).is_empty() {
        return Ok(Some("secrets"));
    }
    if !config_maps(pod).is_empty() {
        return Ok(Some("configmaps"));
    }
    if !list(pod, &["spec", "resourceClaims"]).is_empty() {
        return Ok(Some("resourceclaims"));
    }
    let find = |of: &Value, table: &[(&str, &'static str)]| {
        table.iter().find(|(field, _)| of[*field].is_object()).map(|(_, what)| *what)
    };
    for volume in list(pod, &["spec", "volumes"]) {
        let name = quoted(text(volume, &["name"]));
        if PLAIN.iter().any(|field| volume[*field].is_object()) {
            continue;
        }
        if let Some(what) = find(volume, &NOT) {
            return Ok(Some(what));
        }
        if !volume["projected"].is_object() {
            return Err(format!("unknown volume type for volume  {name}"));
        }
        for source in list(volume, &["projected", "sources"]) {
            if let Some(what) = find(source, &NOT_PROJECTED) {
                return Ok(Some(what));
            }
            if !source["downwardAPI"].is_object() {
                return Err(format!("unknown source for projected volume {name}"));
            }
        }
    }
    Ok(None)
}
