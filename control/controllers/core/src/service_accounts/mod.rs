//! What every namespace and every service account gets.
//!
//! Owns: the account `default` of a namespace ([`Accounts`]), the ConfigMap `kube-root-ca.crt` ([`RootCa`]), tokens in Secrets
//! of accounts ([`TokenSecrets`]). Facts: kube-controller-manager 1.36, `pkg/controller/serviceaccount` and
//! `pkg/controller/certificates/rootcacertpublisher`.

mod root_ca;
#[cfg(test)]
mod tests;
mod token_secrets;

use apiclient_core::names::ObjectName;
use control_core::edit::text;
use serde_json::{Value, json};

use crate::kinds::{NAMESPACES, SERVICE_ACCOUNTS};
use crate::{Act, Change, Context, Controller, Decision, Kind, World, object};

pub use root_ca::RootCa;
pub use token_secrets::TokenSecrets;

/// Gives every namespace an account `default`. Its keys are namespaces.
#[derive(Debug)]
pub struct Accounts;

impl Controller for Accounts {
    fn name(&self) -> &'static str {
        "serviceaccount-controller"
    }

    fn account(&self) -> &'static str {
        "service-account-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[NAMESPACES, SERVICE_ACCOUNTS]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        match change.kind {
            NAMESPACES => keys.push(object::key(changed)),
            _ if change.new.is_none() => keys.push(ObjectName::new("", object::namespace(changed))),
            _ => {}
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let account = ObjectName::new(&*key.name, "default");
        if !is_active(world, key) || world.get(SERVICE_ACCOUNTS, &account).is_some() {
            return Decision::nothing();
        }
        let account = json!({
            "apiVersion": "v1", "kind": "ServiceAccount",
            "metadata": {"namespace": &*account.namespace, "name": &*account.name},
        });
        Decision::nothing().then(Act::create(SERVICE_ACCOUNTS, account))
    }
}

/// There is a namespace that can hold something new.
fn is_active(world: &World, key: &ObjectName) -> bool {
    let phase = |namespace: &Value| text(namespace, &["status", "phase"]) != "Terminating";
    world.get(NAMESPACES, key).is_some_and(|namespace| phase(namespace) && !object::is_deleting(namespace))
}
