//! DELETE of a collection: every object of a list, one after the other.

use apiclient_core::wire::Status;
use control_core::edit;

use super::delete;
use super::list;
use crate::call::Call;
use crate::decoding;
use crate::encoding::list::encode;
use crate::encoding::object::decode;
use crate::negotiation::{Offer, content_encoding};
use crate::reply::{Body, Response, reply};
use crate::request::options::{IncludeObject, ListOptions};

/// # Errors
/// Options that make no sense, or the first deletion that fails for another reason than that the object has gone.
pub async fn run(call: &mut Call, body: Body) -> Result<Response, Status> {
    let options = ListOptions::decode(&call.query, false)?;
    let bytes = call.read(body).await?;
    let encoding =
        if bytes.is_empty() { Default::default() } else { content_encoding(&call.headers, Offer::All)? };
    let deletion = decoding::delete_options(&bytes, encoding, &call.query)?;
    delete::warn_of_dependents(call, &deletion);
    let found = list::find(call, &options).await?;
    let namespace = call.resource.namespace.clone();
    for stored in &found.objects {
        let object = decode(&call.served, stored)?;
        edit::text(&object, &["metadata", "name"]).clone_into(&mut call.resource.name);
        edit::text(&object, &["metadata", "namespace"]).clone_into(&mut call.resource.namespace);
        match delete::one(call, &deletion).await {
            Err(refused) if refused.is_not_found() => {}
            outcome => drop(outcome?),
        }
    }
    call.resource.name.clear();
    call.resource.namespace = namespace;
    let body = encode(&call.served, &found, call.media, IncludeObject::decode(&call.query)?)?;
    Ok(reply(200, call.media.encoding.media_type(), body))
}
