//! What flanneld tells Prometheus.
//!
//! Names begin with `weft_flanneld_`; beside them are those of every process (`process_*`). The label `peer` is a
//! peer's public address, so there are as many series as there are leases; every other label has a small fixed set of
//! values.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use telemetry::metrics::Registry;
use telemetry::metrics::collector::Collector;
use telemetry::metrics::encoding::{DescriptorEncoder, EncodeMetric};
use telemetry::metrics::metrics::MetricType;
use telemetry::metrics::metrics::counter::{ConstCounter, Counter};
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::{ConstGauge, Gauge};
use telemetry::metrics::metrics::histogram::{Histogram, exponential_buckets};
use telemetry::metrics::registry::Unit;
use telemetry::process;

use crate::peers::Peers;
use crate::traffic::Traffic;

type Label = [(&'static str, String); 1];

/// The daemon's own counters. Clones share them.
#[derive(Clone)]
pub struct Metrics {
    passes: Counter,
    pass_seconds: Histogram,
    writes: Family<Label, Counter>,
    failures: Family<Label, Counter>,
    firewall_repairs: Counter,
    peers: Gauge,
    ignored: Gauge,
    lease_expiry: Gauge,
    lease_renewals: Family<Label, Counter>,
    info: Family<[(&'static str, String); 2], Gauge>,
    registry: Arc<Mutex<Registry>>,
}

impl Metrics {
    /// All at zero, with the peers' traffic and round trips read when somebody asks.
    pub fn new(peers: Peers) -> Self {
        let mut root = Registry::default();
        process::register(&mut root);
        let registry = root.sub_registry_with_prefix("weft_flanneld");
        let metrics = Self {
            passes: Counter::default(),
            pass_seconds: Histogram::new(exponential_buckets(0.000_5, 2.0, 14)),
            writes: Family::default(),
            failures: Family::default(),
            firewall_repairs: Counter::default(),
            peers: Gauge::default(),
            ignored: Gauge::default(),
            lease_expiry: Gauge::default(),
            lease_renewals: Family::default(),
            info: Family::default(),
            registry: Arc::default(),
        };
        registry.register("passes", "Looks at the kernel's tables", metrics.passes.clone());
        registry.register_with_unit(
            "pass_duration",
            "Time of a look with its writes",
            Unit::Seconds,
            metrics.pass_seconds.clone(),
        );
        registry.register("table_writes", "Writes to the kernel's tables, by kind", metrics.writes.clone());
        registry.register("table_write_failures", "Refused writes, by kind", metrics.failures.clone());
        registry.register(
            "firewall_writes",
            "Times that the firewall rules were written",
            metrics.firewall_repairs.clone(),
        );
        registry.register("peers", "Leases of other nodes in use", metrics.peers.clone());
        registry.register(
            "ignored_leases",
            "Leases of other nodes that are of no use here",
            metrics.ignored.clone(),
        );
        registry.register(
            "lease_expiry_timestamp_seconds",
            "When this node's lease ends (Unix time); 0 for a reservation",
            metrics.lease_expiry.clone(),
        );
        registry.register(
            "lease_renewals",
            "Renewals of the lease, by outcome",
            metrics.lease_renewals.clone(),
        );
        registry.register("datapath_info", "Backend and data path in use", metrics.info.clone());
        registry.register_collector(Box::new(PeerCollector(peers)));
        *lock(&metrics.registry) = root;
        metrics
    }

    /// The text for `/metrics`.
    pub fn encode(&self) -> Result<String, fmt::Error> {
        telemetry::metrics::encode(&lock(&self.registry))
    }

    pub fn pass(&self, took: Duration) {
        self.passes.inc();
        self.pass_seconds.observe(took.as_secs_f64());
    }

    pub fn write(&self, kind: &'static str, refused: bool) {
        let family = if refused { &self.failures } else { &self.writes };
        family.get_or_create(&[("kind", kind.to_owned())]).inc();
    }

    pub fn firewall_written(&self) {
        self.firewall_repairs.inc();
    }

    pub fn leases(&self, peers: usize, ignored: usize) {
        self.peers.set(peers as i64);
        self.ignored.set(ignored as i64);
    }

    /// `left`: until the lease ends; `None` for a reservation.
    pub fn lease_ends(&self, left: Option<Duration>) {
        let end = left.and_then(|left| (SystemTime::now() + left).duration_since(UNIX_EPOCH).ok());
        self.lease_expiry.set(end.map_or(0, |end| end.as_secs() as i64));
    }

    pub fn renewal(&self, outcome: &'static str) {
        self.lease_renewals.get_or_create(&[("outcome", outcome.to_owned())]).inc();
    }

    pub fn datapath(&self, backend: &'static str, datapath: &str) {
        self.info.clear();
        self.info.get_or_create(&[("backend", backend.to_owned()), ("datapath", datapath.to_owned())]).set(1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One figure of a peer's traffic.
type Column = fn(&Traffic) -> u64;

/// Reads the peers when somebody asks, and not before.
#[derive(Debug)]
struct PeerCollector(Peers);

impl Collector for PeerCollector {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let report = self.0.report();
        let columns: [(&str, &str, Column); 4] = [
            ("peer_tx_packets", "Packets sent to a peer", |traffic| traffic.tx_packets),
            ("peer_tx_bytes", "Bytes of inner packets sent to a peer", |traffic| traffic.tx_bytes),
            ("peer_rx_packets", "Packets taken from a peer", |traffic| traffic.rx_packets),
            ("peer_rx_bytes", "Bytes of inner packets taken from a peer", |traffic| traffic.rx_bytes),
        ];
        for (name, help, value) in columns {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            for (peer, traffic) in &report.traffic {
                let label = [("peer", peer.to_string())];
                ConstCounter::new(value(traffic)).encode(family.encode_family(&label)?)?;
            }
        }
        let by_reason = |encoder: &mut DescriptorEncoder<'_>, name, help, counts: Vec<(&str, u64)>| {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Counter)?;
            counts.into_iter().try_for_each(|(reason, count)| {
                ConstCounter::new(count).encode(family.encode_family(&[("reason", reason)])?)
            })
        };
        let drops = report.drops.iter().map(|(reason, count)| (reason.as_str(), *count)).collect();
        by_reason(&mut encoder, "dropped_packets", "Packets dropped by the udp data path, by reason", drops)?;
        let to_user = report.to_user.iter().map(|(reason, count)| (*reason, *count)).collect();
        let help = "Packets that the packet programs left to user space, by reason";
        by_reason(&mut encoder, "user_space_packets", help, to_user)?;
        let mut rtt = encoder.encode_descriptor(
            "peer_round_trip",
            "Last round trip to a peer",
            Some(&Unit::Seconds),
            MetricType::Gauge,
        )?;
        for (peer, time) in &report.round_trips {
            let label = [("peer", peer.to_string())];
            ConstGauge::new(time.as_secs_f64()).encode(rtt.encode_family(&label)?)?;
        }
        let mut lost = encoder.encode_descriptor(
            "peer_probes_lost",
            "Probes of a peer without an answer",
            None,
            MetricType::Counter,
        )?;
        for (peer, count) in &report.lost_probes {
            let label = [("peer", peer.to_string())];
            ConstCounter::new(*count).encode(lost.encode_family(&label)?)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flanneld_tells_of_its_own_process_beside_its_metrics() {
        let metrics = Metrics::new(Peers::default());
        metrics.leases(3, 0);
        let text = metrics.encode().expect("text");
        for line in ["weft_flanneld_peers 3", "process_open_fds ", "process_cpu_seconds_total "] {
            assert!(text.lines().any(|found| found.starts_with(line)), "{line} is not in\n{text}");
        }
    }
}
