//! Health-check node ports: a port for each Service with externalTrafficPolicy Local, which tells a load balancer
//! whether this node has endpoints of it.

use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use proxy_core::health::reply;
use proxy_core::names::{Family, ServiceName};
use proxy_core::table::HealthCheck;
use tokio::task::JoinHandle;

use super::server::bind;
use super::state::ProxyHealth;
use crate::feeds::kubernetes::{About, News};

/// A port that could not be opened. The next [`NodePorts::sync`] tries again.
#[derive(Debug, thiserror::Error)]
#[error("{service}: cannot open its health-check node port at {address}; {}", what_to_do(.source))]
pub struct PortFailure {
    pub service: ServiceName,
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

impl PortFailure {
    /// The same as an event of the Service, in kube-proxy's words.
    pub fn news(&self, node: &str) -> News {
        let Self { service, address, source } = self;
        let port = address.port();
        News {
            about: About::Service(service.clone()),
            reason: "FailedToStartServiceHealthcheck",
            action: "Listen",
            note: format!("node {node} failed to start healthcheck \"{service}\" on port {port}: {source}"),
            warning: true,
        }
    }
}

fn what_to_do(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "another process has this port (ss -ltnp names it)".to_owned(),
        _ => error.to_string(),
    }
}

/// The open ports.
pub struct NodePorts {
    health: ProxyHealth,
    open: BTreeMap<(Family, ServiceName), Port>,
    /// Said already.
    failed: BTreeMap<(Family, ServiceName), (u16, Vec<IpAddr>)>,
}

struct Port {
    number: u16,
    addresses: Vec<IpAddr>,
    local_ready: Arc<AtomicUsize>,
    servers: Vec<JoinHandle<()>>,
}

impl Drop for Port {
    fn drop(&mut self) {
        self.servers.iter().for_each(JoinHandle::abort);
    }
}

impl NodePorts {
    pub fn new(health: ProxyHealth) -> Self {
        Self { health, open: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// Opens, closes and updates until exactly the wanted ports are open, each at all `addresses` of its family
    /// (`0.0.0.0` and `::` for all of the node's). A port that is open already stays open without a gap.
    /// Needs a tokio runtime.
    ///
    /// Returns the ports that could not be opened, each once until its number or addresses change.
    pub fn sync(
        &mut self,
        want: &BTreeMap<(Family, ServiceName), HealthCheck>,
        addresses: &[IpAddr],
    ) -> Vec<PortFailure> {
        let of = |family: Family| -> Vec<IpAddr> {
            addresses.iter().copied().filter(|address| Family::of(*address) == family).collect()
        };
        let places = BTreeMap::from(Family::BOTH.map(|family| (family, of(family))));
        // Closed first: a port may go from one service to another.
        self.open.retain(|key, port| {
            want.get(key).is_some_and(|check| check.node_port == port.number)
                && port.addresses == places[&key.0]
        });
        self.failed.retain(|key, _| want.contains_key(key));
        let mut failures = Vec::new();
        for (key, check) in want {
            if let Some(port) = self.open.get(key) {
                port.local_ready.store(check.local_ready, Ordering::Relaxed);
                continue;
            }
            match open(&key.1, *check, &places[&key.0], &self.health) {
                Ok(port) => {
                    self.failed.remove(key);
                    self.open.insert(key.clone(), port);
                }
                Err(failure) => {
                    let now = (check.node_port, places[&key.0].clone());
                    if self.failed.insert(key.clone(), now.clone()) != Some(now) {
                        failures.push(failure);
                    }
                }
            }
        }
        failures
    }
}

impl fmt::Debug for NodePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open =
            self.open.iter().map(|((family, service), port)| (format!("{service} {family}"), port.number));
        f.debug_map().entries(open).finish()
    }
}

/// All addresses or none: what was opened before a failure closes again.
fn open(
    service: &ServiceName,
    check: HealthCheck,
    addresses: &[IpAddr],
    health: &ProxyHealth,
) -> Result<Port, PortFailure> {
    let local_ready = Arc::new(AtomicUsize::new(check.local_ready));
    let mut listeners = Vec::new();
    for address in addresses {
        let address = SocketAddr::new(*address, check.node_port);
        let listener = bind(address, true);
        listeners.push(listener.map_err(|source| PortFailure {
            service: service.clone(),
            address,
            source,
        })?);
    }
    let answer = {
        let (service, health, local_ready) = (service.clone(), health.clone(), local_ready.clone());
        move || {
            let check = HealthCheck { local_ready: local_ready.load(Ordering::Relaxed), ..check };
            let reply = reply(&service, check, health.is_healthy());
            std::future::ready(response(reply))
        }
    };
    let router = Router::new().fallback(answer);
    let serve = |listener| {
        let router = router.clone();
        tokio::spawn(async move {
            // axum's server only ends with its task.
            let _ = axum::serve(listener, router).await;
        })
    };
    let servers = listeners.into_iter().map(serve).collect();
    tracing::debug!(%service, port = check.node_port, "health-check node port is open");
    Ok(Port { number: check.node_port, addresses: addresses.to_vec(), local_ready, servers })
}

fn response(reply: proxy_core::health::Reply) -> Response {
    let code = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    (code, reply.headers, reply.body).into_response()
}
