//! Volumes and the claims that get them, from the first day to the last.
//!
//! Owns: the controllers of storage, each in a module of its own, and what all of them read in claims, volumes and pods
//! (here). Never: touches a disk; folders and devices are for nodes and drivers.
//!
//! Facts: kube-controller-manager 1.36, `pkg/controller/volume`, and component-helpers, `storage/volume` and
//! `storage/ephemeral`.

pub mod attach;
pub mod binder;
pub mod ephemeral;
pub mod expand;
pub mod local_path;
pub mod migration;
pub mod protection;

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use apiclient_core::quantity::Quantity;
use control_core::edit::{at, child, list, set, text};
use serde_json::{Map, Value};

use crate::kinds::{NODES, STORAGE_CLASSES};
use crate::{Note, World, object};

/// The claim has had a volume: it never gets another.
pub const BIND_COMPLETED: &str = "pv.kubernetes.io/bind-completed";
/// On either side of a binding: a controller made it, not a person.
pub const BOUND_BY_CONTROLLER: &str = "pv.kubernetes.io/bound-by-controller";
/// The scheduler's word: a volume is wanted for a pod on this node.
pub const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";
/// Whose work the claim's volume is; the second name is an older one.
pub const PROVISIONER: [&str; 2] =
    ["volume.kubernetes.io/storage-provisioner", "volume.beta.kubernetes.io/storage-provisioner"];
/// Who made the volume.
pub const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";
const CLASS: &str = "volume.beta.kubernetes.io/storage-class";

/// The class of a claim or a volume; empty for none.
pub fn class_of(object: &Value) -> &str {
    object::annotation(object, CLASS).unwrap_or_else(|| text(object, &["spec", "storageClassName"]))
}

/// The claim says which class it wants, be it none.
pub fn has_class(claim: &Value) -> bool {
    object::annotation(claim, CLASS).is_some() || claim["spec"]["storageClassName"].is_string()
}

/// The amount at `path`, 0 where there is none.
pub fn amount(object: &Value, path: &[&str]) -> Quantity {
    text(object, path).parse().unwrap_or_default()
}

/// What a claim asks for.
pub fn wanted(claim: &Value) -> Quantity {
    amount(claim, &["spec", "resources", "requests", "storage"])
}

/// The volume that a claim has, or asks for; empty for none.
pub fn volume_name(claim: &Value) -> &str {
    text(claim, &["spec", "volumeName"])
}

/// Volumes are known by this key: no claim is without a namespace.
pub fn volume_key(name: &str) -> ObjectName {
    ObjectName::new("", name)
}

/// The claim that a volume is for, whoever says so.
pub fn claim_key(volume: &Value) -> Option<ObjectName> {
    let claim = &volume["spec"]["claimRef"];
    claim.is_object().then(|| ObjectName::new(text(claim, &["namespace"]), text(claim, &["name"])))
}

/// The volume is for this claim: by name, and by uid where it has one.
pub fn is_for(volume: &Value, claim: &Value) -> bool {
    let uid = text(volume, &["spec", "claimRef", "uid"]);
    claim_key(volume).is_some_and(|key| key == object::key(claim))
        && (uid.is_empty() || uid == object::uid(claim))
}

/// The claim waits for a pod (`WaitForFirstConsumer`).
pub fn waits(world: &World, claim: &Value) -> bool {
    let class = world.get(STORAGE_CLASSES, &ObjectName::new("", class_of(claim)));
    class.is_some_and(|class| text(class, &["volumeBindingMode"]) == "WaitForFirstConsumer")
}

/// A claim that a pod uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Use<'a> {
    /// Of the volume in the pod.
    pub volume: &'a str,
    pub claim: String,
    /// The claim is made for the pod.
    pub ephemeral: bool,
}

/// The claims that a pod uses.
pub fn uses(pod: &Value) -> impl Iterator<Item = Use<'_>> {
    list(pod, &["spec", "volumes"]).iter().filter_map(move |volume| {
        let name = text(volume, &["name"]);
        if volume["ephemeral"].is_object() {
            let claim = format!("{}-{name}", object::name(pod));
            return Some(Use { volume: name, claim, ephemeral: true });
        }
        let claim = text(volume, &["persistentVolumeClaim", "claimName"]);
        (!claim.is_empty()).then(|| Use { volume: name, claim: claim.to_owned(), ephemeral: false })
    })
}

/// The claim was made for this pod. Otherwise it says whose it is not, in the original's words.
///
/// # Errors
/// Somebody else's.
pub fn made_for(claim: &Value, pod: &Value) -> Result<(), String> {
    if object::controller_uid(claim) == Some(object::uid(pod)) {
        return Ok(());
    }
    Err(
        format!("PVC {} was not created for pod {} (pod is not owner)", object::key(claim), object::key(pod),),
    )
}

/// The object with one more annotation.
pub fn annotate(object: &mut Value, key: &str, value: &str) {
    if let Some(annotations) = child(object, "metadata").and_then(|metadata| child(metadata, "annotations")) {
        set(annotations, key, value);
    }
}

/// The object without an annotation; without any of them it has no map of them.
pub fn forget(object: &mut Value, key: &str) {
    let annotations = at(object, &["metadata", "annotations"]).as_object();
    let mut left: Map<String, Value> = annotations.cloned().unwrap_or_default();
    left.remove(key);
    if let Some(metadata) = child(object, "metadata") {
        match left.is_empty() {
            true => control_core::edit::remove(metadata, "annotations"),
            false => set(metadata, "annotations", left),
        }
    }
}

/// The object without a finalizer; `None` where it has none of that name.
pub fn without_finalizer(object: &Value, finalizer: &str) -> Option<Value> {
    let finalizers = list(object, &["metadata", "finalizers"]);
    if !finalizers.iter().any(|one| one == finalizer) {
        return None;
    }
    let mut object = object.clone();
    let left: Vec<Value> = finalizers.iter().filter(|one| *one != finalizer).cloned().collect();
    set(&mut object["metadata"], "finalizers", left);
    Some(object)
}

/// The node that the scheduler has chosen for a claim.
pub fn selected<'a>(world: &'a World, claim: &Value) -> Option<&'a Arc<Value>> {
    world.get(NODES, &ObjectName::new("", object::annotation(claim, SELECTED_NODE)?))
}

/// Something told of a claim.
fn note(claim: &Arc<Value>, warning: bool, reason: &'static str, text: impl Into<String>) -> Note {
    Note { kind: crate::kinds::CLAIMS, about: Arc::clone(claim), warning, reason, text: text.into() }
}
