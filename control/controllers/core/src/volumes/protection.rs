//! Claims, volumes and classes of attributes that stay until nobody uses them: each has a finalizer, which goes last.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{child, list, set, text};
use serde_json::Value;

use super::{made_for, uses, without_finalizer};
use crate::kinds::{ATTRIBUTES_CLASSES, CLAIMS, PODS, VOLUMES};
use crate::{Act, Change, Context, Controller, Decision, Kind, World, object, pods};

const OF_CLAIMS: &str = "kubernetes.io/pvc-protection";
const OF_VOLUMES: &str = "kubernetes.io/pv-protection";
const OF_CLASSES: &str = "kubernetes.io/vac-protection";

/// A pod holds a claim once it has a node: kubelets start no pod whose claim is going.
pub fn holds(pod: &Value, claim: &Value) -> bool {
    if pods::node(pod).is_empty() {
        return false;
    }
    // A kubelet is done with a pod whose grace is over; that the claim goes may be what the pod waits for.
    let over = object::is_deleting(pod) && pod["metadata"]["deletionGracePeriodSeconds"] == 0;
    uses(pod).any(|used| {
        used.claim == object::name(claim) && (!used.ephemeral || !over && made_for(claim, pod).is_ok())
    })
}

/// It is going, and the finalizer holds it.
fn is_held(object: &Value, finalizer: &str) -> bool {
    object::is_deleting(object) && has(object, finalizer)
}

fn has(object: &Value, finalizer: &str) -> bool {
    list(object, &["metadata", "finalizers"]).iter().any(|one| one == finalizer)
}

/// It lets go, or gets the finalizer that admission gives to new ones.
fn needs_work(object: &Value, finalizer: &str) -> bool {
    is_held(object, finalizer) || !object::is_deleting(object) && !has(object, finalizer)
}

/// The object with the finalizer, where it lacks that and is not going.
fn guarded(kind: Kind, object: &Value, finalizer: &str) -> Decision {
    if object::is_deleting(object) || has(object, finalizer) {
        return Decision::nothing();
    }
    let mut finalizers = list(object, &["metadata", "finalizers"]).to_vec();
    finalizers.push(finalizer.into());
    let mut object = object.clone();
    if let Some(metadata) = child(&mut object, "metadata") {
        set(metadata, "finalizers", finalizers);
    }
    Decision::nothing().then(Act::update(kind, object))
}

fn let_go(kind: Kind, object: &Value, finalizer: &str) -> Option<Act> {
    without_finalizer(object, finalizer).map(|object| Act::update(kind, object))
}

/// Claims stay while a pod on a node uses them.
#[derive(Debug)]
pub struct Claims;

impl Controller for Claims {
    fn name(&self) -> &'static str {
        "persistentvolumeclaim-protection-controller"
    }

    fn account(&self) -> &'static str {
        "pvc-protection-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[CLAIMS, PODS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        if change.kind == CLAIMS {
            let new = change.new.iter().filter(|claim| needs_work(claim, OF_CLAIMS));
            keys.extend(new.map(|claim| object::key(claim)));
            return;
        }
        for pod in change.both() {
            let claims = uses(pod).map(|used| ObjectName::new(object::namespace(pod), &*used.claim));
            keys.extend(
                claims.filter(|key| world.get(CLAIMS, key).is_some_and(|claim| is_held(claim, OF_CLAIMS))),
            );
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let Some(claim) = world.get(CLAIMS, key) else { return Decision::nothing() };
        if !is_held(claim, OF_CLAIMS) {
            return guarded(CLAIMS, claim, OF_CLAIMS);
        }
        if world.within(PODS, &key.namespace).any(|pod| holds(pod, claim)) {
            return Decision::nothing();
        }
        let Some(act) = let_go(CLAIMS, claim, OF_CLAIMS) else { return Decision::nothing() };
        // No pod that is younger than the end of its claim starts. Where the news of older ones may still be on their way,
        // the server is asked.
        let known = world.seen(PODS).is_some_and(|seen| seen >= object::version(claim));
        Decision::nothing().then(if known { act } else { act.while_unused(claim) })
    }
}

/// Volumes stay while they are bound.
#[derive(Debug)]
pub struct Volumes;

impl Controller for Volumes {
    fn name(&self) -> &'static str {
        "persistentvolume-protection-controller"
    }

    fn account(&self) -> &'static str {
        "pv-protection-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[VOLUMES]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let new = change.new.iter().filter(|volume| needs_work(volume, OF_VOLUMES));
        keys.extend(new.map(|volume| object::key(volume)));
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let Some(volume) = world.get(VOLUMES, key) else { return Decision::nothing() };
        if !is_held(volume, OF_VOLUMES) {
            return guarded(VOLUMES, volume, OF_VOLUMES);
        }
        if text(volume, &["status", "phase"]) == "Bound" {
            return Decision::nothing();
        }
        Decision::nothing().all(let_go(VOLUMES, volume, OF_VOLUMES).into_iter().collect())
    }
}

/// Classes of attributes stay while a claim or a volume names them.
#[derive(Debug)]
pub struct AttributesClasses;

/// The classes that a claim or a volume has, or is about to have.
fn classes(of: &Value) -> impl Iterator<Item = &str> {
    let paths: [&[&str]; 3] = [
        &["spec", "volumeAttributesClassName"],
        &["status", "currentVolumeAttributesClassName"],
        &["status", "modifyVolumeStatus", "targetVolumeAttributesClassName"],
    ];
    paths.into_iter().map(|path| text(of, path)).filter(|name| !name.is_empty())
}

impl Controller for AttributesClasses {
    fn name(&self) -> &'static str {
        "volumeattributesclass-protection-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[ATTRIBUTES_CLASSES, CLAIMS, VOLUMES]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        if change.kind == ATTRIBUTES_CLASSES {
            let new = change.new.iter().filter(|class| needs_work(class, OF_CLASSES));
            keys.extend(new.map(|class| object::key(class)));
            return;
        }
        let before = change.old.iter().flat_map(|old: &Arc<Value>| classes(old));
        let gone = before
            .filter(|name| change.new.as_ref().is_none_or(|new| !classes(new).any(|other| other == *name)));
        let keys_of_gone = gone.map(|name| ObjectName::new("", name));
        keys.extend(keys_of_gone.filter(|key| world.get(ATTRIBUTES_CLASSES, key).is_some()));
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let Some(class) = world.get(ATTRIBUTES_CLASSES, key) else { return Decision::nothing() };
        if !is_held(class, OF_CLASSES) {
            return guarded(ATTRIBUTES_CLASSES, class, OF_CLASSES);
        }
        let mut all = world.all(CLAIMS).chain(world.all(VOLUMES));
        if all.any(|one| classes(one).any(|name| *name == *key.name)) {
            return Decision::nothing();
        }
        Decision::nothing().all(let_go(ATTRIBUTES_CLASSES, class, OF_CLASSES).into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::trial::Trial;

    fn make() -> Vec<Box<dyn Controller>> {
        vec![Box::new(Claims), Box::new(Volumes), Box::new(AttributesClasses)]
    }

    fn claim(name: &str) -> Value {
        json!({"metadata": {"namespace": "d", "name": name, "finalizers": [OF_CLAIMS]}, "spec": {}})
    }

    fn pod(name: &str, node: &str, volume: Value) -> Value {
        json!({
            "metadata": {"namespace": "d", "name": name, "finalizers": ["example.com/held"]},
            "spec": {"nodeName": node, "volumes": [volume], "containers": [{"name": "c", "image": "a"}]},
        })
    }

    fn by_name(claim: &str) -> Value {
        json!({"name": "v", "persistentVolumeClaim": {"claimName": claim}})
    }

    fn settle(trial: &mut Trial) {
        trial.step_without_kubelets(Duration::from_secs(5));
    }

    #[test]
    fn a_claim_stays_while_a_pod_on_a_node_uses_it() {
        let mut trial = Trial::new(make, 1);
        for name in ["used", "waited-for", "free"] {
            trial.create(CLAIMS, claim(name));
        }
        trial.create(PODS, pod("a", "n", by_name("used")));
        trial.create(PODS, pod("b", "", by_name("waited-for")));
        settle(&mut trial);
        for name in ["used", "waited-for", "free"] {
            trial.delete(CLAIMS, "d", name);
        }
        settle(&mut trial);
        let left = |trial: &Trial| {
            trial.all(CLAIMS).iter().map(|claim| object::name(claim).to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(left(&trial), ["used"]);
        // A pod that has ended uses it still: its volumes may be mounted.
        trial.change(PODS, "d", "a", |pod| pod["status"]["phase"] = "Succeeded".into());
        settle(&mut trial);
        assert_eq!(left(&trial), ["used"]);
        trial.change(PODS, "d", "a", |pod| pod["metadata"]["finalizers"] = json!([]));
        trial.delete(PODS, "d", "a");
        settle(&mut trial);
        assert_eq!(left(&trial), [""; 0]);
    }

    #[test]
    fn a_claim_that_was_made_for_a_pod_goes_when_the_kubelet_is_done_with_it() {
        let mut trial = Trial::new(make, 2);
        let mut made = claim("a-v");
        made["metadata"]["ownerReferences"] = json!([{"uid": "u1", "controller": true}]);
        let pod = trial.create(PODS, pod("a", "n", json!({"name": "v", "ephemeral": {}})));
        assert_eq!(object::uid(&pod), "u1");
        trial.create(CLAIMS, made);
        settle(&mut trial);
        trial.delete(CLAIMS, "d", "a-v");
        settle(&mut trial);
        assert!(trial.get(CLAIMS, "d", "a-v").is_some());
        trial.change(PODS, "d", "a", |pod| {
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
            pod["metadata"]["deletionGracePeriodSeconds"] = 0.into();
        });
        settle(&mut trial);
        assert!(trial.get(CLAIMS, "d", "a-v").is_none());
    }

    #[test]
    fn a_volume_stays_while_it_is_bound() {
        let mut trial = Trial::new(make, 3);
        let volume = json!({"metadata": {"name": "v"}, "spec": {}, "status": {"phase": "Bound"}});
        trial.create(VOLUMES, volume);
        settle(&mut trial);
        let guarded = trial.get(VOLUMES, "", "v").expect("it is there");
        assert_eq!(guarded["metadata"]["finalizers"], json!([OF_VOLUMES]), "older than the finalizer");
        trial.delete(VOLUMES, "", "v");
        settle(&mut trial);
        assert!(trial.get(VOLUMES, "", "v").is_some());
        trial.change(VOLUMES, "", "v", |volume| volume["status"]["phase"] = "Released".into());
        settle(&mut trial);
        assert!(trial.get(VOLUMES, "", "v").is_none());
    }

    #[test]
    fn a_class_of_attributes_stays_while_one_names_it() {
        let mut trial = Trial::new(make, 4);
        let class = json!({"metadata": {"name": "gold", "finalizers": [OF_CLASSES]}});
        trial.create(ATTRIBUTES_CLASSES, class);
        let mut of_class = claim("c");
        of_class["spec"]["volumeAttributesClassName"] = "gold".into();
        trial.create(CLAIMS, of_class);
        settle(&mut trial);
        trial.delete(ATTRIBUTES_CLASSES, "", "gold");
        settle(&mut trial);
        assert!(trial.get(ATTRIBUTES_CLASSES, "", "gold").is_some());
        trial.delete(CLAIMS, "d", "c");
        settle(&mut trial);
        assert!(trial.get(ATTRIBUTES_CLASSES, "", "gold").is_none());
    }
}
