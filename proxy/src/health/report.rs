//! /metrics, /proxyMode, /configz, /healthz and /readyz of port 10249.

use std::sync::Arc;

use serde_json::{Value, json};
use telemetry::http::{Answer, Routes, StatusCode, metrics_answer};

use crate::metrics::Metrics;
use crate::modes::Mode;

/// What the routes answer from.
#[derive(Clone)]
pub struct Report {
    pub metrics: Metrics,
    /// The mode in force now; it may change while the proxy runs.
    pub mode: Arc<dyn Fn() -> Mode + Send + Sync>,
    /// The KubeProxyConfiguration in force: [`crate::options::Options::configuration`].
    pub configuration: Value,
    /// Whether the first complete sync is done.
    pub ready: Arc<dyn Fn() -> bool + Send + Sync>,
}

/// The routes.
pub fn report(report: Report) -> Routes {
    let Report { metrics, mode, configuration, ready } = report;
    let configuration = json!({ "kubeproxy.config.k8s.io": configuration }).to_string();
    Routes::new()
        .any("/healthz", |_| Answer::text(StatusCode::OK, "ok"))
        .any("/readyz", move |_| match ready() {
            true => Answer::text(StatusCode::OK, "ok"),
            false => Answer::text(StatusCode::SERVICE_UNAVAILABLE, "the first complete sync is not done"),
        })
        // Counters of services are read from the kernel for each scrape.
        .get("/metrics", move |request| metrics_answer(request, metrics.encode()))
        .any("/proxyMode", move |_| Answer::text(StatusCode::OK, mode().as_str()))
        .any("/configz", move |_| Answer::json(StatusCode::OK, configuration.clone()))
}
