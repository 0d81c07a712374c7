//! The station of admission: the chain of plugins around a write.
//!
//! Owns: what plugins see of the request and of the objects in memory. What they decide is in `control_core::admission`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use apiclient_core::wire::Status;
use control_core::access::Authorize;
use control_core::admission::{AdmissionRequest, Notes, Operation, World};
use control_core::kind::{Kind, Subresource};
use control_core::rbac::escalation;
use serde_json::Value;

use crate::call::Call;
use crate::metrics::Step;
use crate::{ids, storage};

/// A write on its way through the chain.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    pub operation: Operation,
    pub subresource: Option<Subresource>,
    pub dry_run: bool,
}

/// Lets every plugin fill in. `old` is what is there, for updates and deletions.
///
/// Plugins look things up in memory. What they miss there may have been written a moment ago through another server, so
/// a refusal stands only of a memory that has all that etcd has.
///
/// # Errors
/// A plugin refuses; or it would, and etcd is away.
pub async fn mutate(
    call: &mut Call,
    write: &Write,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    let seen = call.server.store().revision();
    let Err(refused) = run(call, write, object, old, true).await else { return Ok(()) };
    let now = call.server.store().latest().await.map_err(|error| storage::read_failed(&error))?;
    if now == seen { Err(refused) } else { run(call, write, object, old, true).await }
}

/// Lets every plugin look at what would be written.
///
/// # Errors
/// A plugin refuses.
pub async fn validate(
    call: &mut Call,
    write: &Write,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    run(call, write, object, old, false).await
}

async fn run(
    call: &mut Call,
    write: &Write,
    object: &mut Value,
    old: Option<&Value>,
    mutate: bool,
) -> Result<(), Status> {
    let server = Arc::clone(&call.server);
    let served = Arc::clone(&call.served);
    let (kind, random) = (&*served.kind, ids::random());
    let user = Arc::clone(&call.user);
    let is_namespace = kind.group.is_empty() && kind.plural == "namespaces";
    let namespace = match is_namespace {
        true => call.resource.name.clone(),
        false => call.resource.namespace.clone(),
    };
    let parts = &server.parts;
    // Where a webhook has to be asked, the chain of plugins runs again, over the object as it came.
    let came = parts.authorizer.asks().then(|| object.clone());
    let mut decide = |authorizer: &dyn Authorize| {
        if let Some(came) = &came {
            object.clone_from(came);
        }
        let world = World { objects: &server.memory, authorizer, random };
        let mut notes = Notes::default();
        let mut request = AdmissionRequest {
            group: &kind.group,
            version: &kind.stored().name,
            resource: &kind.plural,
            kind: &kind.kind,
            subresource: write.subresource.map_or("", Subresource::name),
            operation: write.operation,
            namespace: &namespace,
            name: &call.resource.name,
            object: &mut *object,
            old,
            user: &user,
            dry_run: write.dry_run,
            options: &Value::Null,
        };
        let (begin, metrics) = (Instant::now(), &server.metrics.access);
        let step = |refused| Step { operation: write.operation, mutates: mutate, refused };
        let mut last = begin;
        let looked = |plugin, refused| {
            let now = Instant::now();
            metrics.plugin(plugin, step(refused), now - std::mem::replace(&mut last, now));
        };
        let outcome = match mutate {
            true => parts.admission.mutate(&mut request, &world, looked),
            false => parts.admission.validate(&request, &world, &mut notes, looked),
        };
        metrics.step(step(outcome.is_err()), begin.elapsed());
        outcome?;
        if mutate {
            // Where the original's storage has it: after all mutation, before validation.
            escalation::check(&request, authorizer, &*parts.access.rules)?;
        }
        Ok::<_, Status>(notes)
    };
    let notes = parts.authorizer.decide(&mut decide).await?;
    call.warn(notes.warnings);
    Ok(())
}

/// After which time an object goes by itself.
pub fn ttl(kind: &Kind, _object: &Value) -> Option<Duration> {
    kind.traits.ttl.map(|seconds| Duration::from_secs(u64::from(seconds)))
}

/// Objects of the kind get addresses and node ports of the cluster.
pub fn allocates(kind: &Kind) -> bool {
    kind.group.is_empty() && kind.plural == "services"
}
