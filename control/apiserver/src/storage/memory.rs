//! Objects as they are in memory at this moment, decoded, for decisions that may be some milliseconds behind: admission,
//! tokens, addresses.

use std::sync::Arc;

use control_core::admission::Objects;
use control_store::{Store, Stored};
use serde_json::Value;

use crate::encoding::object;
use crate::registry::{Registry, Served};

/// What the server's view holds.
#[derive(Clone, Debug)]
pub struct Memory {
    pub store: Store,
    pub registry: Arc<Registry>,
}

impl Objects for Memory {
    fn get(&self, resource: &str, namespace: &str, name: &str) -> Option<Arc<Value>> {
        let table = self.registry.table();
        let served = table.by_qualified(resource)?;
        let stored = self.store.peek(&served.key(namespace, name).ok()?)?;
        shared(served, &stored)
    }

    fn list(&self, resource: &str, namespace: &str) -> Vec<Arc<Value>> {
        let table = self.registry.table();
        let Some(served) = table.by_qualified(resource) else { return Vec::new() };
        let namespace = if served.kind.namespaced { namespace } else { "" };
        let snapshot = self.store.peek_all(&served.prefix_of(namespace));
        snapshot.iter().filter_map(|stored| shared(served, stored)).collect()
    }
}

/// The decoded object, once for all who ask for it while its version lives.
pub fn shared(served: &Served, stored: &Stored) -> Option<Arc<Value>> {
    let kept = stored.derived(|| object::decode(served, stored).ok().map(Arc::new));
    kept.clone()
}
