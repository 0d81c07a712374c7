//! PersistentVolumes. What claims on them share with them is here too, below their table.

use std::time::SystemTime;

use apiclient_core::time;
use serde_json::{Value, json};

use super::pod::{common_source, defaults, node_selector, volumes, warnings};
use super::{cells, claim, resources};
use crate::at::{At, Errors};
use crate::edit::{
    at, child, default, default_text, existing, items, list, remove, restore, semantic_eq, set, text,
};
use crate::field::{FieldError, Path};
use crate::kind::{Context, NameRule, Strategy};
use crate::kinds::status::is_status;
use crate::metadata::IMMUTABLE;
use crate::table::BuiltIn;
use crate::{ages, internal, metadata, names, unified};

/// The class of a volume, before it was a field.
pub(super) const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

#[derive(Debug)]
pub struct PersistentVolume;

impl Strategy for PersistentVolume {
    fn set_defaults(&self, object: &mut Value) {
        if let Some(status) = child(object, "status") {
            default_text(status, "phase", "Pending");
        }
        if let Some(spec) = child(object, "spec") {
            default_text(spec, "persistentVolumeReclaimPolicy", "Retain");
            default(spec, "volumeMode", "Filesystem");
            defaults::persistent_source(spec);
            resources::round_up(spec, "capacity");
        }
    }

    fn prepare_create(&self, object: &mut Value, context: &Context<'_>) {
        let now = time::seconds(context.now);
        set(object, "status", json!({"phase": "Pending", "lastPhaseTransitionTime": now}));
    }

    fn prepare_update(&self, new: &mut Value, old: &Value, context: &Context<'_>) {
        if !is_status(context) {
            restore(new, old, "status");
            return;
        }
        restore(new, old, "spec");
        let since = "lastPhaseTransitionTime";
        let same = text(new, &["status", "phase"]) == text(old, &["status", "phase"]);
        let (given, before) = (at(new, &["status", since]).clone(), at(old, &["status", since]));
        let Some(status) = child(new, "status") else {
            return;
        };
        if same && given.is_null() {
            restore(status, at(old, &["status"]), since);
        } else if !same && (given.is_null() || &given == before) {
            set(status, since, time::seconds(context.now));
        }
    }

    fn validate_create(&self, object: &Value, _context: &Context<'_>) -> Errors {
        let at = At::object(object);
        volume_spec(&at.get("spec"), at.get("metadata").get("name").text())
    }

    fn validate_update(&self, new: &Value, old: &Value, context: &Context<'_>) -> Errors {
        if is_status(context) {
            return Errors::new();
        }
        // The original looks at the whole object twice, and its causes repeat.
        let mut errors = Errors::new();
        for _ in 0..2 {
            errors.extend(metadata::again(new, false, NameRule::Subdomain));
            errors.extend(self.validate_create(new, context));
        }
        errors.extend(changed_volume(new, old));
        errors
    }

    fn warnings(&self, object: &Value, _old: Option<&Value>) -> Vec<String> {
        let spec = At::object(object).get("spec");
        let mut all = old_class(object);
        let policy = spec.get("persistentVolumeReclaimPolicy");
        if policy.text() == "Recycle" {
            all.push(format!(
                "{}: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.",
                policy.path
            ));
        }
        for term in spec.get("nodeAffinity").get("required").get("nodeSelectorTerms").items() {
            for key in term.get("matchExpressions").items().map(|expression| expression.get("key")) {
                let advice = warnings::old_label(key.text());
                all.extend(advice.map(|advice| format!("{}: {} is {advice}", key.path, key.text())));
            }
        }
        for (source, shown, advice) in [
            ("cephfs", "cephfs", "v1.28, non-functional in v1.31+"),
            ("photonPersistentDisk", "photonPersistentDisk", "v1.11, non-functional in v1.16+"),
            ("scaleIO", "scaleIO", "v1.16, non-functional in v1.22+"),
            ("storageos", "storageOS", "v1.22, non-functional in v1.25+"),
            ("glusterfs", "glusterfs", "v1.25, non-functional in v1.26+"),
            ("rbd", "rbd", "v1.28, non-functional in v1.31+"),
        ] {
            if spec.has(source) {
                all.push(format!("spec.{shown}: deprecated in {advice}"));
            }
        }
        all
    }
}

pub(super) fn old_class(object: &Value) -> Vec<String> {
    let given = !at(object, &["metadata", "annotations", CLASS]).is_null();
    let advice = "deprecated since v1.8; use \"storageClassName\" attribute instead";
    given.then(|| format!("metadata.annotations[{CLASS}]: {advice}")).into_iter().collect()
}

/// The sources of volumes in the order of the original's checks, and where it names them otherwise.
const SOURCES: [(&str, &str); 22] = [
    ("hostPath", "hostPath"),
    ("gcePersistentDisk", "gcePersistentDisk"),
    ("awsElasticBlockStore", "awsElasticBlockStore"),
    ("glusterfs", "glusterfs"),
    ("flocker", "flocker"),
    ("nfs", "nfs"),
    ("rbd", "rbd"),
    ("quobyte", "quobyte"),
    ("cephfs", "cephFS"),
    ("iscsi", "iscsi"),
    ("cinder", "cinder"),
    ("fc", "fc"),
    ("flexVolume", "flexVolume"),
    ("azureFile", "azureFile"),
    ("vsphereVolume", "vsphereVolume"),
    ("photonPersistentDisk", "photonPersistentDisk"),
    ("portworxVolume", "portworxVolume"),
    ("azureDisk", "azureDisk"),
    ("scaleIO", "scaleIO"),
    ("local", "local"),
    ("storageos", "storageos"),
    ("csi", "csi"),
];

fn volume_spec(spec: &At<'_>, name: &str) -> Errors {
    let (modes, capacity, policy, affinity) = (
        spec.get("accessModes"),
        spec.get("capacity"),
        spec.get("persistentVolumeReclaimPolicy"),
        spec.get("nodeAffinity"),
    );
    let mut errors = Errors::new();
    if modes.is_empty() {
        errors.push(modes.required(""));
    }
    errors.extend(claim::access_modes(&modes));
    if capacity.is_empty() {
        errors.push(capacity.required(""));
    }
    if !capacity.has("storage") || capacity.len() > 1 {
        let shown = if capacity.is_absent() { "null".to_owned() } else { capacity.value.to_string() };
        errors.push(FieldError::not_supported_shown(&capacity.path, &shown, &["storage"]));
    }
    for (_, amount, path) in resources::amounts(&capacity) {
        errors.extend(basic(amount, &path));
        errors.extend(resources::positive(amount, &path));
    }
    if !policy.text().is_empty() && !matches!(policy.text(), "Delete" | "Recycle" | "Retain") {
        errors.push(policy.not_supported(&["Delete", "Recycle", "Retain"]));
    }
    if !affinity.is_absent() {
        let required = affinity.get("required");
        if required.is_absent() {
            errors.push(required.required("must specify required node constraints"));
        } else {
            errors.extend(node_selector(&required));
        }
    }
    errors.extend(sources(spec, name));
    let path = spec.get("hostPath").get("path").text();
    let root = path.starts_with('/') && path.split('/').all(|part| matches!(part, "" | "." | ".."));
    if root && policy.text() == "Recycle" {
        errors.push(policy.forbidden("may not be 'recycle' for a hostPath mount of '/'"));
    }
    let (class, mode, attributes) =
        (spec.get("storageClassName"), spec.get("volumeMode"), spec.get("volumeAttributesClassName"));
    if !class.text().is_empty() {
        errors.extend(class.invalid_each(names::dns1123_subdomain(class.text())));
    }
    if !mode.is_absent() && !matches!(mode.text(), "Block" | "Filesystem") {
        errors.push(mode.not_supported(&["Block", "Filesystem"]));
    }
    if !attributes.is_absent() {
        if attributes.text().is_empty() {
            errors.push(attributes.required("an empty string is disallowed"));
        } else {
            errors.extend(attributes.invalid_each(names::dns1123_subdomain(attributes.text())));
        }
        if !spec.has("csi") {
            errors.push(spec.get("csi").required("has to be specified when using volumeAttributesClassName"));
        }
    }
    errors
}

pub(super) fn basic(amount: apiclient_core::quantity::Quantity, path: &Path) -> Option<FieldError> {
    (amount.value() < 0)
        .then(|| FieldError::invalid(path, &amount.value().into(), "must be a valid resource quantity"))
}

fn sources(spec: &At<'_>, name: &str) -> Errors {
    let mut errors = Errors::new();
    let mut found = false;
    for (source, shown) in SOURCES.iter().filter(|(source, _)| spec.has(source)) {
        let at = spec.get(source);
        if found && *source != "flexVolume" {
            errors.push(FieldError::forbidden(
                &spec.path.child(shown),
                "may not specify more than 1 volume type",
            ));
        } else {
            errors.extend(source_errors(source, &at, name));
            if *source == "local" && !spec.has("nodeAffinity") {
                errors.push(spec.get("nodeAffinity").required("Local volume requires node affinity"));
            }
        }
        found = true;
    }
    if !found {
        errors.push(spec.required("must specify a volume type"));
    }
    errors
}

fn source_errors(source: &str, at: &At<'_>, name: &str) -> Errors {
    let mut errors = match source {
        "csi" => {
            let mut errors = volumes::csi_driver(&at.get("driver"));
            errors.extend(volumes::required(at, &["volumeHandle"]));
            errors
        }
        "local" => {
            let path = at.get("path");
            match path.text() {
                "" => vec![path.required("")],
                text if text.split('/').any(|part| part == "..") => {
                    vec![path.invalid("must not contain '..'")]
                }
                _ => Errors::new(),
            }
        }
        _ => common_source(source, at),
    };
    let secret = at.get("secretRef");
    match source {
        "iscsi" => {
            let portal = at.get("targetPortal").text();
            if at.has("initiatorName") && name.len() + 1 + portal.len() > 64 {
                let detail = "Total length of <volume name>:<iscsi.targetPortal> must be under 64 characters if iscsi.initiatorName is specified.";
                errors.push(FieldError::invalid(&at.path.child("targetportal"), &portal.into(), detail));
            }
            if !secret.is_absent() {
                errors.extend(volumes::required(&secret, &["name"]));
            }
        }
        "cinder" | "storageos" if !secret.is_absent() => {
            errors.extend(volumes::required(&secret, &["name", "namespace"]));
        }
        "glusterfs" => {
            let namespace = at.get("endpointsNamespace");
            if !namespace.is_absent() && namespace.text().is_empty() {
                errors.push(
                    namespace.invalid("if the endpointnamespace is set, it must be a valid namespace name"),
                );
            } else if !namespace.is_absent() {
                errors.extend(namespace.invalid_each(names::dns1123_label(namespace.text())));
            }
        }
        "azureFile" => {
            let namespace = at.get("secretNamespace");
            if !namespace.is_absent() && namespace.text().is_empty() {
                errors.push(namespace.required(""));
            }
        }
        "csi" => {
            for field in [
                "controllerPublishSecretRef",
                "controllerExpandSecretRef",
                "nodePublishSecretRef",
                "nodeExpandSecretRef",
            ] {
                errors.extend(secret_reference(&at.get(field)));
            }
        }
        _ => {}
    }
    errors
}

fn secret_reference(secret: &At<'_>) -> Errors {
    let (name, namespace) = (secret.get("name"), secret.get("namespace"));
    if secret.is_absent() {
        return Errors::new();
    }
    let mut errors = Errors::new();
    match name.text() {
        "" => errors.push(name.required("")),
        text => errors.extend(name.invalid_each(names::dns1123_subdomain(text))),
    }
    match namespace.text() {
        "" => errors.push(namespace.required("")),
        text => errors.extend(namespace.invalid_each(names::dns1123_label(text))),
    }
    errors
}

fn changed_volume(new: &Value, old: &Value) -> Errors {
    let (after, before) = (at(new, &["spec"]), at(old, &["spec"]));
    let mut errors = Errors::new();
    let secret = "controllerExpandSecretRef";
    let mut masked = after.clone();
    let had = at(before, &["csi"]);
    if !had.is_null()
        && at(had, &[secret]).is_null()
        && let Some(csi) = existing(&mut masked, "csi")
    {
        remove(csi, secret);
    }
    let same = |(source, _): &(&str, _)| semantic_eq(at(&masked, &[source]), at(before, &[source]));
    if !SOURCES.iter().all(same) {
        let shown = |spec: &Value| internal::lines("core.PersistentVolumeSource", spec);
        let changed = unified::difference(&shown(before), &shown(&masked));
        let detail = format!("spec.persistentvolumesource is immutable after creation\n{changed}");
        errors.push(FieldError::forbidden(&Path::new("spec").child("persistentvolumesource"), &detail));
    }
    let mode = |spec: &Value| at(spec, &["volumeMode"]).clone();
    if mode(after) != mode(before) {
        errors.push(FieldError::invalid(&Path::new("volumeMode"), &mode(after), IMMUTABLE));
    }
    let affinity = |spec| at(spec, &["nodeAffinity"]);
    if !affinity(before).is_null() && !same_affinity(affinity(after), affinity(before)) {
        let detail = format!("{IMMUTABLE}, except for updating from beta label to GA");
        let shown = match affinity(after) {
            Value::Null => "null".to_owned(),
            affinity => internal::compact("core.VolumeNodeAffinity", affinity),
        };
        errors.push(FieldError::invalid_shown(&Path::new("nodeAffinity"), &shown, &detail));
    }
    let class = "volumeAttributesClassName";
    if !at(before, &[class]).is_null() && at(after, &[class]).is_null() {
        let path = Path::new("spec").child(class);
        errors.push(FieldError::forbidden(&path, "update from non-nil value to nil is forbidden"));
    }
    errors
}

/// Labels that may become others in an affinity that is there.
const GA: [(&str, &str); 5] = [
    ("failure-domain.beta.kubernetes.io/zone", "topology.kubernetes.io/zone"),
    ("failure-domain.beta.kubernetes.io/region", "topology.kubernetes.io/region"),
    ("beta.kubernetes.io/os", "kubernetes.io/os"),
    ("beta.kubernetes.io/arch", "kubernetes.io/arch"),
    ("beta.kubernetes.io/instance-type", "node.kubernetes.io/instance-type"),
];

/// Equal but for labels that became their successors. The original looks for one to every label, and takes the empty key
/// that it gets where there is none for it.
fn same_affinity(new: &Value, old: &Value) -> bool {
    let successor = |key: &str| GA.iter().find(|(beta, _)| *beta == key).map_or("", |(_, ga)| *ga);
    let mut old = old.clone();
    let new_terms = list(new, &["required", "nodeSelectorTerms"]);
    let old_terms = existing(&mut old, "required").map(|own| items(own, "nodeSelectorTerms"));
    for (own, new) in old_terms.into_iter().flatten().zip(new_terms) {
        for part in ["matchExpressions", "matchFields"] {
            for (own, new) in items(own, part).zip(list(new, &[part])) {
                if successor(text(own, &["key"])) == text(new, &["key"]) {
                    restore(own, new, "key");
                }
            }
        }
    }
    semantic_eq(new, &old)
}

pub const PERSISTENT_VOLUME: &[BuiltIn] = &[
    BuiltIn::name(),
    BuiltIn::new("Capacity", "string", "How much the volume holds."),
    BuiltIn::new("Access Modes", "string", "How nodes and pods may use the volume."),
    BuiltIn::new("Reclaim Policy", "string", "What becomes of the volume when its claim goes."),
    BuiltIn::new("Status", "string", "Whether the volume is free or bound."),
    BuiltIn::new("Claim", "string", "The claim that the volume is bound to."),
    BuiltIn::new("StorageClass", "string", "The class of the volume."),
    BuiltIn::new("VolumeAttributesClass", "string", "The class of the volume's attributes."),
    BuiltIn::new("Reason", "string", "Why the volume is in its state."),
    BuiltIn::age(),
    BuiltIn::new("VolumeMode", "string", "Whether the volume is a file system or a block device.").wide(),
];

pub(super) fn or_unset(value: &Value) -> Value {
    value.as_str().unwrap_or("<unset>").into()
}

/// `RWO,ROX,RWX,RWOP`, each once, in this order.
pub(super) fn modes(list: &[Value]) -> Value {
    let all = [
        ("ReadWriteOnce", "RWO"),
        ("ReadOnlyMany", "ROX"),
        ("ReadWriteMany", "RWX"),
        ("ReadWriteOncePod", "RWOP"),
    ];
    let found: Vec<&str> =
        all.iter().filter(|(mode, _)| list.iter().any(|own| own == mode)).map(|(_, short)| *short).collect();
    found.join(",").into()
}

pub(super) fn amount(value: &Value) -> Value {
    resources::quantity(value).unwrap_or_default().to_string().into()
}

pub(super) fn phase(object: &Value) -> Value {
    if at(object, &["metadata", "deletionTimestamp"]).is_null() {
        text(object, &["status", "phase"]).into()
    } else {
        "Terminating".into()
    }
}

pub(super) fn class_of(object: &Value) -> Value {
    match at(object, &["metadata", "annotations", CLASS]) {
        Value::String(class) => class.as_str().into(),
        _ => text(object, &["spec", "storageClassName"]).into(),
    }
}

pub fn persistent_volume(object: &Value, now: SystemTime) -> Vec<Value> {
    let claim = match at(object, &["spec", "claimRef"]) {
        Value::Null => String::new(),
        claim => format!("{}/{}", text(claim, &["namespace"]), text(claim, &["name"])),
    };
    vec![
        cells::name(object),
        amount(at(object, &["spec", "capacity", "storage"])),
        modes(list(object, &["spec", "accessModes"])),
        text(object, &["spec", "persistentVolumeReclaimPolicy"]).into(),
        phase(object),
        claim.into(),
        class_of(object),
        or_unset(at(object, &["spec", "volumeAttributesClassName"])),
        text(object, &["status", "reason"]).into(),
        ages::of(object, now).into(),
        or_unset(at(object, &["spec", "volumeMode"])),
    ]
}
