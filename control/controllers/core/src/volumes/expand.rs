//! Claims that ask for more than their volume has: whose work that is.
//!
//! No volume can be made larger without its driver. What is decided here is whom the claim waits for; the driver's own
//! controller (external-resizer) does the rest.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::text;
use serde_json::{Value, json};

use super::{amount, migration, note, volume_key, volume_name, wanted};
use crate::kinds::{CLAIMS, VOLUMES};
use crate::{Act, Change, Context, Controller, Decision, Kind, Stage, World, Write, object};

/// Who is to make the claim's volume larger.
const RESIZER: &str = "volume.kubernetes.io/storage-resizer";

/// Keys are claims.
#[derive(Debug)]
pub struct Expander;

fn capacity(claim: &Value) -> apiclient_core::quantity::Quantity {
    amount(claim, &["status", "capacity", "storage"])
}

impl Controller for Expander {
    fn name(&self) -> &'static str {
        "persistentvolume-expander-controller"
    }

    fn account(&self) -> &'static str {
        "expand-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[CLAIMS, VOLUMES]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let Some(claim) = change.new.as_ref().filter(|_| change.kind == CLAIMS) else { return };
        let grew = change.old.as_ref().is_none_or(|old| {
            wanted(claim) > wanted(old) || capacity(claim) > capacity(old) || !is_bound(old)
        });
        keys.extend((grew && is_bound(claim)).then(|| object::key(claim)));
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let claim = world.get(CLAIMS, key).filter(|claim| is_bound(claim) && wanted(claim) > capacity(claim));
        let Some(claim) = claim else { return Decision::nothing() };
        let volume = world.get(VOLUMES, &volume_key(volume_name(claim)));
        let own = volume.filter(|volume| text(volume, &["spec", "claimRef", "uid"]) == object::uid(claim));
        let Some(volume) = own else { return Decision::nothing() };
        let mut decision = Decision::nothing();
        let Some((plugin, driver)) = migration::of_volume(volume) else {
            let text = "waiting for an external controller to expand this PVC";
            decision.stages.push(Stage::Tell(note(claim, false, "ExternalExpanding", text)));
            return decision;
        };
        let text =
            format!("CSI migration enabled for {plugin}; waiting for external resizer to expand the pvc");
        decision.stages.push(Stage::Tell(note(claim, false, "ExternalExpanding", text)));
        decision.all(named(claim, driver).into_iter().collect())
    }
}

fn is_bound(claim: &Value) -> bool {
    text(claim, &["status", "phase"]) == "Bound"
}

/// Names the driver on the claim: its account may write no more of a claim than the status, and annotations with it.
fn named(claim: &Arc<Value>, driver: &str) -> Option<Act> {
    if object::annotation(claim, RESIZER) == Some(driver) {
        return None;
    }
    let patch = json!({"metadata": {"uid": object::uid(claim), "annotations": {RESIZER: driver}}});
    Some(Act::new(CLAIMS, Write::Strategic { name: object::key(claim), part: "status", patch }))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trial::Trial;

    fn make() -> Vec<Box<dyn Controller>> {
        vec![Box::new(Expander)]
    }

    fn trial(source: &str) -> Trial {
        let mut trial = Trial::new(make, 1);
        let claim = json!({
            "metadata": {"namespace": "d", "name": "c"},
            "spec": {"volumeName": "v", "resources": {"requests": {"storage": "1Gi"}}},
            "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}},
        });
        let claim = trial.create(CLAIMS, claim);
        let reference = json!({"namespace": "d", "name": "c", "uid": object::uid(&claim)});
        let spec = json!({"claimRef": reference, source: {}});
        trial.create(VOLUMES, json!({"metadata": {"name": "v"}, "spec": spec}));
        trial.settle(Duration::from_secs(5));
        assert_eq!(trial.told, [""; 0], "it has what it asks for");
        trial.change(CLAIMS, "d", "c", |claim| {
            claim["spec"]["resources"]["requests"]["storage"] = "2Gi".into();
        });
        trial.settle(Duration::from_secs(5));
        trial
    }

    #[test]
    fn a_claim_that_grows_says_whom_it_waits_for() {
        let csi = trial("csi");
        assert_eq!(csi.told, ["ExternalExpanding waiting for an external controller to expand this PVC"]);
        let cloud = trial("awsElasticBlockStore");
        let said = "ExternalExpanding CSI migration enabled for kubernetes.io/aws-ebs; waiting for external resizer to \
                    expand the pvc";
        assert_eq!(cloud.told, [said]);
        let claim = cloud.get(CLAIMS, "d", "c").expect("it is there");
        assert_eq!(object::annotation(&claim, RESIZER), Some("ebs.csi.aws.com"));
    }
}
