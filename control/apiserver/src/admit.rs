//! The station of admission: the chain of plugins around a write.
//!
//! Owns: what plugins see of the request and of the objects in memory. What they decide is in `control_core::admission`.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use apiclient_core::wire::Status;
use control_core::admission::{AdmissionRequest, Notes, Objects, Operation, World};
use control_core::kind::{Kind, Subresource};
use control_store::{Snapshot, Stored};
use serde_json::Value;

use crate::call::Call;
use crate::encoding::object;
use crate::ids;
use crate::registry::Served;
use crate::server::Server;
use crate::subresources;

/// A write on its way through the chain.
#[derive(Clone, Copy, Debug)]
pub struct Write {
    pub operation: Operation,
    pub subresource: Option<Subresource>,
    pub dry_run: bool,
}

/// Lets every plugin fill in. `old` is what is there, for updates and deletions.
///
/// # Errors
/// A plugin refuses.
pub fn mutate(call: &mut Call, write: &Write, object: &mut Value, old: Option<&Value>) -> Result<(), Status> {
    run(call, write, object, old, true)
}

/// Lets every plugin look at what would be written.
///
/// # Errors
/// A plugin refuses.
pub fn validate(
    call: &mut Call,
    write: &Write,
    object: &mut Value,
    old: Option<&Value>,
) -> Result<(), Status> {
    run(call, write, object, old, false)
}

fn run(
    call: &mut Call,
    write: &Write,
    object: &mut Value,
    old: Option<&Value>,
    mutate: bool,
) -> Result<(), Status> {
    let server = Arc::clone(&call.server);
    if server.parts.admission.is_empty() {
        return Ok(());
    }
    let served = Arc::clone(&call.served);
    let (kind, mut notes) = (&*served.kind, Notes::default());
    let objects = InMemory { server: &server };
    let world = World { objects: &objects, authorizer: &*server.parts.authorizer, random: ids::random() };
    let user = Arc::clone(&call.user);
    let is_namespace = kind.group.is_empty() && kind.plural == "namespaces";
    let namespace = match is_namespace {
        true => call.resource.name.clone(),
        false => call.resource.namespace.clone(),
    };
    let mut request = AdmissionRequest {
        group: &kind.group,
        version: &kind.stored().name,
        resource: &kind.plural,
        kind: &kind.kind,
        subresource: write.subresource.map_or("", subresources::name),
        operation: write.operation,
        namespace: &namespace,
        name: &call.resource.name,
        object,
        old,
        user: &user,
        dry_run: write.dry_run,
        options: &Value::Null,
    };
    for plugin in &server.parts.admission {
        match mutate {
            true => plugin.mutate(&mut request, &world)?,
            false => plugin.validate(&request, &world, &mut notes)?,
        }
    }
    call.warn(notes.warnings);
    Ok(())
}

/// The objects in memory, for plugins.
struct InMemory<'a> {
    server: &'a Arc<Server>,
}

impl fmt::Debug for InMemory<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("InMemory")
    }
}

impl Objects for InMemory<'_> {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.server.peek(resource, namespace, name)
    }

    fn list(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        self.server.peek_all(resource, namespace)
    }
}

impl Server {
    /// An object as it is in memory at this moment. `resource` is `pods`, `deployments.apps`; the namespace is empty for
    /// what is in none.
    pub fn peek(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let table = self.parts.registry.table();
        let served = table.by_qualified(resource)?;
        let key = served.key(namespace, name).ok()?;
        let stored = self.parts.store.peek(&key)?;
        shared(served, &stored)
    }

    /// All objects as they are in memory at this moment, in the order of their names; of all namespaces for the empty one.
    pub fn peek_all(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        let table = self.parts.registry.table();
        let Some(served) = table.by_qualified(resource) else { return Vec::new() };
        let prefix = if served.kind.namespaced { served.prefix_of(namespace) } else { served.prefix.clone() };
        let snapshot: Snapshot = self.parts.store.peek_all(&prefix);
        snapshot.iter().filter_map(|stored| shared(served, stored)).collect()
    }
}

/// The decoded object, once for all who ask for it while its version lives.
fn shared(served: &Served, stored: &Stored) -> Option<Arc<Value>> {
    let kept = stored.derived(|| object::decode(served, stored).ok().map(Arc::new));
    kept.clone()
}

/// After which time an object goes by itself.
pub fn ttl(kind: &Kind, _object: &Value) -> Option<Duration> {
    kind.traits.ttl.map(|seconds| Duration::from_secs(u64::from(seconds)))
}
