//! What is in storage, and how long etcd takes.

use std::time::Duration;

use control_store::Store;
use telemetry::metrics::Registry;
use telemetry::metrics::metrics::counter::Counter;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::metrics::metrics::histogram::Histogram;

use super::requests::SECONDS;
use crate::registry::Registry as Kinds;

type Asked = [(&'static str, String); 3];

type OfKind = [(&'static str, String); 2];

type One = [(&'static str, String); 1];

/// The metrics of storage.
#[derive(Clone, Debug)]
pub struct Storage {
    /// Objects by the kind's whole name, and by group and resource.
    objects: Family<One, Gauge>,
    resources: Family<OfKind, Gauge>,
    size: Family<One, Gauge>,
    ports_taken: Gauge,
    ports_free: Gauge,
    durations: Family<Asked, Histogram, fn() -> Histogram>,
    requests: Family<Asked, Counter>,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            objects: Family::default(),
            resources: Family::default(),
            size: Family::default(),
            ports_taken: Gauge::default(),
            ports_free: Gauge::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            requests: Family::default(),
        }
    }
}

impl Storage {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Objects in storage, by resource";
        registry.register("apiserver_storage_objects", help, Family::clone(&self.objects));
        registry.register("apiserver_resource_objects", help, Family::clone(&self.resources));
        let help = "Bytes of etcd's database, as its member says it";
        registry.register("apiserver_storage_size_bytes", help, Family::clone(&self.size));
        for (own, help, gauge) in [
            ("allocated", "Node ports that services have", &self.ports_taken),
            ("available", "Node ports that services may still get", &self.ports_free),
        ] {
            let name = format!("kube_apiserver_nodeport_allocator_{own}_ports");
            registry.register(name, help, gauge.clone());
        }
        let help = "Time that etcd took, by operation and resource";
        registry.register("etcd_request_duration_seconds", help, self.durations.clone());
        registry.register("etcd_requests", "Questions to etcd", Family::clone(&self.requests));
    }

    /// So many node ports are taken, of all that there are.
    pub fn node_ports(&self, taken: usize, all: usize) {
        let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
        self.ports_taken.set(count(taken));
        self.ports_free.set(count(all.saturating_sub(taken)));
    }

    /// Counts what there is at this moment. Kinds that are kept out of memory are not counted.
    pub async fn look(&self, kinds: &Kinds, store: &Store) {
        for served in kinds.table().kinds() {
            if served.kind.traits.only_create || store.is_direct(&served.prefix) {
                continue;
            }
            let count = i64::try_from(store.peek_all(&served.prefix).count()).unwrap_or(i64::MAX);
            self.objects.get_or_create(&[("resource", served.kind.qualified())]).set(count);
            let (group, resource) = (served.kind.group.to_string(), served.kind.plural.to_string());
            self.resources.get_or_create(&[("group", group), ("resource", resource)]).set(count);
        }
        // Without an answer the last one stays.
        if let Some(size) = store.size().await {
            self.size.get_or_create(&[("storage_cluster_id", "etcd-0".to_owned())]).set(size);
        }
    }

    /// etcd was asked to do something to a key, or to read what keys begin with.
    pub fn asked(&self, kinds: &Kinds, operation: &'static str, key: &str, took: Duration) {
        let table = kinds.table();
        let of = table.kinds().find(|served| key.starts_with(served.prefix.as_str()));
        let (group, resource) = of.map_or_else(
            // What is no kind's: a server's note, the map of node ports.
            || (String::new(), key.split('/').next().unwrap_or_default().to_owned()),
            |served| (served.kind.group.to_string(), served.kind.plural.to_string()),
        );
        let labels = [("operation", operation.to_owned()), ("group", group), ("resource", resource)];
        self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        self.requests.get_or_create(&labels).inc();
    }
}
