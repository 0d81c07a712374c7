//! Reading, changing and writing an object until nobody else comes between (`GuaranteedUpdate` of the original).
//!
//! Owns: that a change is computed from the latest version, that one which changes nothing writes nothing, and that an
//! object whose last finalizer goes, goes too. Begin at [`run`].

use std::sync::Arc;
use std::time::Instant;

use apiclient_core::wire::Status;
use control_core::admission::Operation;
use control_core::kind::Subresource;
use control_core::{edit, lifecycle, refusal};
use control_store::{Freshness, Stored, WriteError};
use serde_json::Value;

use super::deletion;
use crate::admission::quota;
use crate::admit::{self, Write};
use crate::allocation::{Asked, Reserved};
use crate::call::Call;
use crate::encoding::object::{as_if_stored, decode, for_storage};
use crate::request::options::{WriteOptions, version};
use crate::storage;
use crate::strategy::{managed, system};

/// What an update came to.
#[derive(Debug)]
pub enum Updated {
    /// What is in storage now. `changed` is false where it was that already.
    Written { stored: Stored, changed: bool },
    /// Only what would be there: a dry run, or an object that has gone with its last finalizer.
    Value(Value),
    /// There is no such object, and the change may create one.
    Absent,
}

/// A change of an object.
pub struct Change<'a> {
    /// `None` for the object itself.
    pub subresource: Option<Subresource>,
    pub options: &'a WriteOptions,
    /// The object must have this uid.
    pub uid: Option<String>,
    /// An absent object is to be created, by the caller.
    pub may_create: bool,
    /// The new object from the one that is there; may be called several times.
    pub make: &'a mut (dyn FnMut(&mut Call, &Value) -> Result<Value, Status> + Send),
}

/// # Errors
/// The change is refused: by what makes it, by the kind, by admission, or because the object is another by now.
pub async fn run(call: &mut Call, change: Change<'_>) -> Result<Updated, Status> {
    let (key, kind) = (call.key()?, Arc::clone(&call.served.kind));
    let server = Arc::clone(&call.server);
    let store = server.store().clone();
    let read =
        async |freshness| store.get(&key, freshness).await.map_err(|error| storage::read_failed(&error));
    let Change { subresource, options, uid, may_create, make } = change;
    // What is at hand is usually the latest; if it is not, etcd says so.
    let (mut current, mut latest) = (read(Freshness::Any).await?, false);
    let mut charged = false;
    let begin = Instant::now();
    loop {
        let Some(stored) = current.clone() else {
            if latest {
                return if may_create { Ok(Updated::Absent) } else { Err(call.not_found()) };
            }
            (current, latest) = (read(Freshness::Latest).await?, true);
            continue;
        };
        let attempt = attempt(call, &key, &stored, subresource, options, uid.as_deref(), make);
        let outcome = Box::pin(attempt).await;
        let outcome = match outcome {
            Err(refused) if !latest => {
                // Perhaps only what was at hand is too old for it.
                latest = true;
                let fresh = read(Freshness::Latest).await?;
                if fresh.as_ref().map(Stored::revision) == Some(stored.revision()) {
                    return Err(refused);
                }
                current = fresh;
                continue;
            }
            other => other?,
        };
        let written = match outcome {
            Attempt::Same if !latest => {
                // It is known to be the same only as of the latest version.
                latest = true;
                let fresh = read(Freshness::Latest).await?;
                if fresh.as_ref().map(Stored::revision) == Some(stored.revision()) {
                    return Ok(Updated::Written { stored, changed: false });
                }
                current = fresh;
                continue;
            }
            Attempt::Same => return Ok(Updated::Written { stored, changed: false }),
            Attempt::Dry(mut object) => {
                let write = Write { operation: Operation::Update, subresource, dry_run: true };
                quota::charge_update(call, &write, &mut object, &stored).await?;
                let json = call.server.parts.json_storage;
                return Ok(Updated::Value(as_if_stored(&call.served, &object, json)?));
            }
            Attempt::Remove(object) => match store.remove(&key, stored.revision()).await {
                Ok(_) => {
                    if admit::allocates(&kind) {
                        server.parts.services.release(&server.memory, &object).await;
                    }
                    return Ok(Updated::Value(object));
                }
                Err(error) => Err(error),
            },
            Attempt::Put(bytes, mut object, reserved) => {
                if !std::mem::replace(&mut charged, true) {
                    let write = Write { operation: Operation::Update, subresource, dry_run: false };
                    let admitted = quota::charge_update(call, &write, &mut object, &stored).await;
                    if let Err(refused) = admitted {
                        give_back(reserved).await;
                        return Err(refused);
                    }
                }
                let ttl = admit::ttl(&kind, &object);
                let first = store.replace(&key, stored.revision(), bytes, ttl).await;
                let first = match first {
                    Err(error) if storage::is_too_large(&error) => {
                        managed::forget(&mut object);
                        let bytes = for_storage(&call.served, &object, call.server.parts.json_storage);
                        store.replace(&key, stored.revision(), bytes, ttl).await
                    }
                    other => other,
                };
                match (&first, reserved) {
                    (Ok(_), Some(reserved)) => reserved.written().await,
                    (_, reserved) => give_back(reserved).await,
                }
                first
            }
        };
        match written {
            Ok(stored) => return Ok(Updated::Written { stored, changed: true }),
            Err(WriteError::Conflict { current: found }) if begin.elapsed() < call.server.longest() => {
                (current, latest) = (found, true);
            }
            Err(error) => return Err(storage::write_failed(&kind, &call.resource.name, &error)),
        }
    }
}

async fn give_back(reserved: Option<Box<Reserved>>) {
    if let Some(reserved) = reserved {
        reserved.give_back().await;
    }
}

enum Attempt {
    Same,
    Dry(Value),
    /// The object has lost its last finalizer, and was to be deleted.
    Remove(Value),
    Put(bytes::Bytes, Value, Option<Box<Reserved>>),
}

async fn attempt(
    call: &mut Call,
    key: &str,
    stored: &Stored,
    subresource: Option<Subresource>,
    options: &WriteOptions,
    uid: Option<&str>,
    make: &mut (dyn FnMut(&mut Call, &Value) -> Result<Value, Status> + Send),
) -> Result<Attempt, Status> {
    let (kind, name) = (Arc::clone(&call.served.kind), call.resource.name.clone());
    let old = decode(&call.served, stored)?;
    let own_uid = edit::text(&old, &["metadata", "uid"]);
    if let Some(uid) = uid.filter(|uid| *uid != own_uid) {
        return Err(refusal::conflict(&kind, &name, &storage::precondition_failed(key, "UID", uid, own_uid)));
    }
    let mut new = make(call, &old)?;
    let mut reserved = None;
    let write = Write { operation: Operation::Update, subresource, dry_run: options.dry_run };
    if subresource == Some(Subresource::Binding) {
        // A binding writes what no update of a pod may change, and has been checked by itself.
        check_version(call, &mut new, stored)?;
    } else {
        admit::mutate(call, &write, &mut new, Some(&old)).await?;
        call.warn(system::dedup_owners(&mut new, true));
        check_version(call, &mut new, stored)?;
        if admit::allocates(&kind) && subresource.is_none() {
            let server = Arc::clone(&call.server);
            let (memory, now) = (&server.memory, call.now);
            let asked = Asked { kind: &kind, memory, now, dry_run: options.dry_run };
            reserved =
                Some(Box::new(Box::pin(server.parts.services.prepare(asked, &mut new, Some(&old))).await?));
        }
        let admitted = admit_update(call, &write, &mut new, &old).await;
        if let Err(refused) = admitted {
            give_back(reserved).await;
            return Err(refused);
        }
    }
    if deletion::ends_with_update(&kind, &new, &old) {
        return Ok(if options.dry_run { Attempt::Dry(new) } else { Attempt::Remove(new) });
    }
    if options.dry_run {
        return Ok(Attempt::Dry(new));
    }
    let json = call.server.parts.json_storage;
    let bytes = for_storage(&call.served, &new, json);
    if bytes == *stored.bytes() {
        return Ok(Attempt::Same);
    }
    Ok(Attempt::Put(bytes, new, reserved))
}

/// What follows the allocation: what the kind and admission say.
async fn admit_update(call: &mut Call, write: &Write, new: &mut Value, old: &Value) -> Result<(), Status> {
    let kind = Arc::clone(&call.served.kind);
    let warnings = lifecycle::before_update(&kind, new, old, &call.context(write.subresource))?;
    call.warn(warnings);
    managed::keep_times(new, old);
    admit::validate(call, write, new, Some(old)).await
}

/// The client's version, if it says one, must be that of the object. Without one the update is for whatever is there.
fn check_version(call: &Call, new: &mut Value, stored: &Stored) -> Result<(), Status> {
    let (kind, name) = (&call.served.kind, &call.resource.name);
    let wanted = match edit::text(new, &["metadata", "resourceVersion"]) {
        "" => 0,
        text => version(text).map_err(|why| {
            let why = why.rsplit_once(": strconv.").map_or(why.as_str(), |(_, rest)| rest);
            refusal::unknown(format!("strconv.{why}"))
        })?,
    };
    if wanted == 0 {
        if kind.traits.needs_resource_version {
            use control_core::field::{FieldError, Path};
            let path = Path::new("metadata").child("resourceVersion");
            let fault = FieldError::invalid(&path, &0.into(), "must be specified for an update");
            return Err(refusal::invalid_kind(&kind.group, &kind.plural, name, &[fault]));
        }
        if let Some(metadata) = edit::child(new, "metadata") {
            edit::set(metadata, "resourceVersion", stored.revision().to_string());
        }
        return Ok(());
    }
    if i64::try_from(wanted) != Ok(stored.revision()) {
        return Err(refusal::conflict(kind, name, refusal::MODIFIED));
    }
    Ok(())
}
