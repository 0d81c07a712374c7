//! IPAddress: the object by which an address belongs to a Service.
//!
//! Facts: one for each address, named as the address; two labels say who made it and of which family it is.

use std::net::IpAddr;

use serde_json::{Value, json};

use super::Family;
use crate::edit::{at, text};

/// What the objects are listed under, in storage and in the registry.
pub const RESOURCE: &str = "ipaddresses.networking.k8s.io";

const FAMILY: &str = "ipaddress.kubernetes.io/ip-family";
const MANAGED_BY: &str = "ipaddress.kubernetes.io/managed-by";
const ALLOCATOR: &str = "ipallocator.k8s.io";

/// The object for an address of a service. Namespace and name of the service.
pub fn of(address: IpAddr, (namespace, name): (&str, &str)) -> Value {
    json!({
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IPAddress",
        "metadata": {
            "name": address.to_string(),
            "labels": { FAMILY: Family::of(address).name(), MANAGED_BY: ALLOCATOR },
        },
        "spec": { "parentRef": { "resource": "services", "namespace": namespace, "name": name } },
    })
}

/// The service that an object is for, by namespace and name; `None` where it is for something else.
pub fn service(object: &Value) -> Option<(&str, &str)> {
    let parent = at(object, &["spec", "parentRef"]);
    let of_service = text(parent, &["group"]).is_empty() && text(parent, &["resource"]) == "services";
    of_service.then(|| (text(parent, &["namespace"]), text(parent, &["name"])))
}

/// The allocator of services made it, so that it may take it away. Others may keep addresses of their own.
pub fn is_ours(object: &Value) -> bool {
    text(object, &["metadata", "labels", MANAGED_BY]) == ALLOCATOR
}

/// Made by the allocator, with the right family.
pub fn is_labelled(object: &Value, address: IpAddr) -> bool {
    is_ours(object) && text(object, &["metadata", "labels", FAMILY]) == Family::of(address).name()
}
