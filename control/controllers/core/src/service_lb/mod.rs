//! Gives Services of type LoadBalancer addresses from pools, where the original asks a cloud.
//!
//! Owns: which addresses there are ([`Pools`]), what a Service asks for ([`wish`]), who gets what ([`choice`]). A Service's
//! status is the memory: what stands there stays, over restarts too. Facts of finalizer and Events: kube-controller-manager
//! 1.36, `cloud-provider/controllers/service`. Never: announces an address; the service proxies do.

mod choice;
mod pools;
#[cfg(test)]
mod tests;
mod wish;

use std::net::IpAddr;
use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{self, at, list};
use serde_json::{Value, json};

use self::choice::{Fate, choose};
use self::wish::{addresses, is_balanced, is_ours};
use crate::kinds::SERVICES;
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, Stage, World, object};

pub use pools::{BadPool, Pools};

/// A Service with an address does not go before it has given that back.
const FINALIZER: &str = "service.kubernetes.io/load-balancer-cleanup";

/// All Services are decided about at once: there is one key.
#[derive(Debug)]
pub struct ServiceLb {
    pools: Pools,
}

impl ServiceLb {
    pub fn new(pools: Pools) -> Self {
        Self { pools }
    }
}

impl Controller for ServiceLb {
    fn name(&self) -> &'static str {
        "service-lb-controller"
    }

    fn account(&self) -> &'static str {
        "service-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[SERVICES]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let matters = match (&change.old, &change.new) {
            (Some(old), Some(new)) => {
                let differs = |path: &[&str]| at(old, path) != at(new, path);
                (concerned(old) || concerned(new))
                    && (differs(&["spec"])
                        || differs(&["status", "loadBalancer"])
                        || ["annotations", "finalizers", "deletionTimestamp"]
                            .iter()
                            .any(|field| differs(&["metadata", field])))
            }
            // What one leaves may be what another waits for.
            (old, new) => old.iter().chain(new).any(|service| concerned(service)),
        };
        keys.extend(matters.then(ObjectName::default));
    }

    fn decide(&self, world: &World, _: &ObjectName, _: &Context) -> Decision {
        let (mut decision, mut acts) = (Decision::nothing(), Vec::new());
        let mut tell = |note| decision.stages.push(Stage::Tell(note));
        for service in world.all(SERVICES).filter(|service| is_over(service)) {
            tell(Note::normal(SERVICES, service, "DeletingLoadBalancer", "Deleting load balancer"));
            let done = Note::normal(SERVICES, service, "DeletedLoadBalancer", "Deleted load balancer");
            acts.push(written(service, &[], false).telling(done));
        }
        for (service, fate) in choose(&self.pools, world.all(SERVICES)) {
            match fate {
                Fate::Has(addresses) if is_settled(service, &addresses) => {}
                Fate::Has(addresses) => {
                    tell(Note::normal(SERVICES, service, "EnsuringLoadBalancer", "Ensuring load balancer"));
                    let done =
                        Note::normal(SERVICES, service, "EnsuredLoadBalancer", "Ensured load balancer");
                    acts.push(written(service, &addresses, true).telling(done));
                }
                Fate::Lacks(why) => {
                    let text = format!("Error syncing load balancer: failed to ensure load balancer: {why}");
                    tell(Note::warning(SERVICES, service, "SyncLoadBalancerFailed", text));
                }
            }
        }
        decision.all(acts)
    }
}

/// It has an address, wants one, or has to give one back.
fn concerned(service: &Value) -> bool {
    is_balanced(service) || is_held(service) || addresses(service).next().is_some()
}

fn is_held(service: &Value) -> bool {
    list(service, &["metadata", "finalizers"]).iter().any(|finalizer| finalizer == FINALIZER)
}

/// It was ours, and is to be no longer.
fn is_over(service: &Value) -> bool {
    is_held(service) && is_ours(service) && (object::is_deleting(service) || !is_balanced(service))
}

fn is_settled(service: &Value, addresses: &[IpAddr]) -> bool {
    is_held(service) && *at(service, &["status", "loadBalancer", "ingress"]) == ingress(addresses)
}

fn ingress(addresses: &[IpAddr]) -> Value {
    addresses.iter().map(|address| json!({"ip": address.to_string(), "ipMode": "VIP"})).collect()
}

/// The addresses and the finalizer in one write, which the role of the original's controller allows as one of the status:
/// there is no moment with one and without the other.
fn written(service: &Arc<Value>, addresses: &[IpAddr], held: bool) -> Act {
    let mut changed = Value::clone(service);
    let mut finalizers = list(service, &["metadata", "finalizers"]).to_vec();
    finalizers.retain(|finalizer| finalizer != FINALIZER);
    if held {
        finalizers.push(FINALIZER.into());
    }
    edit::set(&mut changed["metadata"], "finalizers", finalizers);
    if let Some(status) = edit::child(&mut changed, "status") {
        let balancer = if addresses.is_empty() { json!({}) } else { json!({"ingress": ingress(addresses)}) };
        edit::set(status, "loadBalancer", balancer);
    }
    Act::status(SERVICES, changed)
}
