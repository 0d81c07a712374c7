//! Extensions of the API that are stored and served, but have no effect yet: webhooks, admission policies, other API servers.
//!
//! Never: starts over an etcd where an operator counts on one of them, unless told to.

use control_core::edit::{at, text};
use control_store::Freshness;
use serde_json::Value;

use crate::Server;
use crate::encoding::object::decode;

/// Kinds whose objects have an effect by being there.
const KINDS: [&str; 4] = [
    "mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "validatingwebhookconfigurations.admissionregistration.k8s.io",
    "mutatingadmissionpolicybindings.admissionregistration.k8s.io",
    "validatingadmissionpolicybindings.admissionregistration.k8s.io",
];

/// Has an effect where a service is behind it.
const API_SERVICES: &str = "apiservices.apiregistration.k8s.io";

/// The first object in etcd whose effect would be missing, as a person would name it.
pub async fn unsupported(server: &Server) -> Option<String> {
    let table = server.registry().table();
    for resource in KINDS.into_iter().chain([API_SERVICES]) {
        let Some(served) = table.by_qualified(resource) else { continue };
        let Ok(snapshot) = server.store().list(&served.prefix, Freshness::Any).await else { continue };
        let has_effect =
            |object: &Value| resource != API_SERVICES || at(object, &["spec", "service"]).is_object();
        let mut objects = snapshot.iter().filter_map(|stored| decode(served, stored).ok());
        if let Some(object) = objects.find(has_effect) {
            return Some(format!("{} {:?}", served.kind.kind, text(&object, &["metadata", "name"])));
        }
    }
    None
}
