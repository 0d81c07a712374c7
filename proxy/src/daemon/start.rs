//! What is done once, before the first object is known.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use host::sysctl;
use tokio::sync::mpsc;

use super::questions::{self, Question};
use crate::error::ProxyError;
use crate::health::{ProxyHealth, Report, Server, probes, report, serve};
use crate::metrics::Metrics;
use crate::options::Options;

/// Whether the first complete pass is done. Clones share it.
#[derive(Clone, Debug, Default)]
pub(super) struct ReadyFlag(Arc<AtomicBool>);

impl ReadyFlag {
    pub fn get(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What others ask us.
pub(super) struct Services {
    pub health: ProxyHealth,
    pub metrics: Metrics,
    pub ready: ReadyFlag,
    pub ask: mpsc::Sender<Question>,
    pub questions: mpsc::Receiver<Question>,
    /// End when dropped.
    pub _servers: Vec<Server>,
}

pub(super) async fn services(options: &Options) -> Result<Services, ProxyError> {
    let health = ProxyHealth::new(options.sync_period);
    let metrics = Metrics::new();
    let ready = ReadyFlag::default();
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
    let mut servers = Vec::new();
    let mut open = async |what, address: Option<SocketAddr>, router| -> Result<(), ProxyError> {
        if let Some(address) = address {
            servers.push(serve(what, address, router, options.bind_address_hard_fail).await?);
        }
        Ok(())
    };
    open("health", options.healthz, probes(health.clone(), metrics.clone())).await?;
    open("metrics", options.metrics, report(about)).await?;
    Ok(Services { health, metrics, ready, ask, questions, _servers: servers })
}

/// Limits of connection tracking and the like. None of it is worth not starting for: in a container they may be
/// read-only.
pub(super) fn prepare_kernel(options: &Options) {
    let score = options.oom_score_adj.to_string();
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", score) {
        tracing::warn!(%error, "the out-of-memory score stays as it is");
    }
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    for wanted in options.conntrack.sysctls(cpus) {
        let key = format!("net/netfilter/{}", wanted.name);
        match sysctl::ensure(&key, &wanted.value.to_string()) {
            Ok(true) => tracing::info!(sysctl = key, value = wanted.value, "set"),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(
                    sysctl = key,
                    value = wanted.value,
                    error = crate::error::chain(&error),
                    "not set"
                );
            }
        }
    }
    widen_conntrack(options, cpus);
}

/// Where the kernel has the size of its table of connections.
const BUCKETS: &str = "/sys/module/nf_conntrack/parameters/hashsize";

/// A table of too few buckets makes every look-up slow. Only the machine's own network namespace may write it.
fn widen_conntrack(options: &Options, cpus: usize) {
    // As kube-proxy: who may not set the limit leaves its table alone too.
    let limit = sysctl::read("net/netfilter/nf_conntrack_max").ok().and_then(|text| text.trim().parse().ok());
    if limit != options.conntrack.max(cpus) {
        return;
    }
    let have = std::fs::read_to_string(BUCKETS).ok().and_then(|text| text.trim().parse().ok());
    let Some(wanted) = have.and_then(|have| options.conntrack.buckets(cpus, have)) else { return };
    match std::fs::write(BUCKETS, wanted.to_string()) {
        Ok(()) => tracing::info!(buckets = wanted, "the table of connections is widened"),
        Err(error) => tracing::warn!(%error, buckets = wanted, "{BUCKETS} stays as it is"),
    }
}

/// For an init container with the privileges that the proxy itself then need not have.
pub fn init_only(options: &Options) {
    prepare_kernel(options);
}
