//! The claims of a StatefulSet's pods: which are made, and whose end they share (`persistentVolumeClaimRetentionPolicy`).

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{list, text};
use serde_json::Value;

use super::identity::{claim, claim_name, templates, wanted};
use crate::kinds::{CLAIMS, PODS, STATEFUL_SETS};
use crate::{Act, Note, World, object};

/// What the claims of a pod that is to be made, or waits for a node, need.
#[derive(Debug)]
pub enum Ready {
    /// These are missing; none: the pod can be made.
    Make(Vec<Act>),
    /// One is being deleted.
    Going(String),
}

/// The claims of the pod with a number.
pub fn missing(world: &World, set: &Arc<Value>, pod: &str, number: i64) -> Ready {
    let mut acts = Vec::new();
    for template in templates(set) {
        let name = claim_name(set, template, number);
        let key = ObjectName::new(object::namespace(set), &*name);
        match world.get(CLAIMS, &key) {
            Some(found) if object::is_deleting(found) => {
                return Ready::Going(format!("pvc {name} is being deleted"));
            }
            Some(_) => {}
            None => {
                let of = object::name(set);
                let done = format!("Create Claim {name} Pod {pod} in StatefulSet {of} success");
                let failed = format!("Create Claim {name} for Pod {pod} in StatefulSet {of} failed error: ");
                acts.push(
                    Act::create(CLAIMS, claim(set, template, number))
                        .telling(Note::normal(STATEFUL_SETS, set, "SuccessfulCreate", done))
                        .telling_refusals(Note::warning(STATEFUL_SETS, set, "FailedCreate", failed)),
                );
            }
        }
    }
    Ready::Make(acts)
}

/// A claim that is about to go with a former pod of this name: a new pod waits for its end.
pub fn is_stale(world: &World, set: &Value, pod: &Value, number: i64) -> bool {
    policy(set).0
        && found(world, set, number).any(|claim| {
            let of_pod = |owner: &&Value| is_reference(owner, "v1", "Pod", object::name(pod));
            list(claim, &["metadata", "ownerReferences"])
                .iter()
                .find(of_pod)
                .is_some_and(|owner| text(owner, &["uid"]) != object::uid(pod))
        })
}

/// Writes that let the claims of a pod share the end of whom the policy says, and what is told of claims of others.
pub fn retained(world: &World, set: &Arc<Value>, pod: &Value, number: i64) -> (Vec<Act>, Vec<Note>) {
    let (mut acts, mut notes) = (Vec::new(), Vec::new());
    for claim in found(world, set, number) {
        if let Some(owners) = owners(set, pod, number, claim) {
            let mut owned = Value::clone(claim);
            owned["metadata"]["ownerReferences"] = owners.into();
            acts.push(Act::update(CLAIMS, owned));
            if is_of_others(set, pod, claim) {
                let text = format!(
                    "PersistentVolumeClaim {} has a conflicting OwnerReference that acts as a manging controller, \
                     the retention policy is ignored for this claim",
                    object::name(claim),
                );
                notes.push(Note::warning(STATEFUL_SETS, set, "ConflictingController", text));
            }
        }
    }
    (acts, notes)
}

fn found<'a>(world: &'a World, set: &'a Value, number: i64) -> impl Iterator<Item = &'a Arc<Value>> {
    let names = templates(set).iter().map(move |template| claim_name(set, template, number));
    names.filter_map(|name| world.get(CLAIMS, &ObjectName::new(object::namespace(set), &*name)))
}

/// Claims go when their pod is scaled away, and when their set is deleted.
fn policy(set: &Value) -> (bool, bool) {
    let goes = |when| text(set, &["spec", "persistentVolumeClaimRetentionPolicy", when]) == "Delete";
    (goes("whenScaled"), goes("whenDeleted"))
}

fn is_reference(owner: &Value, api_version: &str, kind: &str, name: &str) -> bool {
    text(owner, &["apiVersion"]) == api_version
        && text(owner, &["kind"]) == kind
        && text(owner, &["name"]) == name
}

/// References to the set and to the pod, by name.
fn ours(set: &Value, pod: &Value, owner: &Value) -> Option<bool> {
    if is_reference(owner, "apps/v1", "StatefulSet", object::name(set)) {
        return Some(text(owner, &["uid"]) == object::uid(set));
    }
    is_reference(owner, "v1", "Pod", object::name(pod)).then(|| text(owner, &["uid"]) == object::uid(pod))
}

/// Somebody else manages the claim.
fn is_of_others(set: &Value, pod: &Value, claim: &Value) -> bool {
    let others =
        |owner: &Value| ours(set, pod, owner).map_or(owner["controller"] == true, |current| !current);
    policy(set) != (false, false) && list(claim, &["metadata", "ownerReferences"]).iter().any(others)
}

/// The owners that a claim is to have; `None` where they are right, or are not ours to change.
fn owners(set: &Value, pod: &Value, number: i64, claim: &Value) -> Option<Vec<Value>> {
    let owners = list(claim, &["metadata", "ownerReferences"]);
    // References to a former set or pod of the name: the garbage collector will take the claim.
    if owners.iter().any(|owner| ours(set, pod, owner) == Some(false)) {
        return None;
    }
    let has = |uid: &str| owners.iter().any(|owner| text(owner, &["uid"]) == uid);
    let rest = || owners.iter().filter(|owner| ours(set, pod, owner).is_none()).cloned().collect::<Vec<_>>();
    let (has_set, has_pod) = (has(object::uid(set)), has(object::uid(pod)));
    if is_of_others(set, pod, claim) {
        return (has_set || has_pod).then(rest);
    }
    let (scaled, deleted) = policy(set);
    let surplus = !wanted(set).contains(&number);
    let needs_pod = scaled && surplus;
    let needs_set = deleted && !needs_pod;
    let managed = owners
        .iter()
        .filter(|owner| ours(set, pod, owner).is_some())
        .all(|owner| owner["controller"] == true);
    if managed && (has_set, has_pod) == (needs_set, needs_pod) {
        return None;
    }
    let mut owners = rest();
    if needs_set {
        owners.push(object::controller_reference(&STATEFUL_SETS, set));
    }
    if needs_pod {
        owners.push(object::controller_reference(&PODS, pod));
    }
    Some(owners)
}

/// Sets that wait for the end of a claim.
pub fn waiting(world: &World, claim: &Value, keys: &mut Vec<ObjectName>) {
    let of = |set: &Value| {
        templates(set).iter().any(|template| {
            let rest = object::name(claim).strip_prefix(object::name(template));
            let rest = rest.and_then(|rest| rest.strip_prefix('-')?.strip_prefix(object::name(set)));
            rest.and_then(|rest| rest.strip_prefix('-')).is_some_and(|number| number.parse::<u32>().is_ok())
        })
    };
    let sets = world.within(STATEFUL_SETS, object::namespace(claim)).filter(|set| of(set));
    keys.extend(sets.map(|set| object::key(set)));
}
