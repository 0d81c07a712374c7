//! What is done once, before the first object is known.

use std::net::SocketAddr;
use std::sync::Arc;

use telemetry::Ready;
use tokio::sync::mpsc;

use super::kernel::KernelSettings;
use super::questions::{self, Question};
use crate::error::ProxyError;
use crate::health::{ProxyHealth, Report, Server, WhenTaken, probes, report, serve};
use crate::metrics::Metrics;
use crate::options::Options;

/// What others ask us.
pub(super) struct Services {
    pub health: ProxyHealth,
    pub metrics: Metrics,
    pub ready: Ready,
    pub ask: mpsc::Sender<Question>,
    pub questions: mpsc::Receiver<Question>,
    /// End when dropped.
    pub _servers: Vec<Server>,
}

pub(super) async fn services(options: &Options) -> Result<Services, ProxyError> {
    let health = ProxyHealth::new(options.sync_period);
    let metrics = Metrics::new();
    options.mode.register(&metrics);
    let ready = Ready::default();
    let (ask, questions) = questions::channel();
    metrics.count_services(questions::counts(ask.clone()));
    let mode = options.mode;
    let about = Report {
        metrics: metrics.clone(),
        mode: Arc::new(move || mode),
        configuration: options.configuration(),
        ready: Arc::new({
            let ready = ready.clone();
            move || ready.get()
        }),
    };
    let when_taken = if options.bind_address_hard_fail { WhenTaken::Fail } else { WhenTaken::Retry };
    let mut servers = Vec::new();
    let mut open = async |what, address: Option<SocketAddr>, routes| -> Result<(), ProxyError> {
        if let Some(address) = address {
            servers.push(serve(what, address, routes, when_taken).await?);
        }
        Ok(())
    };
    open("health", options.healthz, probes(health.clone(), metrics.clone())).await?;
    open("metrics", options.metrics, report(about)).await?;
    Ok(Services { health, metrics, ready, ask, questions, _servers: servers })
}

/// For an init container with the privileges that the proxy itself then need not have.
pub fn init_only(options: &Options) {
    KernelSettings::apply(options);
}
