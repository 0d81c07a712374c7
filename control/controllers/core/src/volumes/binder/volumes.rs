//! What becomes of a volume.

use std::sync::Arc;

use control_core::edit::{child, existing, remove, set, text};
use serde_json::Value;

use super::{matching, phase};
use crate::kinds::{CLAIMS, VOLUMES};
use crate::volumes::{BOUND_BY_CONTROLLER, PROVISIONED_BY, claim_key, forget, migration, note, volume_name};
use crate::{Act, Decision, Note, Stage, World, object};

pub fn decide(world: &World, volume: &Arc<Value>) -> Decision {
    if let Some(marked) = migration::marked(volume) {
        return Decision::nothing().then(Act::update(VOLUMES, marked));
    }
    let uid = text(volume, &["spec", "claimRef", "uid"]);
    // Reserved for a claim by name only: the claim's own pass binds it.
    let Some(key) = claim_key(volume).filter(|_| !uid.is_empty()) else {
        return entering(volume, "Available");
    };
    let Some(claim) = world.get(CLAIMS, &key).filter(|claim| object::uid(claim) == uid) else {
        if is_released(volume) {
            return reclaim(volume);
        }
        // The news of a claim may come after those of its volume: the server has the last word.
        let release = enter(volume, "Released").map(|act| act.while_absent(CLAIMS, key, uid));
        return Decision::nothing().all(release.into_iter().collect());
    };
    match volume_name(claim) {
        "" if matching::is_block(claim) != matching::is_block(volume) => mismatch(volume, claim),
        // The claim's own pass goes on.
        "" => Decision::nothing(),
        name if name == object::name(volume) => entering(volume, "Bound"),
        _ if is_dynamic(volume) && policy(volume) == "Delete" => match is_released(volume) {
            true => reclaim(volume),
            false => entering(volume, "Released"),
        },
        _ => Decision::nothing().then(Act::update(VOLUMES, given_back(volume))),
    }
}

/// Its claim is gone, and what becomes of it is its policy's word.
fn is_released(volume: &Value) -> bool {
    matches!(phase(volume), "Released" | "Failed")
}

fn policy(volume: &Value) -> &str {
    text(volume, &["spec", "persistentVolumeReclaimPolicy"])
}

fn is_dynamic(volume: &Value) -> bool {
    object::annotation(volume, PROVISIONED_BY).is_some()
}

/// The status with another phase; `None` where it is the same.
fn enter(volume: &Value, to: &str) -> Option<Act> {
    if phase(volume) == to {
        return None;
    }
    let mut entered = volume.clone();
    let status = child(&mut entered, "status")?;
    set(status, "phase", to);
    remove(status, "message");
    Some(Act::status(VOLUMES, entered))
}

fn entering(volume: &Value, to: &str) -> Decision {
    Decision::nothing().all(enter(volume, to).into_iter().collect())
}

fn failing(volume: &Arc<Value>, reason: &'static str, why: &str) -> Decision {
    let Some(Act { write: crate::Write::Update { part, mut object }, .. }) = enter(volume, "Failed") else {
        return Decision::nothing();
    };
    if let Some(status) = existing(&mut object, "status") {
        set(status, "message", why);
    }
    let act = Act::new(VOLUMES, crate::Write::Update { part, object });
    Decision::nothing().then(act.telling(Note::warning(VOLUMES, volume, reason, why)))
}

fn mismatch(volume: &Arc<Value>, claim: &Arc<Value>) -> Decision {
    let of_volume = format!(
        "Cannot bind PersistentVolume to requested PersistentVolumeClaim {:?} due to incompatible volumeMode.",
        object::name(claim),
    );
    let of_claim = format!(
        "Cannot bind PersistentVolume {:?} to requested PersistentVolumeClaim due to incompatible volumeMode.",
        object::name(volume),
    );
    let stages = vec![
        Stage::Tell(Note::warning(VOLUMES, volume, "VolumeMismatch", of_volume)),
        Stage::Tell(note(claim, true, "VolumeMismatch", of_claim)),
    ];
    Decision { stages, again: None }
}

/// Without the claim that another volume was faster for; where a person named the claim, its name stays.
fn given_back(volume: &Value) -> Value {
    let mut back = volume.clone();
    if object::annotation(volume, BOUND_BY_CONTROLLER).is_some() {
        remove(&mut back["spec"], "claimRef");
        forget(&mut back, BOUND_BY_CONTROLLER);
    } else {
        remove(&mut back["spec"]["claimRef"], "uid");
    }
    back
}

fn reclaim(volume: &Arc<Value>) -> Decision {
    if object::annotation(volume, migration::MIGRATED_TO).is_some_and(|driver| !driver.is_empty()) {
        return Decision::nothing();
    }
    match policy(volume) {
        "Retain" => Decision::nothing(),
        "Recycle" => failing(volume, "VolumeFailedRecycle", "No recycler plugin found for the volume!"),
        "Delete" => match why_not_deleted(volume) {
            Some(why) => failing(volume, "VolumeFailedDelete", &why),
            None => Decision::nothing(),
        },
        _ => failing(
            volume,
            "VolumeUnknownReclaimPolicy",
            "Volume has unrecognized PersistentVolumeReclaimPolicy",
        ),
    }
}

/// Why nobody deletes what the volume stands for; `None` where that is somebody else's work.
fn why_not_deleted(volume: &Value) -> Option<String> {
    let spec = &volume["spec"];
    let maker = object::annotation(volume, PROVISIONED_BY).unwrap_or_default();
    if maker == "kubernetes.io/host-path" || maker.is_empty() && spec["hostPath"].is_object() {
        let path = text(spec, &["hostPath", "path"]);
        return Some(format!("the folder {path} is a node's, and the controller deletes nothing there"));
    }
    match maker {
        "" if spec["csi"].is_object() => None,
        "" => Some(format!(
            "error getting deleter volume plugin for volume {:?}: no {}volume plugin matched",
            object::name(volume),
            if spec["nfs"].is_object() { "deletable " } else { "" },
        )),
        maker if maker.starts_with("kubernetes.io/") => {
            Some(format!("no volume plugin matched name: {maker}"))
        }
        _ => None,
    }
}
