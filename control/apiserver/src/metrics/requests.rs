//! Requests, and watches as they go on.

use std::time::Duration;

use http::Method;
use telemetry::metrics::Registry;
use telemetry::metrics::metrics::counter::Counter;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::metrics::metrics::histogram::Histogram;

use crate::request::info::{Info, Resource};

type Set<const N: usize> = [(&'static str, String); N];

type Histograms<const N: usize> = Family<Set<N>, Histogram, fn() -> Histogram>;

/// Seconds, as the original's buckets.
pub const SECONDS: [f64; 23] = [
    0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 15.0,
    20.0, 30.0, 45.0, 60.0,
];

/// From this one on they are those of service levels.
const SLI_FROM: usize = 2;

/// Bytes of answers.
const SIZES: [f64; 7] = [1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9];

/// Bytes of requests: from 50,000 on in steps of 100,000, up to what is read at most.
fn body_sizes() -> Histogram {
    Histogram::new((0..31).map(|nth| 50_000.0 + 100_000.0 * f64::from(nth)))
}

/// Bytes of events of watches.
const EVENT_SIZES: [f64; 8] = [1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];

/// What a request is counted under.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Labels {
    verb: String,
    resource: Resource,
    scope: &'static str,
    /// Empty for what is no resource.
    component: &'static str,
    dry_run: &'static str,
}

impl Labels {
    /// `known`: the resource is one that is served. `dry_run`: it asks for one.
    pub fn of(method: &Method, info: &Info, known: bool, dry_run: bool) -> Self {
        let verb = match info.verb.as_str() {
            "" => method.as_str().to_owned(),
            "create" if info.resource.is_some() => "POST".to_owned(),
            "update" => "PUT".to_owned(),
            "deletecollection" => "DELETECOLLECTION".to_owned(),
            other => other.to_ascii_uppercase(),
        };
        let mut resource = info.resource.as_ref().filter(|_| known).cloned().unwrap_or_default();
        let path = info.path.trim_end_matches('/');
        if matches!(path, "/healthz" | "/livez" | "/readyz" | "/metrics" | "/version") {
            path.clone_into(&mut resource.subresource);
        }
        let scope = if known { scope(&resource) } else { "" };
        let component = if known { "apiserver" } else { "" };
        Self { verb, resource, scope, component, dry_run: if dry_run { "All" } else { "" } }
    }

    /// Of a watch.
    pub fn of_watch(resource: &Resource) -> Self {
        let scope = scope(resource);
        Self {
            verb: "WATCH".to_owned(),
            resource: resource.clone(),
            scope,
            component: "apiserver",
            dry_run: "",
        }
    }

    fn is_watch(&self) -> bool {
        self.verb == "WATCH"
    }

    /// Those that all have.
    fn common(&self) -> Set<7> {
        let Resource { group, version, resource, subresource, .. } = self.resource.clone();
        [
            ("verb", self.verb.clone()),
            ("group", group),
            ("version", version),
            ("resource", resource),
            ("subresource", subresource),
            ("scope", self.scope.to_owned()),
            ("component", self.component.to_owned()),
        ]
    }

    fn with_code_alone(&self, code: u16) -> Set<8> {
        let [a, b, c, d, e, f, g] = self.common();
        [a, b, c, d, e, f, g, ("code", code.to_string())]
    }

    fn with_dry_run(&self) -> Set<8> {
        let [a, b, c, d, e, f, g] = self.common();
        [a, b, c, d, e, f, g, ("dry_run", self.dry_run.to_owned())]
    }

    fn with_code(&self, code: u16) -> Set<9> {
        let [a, b, c, d, e, f, g, h] = self.with_dry_run();
        [a, b, c, d, e, f, g, h, ("code", code.to_string())]
    }
}

fn scope(resource: &Resource) -> &'static str {
    match (resource.name.is_empty(), resource.namespace.is_empty()) {
        (false, _) => "resource",
        (true, false) => "namespace",
        (true, true) => "cluster",
    }
}

/// The metrics of requests.
#[derive(Clone, Debug)]
pub struct Requests {
    total: Family<Set<9>, Counter>,
    given_up: Family<Set<8>, Counter>,
    deprecated: Family<Set<5>, Gauge>,
    durations: Histograms<8>,
    /// The same as service levels are measured by.
    levels: Histograms<7>,
    sizes: Histograms<7>,
    bodies: Histograms<3>,
    long: Family<Set<7>, Gauge>,
    events: Family<Set<3>, Counter>,
    event_sizes: Histograms<3>,
}

impl Default for Requests {
    fn default() -> Self {
        Self {
            total: Family::default(),
            given_up: Family::default(),
            deprecated: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            levels: Family::new_with_constructor(|| Histogram::new(SECONDS.into_iter().skip(SLI_FROM))),
            sizes: Family::new_with_constructor(|| Histogram::new(SIZES)),
            bodies: Family::new_with_constructor(body_sizes),
            long: Family::default(),
            events: Family::default(),
            event_sizes: Family::new_with_constructor(|| Histogram::new(EVENT_SIZES)),
        }
    }
}

impl Requests {
    pub fn register(&self, registry: &mut Registry) {
        let help = "Requests by verb, resource and code of the answer";
        registry.register("apiserver_request", help, Family::clone(&self.total));
        let help = "Requests that were given up in self-defence: too late, or too many";
        registry.register("apiserver_request_terminations", help, Family::clone(&self.given_up));
        let help = "1 for what is deprecated and was asked for";
        registry.register("apiserver_requested_deprecated_apis", help, Family::clone(&self.deprecated));
        let help = "Time until the head of the answer";
        registry.register("apiserver_request_duration_seconds", help, self.durations.clone());
        registry.register("apiserver_request_sli_duration_seconds", help, self.levels.clone());
        registry.register(
            "apiserver_response_sizes",
            "Bytes of answers that came as a whole",
            self.sizes.clone(),
        );
        let help = "Bytes of the bodies of requests";
        registry.register("apiserver_request_body_size_bytes", help, self.bodies.clone());
        let help = "Requests that are being served and last";
        registry.register("apiserver_longrunning_requests", help, Family::clone(&self.long));
        registry.register("apiserver_watch_events", "Events that were sent", Family::clone(&self.events));
        registry.register(
            "apiserver_watch_events_sizes",
            "Bytes of events that were sent",
            self.event_sizes.clone(),
        );
    }

    /// A request was answered. `size`: bytes of an answer that is there as a whole.
    pub fn observe(&self, labels: &Labels, code: u16, took: Duration, size: Option<u64>) {
        self.total.get_or_create(&labels.with_code(code)).inc();
        if labels.is_watch() {
            return;
        }
        self.durations.get_or_create(&labels.with_dry_run()).observe(took.as_secs_f64());
        let common = labels.common();
        self.levels.get_or_create(&common).observe(took.as_secs_f64());
        if let Some(size) = size.filter(|_| labels.verb == "GET" || labels.verb == "LIST") {
            #[expect(clippy::cast_precision_loss, reason = "a bucket's bound is far coarser")]
            self.sizes.get_or_create(&common).observe(size as f64);
        }
    }

    /// The body of a request of so many bytes was read.
    pub fn read(&self, method: &Method, resource: &Resource, bytes: usize) {
        let verb = match method.as_str() {
            "POST" => "create",
            "PUT" => "update",
            "PATCH" => "patch",
            _ if resource.name.is_empty() => "delete_collection",
            _ => "delete",
        };
        let labels = [
            ("group", resource.group.clone()),
            ("resource", resource.resource.clone()),
            ("verb", verb.to_owned()),
        ];
        #[expect(clippy::cast_precision_loss, reason = "a bucket's bound is far coarser")]
        self.bodies.get_or_create(&labels).observe(bytes as f64);
    }

    /// Somebody asked for a resource that clients are to leave.
    pub fn deprecated(&self, resource: &Resource) {
        let labels = [
            ("group", resource.group.clone()),
            ("version", resource.version.clone()),
            ("resource", resource.resource.clone()),
            ("subresource", resource.subresource.clone()),
            // Of those that are served none has a release from which on it is not.
            ("removed_release", String::new()),
        ];
        self.deprecated.get_or_create(&labels).set(1);
    }

    /// A request was given up.
    pub fn given_up(&self, labels: &Labels, code: u16) {
        self.given_up.get_or_create(&labels.with_code_alone(code)).inc();
    }

    /// A watch begins.
    pub fn watching(&self, resource: &Resource) -> Watching {
        let long = self.long.get_or_create(&Labels::of_watch(resource).common()).clone();
        let of = [
            ("group", resource.group.clone()),
            ("version", resource.version.clone()),
            ("resource", resource.resource.clone()),
        ];
        let events = self.events.get_or_create(&of).clone();
        let sizes = self.event_sizes.get_or_create(&of).clone();
        long.inc();
        Watching { long, events, sizes }
    }
}

/// A watch, for as long as it is held.
#[derive(Debug)]
pub struct Watching {
    long: Gauge,
    events: Counter,
    sizes: Histogram,
}

impl Watching {
    /// An event of so many bytes was sent.
    pub fn sent(&self, bytes: usize) {
        self.events.inc();
        #[expect(clippy::cast_precision_loss, reason = "a bucket's bound is far coarser")]
        self.sizes.observe(bytes as f64);
    }
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.long.dec();
    }
}
