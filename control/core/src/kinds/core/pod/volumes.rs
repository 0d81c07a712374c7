//! Volumes of a pod.
//!
//! Begin at [`validate`]. What the sources of PersistentVolumes have in common with these is in [`common`].

use serde_json::Value;

use super::{containers, env, paths, projected};
use crate::at::{At, Errors};
use crate::field::{FieldError, Path};
use crate::kinds::core::{claim, resources};
use crate::names;

/// Gives the valid volumes, which containers may refer to, and what is wrong with the others. `metadata` is that of the pod.
pub fn validate<'a>(list: &At<'a>, metadata: Option<&At<'a>>) -> (Vec<At<'a>>, Errors) {
    let pod = metadata.map(|metadata| metadata.get("name").text()).filter(|name| !name.is_empty());
    let created: Vec<String> = list
        .items()
        .filter(|volume| volume.has("ephemeral"))
        .filter_map(|volume| pod.map(|pod| format!("{pod}-{}", volume.get("name").text())))
        .collect();
    let mut valid: Vec<At<'a>> = Vec::new();
    let mut errors = Errors::new();
    for volume in list.items() {
        let name = volume.get("name");
        let mut wrong = source(&volume, pod, metadata.is_some());
        if name.text().is_empty() {
            wrong.push(name.required(""));
        } else {
            wrong.extend(name.invalid_each(names::dns1123_label(name.text())));
        }
        if valid.iter().any(|other| other.get("name").text() == name.text()) {
            wrong.push(name.duplicate());
        }
        let claim = volume.get("persistentVolumeClaim").get("claimName");
        let used = created.iter().any(|created| created == claim.text());
        if wrong.is_empty() {
            valid.push(volume);
        }
        errors.extend(wrong);
        if used {
            errors.push(claim.invalid("must not reference a PVC that gets created for an ephemeral volume"));
        }
    }
    (valid, errors)
}

/// The sources in the order of the original's checks, and where it names them otherwise when there are two.
const SOURCES: [(&str, &str); 29] = [
    ("hostPath", "hostPath"),
    ("gitRepo", "gitRepo"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("secret", "secret"),
    ("nfs", "nfs"),
    ("iscsi", "iscsi"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("persistentVolumeClaim", "persistentVolumeClaim"),
    ("rbd", "rbd"),
    ("cinder", "cinder"),
    ("cephfs", "cephFS"),
    ("quobyte", "quobyte"),
    ("downwardAPI", "downwarAPI"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("configMap", "configMap"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("storageos", "storageos"),
    ("projected", "projected"),
    ("scaleIO", "scaleIO"),
    ("csi", "csi"),
    ("ephemeral", "ephemeral"),
    ("image", "image"),
];

fn source(volume: &At<'_>, pod: Option<&str>, is_pod: bool) -> Errors {
    let mut errors = Errors::new();
    let empty = volume.get("emptyDir");
    let mut found = !empty.is_absent();
    let limit = empty.get("sizeLimit");
    if resources::quantity(limit.value).is_some_and(|limit| limit < Default::default()) {
        errors.push(limit.forbidden("SizeLimit field must be a valid resource quantity"));
    }
    let name = volume.get("name");
    for (source, shown) in SOURCES.iter().filter(|(source, _)| volume.has(source)) {
        let at = volume.get(source);
        if found {
            let path = volume.path.child(shown);
            errors.push(FieldError::forbidden(&path, "may not specify more than 1 volume type"));
        } else {
            errors.extend(one(source, &at, is_pod));
            if *source == "ephemeral"
                && let Some(pod) = pod
                && !name.text().is_empty()
            {
                let claim = format!("{pod}-{}", name.text());
                for detail in names::dns1123_subdomain(&claim) {
                    errors.push(name.invalid(&format!("PVC name {claim:?}: {detail}")));
                }
            }
        }
        found = true;
        let portal = name.text().len() + 1 + at.get("targetPortal").text().len();
        if *source == "iscsi" && at.has("initiatorName") && portal > 64 {
            errors.push(name.invalid_text("Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified."));
        }
    }
    if !found {
        errors.push(volume.required("must specify a volume type"));
    }
    errors
}

fn one(source: &str, at: &At<'_>, is_pod: bool) -> Errors {
    match source {
        "gitRepo" => {
            let mut errors = required(at, &["repository"]);
            let directory = at.get("directory");
            errors.extend(paths::descending(directory.text(), &directory.path));
            errors
        }
        "secret" => keys(at, "secretName"),
        "configMap" => keys(at, "name"),
        "persistentVolumeClaim" => required(at, &["claimName"]),
        "downwardAPI" => {
            let mut errors: Errors = mode(&at.get("defaultMode")).into_iter().collect();
            for file in at.get("items").items() {
                // The original's path here is that of the volume.
                errors.extend(downward_file(&At::new(file.value, at.path.clone())));
            }
            errors
        }
        "projected" => projected::validate(at),
        "csi" => {
            let mut errors = csi_driver(&at.get("driver"));
            let secret = at.get("nodePublishSecretRef");
            let name = secret.get("name");
            if !secret.is_absent() {
                if name.text().is_empty() {
                    errors.push(name.required(""));
                } else {
                    let shown = At::new(name.value, at.path.child("name"));
                    errors.extend(shown.invalid_each(names::dns1123_subdomain(name.text())));
                }
            }
            errors
        }
        "ephemeral" => {
            let template = at.get("volumeClaimTemplate");
            if template.is_absent() { vec![template.required("")] } else { claim::template(&template) }
        }
        "image" => {
            let mut errors = if is_pod { required(at, &["reference"]) } else { Errors::new() };
            errors.extend(containers::pull_policy(&at.get("pullPolicy")));
            errors
        }
        "cinder" | "storageos" => {
            let mut errors = common(source, at);
            let name = at.get("secretRef").get("name");
            if at.has("secretRef") && name.text().is_empty() {
                errors.push(name.required(""));
            }
            errors
        }
        _ => common(source, at),
    }
}

/// Fields that must not be empty.
pub fn required(at: &At<'_>, fields: &[&str]) -> Errors {
    let empty = fields.iter().map(|field| at.get(field)).filter(At::is_empty);
    empty.map(|field| field.required("")).collect()
}

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

/// A Secret or a ConfigMap as files.
fn keys(at: &At<'_>, name: &str) -> Errors {
    let mut errors = required(at, &[name]);
    errors.extend(mode(&at.get("defaultMode")));
    for item in at.get("items").items() {
        errors.extend(key_to_path(&item));
    }
    errors
}

/// One key as a file.
pub fn key_to_path(item: &At<'_>) -> Errors {
    let mut errors = required(item, &["key", "path"]);
    let path = item.get("path");
    errors.extend(paths::not_reserved(path.text(), &path.path));
    errors.extend(mode(&item.get("mode")));
    errors
}

pub fn mode(mode: &At<'_>) -> Option<FieldError> {
    let wrong = mode.int().is_some_and(|bits| !(0..=0o777).contains(&bits));
    wrong.then(|| mode.invalid(paths::MODE))
}

/// A field of the pod as a file.
pub fn downward_file(file: &At<'_>) -> Errors {
    let (path, field, resource) = (file.get("path"), file.get("fieldRef"), file.get("resourceFieldRef"));
    let mut errors = required(file, &["path"]);
    errors.extend(paths::not_reserved(path.text(), &path.path));
    if !field.is_absent() {
        errors.extend(env::field_ref(&field, &env::IN_VOLUME));
        if !resource.is_absent() {
            let detail = "fieldRef and resourceFieldRef can not be specified simultaneously";
            errors.push(FieldError::invalid(&file.path, &Value::from("resource"), detail));
        }
    } else if !resource.is_absent() {
        errors.extend(env::resource_field_ref(&resource, true));
    } else {
        errors.push(file.required("one of fieldRef and resourceFieldRef is required"));
    }
    errors.extend(mode(&file.get("mode")));
    errors
}

/// The name of a CSI driver, in any case.
pub fn csi_driver(name: &At<'_>) -> Errors {
    let mut errors = Errors::new();
    if name.text().is_empty() {
        return vec![name.required("")];
    }
    if name.text().len() > 63 {
        errors.push(FieldError::too_long(&name.path, 63));
    }
    errors.extend(name.invalid_each(names::dns1123_subdomain(&name.text().to_lowercase())));
    errors
}
