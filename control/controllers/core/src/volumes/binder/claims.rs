//! What becomes of a claim.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{at, remove, set, text};
use serde_json::{Value, json};

use super::{matching, phase, provision};
use crate::kinds::{CLAIMS, PODS, STORAGE_CLASSES, VOLUMES};
use crate::volumes::{
    BIND_COMPLETED, BOUND_BY_CONTROLLER, SELECTED_NODE, amount, annotate, claim_key, class_of, has_class,
    is_for, migration, note, uses, volume_key, volume_name, waits,
};
use crate::{Act, Decision, Stage, World, object, pods};

/// Says how much a volume had before it grew, while its file system has not yet.
const BEFORE_RESIZE: &str = "volume.alpha.kubernetes.io/pre-resize-capacity";
const DEFAULT_CLASS: [&str; 2] =
    ["storageclass.kubernetes.io/is-default-class", "storageclass.beta.kubernetes.io/is-default-class"];

pub fn decide(world: &World, claim: &Arc<Value>) -> Decision {
    if let Some(marked) = migration::marked(claim) {
        return Decision::nothing().then(Act::update(CLAIMS, marked));
    }
    match (object::annotation(claim, BIND_COMPLETED).is_some(), volume_name(claim)) {
        (true, name) => bound(world, claim, name),
        (false, "") => unbound(world, claim),
        (false, name) => asking(world, claim, name),
    }
}

/// Any volume will do.
fn unbound(world: &World, claim: &Arc<Value>) -> Decision {
    let waits = waits(world, claim);
    if let Some(volume) = matching::best(world, claim, waits) {
        return bind(claim, volume);
    }
    if !has_class(claim)
        && let Some(class) = default_class(world)
    {
        let mut claim = Value::clone(claim);
        set(&mut claim["spec"], "storageClassName", object::name(class));
        return Decision::nothing().then(Act::update(CLAIMS, claim));
    }
    if waits && object::annotation(claim, SELECTED_NODE).is_none() {
        let (reason, text) = waiting_for(world, claim);
        return told(pending(claim), Stage::Tell(note(claim, false, reason, text)));
    }
    if !class_of(claim).is_empty() {
        return provision::decide(world, claim);
    }
    let text = "no persistent volumes available for this claim and no storage class is set";
    told(pending(claim), Stage::Tell(note(claim, false, "FailedBinding", text)))
}

/// Somebody has named the volume.
fn asking(world: &World, claim: &Arc<Value>, name: &str) -> Decision {
    let Some(volume) = world.get(VOLUMES, &volume_key(name)) else { return pending(claim) };
    if is_for(volume, claim) {
        return bind(claim, volume);
    }
    if claim_key(volume).is_some() {
        let text = format!("volume {name:?} already bound to a different claim.");
        let tell = Stage::Tell(note(claim, true, "FailedBinding", text));
        // With a controller's mark the binding was complete once; its end is not for us to write.
        let ours = object::annotation(claim, BOUND_BY_CONTROLLER).is_some();
        return told(if ours { Decision::nothing() } else { pending(claim) }, tell);
    }
    match matching::objection(volume, claim) {
        None => bind(claim, volume),
        Some(why) => {
            let text = format!("Cannot bind to requested volume {name:?}: {why}");
            told(pending(claim), Stage::Tell(note(claim, true, "VolumeMismatch", text)))
        }
    }
}

/// It has had a volume: it keeps that, or is lost.
fn bound(world: &World, claim: &Arc<Value>, name: &str) -> Decision {
    let lost = |reason, text: &str| {
        if phase(claim) == "Lost" {
            return Decision::nothing();
        }
        let act = status(claim, "Lost", None).map(|act| act.telling(note(claim, true, reason, text)));
        Decision::nothing().all(act.into_iter().collect())
    };
    if name.is_empty() {
        return lost(
            "ClaimLost",
            "Bound claim has lost reference to PersistentVolume. Data on the volume is lost!",
        );
    }
    let Some(volume) = world.get(VOLUMES, &volume_key(name)) else {
        return lost("ClaimLost", "Bound claim has lost its PersistentVolume. Data on the volume is lost!");
    };
    match claim_key(volume) {
        None => bind(claim, volume),
        Some(_) if text(volume, &["spec", "claimRef", "uid"]) == object::uid(claim) => bind(claim, volume),
        Some(_) => {
            lost("ClaimMisbound", "Two claims are bound to the same volume, this one is bound incorrectly")
        }
    }
}

/// The next writes towards a binding; none where all is written.
fn bind(claim: &Arc<Value>, volume: &Arc<Value>) -> Decision {
    let mut decision = Decision::nothing();
    if let Some(given) = given(volume, claim) {
        decision = decision.then(Act::update(VOLUMES, given));
    }
    match taken(claim, volume) {
        Some(taken) => decision.then(Act::update(CLAIMS, taken)),
        None => decision.all(status(claim, "Bound", Some(volume)).into_iter().collect()),
    }
}

/// The volume, given to the claim; `None` where it is.
fn given(volume: &Value, claim: &Value) -> Option<Value> {
    let own = is_for(volume, claim);
    if own && text(volume, &["spec", "claimRef", "uid"]) == object::uid(claim) {
        return None;
    }
    let mut given = volume.clone();
    let reference = json!({
        "apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": object::namespace(claim),
        "name": object::name(claim), "uid": object::uid(claim),
        "resourceVersion": text(claim, &["metadata", "resourceVersion"]),
    });
    set(&mut given["spec"], "claimRef", reference);
    if !own && object::annotation(volume, BOUND_BY_CONTROLLER).is_none() {
        annotate(&mut given, BOUND_BY_CONTROLLER, "yes");
    }
    Some(given)
}

/// The claim with its volume; `None` where it has it.
fn taken(claim: &Value, volume: &Value) -> Option<Value> {
    let named = volume_name(claim) == object::name(volume);
    if named && object::annotation(claim, BIND_COMPLETED).is_some() {
        return None;
    }
    let mut taken = claim.clone();
    if !named {
        set(&mut taken["spec"], "volumeName", object::name(volume));
        if object::annotation(claim, BOUND_BY_CONTROLLER).is_none() {
            annotate(&mut taken, BOUND_BY_CONTROLLER, "yes");
        }
    }
    annotate(&mut taken, BIND_COMPLETED, "yes");
    Some(taken)
}

/// A status that differs from the one that the claim has.
fn status(claim: &Value, to: &str, volume: Option<&Value>) -> Option<Act> {
    let mut wanted = claim.clone();
    let becomes = phase(claim) != to;
    let status = control_core::edit::child(&mut wanted, "status")?;
    set(status, "phase", to);
    match volume {
        None => ["accessModes", "capacity", "currentVolumeAttributesClassName"]
            .into_iter()
            .for_each(|field| remove(status, field)),
        Some(volume) => {
            set(status, "accessModes", volume["spec"]["accessModes"].clone());
            // Later, the size of the file system may be another than that of the device, and says so here.
            if becomes {
                let before = object::annotation(volume, BEFORE_RESIZE).filter(|size| is_amount(size));
                let path = ["spec", "capacity", "storage"];
                match before {
                    Some(before) => set(status, "capacity", json!({"storage": before})),
                    None if amount(claim, &["status", "capacity", "storage"]) != amount(volume, &path) => {
                        set(status, "capacity", volume["spec"]["capacity"].clone());
                    }
                    None => {}
                }
            }
            if becomes && phase(claim) == "Pending" {
                match at(volume, &["spec", "volumeAttributesClassName"]) {
                    Value::Null => remove(status, "currentVolumeAttributesClassName"),
                    class => set(status, "currentVolumeAttributesClassName", class.clone()),
                }
            }
        }
    }
    (wanted["status"] != claim["status"]).then(|| Act::status(CLAIMS, wanted))
}

fn is_amount(text: &str) -> bool {
    text.parse::<apiclient_core::quantity::Quantity>().is_ok()
}

pub fn pending(claim: &Value) -> Decision {
    Decision::nothing().all(status(claim, "Pending", None).into_iter().collect())
}

/// First it is told, then done.
fn told(mut decision: Decision, tell: Stage) -> Decision {
    decision.stages.insert(0, tell);
    decision
}

fn waiting_for(world: &World, claim: &Value) -> (&'static str, String) {
    let uses_it = |pod: &&Arc<Value>| {
        pods::node(pod).is_empty()
            && !pods::has_ended(pod)
            && uses(pod).any(|used| used.claim == object::name(claim))
    };
    let pods = world.within(PODS, object::namespace(claim)).filter(uses_it);
    let names: Vec<&str> = pods.map(|pod| object::name(pod)).collect();
    match names.as_slice() {
        [] => ("WaitForFirstConsumer", "waiting for first consumer to be created before binding".to_owned()),
        [pod] => ("WaitForPodScheduled", format!("waiting for pod {pod} to be scheduled")),
        all => ("WaitForPodScheduled", format!("waiting for pods {} to be scheduled", all.join(","))),
    }
}

/// The newest class that is the default one; of several made in one second the first by name.
fn default_class(world: &World) -> Option<&Arc<Value>> {
    let is_default = |class: &&Arc<Value>| {
        DEFAULT_CLASS.into_iter().any(|name| object::annotation(class, name) == Some("true"))
    };
    let newest_first = |a: &&Arc<Value>, b: &&Arc<Value>| {
        let made = |class: &Value| object::moment(class, &["metadata", "creationTimestamp"]);
        made(a).cmp(&made(b)).then_with(|| object::name(b).cmp(object::name(a)))
    };
    world.all(STORAGE_CLASSES).filter(is_default).max_by(newest_first)
}

/// The class that a claim names.
pub fn class<'a>(world: &'a World, claim: &Value) -> Option<&'a Arc<Value>> {
    world.get(STORAGE_CLASSES, &ObjectName::new("", class_of(claim)))
}
