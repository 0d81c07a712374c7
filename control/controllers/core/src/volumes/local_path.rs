//! Makes volumes of folders on the nodes' own disks: what a cluster without a storage driver has.
//!
//! A class names [`NAME`] as its provisioner and may say where the folders are (parameter `path`). The volume is a
//! `hostPath` that the kubelet makes (`DirectoryOrCreate`), with an affinity to the node that the scheduler chose.
//! Never: touches the folder. It begins with its first pod, and when its volume is deleted it stays on the node, whose name
//! and path an Event gives.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{at, list, text};
use serde_json::{Value, json};

use super::{
    PROVISIONED_BY, PROVISIONER, SELECTED_NODE, class_of, forget, note, selected, volume_key, volume_name,
};
use crate::kinds::{CLAIMS, NODES, STORAGE_CLASSES, VOLUMES};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, object};

/// As classes name it.
pub const NAME: &str = "weft.dev/local-path";

/// Where the folders are if the class does not say.
pub const FOLDER: &str = "/var/lib/weft/volumes";

/// By which volumes know their node.
const HOST_NAME: &str = "kubernetes.io/hostname";

/// Keys are claims, and volumes as [`volume_key`] has them.
#[derive(Debug)]
pub struct LocalPath;

impl Controller for LocalPath {
    fn name(&self) -> &'static str {
        "local-path-provisioner-controller"
    }

    /// It does what a provisioner in the original's binder would do, with the same rights.
    fn account(&self) -> &'static str {
        "persistent-volume-binder"
    }

    fn follows(&self) -> &[Kind] {
        &[CLAIMS, NODES, STORAGE_CLASSES, VOLUMES]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let waiting = || world.all(CLAIMS).filter(|claim| is_asked(claim));
        match change.kind {
            CLAIMS => {
                keys.extend(change.new.iter().filter(|claim| is_asked(claim)).map(|claim| object::key(claim)))
            }
            VOLUMES => keys
                .extend(change.new.iter().filter(|volume| is_over(volume)).map(|volume| object::key(volume))),
            STORAGE_CLASSES => keys.extend(waiting().map(|claim| object::key(claim))),
            _ => {
                let host = |node: &Arc<Value>| object::label(node, HOST_NAME).map(str::to_owned);
                let node = change.object();
                if change.old.as_ref().and_then(host) != change.new.as_ref().and_then(host) {
                    let here = |claim: &&Arc<Value>| {
                        object::annotation(claim, SELECTED_NODE) == Some(object::name(node))
                    };
                    keys.extend(waiting().filter(here).map(|claim| object::key(claim)));
                }
            }
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        if key.namespace.is_empty() {
            let volume = world.get(VOLUMES, key).filter(|volume| is_over(volume));
            return volume.map_or_else(Decision::nothing, delete);
        }
        let claim = world.get(CLAIMS, key).filter(|claim| is_asked(claim));
        claim.map_or_else(Decision::nothing, |claim| provision(world, claim))
    }
}

/// A volume is wanted of this provisioner.
fn is_asked(claim: &Value) -> bool {
    volume_name(claim).is_empty()
        && object::annotation(claim, PROVISIONER[0]) == Some(NAME)
        && !object::is_deleting(claim)
}

/// A volume of this provisioner that is to go with its claim.
fn is_over(volume: &Value) -> bool {
    object::annotation(volume, PROVISIONED_BY) == Some(NAME)
        && text(volume, &["status", "phase"]) == "Released"
        && text(volume, &["spec", "persistentVolumeReclaimPolicy"]) == "Delete"
        && !object::is_deleting(volume)
}

fn provision(world: &World, claim: &Arc<Value>) -> Decision {
    let class = world.get(STORAGE_CLASSES, &ObjectName::new("", class_of(claim)));
    let Some(class) = class.filter(|class| text(class, &["provisioner"]) == NAME) else {
        return Decision::nothing();
    };
    let name = format!("pvc-{}", object::uid(claim));
    if world.get(VOLUMES, &volume_key(&name)).is_some() {
        return Decision::nothing();
    }
    let failed = |why: &str| {
        let text = format!("failed to provision volume with StorageClass {:?}: {why}", object::name(class));
        Decision { stages: vec![Stage::Tell(note(claim, true, "ProvisioningFailed", text))], again: None }
    };
    let Some(chosen) = object::annotation(claim, SELECTED_NODE) else {
        return failed(
            "no node is chosen for its folder: the class must have volumeBindingMode WaitForFirstConsumer",
        );
    };
    let root = match root(class) {
        Ok(root) => root,
        Err(why) => return failed(&why),
    };
    if let Some(why) = objection(claim) {
        return failed(why);
    }
    let Some(node) = selected(world, claim) else {
        // The scheduler chooses again.
        let mut again = Value::clone(claim);
        forget(&mut again, SELECTED_NODE);
        let mut decision = failed(&format!("node {chosen:?} is gone"));
        decision.stages.push(Stage::All(vec![Act::update(CLAIMS, again)]));
        return decision;
    };
    let Some(host) = object::label(node, HOST_NAME) else {
        return failed(&format!(
            "node {chosen:?} has no label {HOST_NAME}, by which the volume would know it"
        ));
    };
    let made = format!("Successfully provisioned volume {name}");
    let act = Act::create(VOLUMES, volume(claim, class, &name, root, host));
    Decision::nothing().then(
        act.telling(note(claim, false, "ProvisioningSucceeded", made)).telling_refusals(note(
            claim,
            true,
            "ProvisioningFailed",
            "Error saving provisioned volume: ",
        )),
    )
}

/// Where a class has its folders.
fn root(class: &Value) -> Result<&str, String> {
    let root = text(class, &["parameters", "path"]);
    let root = if root.is_empty() { FOLDER } else { root.trim_end_matches('/') };
    if !root.starts_with('/') || root.split('/').any(|part| part == "..") {
        return Err(format!("its parameter path is {root:?}: want an absolute path without .."));
    }
    Ok(root)
}

/// Why no folder can be what a claim wants.
fn objection(claim: &Value) -> Option<&'static str> {
    let spec = &claim["spec"];
    let single = |mode: &Value| mode == "ReadWriteOnce" || mode == "ReadWriteOncePod";
    match () {
        () if text(spec, &["volumeMode"]) == "Block" => Some("a folder is no block device"),
        () if !list(spec, &["accessModes"]).iter().all(single) => {
            Some("a folder is on one node: want access mode ReadWriteOnce or ReadWriteOncePod")
        }
        () if !spec["selector"].is_null() => {
            Some("a selector chooses among volumes, and none is made for it")
        }
        () if !spec["dataSource"].is_null() || !spec["dataSourceRef"].is_null() => {
            Some("a folder begins empty: it has no data source")
        }
        () => None,
    }
}

fn volume(claim: &Value, class: &Value, name: &str, root: &str, host: &str) -> Value {
    let folder = format!("{root}/{name}_{}_{}", object::namespace(claim), object::name(claim));
    let mut volume = json!({
        "apiVersion": "v1", "kind": "PersistentVolume",
        "metadata": {"name": name, "annotations": {PROVISIONED_BY: NAME}},
        "spec": {
            "accessModes": claim["spec"]["accessModes"],
            "capacity": {"storage": claim["spec"]["resources"]["requests"]["storage"]},
            "claimRef": {
                "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": object::namespace(claim),
                "name": object::name(claim), "uid": object::uid(claim),
                "resourceVersion": text(claim, &["metadata", "resourceVersion"]),
            },
            "hostPath": {"path": folder, "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [
                {"matchExpressions": [{"key": HOST_NAME, "operator": "In", "values": [host]}]},
            ]}},
            "persistentVolumeReclaimPolicy": class["reclaimPolicy"],
            "storageClassName": object::name(class),
            "volumeMode": "Filesystem",
        },
    });
    let attributes = at(claim, &["spec", "volumeAttributesClassName"]);
    if !attributes.is_null() {
        volume["spec"]["volumeAttributesClassName"] = attributes.clone();
    }
    volume
}

fn delete(volume: &Arc<Value>) -> Decision {
    let folder = text(volume, &["spec", "hostPath", "path"]);
    let terms = list(volume, &["spec", "nodeAffinity", "required", "nodeSelectorTerms"]);
    let host = terms.first().and_then(|term| term["matchExpressions"][0]["values"][0].as_str());
    let text = format!("Its folder {folder} stays on {}: remove it there", host.unwrap_or("its node"));
    Decision::nothing().then(Act::delete(VOLUMES, volume).telling(Note::normal(
        VOLUMES,
        volume,
        "VolumeDelete",
        text,
    )))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trial::Trial;
    use crate::volumes::binder::Binder;

    fn make() -> Vec<Box<dyn Controller>> {
        vec![Box::new(Binder), Box::new(LocalPath)]
    }

    fn class(path: Value) -> Value {
        json!({
            "metadata": {"name": "local"}, "provisioner": NAME, "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer", "parameters": {"path": path},
        })
    }

    fn claim(name: &str, spec: &Value) -> Value {
        let mut claim = json!({
            "metadata": {"namespace": "d", "name": name, "annotations": {SELECTED_NODE: "n1"}},
            "spec": {
                "storageClassName": "local", "accessModes": ["ReadWriteOnce"],
                "resources": {"requests": {"storage": "1Gi"}},
            },
            "status": {"phase": "Pending"},
        });
        for (field, value) in spec.as_object().into_iter().flatten() {
            claim["spec"][field] = value.clone();
        }
        claim
    }

    fn trial(path: Value) -> Trial {
        let mut trial = Trial::new(make, 1);
        trial.create(STORAGE_CLASSES, class(path));
        trial.create(NODES, json!({"metadata": {"name": "n1", "labels": {HOST_NAME: "host-1"}}}));
        trial
    }

    #[test]
    fn a_claim_gets_a_folder_on_the_chosen_node_and_its_volume_goes_with_it() {
        let mut trial = trial(json!("/data/"));
        (trial.crashes, trial.lost, trial.refusals) = (50, 50, 50);
        trial.create(CLAIMS, claim("c", &json!({})));
        trial.settle(Duration::from_secs(60));
        let claim = trial.get(CLAIMS, "d", "c").expect("it is there");
        let name = format!("pvc-{}", object::uid(&claim));
        assert_eq!((volume_name(&claim), text(&claim, &["status", "phase"])), (&*name, "Bound"));
        let volume = trial.get(VOLUMES, "", &name).expect("it is made");
        assert_eq!(volume["spec"]["hostPath"]["path"], format!("/data/{name}_d_c"));
        let term = &volume["spec"]["nodeAffinity"]["required"]["nodeSelectorTerms"][0]["matchExpressions"][0];
        assert_eq!(term["values"], json!(["host-1"]));
        assert_eq!(text(&volume, &["status", "phase"]), "Bound");
        trial.delete(CLAIMS, "d", "c");
        trial.settle(Duration::from_secs(60));
        assert_eq!(trial.all(VOLUMES).len(), 0);
        let stays = format!("VolumeDelete Its folder /data/{name}_d_c stays on host-1: remove it there");
        assert!(trial.told.contains(&stays), "{:?}", trial.told);
    }

    #[test]
    fn what_no_folder_can_be_is_said() {
        let cases = [
            (Value::Null, json!({"volumeMode": "Block"}), "block device"),
            (Value::Null, json!({"accessModes": ["ReadWriteMany"]}), "one node"),
            (Value::Null, json!({"selector": {}}), "selector"),
            (
                Value::Null,
                json!({"dataSource": {"kind": "PersistentVolumeClaim", "name": "x"}}),
                "begins empty",
            ),
            (json!("data"), json!({}), "absolute path"),
            (json!("/data/../etc"), json!({}), "absolute path"),
        ];
        for (path, spec, why) in cases {
            let mut trial = trial(path);
            trial.create(CLAIMS, claim("c", &spec));
            trial.settle(Duration::from_secs(60));
            assert_eq!(trial.all(VOLUMES).len(), 0, "{spec}");
            let said = |told: &String| {
                told.starts_with("ProvisioningFailed failed to provision") && told.contains(why)
            };
            assert!(trial.told.iter().any(said), "{spec}: {:?}", trial.told);
        }
    }

    #[test]
    fn another_node_is_chosen_where_the_first_is_gone() {
        let mut trial = trial(Value::Null);
        trial.create(CLAIMS, claim("c", &json!({})));
        trial.delete(NODES, "", "n1");
        trial.settle(Duration::from_secs(60));
        let claim = trial.get(CLAIMS, "d", "c").expect("it is there");
        assert_eq!(object::annotation(&claim, SELECTED_NODE), None);
        trial.create(NODES, json!({"metadata": {"name": "n2", "labels": {HOST_NAME: "host-2"}}}));
        trial.change(CLAIMS, "d", "c", |claim| super::super::annotate(claim, SELECTED_NODE, "n2"));
        trial.settle(Duration::from_secs(60));
        let volumes = trial.all(VOLUMES);
        let folder = text(&volumes[0], &["spec", "hostPath", "path"]);
        assert!(folder.starts_with(FOLDER), "{folder}");
    }
}
