//! Sources of volumes that pods and PersistentVolumes have in common, most of them of old.
//!
//! Begin at [`common`].

use serde_json::Value;

use super::paths;
use super::volumes::required;
use crate::at::{At, Errors};
use crate::field::{FieldError, Path};
use crate::names;

/// Sources that a pod and a PersistentVolume may have, as far as both check the same.
pub fn common(source: &str, at: &At<'_>) -> Errors {
    match source {
        "hostPath" => host_path(at),
        // The original calls it otherwise here.
        "gcePersistentDisk" => {
            let at = At::new(at.value, parent(&at.path, source).child("persistentDisk"));
            let mut errors = required(&at, &["pdName"]);
            errors.extend(partition(&at));
            errors
        }
        "awsElasticBlockStore" => {
            let mut errors = required(at, &["volumeID"]);
            errors.extend(partition(at));
            errors
        }
        "nfs" => {
            let mut errors = required(at, &["server", "path"]);
            let path = at.get("path");
            if !path.text().starts_with('/') {
                errors.push(path.invalid_text("must be an absolute path"));
            }
            errors
        }
        "iscsi" => iscsi(at),
        "glusterfs" => required(at, &["endpoints", "path"]),
        "flocker" => flocker(at),
        "rbd" => required(at, &["monitors", "image"]),
        "cinder" => required(at, &["volumeID"]),
        "cephfs" => required(at, &["monitors"]),
        "quobyte" => quobyte(at),
        "fc" => fibre_channel(at),
        "flexVolume" => flex(at),
        "azureFile" => required(at, &["secretName", "shareName"]),
        "vsphereVolume" => required(at, &["volumePath"]),
        "photonPersistentDisk" => required(at, &["pdID"]),
        "portworxVolume" => required(at, &["volumeID"]),
        "azureDisk" => azure_disk(at),
        "storageos" => {
            let mut errors = required(at, &["volumeName"]);
            for field in ["volumeName", "volumeNamespace"].map(|field| at.get(field)) {
                if !field.text().is_empty() {
                    errors.extend(field.invalid_each(names::dns1123_label(field.text())));
                }
            }
            errors
        }
        "scaleIO" => required(at, &["gateway", "system", "volumeName"]),
        _ => Errors::new(),
    }
}

fn parent(path: &Path, last: &str) -> Path {
    let text = path.to_string();
    Path::new(text.strip_suffix(last).and_then(|text| text.strip_suffix('.')).unwrap_or_default())
}

fn partition(at: &At<'_>) -> Option<FieldError> {
    let partition = at.get("partition");
    let wrong = !(0..=255).contains(&partition.int().unwrap_or_default());
    wrong.then(|| partition.invalid("must be between 1 and 255, inclusive"))
}

fn host_path(at: &At<'_>) -> Errors {
    let (path, kind) = (at.get("path"), at.get("type"));
    if path.text().is_empty() {
        return vec![path.required("")];
    }
    let mut errors = paths::no_backsteps(path.text(), &path.path);
    const KINDS: [&str; 8] =
        ["", "BlockDevice", "CharDevice", "Directory", "DirectoryOrCreate", "File", "FileOrCreate", "Socket"];
    if !kind.is_absent() && !KINDS.contains(&kind.text()) {
        errors.push(kind.not_supported(&KINDS));
    }
    errors
}

fn iscsi(at: &At<'_>) -> Errors {
    let mut errors = required(at, &["targetPortal", "iqn"]);
    let (iqn, lun, initiator) = (at.get("iqn"), at.get("lun"), at.get("initiatorName"));
    let qualified = |at: &At<'_>, shown: &str| -> Option<FieldError> {
        let name = at.text();
        let detail = match name.get(..3) {
            Some("iqn") if is_iqn(name) => return None,
            Some("eui") if has_id(name, 16) => return None,
            Some("naa") if has_id(name, 32) => return None,
            Some("iqn" | "eui" | "naa") => "must be valid format",
            _ => "must be valid format starting with iqn, eui, or naa",
        };
        let path = parent(&at.path, if shown == "iqn" { "iqn" } else { "initiatorName" }).child(shown);
        Some(FieldError::invalid(&path, at.value, detail))
    };
    if !iqn.text().is_empty() {
        errors.extend(qualified(&iqn, "iqn"));
    }
    let number = lun.int().unwrap_or_default();
    errors.extend(names::in_range(number, 0, 255).iter().map(|detail| lun.invalid_int(detail)));
    let secret = at.get("secretRef");
    let chap = at.get("chapAuthDiscovery").is_true() || at.get("chapAuthSession").is_true();
    if chap && secret.is_absent() {
        errors.push(secret.required(""));
    }
    if !initiator.is_absent() {
        errors.extend(qualified(&initiator, "initiatorname"));
    }
    errors
}

/// `iqn.YYYY-MM.DOMAIN:NAME`
fn is_iqn(name: &str) -> bool {
    let digits = |text: Option<&str>| text.is_some_and(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let dated = digits(name.get(4..8)) && digits(name.get(9..11));
    let marked = name.get(3..4) == Some(".") && name.get(8..9) == Some("-") && name.get(11..12) == Some(".");
    let Some((domain, own)) = name.get(12..).and_then(|rest| rest.split_once(':')) else {
        return false;
    };
    let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.');
    let plain = |found: char| !matches!(found, ',' | ';' | '*' | '&' | '$' | '|') && !found.is_whitespace();
    dated
        && marked
        && !domain.is_empty()
        && domain.bytes().all(word)
        && !own.is_empty()
        && own.chars().all(plain)
}

/// `eui.` or `naa.` and so many letters and digits.
fn has_id(name: &str, size: usize) -> bool {
    name.get(4..).is_some_and(|id| id.len() == size && id.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

fn flocker(at: &At<'_>) -> Errors {
    let (name, uuid) = (at.get("datasetName"), at.get("datasetUUID"));
    let mut errors = Errors::new();
    match (name.text().is_empty(), uuid.text().is_empty()) {
        (true, true) => errors.push(at.required("one of datasetName and datasetUUID is required")),
        (false, false) => errors.push(FieldError::invalid(
            &at.path,
            &Value::from("resource"),
            "datasetName and datasetUUID can not be specified simultaneously",
        )),
        _ => {}
    }
    if name.text().contains('/') {
        errors.push(name.invalid("must not contain '/'"));
    }
    errors
}

fn quobyte(at: &At<'_>) -> Errors {
    let (registry, tenant) = (at.get("registry"), at.get("tenant"));
    let pairs = "must be a host:port pair or multiple pairs separated by commas";
    let mut errors = Errors::new();
    if registry.text().is_empty() {
        errors.push(registry.required(pairs));
    } else if tenant.text().len() >= 65 {
        errors.push(tenant.required("must be a UUID and may not exceed a length of 64 characters"));
    } else {
        let is_pair = |pair: &&str| {
            let host = pair.rsplit_once(':').map(|(host, _)| host);
            host.is_some_and(|host| !host.contains(':') || (host.starts_with('[') && host.ends_with(']')))
        };
        let wrong = registry.text().split(',').filter(|pair| !is_pair(pair));
        errors.extend(wrong.map(|_| registry.invalid(pairs)));
    }
    errors.extend(required(at, &["volume"]));
    errors
}

fn fibre_channel(at: &At<'_>) -> Errors {
    let (targets, ids, lun) = (at.get("targetWWNs"), at.get("wwids"), at.get("lun"));
    let mut errors = Errors::new();
    match (targets.is_empty(), ids.is_empty()) {
        (true, true) => {
            errors.push(targets.required("must specify either targetWWNs or wwids, but not both"));
        }
        (false, false) => {
            errors.push(targets.invalid("targetWWNs and wwids can not be specified simultaneously"));
        }
        _ => {}
    }
    if !targets.is_empty() {
        match lun.int() {
            None => errors.push(lun.required("lun is required if targetWWNs is specified")),
            Some(number) => {
                errors.extend(names::in_range(number, 0, 255).iter().map(|detail| lun.invalid(detail)));
            }
        }
    }
    errors
}

fn flex(at: &At<'_>) -> Errors {
    let mut errors = required(at, &["driver"]);
    for (key, value) in at.get("options").entries() {
        let domain = format!(".{}", key.split_once('/').map_or(key, |(domain, _)| domain).to_lowercase());
        if domain.ends_with(".kubernetes.io") || domain.ends_with(".k8s.io") {
            let detail = "kubernetes.io and k8s.io namespaces are reserved";
            errors.push(FieldError::invalid(&value.path, &Value::from(key), detail));
        }
    }
    errors
}

fn azure_disk(at: &At<'_>) -> Errors {
    let mut errors = required(at, &["diskName", "diskURI"]);
    let (caching, kind, uri) = (at.get("cachingMode"), at.get("kind"), at.get("diskURI"));
    for (field, values) in
        [(&caching, ["None", "ReadOnly", "ReadWrite"]), (&kind, ["Dedicated", "Managed", "Shared"])]
    {
        if !field.is_absent() && !values.contains(&field.text()) {
            errors.push(field.not_supported(&values));
        }
    }
    if !kind.is_absent() {
        let (prefix, form) = match kind.text() {
            "Managed" => (
                "/subscriptions/",
                "/subscriptions/{sub-id}/resourcegroups/{group-name}/providers/microsoft.compute/disks/{disk-id}",
            ),
            _ => {
                ("https://", "https://{account-name}.blob.core.windows.net/{container-name}/{disk-name}.vhd")
            }
        };
        if !uri.text().starts_with(prefix) {
            errors.push(uri.not_supported(&[form]));
        }
    }
    errors
}
