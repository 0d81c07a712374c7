//! Extensions of the API that are stored and served, but have no effect yet: webhooks, admission policies, other API servers.
//!
//! Never: starts over an etcd where an operator counts on one of them, unless told to.

use std::time::Duration;

use control_core::edit::{at, text};
use control_store::{Freshness, Snapshot};
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

/// Waits before another look: etcd may be away.
const PAUSE: Duration = Duration::from_millis(500);

/// The first object in etcd whose effect would be missing, as a person would name it. What cannot be looked at is looked at
/// again: it does not count as absent.
pub async fn unsupported(server: &Server) -> Option<String> {
    let table = server.registry().table();
    for resource in KINDS.into_iter().chain([API_SERVICES]) {
        let Some(served) = table.by_qualified(resource) else { continue };
        let snapshot = listed(server, &served.prefix).await;
        for stored in snapshot.iter() {
            let has_effect =
                |object: &Value| resource != API_SERVICES || at(object, &["spec", "service"]).is_object();
            let name = match decode(served, stored) {
                Ok(object) if !has_effect(&object) => continue,
                Ok(object) => text(&object, &["metadata", "name"]).to_owned(),
                // Nobody can say that it has none.
                Err(_) => stored.key().to_owned(),
            };
            return Some(format!("{} {name:?}", served.kind.kind));
        }
    }
    None
}

async fn listed(server: &Server, prefix: &str) -> Snapshot {
    loop {
        match server.store().list(prefix, Freshness::Any).await {
            Ok(snapshot) => return snapshot,
            Err(error) => {
                tracing::warn!(%error, "cannot look for extensions without effect, and tries again")
            }
        }
        tokio::time::sleep(PAUSE).await;
    }
}
