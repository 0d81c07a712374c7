//! Claims that a pod's own description asks for (`volumes[].ephemeral`): each pod has claims of its own, which go with it.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{at, list, set, text};
use serde_json::{Value, json};

use super::{made_for, uses};
use crate::kinds::{CLAIMS, PODS};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, object};

/// Keys are pods.
#[derive(Debug)]
pub struct EphemeralVolumes;

impl Controller for EphemeralVolumes {
    fn name(&self) -> &'static str {
        "ephemeral-volume-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[CLAIMS, PODS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        if change.kind == PODS {
            // What a pod asks for never changes.
            let new = change.new.iter().filter(|_| change.old.is_none());
            keys.extend(new.filter(|pod| uses(pod).any(|used| used.ephemeral)).map(|pod| object::key(pod)));
            return;
        }
        // A claim that somebody deleted is made again; one that stood in the way is gone.
        if change.new.is_none() {
            let claim = change.object();
            let pods = world
                .within(PODS, object::namespace(claim))
                .filter(|pod| uses(pod).any(|used| used.ephemeral && used.claim == object::name(claim)));
            keys.extend(pods.map(|pod| object::key(pod)));
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let pod = world.get(PODS, key).filter(|pod| !object::is_deleting(pod));
        let Some(pod) = pod else { return Decision::nothing() };
        let (mut acts, mut notes) = (Vec::new(), Vec::new());
        for used in uses(pod).filter(|used| used.ephemeral) {
            let failed = |text: String| {
                let text = format!("ephemeral volume {}: {text}", used.volume);
                Note::warning(PODS, pod, "FailedBinding", text)
            };
            match world.get(CLAIMS, &ObjectName::new(object::namespace(pod), &*used.claim)) {
                Some(claim) => notes.extend(made_for(claim, pod).err().map(failed).map(Stage::Tell)),
                None => {
                    let refused = failed(format!("create PVC {}: ", used.claim));
                    acts.push(
                        Act::create(CLAIMS, claim(pod, used.volume, &used.claim)).telling_refusals(refused),
                    );
                }
            }
        }
        Decision { stages: notes, again: None }.all(acts)
    }
}

fn claim(pod: &Arc<Value>, volume: &str, name: &str) -> Value {
    let volumes = list(pod, &["spec", "volumes"]);
    let template = volumes.iter().find(|one| text(one, &["name"]) == volume);
    let template = template.map_or(&Value::Null, |volume| at(volume, &["ephemeral", "volumeClaimTemplate"]));
    let mut metadata = json!({
        "namespace": object::namespace(pod), "name": name,
        "ownerReferences": [object::controller_reference(&PODS, pod)],
    });
    for field in ["annotations", "labels"] {
        let value = at(template, &["metadata", field]);
        if !value.is_null() {
            set(&mut metadata, field, value.clone());
        }
    }
    json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": template["spec"]})
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trial::Trial;

    fn make() -> Vec<Box<dyn Controller>> {
        vec![Box::new(EphemeralVolumes)]
    }

    fn pod() -> Value {
        json!({
            "metadata": {"namespace": "d", "name": "a"},
            "spec": {
                "containers": [{"name": "c", "image": "never"}],
                "volumes": [
                    {"name": "v", "ephemeral": {"volumeClaimTemplate": {
                        "metadata": {"labels": {"l": "1"}}, "spec": {"accessModes": ["ReadWriteOnce"]},
                    }}},
                    {"name": "w", "persistentVolumeClaim": {"claimName": "other"}},
                ],
            },
        })
    }

    #[test]
    fn a_pod_gets_claims_of_its_own_once() {
        let mut trial = Trial::new(make, 1);
        (trial.crashes, trial.lost, trial.refusals) = (50, 50, 50);
        let pod = trial.create(PODS, pod());
        trial.settle(Duration::from_secs(60));
        let claims = trial.all(CLAIMS);
        assert_eq!(claims.iter().map(|claim| object::name(claim)).collect::<Vec<_>>(), ["a-v"]);
        assert_eq!(object::controller_uid(&claims[0]), Some(object::uid(&pod)));
        assert_eq!(claims[0]["metadata"]["labels"], json!({"l": "1"}));
        assert_eq!(claims[0]["spec"], json!({"accessModes": ["ReadWriteOnce"]}));
        trial.delete(CLAIMS, "d", "a-v");
        trial.settle(Duration::from_secs(60));
        assert_eq!(trial.all(CLAIMS).len(), 1, "it is made again");
    }

    #[test]
    fn the_claim_of_somebody_else_is_not_taken() {
        let mut trial = Trial::new(make, 2);
        trial.create(CLAIMS, json!({"metadata": {"namespace": "d", "name": "a-v"}}));
        trial.create(PODS, pod());
        trial.settle(Duration::from_secs(60));
        let said =
            "FailedBinding ephemeral volume v: PVC d/a-v was not created for pod d/a (pod is not owner)";
        assert_eq!(trial.told, [said]);
        trial.delete(CLAIMS, "d", "a-v");
        trial.settle(Duration::from_secs(60));
        assert!(object::controller_uid(&trial.all(CLAIMS)[0]).is_some());
    }
}
