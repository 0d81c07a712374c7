//! What the proxy tells Prometheus: kube-proxy's names, labels and buckets, and two things that kube-proxy lacks.
//!
//! Names of kube-proxy 1.36 (pkg/proxy/metrics/metrics.go) begin with `kubeproxy_`, ours with `weft_proxy_`. Metrics
//! of a mode that is not in use are there without values. The label `ip_family` is `IPv4` or `IPv6`.
//! Nothing here reads the kernel, but for the counters of services, which are asked for at each scrape.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use proxy_core::names::{Family as IpFamily, PortName};
use telemetry::metrics::Registry;
use telemetry::metrics::collector::Collector;
use telemetry::metrics::encoding::{DescriptorEncoder, EncodeMetric};
use telemetry::metrics::metrics::MetricType;
use telemetry::metrics::metrics::counter::{ConstCounter, Counter};
use telemetry::metrics::metrics::family::{Family, MetricConstructor};
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::metrics::metrics::histogram::Histogram;

type Label = [(&'static str, &'static str); 1];
type Labels = [(&'static str, &'static str); 2];
type Times = Family<Label, Histogram, Buckets>;

/// A gauge of seconds since 1970, with their fractions.
type Clock = Gauge<f64, std::sync::atomic::AtomicU64>;

/// What one pass over a family's tables was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// Everything was written or compared.
    Full,
    /// Only what changed.
    Partial,
}

/// What was counted for one port of a Service since its rules are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceCount {
    pub family: IpFamily,
    pub port: PortName,
    /// Connections (of UDP: flows) that were sent to an endpoint.
    pub connections: u64,
}

/// Reads all counters of services; called once for each scrape, on a thread that may block.
pub type ServiceCounts = Box<dyn Fn() -> Vec<ServiceCount> + Send + std::marker::Sync>;

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
    iptables_restore_failures: Family<Label, Counter>,
    iptables_partial_restore_failures: Family<Label, Counter>,
    iptables_rules: Family<Labels, Gauge>,
    iptables_rules_last: Family<Labels, Gauge>,
    nftables_sync_failures: Family<Label, Counter>,
    nftables_cleanup_failures: Family<Label, Counter>,
    conntrack: Times,
    conntrack_deleted: Family<Label, Counter>,
    registry: Arc<Mutex<Registry>>,
}

/// Which buckets a histogram has.
#[derive(Clone, Copy, Debug)]
enum Buckets {
    /// A pass: 1 ms to 16 s, doubling.
    Sync,
    /// From a change of a pod to the kernel: kube-proxy's, up to five minutes.
    Programming,
    /// From the arrival of a change to the kernel: 100 µs to 3.3 s, doubling.
    Change,
}

impl Buckets {
    fn bounds(self) -> Vec<f64> {
        let doubling = |first: f64, count: i32| (0..count).map(move |nth| first * 2f64.powi(nth)).collect();
        match self {
            Buckets::Sync => doubling(0.001, 15),
            Buckets::Change => doubling(0.000_1, 16),
            Buckets::Programming => [0.25, 0.5]
                .into_iter()
                .chain((1..60).map(f64::from))
                .chain((60..120).step_by(5).map(f64::from))
                .chain((120..=300).step_by(30).map(f64::from))
                .collect(),
        }
    }
}

impl MetricConstructor<Histogram> for Buckets {
    fn new_metric(&self) -> Histogram {
        Histogram::new(self.bounds())
    }
}

const fn of(family: IpFamily) -> Label {
    [("ip_family", name(family))]
}

const fn name(family: IpFamily) -> &'static str {
    match family {
        IpFamily::V4 => "IPv4",
        IpFamily::V6 => "IPv6",
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// All at zero.
    pub fn new() -> Self {
        let times = Times::new_with_constructor;
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
            iptables_restore_failures: Family::default(),
            iptables_partial_restore_failures: Family::default(),
            iptables_rules: Family::default(),
            iptables_rules_last: Family::default(),
            nftables_sync_failures: Family::default(),
            nftables_cleanup_failures: Family::default(),
            conntrack: times(Buckets::Sync),
            conntrack_deleted: Family::default(),
            registry: Arc::default(),
        };
        metrics.with_registry(|registry| metrics.register(registry));
        metrics
    }

    /// The text adds `_total` to the names of counters.
    fn register(&self, root: &mut Registry) {
        let to = root.sub_registry_with_prefix("kubeproxy");
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
            "sync_proxy_rules_iptables_restore_failures",
            "Failures of iptables-restore",
            self.iptables_restore_failures.clone(),
        );
        to.register(
            "sync_proxy_rules_iptables_partial_restore_failures",
            "Failures of iptables-restore in a partial sync",
            self.iptables_partial_restore_failures.clone(),
        );
        to.register(
            "sync_proxy_rules_iptables_total",
            "iptables rules of this proxy",
            self.iptables_rules.clone(),
        );
        to.register(
            "sync_proxy_rules_iptables_last",
            "iptables rules written by the last sync",
            self.iptables_rules_last.clone(),
        );
        to.register(
            "sync_proxy_rules_nftables_sync_failures",
            "Failures of nftables syncs",
            self.nftables_sync_failures.clone(),
        );
        to.register(
            "sync_proxy_rules_nftables_cleanup_failures",
            "Failures to remove what is not used any more",
            self.nftables_cleanup_failures.clone(),
        );
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
        self.iptables_restore_failures.get_or_create(&of(family)).inc();
        if kind == Sync::Partial {
            self.iptables_partial_restore_failures.get_or_create(&of(family)).inc();
        }
    }

    /// Rules of ours in a table (`nat`, `filter`), and how many of them the last sync wrote.
    pub fn iptables_rules(&self, family: IpFamily, table: &'static str, all: usize, last: usize) {
        let labels = [("table", table), ("ip_family", name(family))];
        self.iptables_rules.get_or_create(&labels).set(all as i64);
        self.iptables_rules_last.get_or_create(&labels).set(last as i64);
    }

    /// An nftables transaction failed.
    pub fn nftables_failed(&self, family: IpFamily) {
        self.nftables_sync_failures.get_or_create(&of(family)).inc();
    }

    /// Removing what nftables does not need any more failed.
    pub fn nftables_cleanup_failed(&self, family: IpFamily) {
        self.nftables_cleanup_failures.get_or_create(&of(family)).inc();
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

struct Services(ServiceCounts);

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Services")
    }
}

impl Collector for Services {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let counts = (self.0)();
        if counts.is_empty() {
            return Ok(());
        }
        let mut descriptor = encoder.encode_descriptor(
            "weft_proxy_service_connections",
            "Connections that were sent to an endpoint, by port of a service",
            None,
            MetricType::Counter,
        )?;
        for count in counts {
            let service = &count.port.service;
            let labels = [
                ("namespace", &*service.namespace),
                ("service", &*service.name),
                ("port", &*count.port.port),
                ("protocol", count.port.protocol.as_str()),
                ("ip_family", name(count.family)),
            ];
            let metric = descriptor.encode_family(&labels)?;
            ConstCounter::new(count.connections).encode(metric)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proxy_core::names::{Protocol, ServiceName};

    #[test]
    fn names_labels_and_buckets_are_kube_proxys() {
        let metrics = Metrics::new();
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
        metrics.iptables_rules(v4, "nat", 50, 3);
        metrics.nftables_failed(v4);
        metrics.nftables_cleanup_failed(v4);
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
            "kubeproxy_sync_proxy_rules_nftables_cleanup_failures_total{ip_family=\"IPv4\"} 1",
            "kubeproxy_conntrack_reconciler_sync_duration_seconds_count{ip_family=\"IPv4\"} 1",
            "kubeproxy_conntrack_reconciler_deleted_entries_total{ip_family=\"IPv4\"} 7",
            "weft_proxy_change_to_kernel_seconds_bucket{le=\"0.0016\",ip_family=\"IPv4\"} 1",
        ] {
            assert!(text.contains(line), "{line} is not in\n{text}");
        }
        assert_eq!(Buckets::Programming.bounds().len(), 80);
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
