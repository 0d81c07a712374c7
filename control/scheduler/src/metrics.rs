//! What the scheduler tells Prometheus, by the original's names, labels and buckets.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use control_scheduler_core::queue::Counts;
use telemetry::metrics::Registry;
use telemetry::metrics::metrics::counter::Counter;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::metrics::metrics::histogram::{Histogram, exponential_buckets};

type Labels = Vec<(&'static str, String)>;

fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 15))
}

/// The counters. Clones share them.
#[derive(Clone, Debug)]
pub struct Metrics {
    attempts: Family<Labels, Counter>,
    attempt_seconds: Family<Labels, Histogram>,
    algorithm_seconds: Histogram,
    pod_attempts: Histogram,
    sli_seconds: Family<Labels, Histogram>,
    pending: Family<Labels, Gauge>,
    preemptions: Counter,
    victims: Histogram,
    under_way: Gauge,
    allowed: Gauge,
    registry: Arc<Mutex<Registry>>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::default();
        telemetry::process::register(&mut registry);
        let metrics = Self {
            attempts: Family::default(),
            attempt_seconds: Family::new_with_constructor(latency),
            algorithm_seconds: latency(),
            pod_attempts: Histogram::new(exponential_buckets(1.0, 2.0, 5)),
            sli_seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.01, 2.0, 20))),
            pending: Family::default(),
            preemptions: Counter::default(),
            victims: Histogram::new(exponential_buckets(1.0, 2.0, 7)),
            under_way: Gauge::default(),
            allowed: Gauge::default(),
            registry: Arc::default(),
        };
        let to = registry.sub_registry_with_prefix("scheduler");
        to.register(
            "schedule_attempts",
            "Attempts to schedule pods, by their result",
            metrics.attempts.clone(),
        );
        to.register(
            "scheduling_attempt_duration_seconds",
            "Time of an attempt, with its binding",
            metrics.attempt_seconds.clone(),
        );
        to.register(
            "scheduling_algorithm_duration_seconds",
            "Time to find a node",
            metrics.algorithm_seconds.clone(),
        );
        to.register("pod_scheduling_attempts", "Attempts that a pod needed", metrics.pod_attempts.clone());
        to.register(
            "pod_scheduling_sli_duration_seconds",
            "Time from a pod's first attempt to its binding",
            metrics.sli_seconds.clone(),
        );
        to.register("pending_pods", "Pods that wait, by the queue they wait in", metrics.pending.clone());
        to.register("preemption_attempts", "Attempts to make room", metrics.preemptions.clone());
        to.register("preemption_victims", "Pods that went for another one", metrics.victims.clone());
        let own = registry.sub_registry_with_prefix("weft_scheduler");
        own.register(
            "bindings_under_way",
            "Bindings that the server has not answered",
            metrics.under_way.clone(),
        );
        own.register("bindings_allowed", "Bindings that may be under way", metrics.allowed.clone());
        *metrics.registry.lock().unwrap_or_else(PoisonError::into_inner) = registry;
        metrics
    }
}

impl Metrics {
    /// # Errors
    /// A number that could not be written.
    pub fn text(&self) -> Result<String, std::fmt::Error> {
        telemetry::metrics::encode(&self.registry.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// An attempt has ended: `scheduled`, `unschedulable` or `error`.
    pub fn attempt(&self, result: &str, profile: &str, took: Duration) {
        let labels = vec![("result", result.to_owned()), ("profile", profile.to_owned())];
        self.attempts.get_or_create(&labels).inc();
        self.attempt_seconds.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub fn algorithm(&self, took: Duration) {
        self.algorithm_seconds.observe(took.as_secs_f64());
    }

    /// A pod is bound.
    pub fn bound(&self, attempts: u32, since_first: Duration) {
        self.pod_attempts.observe(f64::from(attempts));
        let attempts = if attempts >= 15 { "15+".to_owned() } else { attempts.to_string() };
        self.sli_seconds.get_or_create(&vec![("attempts", attempts)]).observe(since_first.as_secs_f64());
    }

    pub fn preempted(&self, victims: usize) {
        self.preemptions.inc();
        if victims > 0 {
            self.victims.observe(victims as f64);
        }
    }

    pub fn queue(&self, counts: Counts) {
        for (queue, count) in [
            ("active", counts.active),
            ("backoff", counts.backoff),
            ("unschedulable", counts.unschedulable),
            ("gated", counts.gated),
        ] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.pending.get_or_create(&vec![("queue", queue.to_owned())]).set(count);
        }
    }

    pub fn bindings(&self, under_way: usize, allowed: usize) {
        self.under_way.set(i64::try_from(under_way).unwrap_or(i64::MAX));
        self.allowed.set(i64::try_from(allowed).unwrap_or(i64::MAX));
    }
}
