//! From a path and a method to the verb or the part of an object that they mean.
//!
//! Owns: which verbs a kind and its subresources have. Begin at [`run`].

use apiclient_core::wire::Status;
use control_core::kind::Subresource;
use control_core::refusal;

use crate::call::Call;
use crate::reply::{Body, Response};
use crate::subresources;
use crate::verbs::{collection, components, create, delete, get, list, patch, update, usage, watch};

/// Carries a request out.
///
/// # Errors
/// The refusal.
pub async fn run(call: &mut Call, body: Body) -> Result<Response, Status> {
    let (resource, kind) = (&call.resource, &call.served.kind);
    let named = !resource.name.is_empty();
    // Objects in a namespace have no path without one; those of the cluster have none with one, but for namespaces.
    let in_namespace = !resource.namespace.is_empty();
    let placed = if kind.namespaced { in_namespace || !named } else { !in_namespace || is_namespaces(call) };
    if !placed || (!resource.rest.is_empty() && resource.subresource != "proxy") {
        return Err(refusal::no_such_resource());
    }
    if !resource.subresource.is_empty() {
        let found = Subresource::named(&resource.subresource).filter(|found| kind.has(*found));
        return match found {
            Some(found) => Box::pin(subresources::run(call, found, body)).await,
            None => Err(refusal::no_such_resource()),
        };
    }
    if kind.traits.only_create {
        return match call.method.as_str() {
            "POST" if !named && is_bindings(call) => {
                Box::pin(subresources::binding::of_collection(call, body)).await
            }
            "POST" if !named => Box::pin(create::run(call, body)).await,
            _ => Err(refusal::method_not_allowed()),
        };
    }
    if kind.traits.only_read && (call.method != "GET" || call.query.flag("watch") == Some(true)) {
        return Err(refusal::method_not_allowed());
    }
    if kind.traits.only_read && usage::is_meant(call) {
        return if named { usage::get(call).await } else { usage::list(call).await };
    }
    if kind.traits.only_read {
        return if named { components::get(call).await } else { components::list(call).await };
    }
    match (call.method.as_str(), named) {
        ("GET", _) if call.resource.old_watch => watch::run(call).await,
        ("GET", true) => get::run(call).await,
        ("GET", false) if call.query.flag("watch") == Some(true) => watch::run(call).await,
        ("GET", false) => list::run(call).await,
        ("POST", false) if in_namespace || !kind.namespaced => Box::pin(create::run(call, body)).await,
        ("PUT", true) => Box::pin(update::run(call, None, body)).await,
        ("PATCH", true) => Box::pin(patch::run(call, None, body)).await,
        ("DELETE", true) => Box::pin(delete::run(call, body)).await,
        ("DELETE", false) if may_delete_collection(call) => Box::pin(collection::run(call, body)).await,
        // A create in all namespaces at once takes the namespace of the object, and the original refuses what has none.
        _ => Err(refusal::method_not_allowed()),
    }
}

/// `/api/v1/namespaces/NAME` names a namespace twice.
fn is_namespaces(call: &Call) -> bool {
    call.resource.resource == "namespaces" && call.resource.group.is_empty()
}

fn is_bindings(call: &Call) -> bool {
    call.resource.resource == "bindings" && call.resource.group.is_empty()
}

fn may_delete_collection(call: &Call) -> bool {
    let kind = &call.served.kind;
    let placed = !kind.namespaced || !call.resource.namespace.is_empty();
    placed && !kind.traits.no_delete_collection && !kind.traits.only_create
}
