//! Parts of objects, and things that are done to them: what follows an object's name in a path.
//!
//! Owns: which methods each has.

pub mod binding;
pub mod eviction;
pub mod log;
pub mod proxy;
pub mod scale;
pub mod stream;
pub mod token;

use apiclient_core::wire::Status;
use control_core::kind::Subresource;
use control_core::refusal;

use crate::call::Call;
use crate::reply::{Body, Response};
use crate::verbs;

/// # Errors
/// The refusal.
pub async fn run(call: &mut Call, subresource: Subresource, body: Body) -> Result<Response, Status> {
    let method = call.method.as_str().to_owned();
    match (subresource, method.as_str()) {
        (Subresource::Finalize, "GET" | "PATCH") => Err(refusal::method_not_allowed()),
        (updating, "GET") if is_updating(updating) => verbs::get::run(call).await,
        (updating, "PUT") if is_updating(updating) => verbs::update::run(call, Some(updating), body).await,
        (updating, "PATCH") if is_updating(updating) => verbs::patch::run(call, Some(updating), body).await,
        (Subresource::Scale, "GET") => scale::get(call).await,
        (Subresource::Scale, "PUT") => scale::update(call, body).await,
        (Subresource::Scale, "PATCH") => scale::patch(call, body).await,
        (Subresource::Binding, "POST") => binding::run(call, body).await,
        (Subresource::Token, "POST") => token::run(call, body).await,
        (Subresource::Status | Subresource::Scale, _) => Err(refusal::method_not_allowed()),
        (Subresource::Eviction, "POST") => eviction::run(call, body).await,
        (Subresource::Log, "GET") => log::run(call).await,
        (Subresource::Exec | Subresource::Attach | Subresource::PortForward, "GET" | "POST") => {
            stream::run(call, subresource).await
        }
        (Subresource::Proxy, "GET" | "POST" | "PUT" | "PATCH" | "DELETE" | "HEAD" | "OPTIONS") => {
            proxy::run(call, body).await
        }
        _ => Err(refusal::method_not_allowed()),
    }
}

/// Whether a kind's objects can be changed by a subresource of this name in the way of an update.
fn is_updating(subresource: Subresource) -> bool {
    use Subresource::{Approval, EphemeralContainers, Finalize, Resize, Status};
    matches!(subresource, Status | Approval | EphemeralContainers | Finalize | Resize)
}
