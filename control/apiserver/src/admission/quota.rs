//! Charges the quotas of a namespace for a write: each status is replaced under the version that it was read at, and
//! looked at again where another writer was faster.

use std::time::{Duration, Instant};

use apiclient_core::wire::Status;
use control_core::admission::AdmissionRequest;
use control_core::admission::quota::{self, RESOURCE};
use control_core::kind::Subresource;
use control_core::{edit, refusal};
use control_store::{Freshness, Stored, WriteError};
use serde_json::Value;

use crate::admit::Write;
use crate::call::Call;
use crate::encoding::object::{decode, for_storage};
use crate::storage;
use crate::storage::memory::shared;

/// How long writers of one namespace may come between.
const LIMIT: Duration = Duration::from_secs(10);

/// `old` is what is there, for an update. A dry run charges nothing.
///
/// # Errors
/// 403: a quota is exceeded. 500: others write without end.
pub async fn charge(
    call: &Call,
    write: &Write,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let parts = &call.server.parts;
    let namespace = &call.resource.namespace;
    let table = parts.registry.table();
    let Some(served) = table.by_qualified(RESOURCE).cloned().filter(|_| parts.access.quota) else {
        return Ok(());
    };
    if namespace.is_empty() {
        return Ok(());
    }
    let prefix = served.prefix_of(namespace);
    let mut quotas: Vec<Stored> = parts.store.peek_all(&prefix).iter().cloned().collect();
    let (begin, mut latest) = (Instant::now(), false);
    while !quotas.is_empty() && begin.elapsed() < LIMIT {
        let read: Vec<_> = quotas.iter().filter_map(|stored| shared(&served, stored)).collect();
        let request = request(call, write, object, old);
        let charged = match quota::charge(&request, &read, call.now) {
            // Perhaps only what is in memory is too old.
            Err(_) if !latest => {
                latest = true;
                let fresh = parts.store.list(&prefix, Freshness::Latest).await;
                let fresh = fresh.map_err(|error| storage::read_failed(&error))?;
                let known: Vec<String> = quotas.iter().map(|one| one.key().to_owned()).collect();
                quotas =
                    fresh.iter().filter(|one| known.iter().any(|key| key == one.key())).cloned().collect();
                continue;
            }
            other => other?,
        };
        if write.dry_run {
            return Ok(());
        }
        quotas = replace(call, &served, &quotas, charged).await?;
    }
    if quotas.is_empty() { Ok(()) } else { Err(refusal::internal("resource quota evaluation timed out")) }
}

/// As [`charge`], for an update of an object that is stored.
///
/// # Errors
/// As [`charge`].
pub async fn charge_update(
    call: &Call,
    write: &Write,
    object: &mut Value,
    stored: &Stored,
) -> Result<(), Status> {
    let parts = &call.server.parts;
    let table = parts.registry.table();
    let quotas = table.by_qualified(RESOURCE).map(|served| served.prefix_of(&call.resource.namespace));
    let some = quotas.is_some_and(|prefix| parts.store.peek_all(&prefix).count() > 0);
    if !parts.access.quota || call.resource.namespace.is_empty() || !some {
        return Ok(());
    }
    let old = decode(&call.served, stored)?;
    charge(call, write, object, Some(&old)).await
}

/// Writes what was charged; gives the quotas that somebody else changed meanwhile, as they are now.
async fn replace(
    call: &Call,
    served: &crate::registry::Served,
    quotas: &[Stored],
    charged: Vec<Value>,
) -> Result<Vec<Stored>, Status> {
    let parts = &call.server.parts;
    let mut again = Vec::new();
    for quota in charged {
        let name = edit::text(&quota, &["metadata", "name"]);
        let key = served.key(&call.resource.namespace, name)?;
        let Some(before) = quotas.iter().find(|stored| stored.key() == key) else { continue };
        let bytes = for_storage(served, &quota, parts.json_storage);
        match parts.store.replace(&key, before.revision(), bytes, None).await {
            Ok(_) | Err(WriteError::Conflict { current: None }) => {}
            Err(WriteError::Conflict { current: Some(now) }) => again.push(now),
            Err(error) => return Err(storage::write_failed(&served.kind, name, &error)),
        }
    }
    Ok(again)
}

fn request<'a>(
    call: &'a Call,
    write: &Write,
    object: &'a mut Value,
    old: Option<&'a Value>,
) -> AdmissionRequest<'a> {
    let kind = &*call.served.kind;
    AdmissionRequest {
        group: &kind.group,
        version: &kind.stored().name,
        resource: &kind.plural,
        kind: &kind.kind,
        subresource: write.subresource.map_or("", Subresource::name),
        operation: write.operation,
        namespace: &call.resource.namespace,
        name: &call.resource.name,
        object,
        old,
        user: &call.user,
        dry_run: write.dry_run,
        options: &Value::Null,
    }
}
