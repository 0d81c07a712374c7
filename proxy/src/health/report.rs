//! /metrics, /proxyMode, /configz, /healthz and /readyz of port 10249.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use serde_json::{Value, json};

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
pub fn report(report: Report) -> Router {
    Router::new()
        .route("/healthz", any(|| async { text(StatusCode::OK, "ok") }))
        .route("/readyz", any(readyz))
        .route("/metrics", get(scrape))
        .route("/proxyMode", any(mode))
        .route("/configz", any(configz))
        .with_state(report)
}

const NO_SNIFF: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

fn text(code: StatusCode, body: &'static str) -> Response {
    (code, [(header::CONTENT_TYPE, "text/plain; charset=utf-8"), NO_SNIFF], body).into_response()
}

async fn readyz(State(report): State<Report>) -> Response {
    match (report.ready)() {
        true => text(StatusCode::OK, "ok"),
        false => text(StatusCode::SERVICE_UNAVAILABLE, "the first complete sync is not done"),
    }
}

async fn mode(State(report): State<Report>) -> Response {
    text(StatusCode::OK, (report.mode)().as_str())
}

async fn configz(State(report): State<Report>) -> Response {
    let body = json!({ "kubeproxy.config.k8s.io": report.configuration }).to_string();
    ([(header::CONTENT_TYPE, "application/json"), NO_SNIFF], body).into_response()
}

async fn scrape(State(report): State<Report>) -> Response {
    // Counters of services are read from the kernel for each scrape.
    let metrics = report.metrics.clone();
    match tokio::task::spawn_blocking(move || metrics.encode()).await {
        Ok(Ok(body)) => ([(header::CONTENT_TYPE, telemetry::metrics::CONTENT_TYPE)], body).into_response(),
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("the metrics could not be written as text");
            text(StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be read; the log says more")
        }
    }
}
