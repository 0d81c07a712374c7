//! What a node does next with a pod.

use std::time::{Duration, SystemTime};

use serde_json::{Value, json};

use super::host::Host;
use super::resume::resume;
use super::runtime::{Clock, Runtime};
use super::spec::PodSpec;
use super::status;

/// How soon it is tried again to find an address for a pod.
const NO_ADDRESS: Duration = Duration::from_secs(5);

#[derive(Clone, Debug, PartialEq)]
pub struct Decision {
    pub act: Option<Act>,
    /// When to look again, if nothing else happens.
    pub next: Option<SystemTime>,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Act {
    /// A strategic merge patch of its status.
    Status(Value),
    /// All of it has ended: the object goes, with these options.
    Delete(Value),
}

/// Takes over what other nodes of that name did with a pod, so that nothing else gets its addresses.
pub fn adopt(pod: &Value, host: &mut Host, runtime: &mut Option<Runtime>) {
    if runtime.is_none() && !PodSpec::is_over(pod) {
        *runtime = resume(pod);
        if let Some(runtime) = runtime {
            host.mark(&runtime.addresses, true);
        }
    }
}

/// A pod is gone: its addresses are free.
pub fn forget(host: &mut Host, runtime: &mut Option<Runtime>) {
    if let Some(runtime) = runtime.take() {
        host.mark(&runtime.addresses, false);
    }
}

/// What is to be done with a pod that is bound to this node. `runtime` is what the node knows besides the object; it goes
/// on with time.
pub fn decide(pod: &Value, host: &mut Host, runtime: &mut Option<Runtime>, now: SystemTime) -> Decision {
    let spec = PodSpec::of(pod);
    if PodSpec::is_over(pod) {
        forget(host, runtime);
        return Decision { act: spec.deleted.map(|_| delete(pod)), next: None };
    }
    adopt(pod, host, runtime);
    let runtime = runtime.get_or_insert_with(|| Runtime::new(now, Vec::new()));
    if runtime.addresses.is_empty() {
        runtime.addresses = if spec.host_network { host.addresses.clone() } else { host.take() };
    }
    let mut clock = Clock::at(now);
    if runtime.addresses.is_empty() {
        clock.reached(now + NO_ADDRESS);
    }
    runtime.advance(&spec, &mut clock);
    let patch = status::patch(&spec, runtime, &host.addresses, &mut clock);
    let act = match patch {
        Some(patch) => Some(Act::Status(patch)),
        // Its last status is written: whoever waits for that has seen it.
        None if spec.deleted.is_some() && runtime.is_over(&spec) => Some(delete(pod)),
        None => None,
    };
    Decision { act, next: clock.next }
}

/// Of this very pod, not of a later one with its name.
fn delete(pod: &Value) -> Act {
    Act::Delete(json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "gracePeriodSeconds": 0,
        "preconditions": { "uid": pod["metadata"]["uid"] },
    }))
}

#[cfg(test)]
mod tests;
