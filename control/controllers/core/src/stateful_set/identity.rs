//! The pods of a StatefulSet: each has a number, a name and labels that follow from it, and claims of its own.

use std::sync::Arc;

use control_core::edit::{self, list, text};
use serde_json::{Value, json};

use crate::kinds::STATEFUL_SETS;
use crate::object;

/// On a pod: the name of its revision.
pub const REVISION_LABEL: &str = "controller-revision-hash";
const NAME_LABEL: &str = "statefulset.kubernetes.io/pod-name";
const INDEX_LABEL: &str = "apps.kubernetes.io/pod-index";

/// The number in a pod's name, where it is one of the set's.
pub fn ordinal(set: &Value, pod: &Value) -> Option<i64> {
    let digits = object::name(pod).strip_prefix(object::name(set))?.strip_prefix('-')?;
    let number: u32 = digits.bytes().all(|byte| byte.is_ascii_digit()).then(|| digits.parse().ok())??;
    i32::try_from(number).ok().map(i64::from)
}

/// The numbers that the set is to have.
pub fn wanted(set: &Value) -> std::ops::Range<i64> {
    let start = object::int(set, &["spec", "ordinals", "start"]);
    start..start + object::int(set, &["spec", "replicas"])
}

pub fn revision(pod: &Value) -> &str {
    object::label(pod, REVISION_LABEL).unwrap_or_default()
}

/// A pod of a revision's template that does not exist yet.
pub fn pod(set: &Arc<Value>, revision: &Value, number: i64) -> Value {
    let template = &revision["data"]["spec"]["template"];
    let name = format!("{}-{number}", object::name(set));
    let mut metadata = json!({
        "name": name, "generateName": format!("{}-", object::name(set)), "namespace": object::namespace(set),
        "ownerReferences": [object::controller_reference(&STATEFUL_SETS, set)],
    });
    for field in ["labels", "annotations", "finalizers"] {
        if !template["metadata"][field].is_null() {
            metadata[field] = template["metadata"][field].clone();
        }
    }
    let mut pod = json!({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]});
    label(&mut pod, number);
    pod["metadata"]["labels"][REVISION_LABEL] = object::name(revision).into();
    pod["spec"]["hostname"] = name.into();
    let service = text(set, &["spec", "serviceName"]);
    if !service.is_empty() {
        pod["spec"]["subdomain"] = service.into();
    }
    mount(set, &mut pod, number);
    pod
}

/// The pod is as its number has it.
pub fn is_right(set: &Value, pod: &Value, number: i64) -> bool {
    object::label(pod, NAME_LABEL) == Some(object::name(pod)) && is_mounted(set, pod, number)
}

/// The same pod with the labels and volumes that its number gives it.
pub fn righted(set: &Value, pod: &Value, number: i64) -> Value {
    let mut pod = pod.clone();
    label(&mut pod, number);
    if !is_mounted(set, &pod, number) {
        mount(set, &mut pod, number);
    }
    pod
}

fn label(pod: &mut Value, number: i64) {
    let name = object::name(pod).to_owned();
    if let Some(labels) = edit::child(&mut pod["metadata"], "labels") {
        edit::set(labels, NAME_LABEL, name);
        edit::set(labels, INDEX_LABEL, number.to_string());
    }
}

fn is_mounted(set: &Value, pod: &Value, number: i64) -> bool {
    let volumes = list(pod, &["spec", "volumes"]);
    templates(set).iter().all(|template| {
        let volume = volumes.iter().find(|volume| volume["name"] == template["metadata"]["name"]);
        volume.is_some_and(|volume| {
            text(volume, &["persistentVolumeClaim", "claimName"]) == claim_name(set, template, number)
        })
    })
}

/// Its claims take the places of volumes of the same names.
fn mount(set: &Value, pod: &mut Value, number: i64) {
    let mut volumes: Vec<Value> = templates(set)
        .iter()
        .map(|template| {
            json!({
                "name": object::name(template),
                "persistentVolumeClaim": {"claimName": claim_name(set, template, number)},
            })
        })
        .collect();
    let others = list(pod, &["spec", "volumes"]).iter();
    let others = others.filter(|volume| {
        !templates(set).iter().any(|template| template["metadata"]["name"] == volume["name"])
    });
    volumes.extend(others.cloned());
    if !volumes.is_empty() {
        pod["spec"]["volumes"] = volumes.into();
    }
}

pub fn templates(set: &Value) -> &[Value] {
    list(set, &["spec", "volumeClaimTemplates"])
}

pub fn claim_name(set: &Value, template: &Value, number: i64) -> String {
    format!("{}-{}-{number}", object::name(template), object::name(set))
}

/// A claim of a pod that does not exist yet.
pub fn claim(set: &Value, template: &Value, number: i64) -> Value {
    let mut metadata =
        json!({"name": claim_name(set, template, number), "namespace": object::namespace(set)});
    let mut labels = object::texts(&template["metadata"]["labels"]);
    labels.extend(object::texts(&set["spec"]["selector"]["matchLabels"]));
    if !labels.is_empty() {
        metadata["labels"] = json!(labels);
    }
    for field in ["annotations", "finalizers"] {
        if !template["metadata"][field].is_null() {
            metadata[field] = template["metadata"][field].clone();
        }
    }
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]})
}
