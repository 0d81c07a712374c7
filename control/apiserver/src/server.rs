//! The server as its stations see it: what they share.
//!
//! Owns: [`Parts`], of which a server is made, and what it keeps beside them. Never: knows a station that comes later
//! than these; the order of all of them is in [`crate::line`].

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use control_core::access::User;
use control_core::admission;
use control_store::Store;
use tokio_rustls::rustls::pki_types::CertificateDer;

use crate::access::Services;
use crate::allocation::Allocator;
use crate::authentication::chain::Chain;
use crate::authentication::service_accounts::ServiceAccounts;
use crate::authorization::Authorizers;
use crate::backend::Backends;
use crate::discovery;
use crate::fairness::Fairness;
use crate::health::Health;
use crate::inflight::Inflight;
use crate::metrics::Metrics;
use crate::openapi;
use crate::registry::Registry;
use crate::storage::memory::Memory;
use crate::usage::Usages;

/// How long requests may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Times {
    /// The longest time of a request that is no watch.
    pub request: Duration,
    /// How long a watch without `timeoutSeconds` lasts at least; up to twice as long, so that not all end at once.
    pub watch: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self { request: Duration::from_secs(60), watch: Duration::from_secs(1_800) }
    }
}

/// Who is at the other end of a connection.
#[derive(Clone, Debug, Default)]
pub enum Peer {
    /// The chain that a client proved to own in the TLS handshake, its own certificate first; may be empty.
    #[default]
    Unknown,
    /// And until when its own certificate is good.
    Certificates(Arc<[CertificateDer<'static>]>, Option<SystemTime>),
    /// A part of this process: authentication is done already.
    Known(Arc<User>),
}

/// What a server is made of.
#[derive(Debug)]
pub struct Parts {
    pub store: Store,
    pub registry: Arc<Registry>,
    pub authentication: Chain,
    pub authorizer: Arc<Authorizers>,
    /// For questions about access.
    pub access: Services,
    pub admission: admission::chain::Chain,
    /// Addresses and node ports of services.
    pub services: Allocator,
    /// Write JSON to storage, and not protobuf.
    pub json_storage: bool,
    /// Requests at the same time: such that read, and such that write.
    pub in_flight: (usize, usize),
    /// The sum of both is shared fairly between levels and users; otherwise each is a limit for all at once.
    pub fair: bool,
    pub times: Times,
    /// Agents of nodes, and what clients reach through this server.
    pub backends: Backends,
}

/// The Kubernetes API, whichever way its requests come.
#[derive(Debug)]
pub struct Server {
    pub(crate) parts: Parts,
    pub(crate) memory: Memory,
    pub(crate) metrics: Metrics,
    pub(crate) health: Health,
    pub(crate) inflight: Inflight,
    /// `None`: requests are limited by `inflight` alone.
    pub(crate) fairness: Option<Arc<Fairness>>,
    pub(crate) discovery: discovery::Cache,
    pub(crate) openapi: Arc<openapi::Cache>,
    pub(crate) usages: Usages,
}

impl Server {
    pub fn new(parts: Parts) -> Arc<Self> {
        let (reads, writes) = parts.in_flight;
        let fairness =
            parts.fair.then(|| Fairness::new(reads.saturating_add(writes), parts.times.request / 4));
        let metrics = Metrics::new(fairness.as_ref().map(|fairness| &fairness.metrics));
        parts.store.observe(metrics.of_storage(Arc::clone(&parts.registry)));
        Arc::new(Self {
            metrics,
            health: Health::default(),
            inflight: if parts.fair { Inflight::unlimited() } else { Inflight::new(reads, writes) },
            fairness,
            discovery: discovery::Cache::default(),
            openapi: Arc::default(),
            usages: Usages::default(),
            memory: Memory { store: parts.store.clone(), registry: Arc::clone(&parts.registry) },
            parts,
        })
    }

    /// The longest time of a request that is no watch.
    pub fn longest(&self) -> Duration {
        self.parts.times.request
    }

    pub fn store(&self) -> &Store {
        &self.parts.store
    }

    pub fn registry(&self) -> &Registry {
        &self.parts.registry
    }

    /// The keys of service accounts' tokens, where there are any.
    pub fn accounts(&self) -> Option<&Arc<ServiceAccounts>> {
        self.parts.access.accounts.as_ref()
    }

    pub fn health(&self) -> &Health {
        &self.health
    }

    /// Tells all watches to end, for the server is about to.
    pub fn drain(&self) {
        self.health.shut_down();
    }
}
