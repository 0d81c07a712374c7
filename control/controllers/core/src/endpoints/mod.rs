//! Where the pods of Services are.
//!
//! Owns: EndpointSlices of Services with a selector ([`EndpointSlices`]), their Endpoints ([`Endpoints`]), and EndpointSlices of
//! Endpoints that somebody else writes ([`Mirror`]). How slices are filled: [`packing`]; which zones they are for: [`hints`].
//! Facts: kube-controller-manager 1.36, `pkg/controller/{endpoint,endpointslicemirroring}`, and its package `endpointslice`.

mod hints;
mod legacy;
mod mirror;
mod packing;
mod slices;
mod subsets;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use apiclient_core::names::ObjectName;
use control_core::edit::{at, list, text};
use serde_json::{Value, json};

use crate::kinds::SERVICES;
use crate::{Change, World, object, pods};

pub use legacy::Endpoints;
pub use mirror::Mirror;
pub use slices::EndpointSlices;

/// Which Service a slice is of, and who writes it.
const SERVICE_NAME: &str = "kubernetes.io/service-name";
const MANAGED_BY: &str = "endpointslice.kubernetes.io/managed-by";
const HEADLESS: &str = "service.kubernetes.io/headless";
/// When the change happened that led to what is written: clients measure their delay by it.
const TRIGGERED: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// An address family, as slices name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

impl Family {
    fn of(address: &str) -> Option<(Self, String)> {
        let address: IpAddr = address.parse().ok()?;
        Some((if address.is_ipv6() { Family::V6 } else { Family::V4 }, address.to_string()))
    }

    fn name(self) -> &'static str {
        match self {
            Family::V4 => "IPv4",
            Family::V6 => "IPv6",
        }
    }
}

/// The selector of a Service that pods are chosen by.
fn selector(service: &Value) -> Option<&serde_json::Map<String, Value>> {
    if text(service, &["spec", "type"]) == "ExternalName" {
        return None;
    }
    at(service, &["spec", "selector"]).as_object().filter(|selector| !selector.is_empty())
}

fn selects(service: &Value, labels: &Value) -> bool {
    selector(service)
        .is_some_and(|selector| selector.iter().all(|(key, value)| labels.get(key) == Some(value)))
}

/// The pods of a Service that have an address and have not ended.
fn pods_of<'a>(world: &'a World, service: &'a Value) -> impl Iterator<Item = &'a Arc<Value>> {
    let pods = world.within(crate::kinds::PODS, object::namespace(service));
    pods.filter(move |pod| selects(service, object::labels(pod)) && !pods::has_ended(pod) && has_address(pod))
}

fn has_address(pod: &Value) -> bool {
    !text(pod, &["status", "podIP"]).is_empty() || !list(pod, &["status", "podIPs"]).is_empty()
}

/// The addresses of a pod in one notation.
fn addresses(pod: &Value, family: Family) -> Vec<String> {
    let all = list(pod, &["status", "podIPs"]).iter().filter_map(|ip| Family::of(text(ip, &["ip"])));
    all.filter(|(of, _)| *of == family).map(|(_, address)| address).collect()
}

/// The Services whose endpoints a change of a pod may change.
fn services_of(world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
    if let (Some(old), Some(new)) = (&change.old, &change.new)
        && !differs(old, new)
    {
        return;
    }
    for service in world.within(SERVICES, object::namespace(change.object())) {
        if change.both().any(|pod| selects(service, object::labels(pod))) {
            keys.push(object::key(service));
        }
    }
}

/// Two states of a pod are not the same to a Service.
fn differs(old: &Value, new: &Value) -> bool {
    let changed = |path: &[&str]| at(old, path) != at(new, path);
    changed(&["metadata", "labels"])
        || changed(&["status", "podIPs"])
        || changed(&["spec", "nodeName"])
        || changed(&["spec", "hostname"])
        || changed(&["spec", "subdomain"])
        || object::is_deleting(old) != object::is_deleting(new)
        || pods::has_ended(old) != pods::has_ended(new)
        || pods::is_ready(old) != pods::is_ready(new)
        || object::uid(old) != object::uid(new)
}

/// A Service without an address of its own.
fn is_headless(service: &Value) -> bool {
    matches!(text(service, &["spec", "clusterIP"]), "" | "None")
}

/// The pod has a name of its own below that of the Service.
fn hostname<'a>(pod: &'a Value, service: &Value) -> Option<&'a str> {
    let hostname = text(pod, &["spec", "hostname"]);
    (!hostname.is_empty() && text(pod, &["spec", "subdomain"]) == object::name(service)).then_some(hostname)
}

/// The ports of a pod that a Service leads to.
fn ports(service: &Value, pod: &Value) -> Vec<Value> {
    let all = list(service, &["spec", "ports"]).iter();
    all.filter_map(|port| {
        let mut own = json!({
            "name": text(port, &["name"]), "port": port_number(port, pod)?, "protocol": protocol(port),
        });
        if port["appProtocol"].is_string() {
            own["appProtocol"] = port["appProtocol"].clone();
        }
        Some(own)
    })
    .collect()
}

fn protocol(port: &Value) -> &str {
    port["protocol"].as_str().unwrap_or("TCP")
}

/// The target of a Service's port: a number, or the name that a container of the pod gives to a port.
fn port_number(port: &Value, pod: &Value) -> Option<i64> {
    let Some(name) = port["targetPort"].as_str() else {
        let target = port["targetPort"].as_i64().filter(|target| *target != 0);
        return target.or_else(|| port["port"].as_i64());
    };
    let containers = list(pod, &["spec", "containers"]).iter();
    let inits = list(pod, &["spec", "initContainers"]).iter();
    let sidecars = inits.filter(|container| text(container, &["restartPolicy"]) == "Always");
    let mut ports = containers.chain(sidecars).flat_map(|container| list(container, &["ports"]));
    let port = ports.find(|own| text(own, &["name"]) == name && protocol(own) == protocol(port))?;
    port["containerPort"].as_i64()
}

fn target(pod: &Value) -> Value {
    json!({
        "kind": "Pod", "namespace": object::namespace(pod), "name": object::name(pod), "uid": object::uid(pod),
    })
}

/// What tells ports apart: name, protocol, number, protocol of the application; in an order of their own.
type PortKey = Vec<(String, String, Option<i64>, String)>;

fn port_key(ports: &[Value]) -> PortKey {
    let mut key: PortKey = ports
        .iter()
        .map(|port| {
            let field = |name| text(port, &[name]).to_owned();
            (field("name"), protocol(port).to_owned(), port["port"].as_i64(), field("appProtocol"))
        })
        .collect();
    key.sort();
    key
}

/// The slices that `manager` writes for the Service of a name.
fn slices_of<'a>(
    world: &'a World,
    key: &'a ObjectName,
    manager: &'a str,
) -> impl Iterator<Item = &'a Arc<Value>> {
    world.within(crate::kinds::ENDPOINT_SLICES, &key.namespace).filter(move |slice| {
        object::label(slice, SERVICE_NAME) == Some(&*key.name)
            && object::label(slice, MANAGED_BY) == Some(manager)
            && !object::is_deleting(slice)
    })
}

/// The Services, by name, that slices are of which `manager` writes, or wrote.
fn services_of_slices(change: &Change, manager: &str, keys: &mut Vec<ObjectName>) {
    if !change.both().any(|slice| object::label(slice, MANAGED_BY) == Some(manager)) {
        return;
    }
    for slice in change.both() {
        if let Some(service) = object::label(slice, SERVICE_NAME).filter(|service| !service.is_empty()) {
            keys.push(ObjectName::new(object::namespace(slice), service));
        }
    }
}
