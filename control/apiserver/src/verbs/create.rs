//! POST of an object to its collection.

use apiclient_core::wire::Status;
use control_core::admission::Operation;
use control_core::{edit, lifecycle, refusal};
use control_store::WriteError;
use serde_json::Value;

use crate::admission::quota;
use crate::admit::{self, Write};
use crate::allocation::Asked;
use crate::call::Call;
use crate::encoding::object::{as_if_stored, for_storage};
use crate::negotiation::content_encoding;
use crate::reply::{Body, Response};
use crate::request::options::{self, WriteOptions};
use crate::strategy::{managed, system};
use crate::{access, decoding, ids, storage};

/// How many generated names are tried.
const NAMES: usize = 8;

/// # Errors
/// The body is no such object, or may not be created, or is there already.
pub async fn run(call: &mut Call, body: Body) -> Result<Response, Status> {
    let encoding = content_encoding(&call.headers, call.served.offer)?;
    let bytes = call.read(body).await?;
    let options = WriteOptions::decode(&call.query, options::Write::Create)?;
    let (mut object, warnings) = decoding::object(&call.served, &bytes, encoding, options.validation)?;
    call.warn(warnings);
    system::wipe(&mut object);
    system::check_namespace(call, &mut object)?;
    call.warn(system::dedup_owners(&mut object, false));
    if call.resource.name.is_empty() {
        edit::text(&object, &["metadata", "name"]).clone_into(&mut call.resource.name);
    }
    finish(call, object, &options).await
}

/// From the object as the client wants it to the answer.
///
/// # Errors
/// As [`run`].
pub async fn finish(call: &mut Call, mut object: Value, options: &WriteOptions) -> Result<Response, Status> {
    let manager = call.manager(&options.manager);
    managed::track(call, &Value::Null, &mut object, &manager, None);
    finish_tracked(call, object, options).await
}

/// As [`finish`], of an object that says already who wrote it: by server-side apply.
///
/// # Errors
/// As [`run`].
pub async fn finish_tracked(
    call: &mut Call,
    mut object: Value,
    options: &WriteOptions,
) -> Result<Response, Status> {
    let write = Write { operation: Operation::Create, subresource: None, dry_run: options.dry_run };
    admit::mutate(call, &write, &mut object, None).await?;
    if call.served.kind.traits.only_create {
        // A question: it has no name, and nothing of it is kept.
        admit::validate(call, &write, &mut object, None).await?;
        let parts = &call.server.parts;
        let (services, chain) = (&parts.access, &parts.authorizer);
        access::review(services, chain, &call.served.kind, &call.context(None), &mut object).await?;
        return call.answer_value(201, object);
    }
    call.warn(system::dedup_owners(&mut object, true));
    let generated = edit::text(&object, &["metadata", "generateName"]).to_owned();
    let generates = !generated.is_empty() && edit::text(&object, &["metadata", "name"]).is_empty();
    let tries = if generates { NAMES } else { 1 };
    let mut last = None;
    for left in (0..tries).rev() {
        // The last try may have it.
        let mut object = if left > 0 { object.clone() } else { std::mem::take(&mut object) };
        system::fill(&mut object, call.now);
        if generates && let Some(metadata) = edit::child(&mut object, "metadata") {
            edit::set(metadata, "name", ids::generated_name(&generated));
        }
        match attempt(call, object, options, &write).await {
            Err(refused) if refused.already_exists() => last = Some(refused),
            outcome => return outcome,
        }
    }
    Err(last.unwrap_or_else(|| refusal::internal("no name was tried")))
}

async fn attempt(
    call: &mut Call,
    mut object: Value,
    options: &WriteOptions,
    write: &Write,
) -> Result<Response, Status> {
    let kind = std::sync::Arc::clone(&call.served.kind);
    let server = std::sync::Arc::clone(&call.server);
    if !admit::allocates(&kind) {
        return Box::pin(write_new(call, object, options, write)).await;
    }
    let asked = Asked { kind: &kind, memory: &server.memory, now: call.now, dry_run: options.dry_run };
    let reserved = Box::pin(server.parts.services.prepare(asked, &mut object, None)).await?;
    let outcome = Box::pin(write_new(call, object, options, write)).await;
    match outcome {
        Ok(_) => reserved.written().await,
        Err(_) => reserved.give_back().await,
    }
    outcome
}

async fn write_new(
    call: &mut Call,
    mut object: Value,
    options: &WriteOptions,
    write: &Write,
) -> Result<Response, Status> {
    let kind = std::sync::Arc::clone(&call.served.kind);
    let warnings = lifecycle::before_create(&kind, &mut object, &call.context(None))?;
    call.warn(warnings);
    admit::validate(call, write, &mut object, None).await?;
    let name = edit::text(&object, &["metadata", "name"]).to_owned();
    let key = call.served.key(edit::text(&object, &["metadata", "namespace"]), &name)?;
    quota::charge(call, write, &mut object, None).await?;
    if options.dry_run {
        let there = call.server.store().get(&key, control_store::Freshness::Latest).await;
        return match there.map_err(|error| storage::read_failed(&error))? {
            Some(there) => Err(exists(call, &there, &object, &name)),
            None => {
                let json = call.server.parts.json_storage;
                call.answer_value(201, as_if_stored(&call.served, &object, json)?)
            }
        };
    }
    let json = call.server.parts.json_storage;
    let ttl = admit::ttl(&kind, &object);
    let mut written = call.server.store().create(&key, for_storage(&call.served, &object, json), ttl).await;
    if matches!(&written, Err(error) if storage::is_too_large(error)) {
        // What is written about managers may be what makes it too large.
        managed::forget(&mut object);
        written = call.server.store().create(&key, for_storage(&call.served, &object, json), ttl).await;
    }
    match written {
        Ok(stored) => call.answer_written(201, &stored),
        Err(WriteError::Exists(_)) => {
            let there = call.server.store().get(&key, control_store::Freshness::Any).await.ok().flatten();
            Err(match there {
                Some(there) => exists(call, &there, &object, &name),
                None => refusal::already_exists(&kind, &name),
            })
        }
        Err(error) => Err(storage::write_failed(&kind, &name, &error)),
    }
}

/// There is one of this name, which may be on its way out.
fn exists(call: &Call, there: &control_store::Stored, object: &Value, name: &str) -> Status {
    let kind = &call.served.kind;
    let generated = !edit::text(object, &["metadata", "generateName"]).is_empty();
    let mut refused =
        if generated { refusal::no_unique_name(kind, name) } else { refusal::already_exists(kind, name) };
    let there = crate::encoding::object::decode(&call.served, there).unwrap_or_default();
    if !edit::text(&there, &["metadata", "deletionTimestamp"]).is_empty() {
        refused.message = format!("object is being deleted: {}", refused.message);
    }
    refused
}
