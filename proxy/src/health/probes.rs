//! /healthz and /livez of port 10256.

use telemetry::http::{Answer, Routes, StatusCode};

use super::state::ProxyHealth;
use crate::metrics::Metrics;

#[derive(Clone)]
struct Probes {
    health: ProxyHealth,
    metrics: Metrics,
}

/// The routes. /healthz is for load balancers: 503 also while the node is about to go. /livez is for the kubelet:
/// only the proxy's own health counts.
pub fn probes(health: ProxyHealth, metrics: Metrics) -> Routes {
    let healthz = Probes { health, metrics };
    let livez = healthz.clone();
    // Go's mux answers every method alike, and everything else with 404.
    Routes::new()
        .any("/healthz", move |_| answer(&healthz, true))
        .any("/livez", move |_| answer(&livez, false))
}

fn answer(probes: &Probes, with_node: bool) -> Answer {
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
    Answer::json(code, serde_json::to_string(&health).unwrap_or_default())
}
