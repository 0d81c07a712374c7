//! What the server counts, by the names that dashboards use.
//!
//! Owns: the registry of metrics, and `/metrics`. Requests are counted in [`requests`], storage in [`storage`], levels and
//! flows in [`flows`], who got in in [`access`]. Every value of a label is one of few: what is not served has no name here.

pub mod access;
pub mod flows;
pub mod requests;
pub mod storage;

use std::sync::Arc;
use std::time::Duration;

use control_store::Store;
use telemetry::metrics::metrics::family::Family;
use telemetry::metrics::metrics::gauge::Gauge;
use telemetry::metrics::{Format, Registry, encode};

use self::access::Access;
use self::requests::Requests;
use self::storage::Storage;
use crate::inflight::Inflight;
use crate::registry::Registry as Kinds;
use crate::reply::{Response, reply, text};

pub use access::Step;
pub use requests::{Labels, Watching};

type One = [(&'static str, &'static str); 1];

/// The server's metrics.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub requests: Requests,
    pub access: Access,
    pub storage: Storage,
    inflight: Family<One, Gauge>,
}

impl Metrics {
    /// With those of levels and flows, where requests are shared fairly.
    pub fn new(flows: Option<&flows::Flows>) -> Self {
        let mut registry = Registry::default();
        telemetry::process::register(&mut registry);
        if let Some(flows) = flows {
            flows.register(&mut registry);
        }
        let (requests, access, storage) = (Requests::default(), Access::default(), Storage::default());
        requests.register(&mut registry);
        access.register(&mut registry);
        storage.register(&mut registry);
        let inflight: Family<One, Gauge> = Family::default();
        let help = "Requests that are being served";
        registry.register("apiserver_current_inflight_requests", help, Family::clone(&inflight));
        build_info(&mut registry);
        Self { registry, requests, access, storage, inflight }
    }

    /// The answer to `/metrics`.
    pub async fn answer(&self, inflight: &Inflight, kinds: &Kinds, store: &Store) -> Response {
        let (reads, writes) = inflight.now();
        for (request_kind, now) in [("readOnly", reads), ("mutating", writes)] {
            let gauge = self.inflight.get_or_create(&[("request_kind", request_kind)]);
            gauge.set(i64::try_from(now).unwrap_or(i64::MAX));
        }
        self.storage.look(kinds, store).await;
        match encode(&self.registry) {
            Ok(found) => {
                let rendered = Format::Text.render(&found).into_owned();
                reply(200, Format::Text.content_type(), rendered)
            }
            Err(error) => text(500, &error.to_string()),
        }
    }

    /// What storage calls after each question to etcd: what was done to which key, and how long it took.
    pub fn of_storage(
        &self,
        kinds: Arc<Kinds>,
    ) -> impl Fn(&'static str, &str, Duration) + Send + Sync + 'static {
        let storage = self.storage.clone();
        move |operation, key, took| storage.asked(&kinds, operation, key, took)
    }
}

/// Which version this is, in the labels of a metric that is 1.
fn build_info(registry: &mut Registry) {
    let info: Family<[(&'static str, &'static str); 2], Gauge> = Family::default();
    info.get_or_create(&[("git_version", crate::discovery::VERSION), ("compiler", "rustc")]).set(1);
    registry.register("kubernetes_build_info", "The version of Kubernetes whose protocol this is", info);
}
