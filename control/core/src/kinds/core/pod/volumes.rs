//! Volumes of a pod.
//!
//! Begin at [`validate`]. What the sources of PersistentVolumes have in common with these is in [`super::sources`].

use serde_json::Value;

use super::sources::common;
use super::{containers, env, paths, projected};
use crate::at::{At, Errors};
use crate::field::FieldError;
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
