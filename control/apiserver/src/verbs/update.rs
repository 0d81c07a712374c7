//! PUT of an object, or of a part of it.

use apiclient_core::wire::Status;
use control_core::kind::Subresource;
use control_core::{access, edit};
use serde_json::Value;

use super::create;
use super::store_update::{self, Change, Updated};
use crate::call::Call;
use crate::decoding;
use crate::negotiation::content_encoding;
use crate::reply::{Body, Response};
use crate::request::options::{self, WriteOptions};
use crate::strategy::{managed, system};

/// # Errors
/// The body is no such object, or another's change came first, or the change is not allowed.
pub async fn run(call: &mut Call, subresource: Option<Subresource>, body: Body) -> Result<Response, Status> {
    let bytes = call.read(body).await?;
    let options = WriteOptions::decode(&call.query, options::Write::Update)?;
    let encoding = content_encoding(&call.headers, call.served.offer)?;
    let (mut object, warnings) = decoding::object(&call.served, &bytes, encoding, options.validation)?;
    call.warn(warnings);
    if decoding::has_no_entries(&bytes, encoding)
        && let Some(metadata) = edit::child(&mut object, "metadata")
    {
        edit::set(metadata, "managedFields", managed::reset_entries());
    }
    system::check_namespace(call, &mut object)?;
    system::check_name(call, &object)?;
    call.warn(system::dedup_owners(&mut object, false));
    finish(call, subresource, object, &options).await
}

/// From the object as the client wants it to the answer.
///
/// # Errors
/// As [`run`].
pub async fn finish(
    call: &mut Call,
    subresource: Option<Subresource>,
    object: Value,
    options: &WriteOptions,
) -> Result<Response, Status> {
    let manager = call.manager(&options.manager);
    let uid = edit::text(&object, &["metadata", "uid"]);
    let uid = (!uid.is_empty()).then(|| uid.to_owned());
    let mut make = |call: &mut Call, old: &Value| {
        let mut new = object.clone();
        managed::track(call, old, &mut new, &manager, subresource);
        Ok(new)
    };
    let may_create = call.served.kind.traits.create_on_update && subresource.is_none();
    let change = Change { subresource, options, uid, may_create, make: &mut make };
    match store_update::run(call, change).await? {
        Updated::Written { stored, .. } => call.answer_written(200, &stored),
        Updated::Value(object) => call.answer_value(200, object),
        Updated::Absent => {
            may_create_by_update(call).await?;
            let mut object = object;
            system::wipe(&mut object);
            create::finish(call, object, options).await
        }
    }
}

/// Who may update may not create for that alone.
///
/// # Errors
/// 403.
pub async fn may_create_by_update(call: &Call) -> Result<(), Status> {
    let resource = &call.resource;
    let attributes = access::Attributes {
        verb: "create".to_owned(),
        group: resource.group.clone(),
        version: resource.version.clone(),
        resource: resource.resource.clone(),
        namespace: resource.namespace.clone(),
        name: resource.name.clone(),
        ..access::Attributes::default()
    };
    call.server.parts.authorizer.require(&attributes, &call.user).await
}
