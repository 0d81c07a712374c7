//! Ranges of Service addresses: one that is in use does not go.
//!
//! Facts: kube-controller-manager 1.36, `pkg/controller/servicecidrs`.

use std::net::IpAddr;
use std::time::Duration;

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use control_core::cidrs::Cidr;
use control_core::conditions;
use control_core::edit::{self, list, text};
use serde_json::Value;

use crate::kinds::{IP_ADDRESSES, SERVICE_CIDRS};
use crate::{Act, Change, Context, Controller, Decision, Kind, Note, World, object};

const FINALIZER: &str = "networking.k8s.io/service-cidr-finalizer";

/// Servers that allocate may not have heard yet that a range goes.
const LATE: Duration = Duration::from_secs(10);

/// Keys are ServiceCIDRs.
#[derive(Debug)]
pub struct ServiceCidrs;

impl Controller for ServiceCidrs {
    fn name(&self) -> &'static str {
        "service-cidr-controller"
    }

    fn account(&self) -> &'static str {
        "service-cidrs-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[SERVICE_CIDRS, IP_ADDRESSES]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        if change.kind == SERVICE_CIDRS {
            keys.push(object::key(changed));
        }
        // Only those wait that are going: for addresses to go, or for another range to come.
        if change.kind == SERVICE_CIDRS || change.new.is_none() {
            let going = world.all(SERVICE_CIDRS).filter(|cidr| object::is_deleting(cidr));
            keys.extend(going.map(|cidr| object::key(cidr)));
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(cidr) = world.get(SERVICE_CIDRS, key) else { return Decision::nothing() };
        let held = list(cidr, &["metadata", "finalizers"]).iter().any(|finalizer| finalizer == FINALIZER);
        let now = time::seconds(context.now);
        if !object::is_deleting(cidr) {
            let mut decision = Decision::nothing();
            if !held {
                let mut kept = Value::clone(cidr);
                let mut finalizers = list(cidr, &["metadata", "finalizers"]).to_vec();
                finalizers.push(FINALIZER.into());
                edit::set(&mut kept["metadata"], "finalizers", finalizers);
                // The status follows the version that this makes.
                return decision.then(Act::update(SERVICE_CIDRS, kept));
            }
            decision.stages.extend(ready(cidr, true, "", "Kubernetes Service CIDR is ready", &now).map(
                |act| {
                    let text = "The ServiceCIDR Status can not be set to Ready=True";
                    let note = Note::warning(SERVICE_CIDRS, cidr, "KubernetesServiceCIDRError", text);
                    crate::Stage::All(vec![act.telling_refusals(note)])
                },
            ));
            return decision;
        }
        if !held {
            return Decision::nothing();
        }
        if is_needed(world, cidr) {
            let why = "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR";
            let act = ready(cidr, false, "Terminating", why, &now);
            return Decision::nothing().all(act.into_iter().collect());
        }
        let since = object::moment(cidr, &["metadata", "deletionTimestamp"]).unwrap_or(context.now);
        let left = (since + LATE).duration_since(context.now).unwrap_or_default();
        if !left.is_zero() {
            return Decision::nothing().again_in(left);
        }
        let mut released = Value::clone(cidr);
        if let Some(finalizers) = released["metadata"]["finalizers"].as_array_mut() {
            finalizers.retain(|finalizer| finalizer != FINALIZER);
        }
        Decision::nothing().then(Act::update(SERVICE_CIDRS, released))
    }
}

fn ready(cidr: &Value, is: bool, reason: &str, message: &str, now: &str) -> Option<Act> {
    let is = if is { "True" } else { "False" };
    let has = object::condition(cidr, "Ready");
    let same = |field: &str, wanted: &str| has.is_some_and(|has| text(has, &[field]) == wanted);
    if same("status", is) && same("reason", reason) && same("message", message) {
        return None;
    }
    let mut changed = cidr.clone();
    conditions::set(edit::child(&mut changed, "status")?, "Ready", is, reason, message, now);
    Some(Act::status(SERVICE_CIDRS, changed))
}

fn ranges(cidr: &Value) -> impl Iterator<Item = Cidr> {
    list(cidr, &["spec", "cidrs"]).iter().filter_map(|range| Cidr::parse(range.as_str()?))
}

/// Addresses of it would be in no range any more.
fn is_needed(world: &World, cidr: &Value) -> bool {
    let others = || world.all(SERVICE_CIDRS).filter(|other| object::name(other) != object::name(cidr));
    let covered = |range: Cidr| {
        let mut all = others().flat_map(|other| ranges(other));
        all.any(|other| other.prefix <= range.prefix && other.contains(range.first()))
    };
    if ranges(cidr).all(covered) {
        return false;
    }
    let own = world.all(IP_ADDRESSES).filter(|address| {
        object::label(address, "ipaddress.kubernetes.io/managed-by") == Some("ipallocator.k8s.io")
    });
    own.filter_map(|address| object::name(address).parse::<IpAddr>().ok()).any(|address| {
        ranges(cidr).any(|range| range.contains(address))
            && !others().flat_map(|other| ranges(other)).any(|range| range.contains(address))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trial::Trial;

    fn cidr(name: &str, range: &str) -> Value {
        json!({"metadata": {"name": name}, "spec": {"cidrs": [range]}})
    }

    fn condition(trial: &Trial) -> (String, String) {
        let cidr = trial.get(SERVICE_CIDRS, "", "own").expect("it is there");
        let condition = object::condition(&cidr, "Ready").expect("it is there");
        (text(condition, &["status"]).to_owned(), text(condition, &["reason"]).to_owned())
    }

    #[test]
    fn a_range_is_ready_and_stays_as_long_as_addresses_need_it() {
        let mut trial = Trial::new(|| vec![Box::new(ServiceCidrs)], 1);
        trial.create(SERVICE_CIDRS, cidr("own", "10.1.0.0/24"));
        let mut address = json!({"metadata": {"name": "10.1.0.9"}});
        address["metadata"]["labels"] = json!({"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
        trial.create(IP_ADDRESSES, address);
        trial.pass(Duration::from_secs(1));
        assert_eq!(condition(&trial), ("True".to_owned(), String::new()));
        trial.delete(SERVICE_CIDRS, "", "own");
        trial.pass(Duration::from_secs(30));
        assert_eq!(condition(&trial), ("False".to_owned(), "Terminating".to_owned()));
        trial.delete(IP_ADDRESSES, "", "10.1.0.9");
        trial.pass(Duration::from_secs(30));
        assert!(trial.get(SERVICE_CIDRS, "", "own").is_none());
    }

    #[test]
    fn a_range_that_another_covers_goes_at_once() {
        let mut trial = Trial::new(|| vec![Box::new(ServiceCidrs)], 1);
        trial.create(SERVICE_CIDRS, cidr("own", "10.1.0.0/24"));
        trial.create(SERVICE_CIDRS, cidr("larger", "10.1.0.0/16"));
        let mut address = json!({"metadata": {"name": "10.1.0.9"}});
        address["metadata"]["labels"] = json!({"ipaddress.kubernetes.io/managed-by": "ipallocator.k8s.io"});
        trial.create(IP_ADDRESSES, address);
        trial.pass(Duration::from_secs(1));
        trial.delete(SERVICE_CIDRS, "", "own");
        trial.pass(Duration::from_secs(5));
        let held = |trial: &Trial| trial.get(SERVICE_CIDRS, "", "own").is_some();
        assert!(held(&trial), "a server may not have heard of it");
        trial.pass(Duration::from_secs(10));
        assert!(!held(&trial));
    }
}
