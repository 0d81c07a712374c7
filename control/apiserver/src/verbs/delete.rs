//! DELETE of one object.

use std::sync::Arc;
use std::time::Instant;

use apiclient_core::wire::Status;
use control_core::admission::Operation;
use control_core::{edit, refusal};
use control_store::{Freshness, Stored, WriteError};
use serde_json::Value;

use super::deletion::{self, Deletion};
use crate::admit::{self, Write};
use crate::call::Call;
use crate::encoding::object::{decode, for_storage};
use crate::encoding::status;
use crate::negotiation::{Offer, content_encoding};
use crate::reply::{Body, Response};
use crate::request::options::DeleteOptions;
use crate::{decoding, storage};

/// What came of a deletion.
#[derive(Debug)]
pub enum Deleted {
    /// The object has gone; this is what it was.
    Gone(Value),
    /// It is marked, or was already.
    Stays(Stored),
    /// It would be marked.
    Would(Value),
}

/// # Errors
/// 404, a precondition that does not hold, or options that make no sense.
pub async fn run(call: &mut Call, body: Body) -> Result<Response, Status> {
    let bytes = call.read(body).await?;
    let encoding =
        if bytes.is_empty() { Default::default() } else { content_encoding(&call.headers, Offer::All)? };
    let options = decoding::delete_options(&bytes, encoding, &call.query)?;
    warn_of_dependents(call, &options);
    match one(call, &options).await? {
        Deleted::Stays(stored) => {
            let code = if options.orphan == Some(false) { 202 } else { 200 };
            call.answer_written(code, &stored)
        }
        Deleted::Would(object) => call.answer_value(200, object),
        Deleted::Gone(object) if call.served.kind.traits.returns_deleted => call.answer_value(200, object),
        Deleted::Gone(object) => {
            let uid = edit::text(&object, &["metadata", "uid"]);
            let done = refusal::success(&call.served.kind, &call.resource.name, uid);
            Ok(status::answer(&done, call.media))
        }
    }
}

/// Who says nothing of dependents is told where that leaves them.
pub fn warn_of_dependents(call: &mut Call, options: &DeleteOptions) {
    let says_nothing = options.propagation.is_none() && options.orphan.is_none();
    let line = call.served.kind.strategy.deletion_warning().filter(|_| says_nothing);
    call.warn(line.map(str::to_owned));
}

/// Deletes the object that the call names.
///
/// # Errors
/// As [`run`].
pub async fn one(call: &mut Call, options: &DeleteOptions) -> Result<Deleted, Status> {
    let (key, kind) = (call.key()?, Arc::clone(&call.served.kind));
    let store = call.server.store().clone();
    let read =
        async |freshness| store.get(&key, freshness).await.map_err(|error| storage::read_failed(&error));
    let write = Write { operation: Operation::Delete, subresource: None, dry_run: options.dry_run };
    let (mut current, mut latest) = (read(Freshness::Any).await?, false);
    let begin = Instant::now();
    loop {
        let Some(stored) = current.clone() else {
            if latest {
                return Err(call.not_found());
            }
            (current, latest) = (read(Freshness::Latest).await?, true);
            continue;
        };
        let object = decode(&call.served, &stored)?;
        let decided = match deletion::decide(&kind, &object, options, call.now) {
            Err(_) if !latest => {
                (current, latest) = (read(Freshness::Latest).await?, true);
                continue;
            }
            decided => decided?,
        };
        let mut nothing = Value::Null;
        admit::mutate(call, &write, &mut nothing, Some(&object)).await?;
        admit::validate(call, &write, &mut nothing, Some(&object)).await?;
        let written = match decided {
            Deletion::Pending => return Ok(Deleted::Stays(stored)),
            Deletion::Remove { object, .. } if options.dry_run => return Ok(Deleted::Gone(object)),
            Deletion::Mark(marked) if options.dry_run => return Ok(Deleted::Would(marked)),
            Deletion::Remove { object, changed } => {
                let last = match changed {
                    true => {
                        let bytes = for_storage(&call.served, &object, call.server.parts.json_storage);
                        store.replace(&key, stored.revision(), bytes, None).await.map(|last| last.revision())
                    }
                    false => Ok(stored.revision()),
                };
                let removed = match last {
                    Ok(revision) => store.remove(&key, revision).await,
                    Err(error) => Err(error),
                };
                match removed {
                    // Who was to finish the deletion was quicker.
                    Err(WriteError::Conflict { current: None }) if changed => {
                        return Ok(Deleted::Gone(object));
                    }
                    Ok(_) => {
                        if admit::allocates(&kind) {
                            let server = &call.server;
                            server.parts.services.release(&server.memory, &object).await;
                        }
                        return Ok(Deleted::Gone(object));
                    }
                    Err(error) => error,
                }
            }
            Deletion::Mark(marked) => {
                let bytes = for_storage(&call.served, &marked, call.server.parts.json_storage);
                if bytes == *stored.bytes() {
                    return Ok(Deleted::Stays(stored));
                }
                match store.replace(&key, stored.revision(), bytes, None).await {
                    Ok(stored) => return Ok(Deleted::Stays(stored)),
                    Err(error) => error,
                }
            }
        };
        match written {
            WriteError::Conflict { current: found } if begin.elapsed() < call.server.longest() => {
                (current, latest) = (found, true);
            }
            error => return Err(storage::write_failed(&kind, &call.resource.name, &error)),
        }
    }
}
