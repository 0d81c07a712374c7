//! Claims for which a volume is to be made: whose work that is.

use std::sync::Arc;

use control_core::edit::text;
use serde_json::Value;

use super::claims::class;
use crate::kinds::CLAIMS;
use crate::volumes::{PROVISIONER, annotate, class_of, migration, note};
use crate::{Act, Decision, Stage, World, object};

/// Provisioners of this name were part of the original once.
const BUILT_IN: &str = "kubernetes.io/";

/// Names the provisioner on the claim, which is its sign to begin.
pub fn decide(world: &World, claim: &Arc<Value>) -> Decision {
    let failed = |text: String| {
        let mut decision = Decision::nothing();
        decision.stages.push(Stage::Tell(note(claim, true, "ProvisioningFailed", text)));
        decision
    };
    let Some(class) = class(world, claim) else {
        return failed(format!("storageclass.storage.k8s.io {:?} not found", class_of(claim)));
    };
    let named = text(class, &["provisioner"]);
    let provisioner = match (migration::driver(named), named) {
        (Some(driver), _) => driver,
        (None, "kubernetes.io/host-path") => {
            return failed(format!(
                "Failed to create provisioner: provisioning in volume plugin {named:?} is disabled"
            ));
        }
        (None, "kubernetes.io/nfs") => {
            return failed("no provisionable volume plugin matched".to_owned());
        }
        (None, named) if named.starts_with(BUILT_IN) => {
            return failed(format!("no volume plugin matched name: {named}"));
        }
        (None, named) => named,
    };
    let mut decision = Decision::nothing();
    if object::annotation(claim, PROVISIONER[0]) != Some(provisioner) {
        let mut named = Value::clone(claim);
        PROVISIONER.into_iter().for_each(|name| annotate(&mut named, name, provisioner));
        decision = decision.then(Act::update(CLAIMS, named));
    }
    let text = format!(
        "Waiting for a volume to be created either by the external provisioner '{provisioner}' or manually by the \
         system administrator. If volume creation is delayed, please verify that the provisioner is running and \
         correctly registered.",
    );
    decision.stages.push(Stage::Tell(note(claim, false, "ExternalProvisioning", text)));
    decision
}
