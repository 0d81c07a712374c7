//! What the server counts, by the names that dashboards use.
//!
//! Owns: the registry of metrics, and `/metrics`.

pub mod flows;

use std::time::Duration;

use control_store::Store;
use http::Method;
use telemetry::metrics::metrics::counter::Counter;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::metrics::metrics::histogram::Histogram;
use telemetry::metrics::{Format, Registry, encode};

use crate::inflight::Inflight;
use crate::registry::Registry as Kinds;
use crate::reply::{Response, reply, text};
use crate::request::info::Info;

/// What a request is counted under. Every value is one of few: what is not served has no name here.
pub type Labels = [(&'static str, String); 7];

type Counted = [(&'static str, String); 8];

type Kind = [(&'static str, &'static str); 1];

type Resource = [(&'static str, String); 1];

/// Seconds, as the original's buckets.
const SECONDS: [f64; 20] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 20.0,
    30.0,
];

fn durations() -> Histogram {
    Histogram::new(SECONDS)
}

/// The server's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<Counted, Counter>,
    durations: Family<Labels, Histogram, fn() -> Histogram>,
    inflight: Family<Kind, Gauge>,
    objects: Family<Resource, Gauge>,
    watches: Gauge,
}

impl Metrics {
    /// With those of levels and flows, where requests are shared fairly.
    pub fn new(flows: Option<&flows::Flows>) -> Self {
        let mut registry = Registry::default();
        if let Some(flows) = flows {
            flows.register(&mut registry);
        }
        let requests = Family::default();
        let by_labels: Family<Labels, Histogram, fn() -> Histogram> = Family::new_with_constructor(durations);
        let inflight = Family::default();
        let objects = Family::default();
        let watches = Gauge::default();
        registry.register(
            "apiserver_request",
            "Requests by verb, resource and code of the answer",
            Family::clone(&requests),
        );
        registry.register(
            "apiserver_request_duration_seconds",
            "Time until the head of the answer",
            by_labels.clone(),
        );
        registry.register(
            "apiserver_current_inflight_requests",
            "Requests that are being served",
            Family::clone(&inflight),
        );
        registry.register(
            "apiserver_storage_objects",
            "Objects in storage, by resource",
            Family::clone(&objects),
        );
        registry.register(
            "apiserver_longrunning_requests",
            "Watches that are being served",
            Gauge::clone(&watches),
        );
        Self { registry, requests, durations: by_labels, inflight, objects, watches }
    }
}

/// A watch, for as long as it is held.
#[derive(Debug)]
pub struct Watching(Gauge);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.dec();
    }
}

impl Metrics {
    /// A watch begins.
    pub fn watching(&self) -> Watching {
        self.watches.inc();
        Watching(self.watches.clone())
    }

    /// What a request will be counted under. `known`: the resource is one that is served.
    pub fn labels(&self, method: &Method, info: &Info, known: bool) -> Labels {
        let verb = match info.verb.as_str() {
            "" => method.as_str().to_owned(),
            "create" if info.resource.is_some() => "POST".to_owned(),
            "update" => "PUT".to_owned(),
            "deletecollection" => "DELETECOLLECTION".to_owned(),
            other => other.to_ascii_uppercase(),
        };
        let resource = info.resource.as_ref().filter(|_| known).cloned().unwrap_or_default();
        let scope = match (resource.name.is_empty(), resource.namespace.is_empty()) {
            _ if !known => "",
            (false, _) => "resource",
            (true, false) => "namespace",
            (true, true) => "cluster",
        };
        [
            ("verb", verb),
            ("group", resource.group),
            ("version", resource.version),
            ("resource", resource.resource),
            ("subresource", resource.subresource),
            ("scope", scope.to_owned()),
            ("component", "apiserver".to_owned()),
        ]
    }

    pub fn observe(&self, labels: Labels, code: u16, took: Duration) {
        let is_watch = labels[0].1 == "WATCH";
        let [a, b, c, d, e, f, g] = labels.clone();
        let counted = [a, b, c, d, e, f, g, ("code", code.to_string())];
        self.requests.get_or_create(&counted).inc();
        if !is_watch {
            self.durations.get_or_create(&labels).observe(took.as_secs_f64());
        }
    }

    /// The answer to `/metrics`.
    pub fn answer(&self, inflight: &Inflight, kinds: &Kinds, store: &Store) -> Response {
        let (reads, writes) = inflight.now();
        for (request_kind, now) in [("readOnly", reads), ("mutating", writes)] {
            self.inflight
                .get_or_create(&[("request_kind", request_kind)])
                .set(i64::try_from(now).unwrap_or(i64::MAX));
        }
        for served in kinds.table().kinds() {
            if served.kind.traits.only_create || store.is_direct(&served.prefix) {
                continue;
            }
            let count = store.peek_all(&served.prefix).count();
            let resource = served.kind.qualified();
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.objects.get_or_create(&[("resource", resource)]).set(count);
        }
        match encode(&self.registry) {
            Ok(found) => {
                let rendered = Format::Text.render(&found).into_owned();
                reply(200, Format::Text.content_type(), rendered)
            }
            Err(error) => text(500, &error.to_string()),
        }
    }
}
