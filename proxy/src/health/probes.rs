//! /healthz and /livez of port 10256.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::any;

use super::state::ProxyHealth;
use crate::metrics::Metrics;

#[derive(Clone)]
struct Probes {
    health: ProxyHealth,
    metrics: Metrics,
}

/// The routes. /healthz is for load balancers: 503 also while the node is about to go. /livez is for the kubelet:
/// only the proxy's own health counts.
pub fn probes(health: ProxyHealth, metrics: Metrics) -> Router {
    // Go's mux answers every method alike, and everything else with 404.
    Router::new()
        .route("/healthz", any(healthz))
        .route("/livez", any(livez))
        .with_state(Probes { health, metrics })
}

const NO_SNIFF: (HeaderName, &str) = (header::X_CONTENT_TYPE_OPTIONS, "nosniff");

async fn healthz(State(probes): State<Probes>) -> impl IntoResponse {
    answer(&probes, true)
}

async fn livez(State(probes): State<Probes>) -> impl IntoResponse {
    answer(&probes, false)
}

fn answer(probes: &Probes, with_node: bool) -> impl IntoResponse + use<> {
    let mut health = probes.health.look();
    let mut healthy = health.healthy;
    if with_node {
        let eligible = probes.health.is_node_eligible();
        health.node_eligible = Some(eligible);
        healthy &= eligible;
    }
    let code = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if healthy {
        // Old releases told when the loop ran last; a healthy proxy goes on saying just now.
        health.last_updated = health.current_time;
    }
    if with_node {
        probes.metrics.healthz(code.as_u16())
    } else {
        probes.metrics.livez(code.as_u16())
    }
    let body = serde_json::to_string(&health).unwrap_or_default();
    (code, [(header::CONTENT_TYPE, "application/json"), NO_SNIFF], body)
}
