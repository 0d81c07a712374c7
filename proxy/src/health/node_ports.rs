//! Health-check node ports: a port for each Service with externalTrafficPolicy Local, which tells a load balancer
//! whether this node has endpoints of it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use apiclient::{Event, Reference};
use proxy_core::health::reply;
use proxy_core::names::{Family, ServiceName};
use proxy_core::table::HealthCheck;
use telemetry::http::{self, Answer, Connections, HeaderMap, HeaderName, Routes, Server, StatusCode};

use super::state::ProxyHealth;

/// A port that could not be opened at an address. The next [`NodePorts::sync`] tries again.
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
    pub fn event(&self, node: &str) -> Event {
        let Self { service, address, source } = self;
        let port = address.port();
        Event {
            regarding: Reference {
                api_version: "v1".into(),
                kind: "Service".into(),
                namespace: service.namespace.to_string(),
                name: service.name.to_string(),
                uid: String::new(),
            },
            reason: "FailedToStartServiceHealthcheck".into(),
            action: "Listen".into(),
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
    /// Of all ports together: there may be thousands of ports.
    connections: Connections,
    open: BTreeMap<(Family, ServiceName), Port>,
    /// Where a wanted port is not open, and whether that was said.
    failed: BTreeMap<(Family, ServiceName), BTreeMap<SocketAddr, bool>>,
}

/// Addresses to open ports at. A family that is not among the keys has none that are known: what is open there stays.
pub type Places = BTreeMap<Family, Vec<IpAddr>>;

struct Port {
    number: u16,
    local_ready: Arc<AtomicUsize>,
    /// Each ends when dropped.
    servers: BTreeMap<IpAddr, Server>,
}

impl Port {
    fn new(number: u16) -> Self {
        Self { number, local_ready: Arc::default(), servers: BTreeMap::new() }
    }

    /// Closes what `keep` does not want; whether there was any.
    fn close(&mut self, keep: impl Fn(&IpAddr) -> bool) -> bool {
        let before = self.servers.len();
        self.servers.retain(|address, _| keep(address));
        self.servers.len() < before
    }
}

impl NodePorts {
    pub fn new(health: ProxyHealth) -> Self {
        Self { health, connections: Connections::default(), open: BTreeMap::new(), failed: BTreeMap::new() }
    }

    /// Opens, closes and updates until the wanted ports are open at the addresses of their family (`0.0.0.0` and `::`
    /// for all of the node's). An address where a port is open already keeps it without a gap; one where it cannot be
    /// opened keeps it from no other. Needs a tokio runtime.
    ///
    /// Returns the ports that could not be opened, each once until it could. [`NodePorts::is_complete`] says whether
    /// this has to be called again.
    pub fn sync(
        &mut self,
        want: &BTreeMap<(Family, ServiceName), HealthCheck>,
        places: &Places,
    ) -> Vec<PortFailure> {
        // Closed first: a port may go from one service to another.
        let mut closed = BTreeSet::new();
        self.open.retain(|key, port| {
            let keep = want.get(key).is_some_and(|check| check.node_port == port.number);
            let wanted = |address: &IpAddr| {
                keep && places.get(&key.0).is_none_or(|addresses| addresses.contains(address))
            };
            if port.close(wanted) {
                closed.insert(port.number);
            }
            keep
        });
        let mut failures = Vec::new();
        let mut failed = std::mem::take(&mut self.failed);
        for (key, check) in want {
            let port = self.open.entry(key.clone()).or_insert_with(|| Port::new(check.node_port));
            port.local_ready.store(check.local_ready, Ordering::Relaxed);
            let before = failed.remove(key).unwrap_or_default();
            let mut now = BTreeMap::new();
            for address in places.get(&key.0).into_iter().flatten() {
                if port.servers.contains_key(address) {
                    continue;
                }
                let at = SocketAddr::new(*address, check.node_port);
                match open(&key.1, *check, at, port.local_ready.clone(), &self.health, &self.connections) {
                    Ok(server) => {
                        _ = port.servers.insert(*address, server);
                        if before.get(&at) == Some(&true) {
                            tracing::info!(service = %key.1, address = %at, "the health-check node port is open now");
                        }
                    }
                    Err(source) => {
                        // A server of ours ends a moment after it was told to.
                        let ours = source.kind() == io::ErrorKind::AddrInUse && closed.contains(&at.port());
                        let said = before.get(&at).copied();
                        if said != Some(true) && !ours {
                            failures.push(PortFailure { service: key.1.clone(), address: at, source });
                        }
                        now.insert(at, said == Some(true) || !ours);
                    }
                }
            }
            if !now.is_empty() {
                self.failed.insert(key.clone(), now);
            }
        }
        failures
    }

    /// Whether every port is open that was wanted last.
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }
}

impl fmt::Debug for NodePorts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open =
            self.open.iter().map(|((family, service), port)| (format!("{service} {family}"), port.number));
        f.debug_map().entries(open).finish()
    }
}

/// Serves one port at one address.
fn open(
    service: &ServiceName,
    check: HealthCheck,
    at: SocketAddr,
    local_ready: Arc<AtomicUsize>,
    health: &ProxyHealth,
    connections: &Connections,
) -> io::Result<Server> {
    let listener = http::bind(at, true)?;
    let (name, health) = (service.clone(), health.clone());
    let answer = move || {
        let check = HealthCheck { local_ready: local_ready.load(Ordering::Relaxed), ..check };
        answer_of(reply(&name, check, health.is_healthy()))
    };
    tracing::debug!(%service, address = %at, "health-check node port is open");
    Ok(Server::on(listener, Routes::new().fallback(move |_| answer()), connections.clone()))
}

fn answer_of(reply: proxy_core::health::Reply) -> Answer {
    let status = StatusCode::from_u16(reply.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
    let answer = Answer { status, headers: HeaderMap::new(), body: reply.body };
    reply.headers.into_iter().fold(answer, |answer, (name, value)| {
        // Go's names are HTTP's in other letters.
        match HeaderName::from_bytes(name.as_bytes()) {
            Ok(name) => answer.with(name, &value),
            Err(_) => answer,
        }
    })
}
