//! What the proxy tells Prometheus: kube-proxy's names, labels and buckets, and two things that kube-proxy lacks.
//!
//! Names of kube-proxy 1.36 (pkg/proxy/metrics/metrics.go) begin with `kubeproxy_`, ours with `weft_proxy_`. Those
//! of one mode are there in that mode only. The label `ip_family` is `IPv4` or `IPv6`.
//! Nothing here reads the kernel, but for the counters of services, which are asked for at each scrape.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proxy_core::names::Family as IpFamily;
use telemetry::metrics::Registry;
use telemetry::metrics::metrics::counter::Counter;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::process;

mod build;
mod labels;
mod modes;
mod services;

use labels::{Buckets, Clock, Label, Labels, Times, name, of, times};
use services::Services;
pub use services::{ServiceCount, ServiceCounts};

/// What one pass over a family's tables was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Everything was written or compared.
    Full,
    /// Only what changed.
    Partial,
}

/// The proxy's counters. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    sync: Times,
    sync_full: Times,
    sync_partial: Times,
    last_sync: Family<Label, Clock>,
    last_queued: Family<Label, Clock>,
    programming: Times,
    change_to_kernel: Times,
    endpoint_changes: Counter,
    endpoint_changes_pending: Gauge,
    service_changes: Counter,
    service_changes_pending: Gauge,
    no_local_endpoints: Family<Labels, Gauge>,
    healthz: Family<Label, Counter>,
    livez: Family<Label, Counter>,
    iptables: modes::Iptables,
    nftables: modes::Nftables,
    conntrack: Times,
    conntrack_deleted: Family<Label, Counter>,
    registry: Arc<Mutex<Registry>>,
}

/// What the names of kube-proxy's own metrics begin with.
const KUBE_PROXY: &str = "kubeproxy";

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let metrics = Self {
            sync: times(Buckets::Sync),
            sync_full: times(Buckets::Sync),
            sync_partial: times(Buckets::Sync),
            last_sync: Family::default(),
            last_queued: Family::default(),
            programming: times(Buckets::Programming),
            change_to_kernel: times(Buckets::Change),
            endpoint_changes: Counter::default(),
            endpoint_changes_pending: Gauge::default(),
            service_changes: Counter::default(),
            service_changes_pending: Gauge::default(),
            no_local_endpoints: Family::default(),
            healthz: Family::default(),
            livez: Family::default(),
            iptables: modes::Iptables::default(),
            nftables: modes::Nftables::default(),
            conntrack: times(Buckets::Sync),
            conntrack_deleted: Family::default(),
            registry: Arc::default(),
        };
        metrics.with_registry(|registry| metrics.register(registry));
        metrics
    }

    /// The text adds `_total` to the names of counters.
    fn register(&self, root: &mut Registry) {
        process::register(root);
        build::register(root);
        let to = root.sub_registry_with_prefix(KUBE_PROXY);
        to.register("sync_proxy_rules_duration_seconds", "Time of a sync", self.sync.clone());
        to.register("sync_full_proxy_rules_duration_seconds", "Time of a full sync", self.sync_full.clone());
        to.register(
            "sync_partial_proxy_rules_duration_seconds",
            "Time of a partial sync",
            self.sync_partial.clone(),
        );
        to.register(
            "sync_proxy_rules_last_timestamp_seconds",
            "When a sync succeeded last",
            self.last_sync.clone(),
        );
        to.register(
            "sync_proxy_rules_last_queued_timestamp_seconds",
            "When a sync was asked for last",
            self.last_queued.clone(),
        );
        to.register(
            "network_programming_duration_seconds",
            "Time from the change of a pod or service to the rules",
            self.programming.clone(),
        );
        to.register(
            "sync_proxy_rules_endpoint_changes",
            "Changes of endpoints",
            self.endpoint_changes.clone(),
        );
        to.register(
            "sync_proxy_rules_endpoint_changes_pending",
            "Changes of endpoints that wait for a sync",
            self.endpoint_changes_pending.clone(),
        );
        to.register("sync_proxy_rules_service_changes", "Changes of services", self.service_changes.clone());
        to.register(
            "sync_proxy_rules_service_changes_pending",
            "Changes of services that wait for a sync",
            self.service_changes_pending.clone(),
        );
        to.register(
            "sync_proxy_rules_no_local_endpoints_total",
            "Services with a Local traffic policy and no endpoint here",
            self.no_local_endpoints.clone(),
        );
        to.register("proxy_healthz", "Answers of /healthz, by status", self.healthz.clone());
        to.register("proxy_livez", "Answers of /livez, by status", self.livez.clone());
        to.register(
            "conntrack_reconciler_sync_duration_seconds",
            "Time to find and delete stale conntrack entries",
            self.conntrack.clone(),
        );
        to.register(
            "conntrack_reconciler_deleted_entries",
            "Stale conntrack entries deleted",
            self.conntrack_deleted.clone(),
        );
        root.sub_registry_with_prefix("weft_proxy").register(
            "change_to_kernel_seconds",
            "Time from the arrival of a change to the kernel",
            self.change_to_kernel.clone(),
        );
    }

    /// Adds what only iptables mode has. To be called once.
    pub fn register_iptables(&self) {
        self.with_registry(|registry| self.iptables.register(registry.sub_registry_with_prefix(KUBE_PROXY)));
    }

    /// Adds what only nftables mode has. To be called once.
    pub fn register_nftables(&self) {
        self.with_registry(|registry| self.nftables.register(registry.sub_registry_with_prefix(KUBE_PROXY)));
    }

    /// Adds the counters of services, as `weft_proxy_service_connections_total`. To be called once.
    pub fn count_services(&self, counts: ServiceCounts) {
        self.with_registry(|registry| registry.register_collector(Box::new(Services(counts))));
    }

    /// A sync that succeeded.
    pub fn synced(&self, family: IpFamily, kind: Sync, took: Duration) {
        let kinds = match kind {
            Sync::Full => &self.sync_full,
            Sync::Partial => &self.sync_partial,
        };
        for times in [&self.sync, kinds] {
            times.get_or_create(&of(family)).observe(took.as_secs_f64());
        }
        self.last_sync.get_or_create(&of(family)).set(now());
    }

    /// A sync was asked for.
    pub fn queued(&self, family: IpFamily) {
        self.last_queued.get_or_create(&of(family)).set(now());
    }

    /// A change whose cause a slice dates is in the kernel. Once for each such slice, in the slice's family.
    pub fn programmed(&self, family: IpFamily, triggered: SystemTime) {
        let took = SystemTime::now().duration_since(triggered).unwrap_or_default();
        self.programming.get_or_create(&of(family)).observe(took.as_secs_f64());
    }

    /// A change is in the kernel, so long after the feed read it. Once for each change that mattered.
    pub fn applied(&self, family: IpFamily, since_arrival: Duration) {
        self.change_to_kernel.get_or_create(&of(family)).observe(since_arrival.as_secs_f64());
    }

    /// A slice changed.
    pub fn endpoint_change(&self) {
        self.endpoint_changes.inc();
        self.endpoint_changes_pending.inc();
    }

    /// A Service changed.
    pub fn service_change(&self) {
        self.service_changes.inc();
        self.service_changes_pending.inc();
    }

    /// Everything that changed is in the kernel.
    pub fn nothing_pending(&self) {
        self.endpoint_changes_pending.set(0);
        self.service_changes_pending.set(0);
    }

    /// How many services with that Local policy have no endpoint here.
    pub fn no_local_endpoints(&self, family: IpFamily, internal: usize, external: usize) {
        for (policy, count) in [("internal", internal), ("external", external)] {
            let labels = [("traffic_policy", policy), ("ip_family", name(family))];
            self.no_local_endpoints.get_or_create(&labels).set(count as i64);
        }
    }

    pub fn healthz(&self, code: u16) {
        self.healthz.get_or_create(&code_label(code)).inc();
    }

    pub fn livez(&self, code: u16) {
        self.livez.get_or_create(&code_label(code)).inc();
    }

    /// iptables-restore failed.
    pub fn iptables_failed(&self, family: IpFamily, kind: Sync) {
        self.iptables.restore_failures.get_or_create(&of(family)).inc();
        if kind == Sync::Partial {
            self.iptables.partial_restore_failures.get_or_create(&of(family)).inc();
        }
    }

    /// Rules of ours in a table (`nat`, `filter`), where they were counted, and how many of them the last sync wrote.
    pub fn iptables_rules(&self, family: IpFamily, table: &'static str, all: Option<usize>, last: usize) {
        let labels = [("table", table), ("ip_family", name(family))];
        if let Some(all) = all {
            self.iptables.rules.get_or_create(&labels).set(all as i64);
        }
        self.iptables.rules_last.get_or_create(&labels).set(last as i64);
    }

    /// An nftables transaction failed.
    pub fn nftables_failed(&self, family: IpFamily) {
        self.nftables.sync_failures.get_or_create(&of(family)).inc();
    }

    /// Stale conntrack entries were looked for.
    pub fn conntrack_cleaned(&self, family: IpFamily, took: Duration, deleted: u64) {
        self.conntrack.get_or_create(&of(family)).observe(took.as_secs_f64());
        self.conntrack_deleted.get_or_create(&of(family)).inc_by(deleted);
    }

    /// Everything, read now. Blocks where the counters of services do.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        self.with_registry(|registry| telemetry::metrics::encode(registry))
    }

    fn with_registry<T>(&self, work: impl FnOnce(&mut Registry) -> T) -> T {
        work(&mut self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn code_label(code: u16) -> Label {
    [("code", if code == 200 { "200" } else { "503" })]
}

fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_core::names::{PortName, Protocol, ServiceName};

    #[test]
    fn names_labels_and_buckets_are_kube_proxys() {
        let metrics = Metrics::new();
        metrics.register_iptables();
        metrics.register_nftables();
        let v4 = IpFamily::V4;
        metrics.synced(v4, Sync::Full, Duration::from_millis(3));
        metrics.synced(v4, Sync::Partial, Duration::from_millis(1));
        metrics.queued(v4);
        metrics.programmed(v4, SystemTime::now());
        metrics.applied(v4, Duration::from_micros(900));
        metrics.endpoint_change();
        metrics.service_change();
        metrics.no_local_endpoints(v4, 1, 2);
        metrics.healthz(200);
        metrics.livez(503);
        metrics.iptables_failed(v4, Sync::Partial);
        metrics.iptables_rules(v4, "nat", Some(50), 3);
        metrics.nftables_failed(v4);
        metrics.conntrack_cleaned(v4, Duration::from_millis(1), 7);
        let text = metrics.encode().expect("text");
        for line in [
            "kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 2",
            "kubeproxy_sync_proxy_rules_duration_seconds_bucket{le=\"16.384\",ip_family=\"IPv4\"} 2",
            "kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_partial_proxy_rules_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family=\"IPv4\"} ",
            "kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family=\"IPv4\"} ",
            "kubeproxy_network_programming_duration_seconds_bucket{le=\"0.25\",ip_family=\"IPv4\"} 1",
            "kubeproxy_network_programming_duration_seconds_bucket{le=\"115.0\",ip_family=\"IPv4\"} 1",
            "kubeproxy_network_programming_duration_seconds_bucket{le=\"300.0\",ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_total 1",
            "kubeproxy_sync_proxy_rules_endpoint_changes_pending 1",
            "kubeproxy_sync_proxy_rules_service_changes_total 1",
            "kubeproxy_sync_proxy_rules_service_changes_pending 1",
            "kubeproxy_sync_proxy_rules_no_local_endpoints_total{traffic_policy=\"external\",ip_family=\"IPv4\"} 2",
            "kubeproxy_proxy_healthz_total{code=\"200\"} 1",
            "kubeproxy_proxy_livez_total{code=\"503\"} 1",
            "kubeproxy_sync_proxy_rules_iptables_restore_failures_total{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_proxy_rules_iptables_partial_restore_failures_total{ip_family=\"IPv4\"} 1",
            "kubeproxy_sync_proxy_rules_iptables_total{table=\"nat\",ip_family=\"IPv4\"} 50",
            "kubeproxy_sync_proxy_rules_iptables_last{table=\"nat\",ip_family=\"IPv4\"} 3",
            "kubeproxy_sync_proxy_rules_nftables_sync_failures_total{ip_family=\"IPv4\"} 1",
            "kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 7",
            "weft_proxy_change_to_kernel_seconds_bucket{le=\"0.0016\",ip_family=\"IPv4\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(Buckets::Programming.bounds().len(), 80);
    }

    #[test]
    fn a_mode_that_is_not_in_use_has_no_metrics() {
        let metrics = Metrics::new();
        metrics.register_nftables();
        metrics.iptables_rules(IpFamily::V4, "nat", Some(50), 3);
        metrics.nftables_failed(IpFamily::V4);
        let text = metrics.encode().expect("text");
        assert!(!text.contains("iptables") && text.contains("nftables_sync_failures"), "{text}");
        for name in ["kubernetes_build_info{", "weft_build_info{", "process_open_fds "] {
            assert!(text.contains(name), "{name} is not in\n{text}");
        }
    }

    #[test]
    fn services_are_counted_when_somebody_asks() {
        let metrics = Metrics::new();
        let port = PortName {
            service: ServiceName::new("default", "web"),
            port: "http".into(),
            protocol: Protocol::Tcp,
        };
        metrics.count_services(Box::new(move || {
            vec![ServiceCount { family: IpFamily::V6, port: port.clone(), connections: 9 }]
        }));
        let text = metrics.encode().expect("text");
        let line = "weft_proxy_service_connections_total{namespace=\"default\",service=\"web\",port=\"http\",protocol=\"tcp\",ip_family=\"IPv6\"} 9";
        assert!(text.contains(line), "{text}");
    }
}
