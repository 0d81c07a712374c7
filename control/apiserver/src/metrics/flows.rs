//! What is counted of the levels and flows that requests belong to, by the names of API Priority and Fairness.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use control_core::fairness::Place;
use control_core::fairness::level::Limits;
use control_core::fairness::seats::Use;
use telemetry::metrics::Registry;
use telemetry::metrics::metrics::counter::Counter;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::metrics::metrics::histogram::Histogram;

type Flow = [(&'static str, String); 2];

type Reason = [(&'static str, String); 3];

type Level = [(&'static str, String); 1];

/// Seconds, as the original's buckets.
const SECONDS: [f64; 13] = [0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];

fn waits() -> Histogram {
    Histogram::new(SECONDS)
}

/// The metrics of levels. Their labels are names of FlowSchemas and levels: as many as administrators made.
#[derive(Clone, Debug)]
pub struct Flows {
    dispatched: Family<Flow, Counter>,
    rejected: Family<Reason, Counter>,
    waits: Family<Reason, Histogram, fn() -> Histogram>,
    waiting: Family<Level, Gauge>,
    running: Family<Level, Gauge>,
    seats: Family<Level, Gauge>,
    nominal: Family<Level, Gauge>,
    least: Family<Level, Gauge>,
    most: Family<Level, Gauge>,
}

impl Default for Flows {
    fn default() -> Self {
        Self {
            dispatched: Family::default(),
            rejected: Family::default(),
            waits: Family::new_with_constructor(waits),
            waiting: Family::default(),
            running: Family::default(),
            seats: Family::default(),
            nominal: Family::default(),
            least: Family::default(),
            most: Family::default(),
        }
    }
}

fn flow(place: &Place) -> Flow {
    [("priority_level", place.level.to_string()), ("flow_schema", place.schema.to_string())]
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl Flows {
    pub fn register(&self, registry: &mut Registry) {
        let name = |name: &str| format!("apiserver_flowcontrol_{name}");
        registry.register(name("dispatched_requests"), "Requests that ran", Family::clone(&self.dispatched));
        registry.register(
            name("rejected_requests"),
            "Requests that were sent away",
            Family::clone(&self.rejected),
        );
        let waits = "Time that requests waited for their turn";
        registry.register(name("request_wait_duration_seconds"), waits, self.waits.clone());
        for (own, help, family) in [
            ("current_inqueue_requests", "Requests that wait", &self.waiting),
            ("current_executing_requests", "Requests that run", &self.running),
            ("current_executing_seats", "Seats that they use", &self.seats),
            ("nominal_limit_seats", "Seats that a level may use at a time", &self.nominal),
            ("lower_limit_seats", "What nobody else may use of that", &self.least),
            ("upper_limit_seats", "What it may use at most", &self.most),
        ] {
            registry.register(name(own), help, Family::clone(family));
        }
    }

    pub fn dispatched(&self, place: &Place, waited: Duration) {
        self.dispatched.get_or_create(&flow(place)).inc();
        self.waited(place, "true", waited);
    }

    pub fn rejected(&self, place: &Place, reason: &'static str, waited: Duration) {
        let [level, schema] = flow(place);
        self.rejected.get_or_create(&[level, schema, ("reason", reason.to_owned())]).inc();
        self.waited(place, "false", waited);
    }

    fn waited(&self, place: &Place, execute: &str, waited: Duration) {
        // What is exempt never waits.
        if !place.is_exempt {
            let [level, schema] = flow(place);
            let labels = [level, schema, ("execute", execute.to_owned())];
            self.waits.get_or_create(&labels).observe(waited.as_secs_f64());
        }
    }

    /// What each level may use.
    pub fn limits(&self, limits: &BTreeMap<Arc<str>, Limits>) {
        for family in [&self.nominal, &self.least, &self.most] {
            family.clear();
        }
        for (name, limits) in limits {
            let level = [("priority_level", name.to_string())];
            self.nominal.get_or_create(&level).set(count(limits.nominal));
            self.least.get_or_create(&level).set(count(limits.least));
            self.most.get_or_create(&level).set(count(limits.most));
        }
    }

    /// What each level has.
    pub fn now(&self, levels: &[(Arc<str>, Use)]) {
        for (name, now) in levels {
            let level = [("priority_level", name.to_string())];
            self.running.get_or_create(&level).set(count(now.requests));
            self.seats.get_or_create(&level).set(count(now.seats));
            self.waiting.get_or_create(&level).set(count(now.waiting));
        }
    }
}
