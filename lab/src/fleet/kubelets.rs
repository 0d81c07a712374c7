//! What the nodes' kubelets answer: how much CPU and memory their pods use (`/stats/summary`), and nothing else.
//!
//! Owns: a port for each node, over TLS with a certificate of its own making, as kubelets have that nobody gave one. Never:
//! knows what a pod uses; see [`crate::fake::usage`].

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use apiclient_core::names::ObjectName;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use crate::fake::usage::{self, Usage};

/// What runs on the nodes, and uses something.
#[derive(Clone, Debug, Default)]
pub struct Measured(Arc<Mutex<HashMap<usize, Node>>>);

#[derive(Debug, Default)]
struct Node {
    name: String,
    /// What is no pod.
    system: Usage,
    pods: BTreeMap<ObjectName, Pod>,
}

#[derive(Debug)]
struct Pod {
    uid: String,
    containers: Vec<(String, Usage)>,
}

impl Measured {
    fn nodes(&self) -> MutexGuard<'_, HashMap<usize, Node>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A node as it is now.
    pub fn node(&self, index: usize, node: &Value) {
        let mut nodes = self.nodes();
        let known = nodes.entry(index).or_default();
        known.name = node["metadata"]["name"].as_str().unwrap_or_default().to_owned();
        known.system = usage::of_node(node);
    }

    /// A pod as it is now.
    pub fn pod(&self, node: usize, name: &ObjectName, pod: &Value) {
        let containers =
            usage::of_pod(pod).into_iter().map(|(name, usage)| (name.to_owned(), usage)).collect();
        let uid = pod["metadata"]["uid"].as_str().unwrap_or_default().to_owned();
        self.nodes().entry(node).or_default().pods.insert(name.clone(), Pod { uid, containers });
    }

    pub fn gone(&self, node: usize, name: &ObjectName) {
        if let Some(node) = self.nodes().get_mut(&node) {
            node.pods.remove(name);
        }
    }

    fn summary(&self, node: usize, now: SystemTime) -> Option<Value> {
        let nodes = self.nodes();
        let node = nodes.get(&node)?;
        let pods = node.pods.iter().filter(|(_, pod)| !pod.containers.is_empty());
        let pods = pods
            .map(|(name, pod)| (&*name.namespace, &*name.name, pod.uid.as_str(), pod.containers.as_slice()));
        Some(usage::summary(&node.name, node.system, pods, now))
    }
}

/// Ports that are taken, one for each node.
pub struct Kubelets {
    listeners: Vec<TcpListener>,
    tls: TlsAcceptor,
}

impl Kubelets {
    /// Takes a port for each of so many nodes at an address.
    ///
    /// # Errors
    /// The address is not of this machine, or there are not so many ports or files left.
    pub async fn bind(address: IpAddr, nodes: u32) -> io::Result<Self> {
        let mut listeners = Vec::new();
        for _ in 0..nodes {
            listeners.push(TcpListener::bind(SocketAddr::new(address, 0)).await?);
        }
        Ok(Self { listeners, tls: tls(address)? })
    }

    /// In the order of the nodes.
    pub fn places(&self) -> impl Iterator<Item = SocketAddr> {
        self.listeners.iter().filter_map(|listener| listener.local_addr().ok())
    }

    /// Answers until it is dropped.
    pub async fn serve(self, measured: Measured) -> Infallible {
        let mut tasks = JoinSet::new();
        for (node, listener) in self.listeners.into_iter().enumerate() {
            tasks.spawn(serve(node, listener, self.tls.clone(), measured.clone()));
        }
        while tasks.join_next().await.is_some() {}
        std::future::pending().await
    }
}

fn tls(address: IpAddr) -> io::Result<TlsAcceptor> {
    let made = rcgen::generate_simple_self_signed([address.to_string()]).map_err(io::Error::other)?;
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
    let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .map_err(io::Error::other)?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}

async fn serve(node: usize, listener: TcpListener, tls: TlsAcceptor, measured: Measured) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else {
                    // Too many files are open: some are closed soon.
                    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                    continue;
                };
                let (tls, measured) = (tls.clone(), measured.clone());
                connections.spawn(async move {
                    let Ok(stream) = tls.accept(stream).await else { return };
                    let answer = service_fn(move |request| {
                        let answer = answer(node, &request, &measured);
                        async move { Ok::<_, Infallible>(answer) }
                    });
                    let connection = hyper::server::conn::http1::Builder::new();
                    if let Err(error) = connection.serve_connection(TokioIo::new(stream), answer).await {
                        tracing::debug!(node, %error, "a connection to a kubelet broke");
                    }
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

fn answer(node: usize, request: &Request<Incoming>, measured: &Measured) -> Response<Full<Bytes>> {
    let summary = match request.uri().path() {
        "/stats/summary" => measured.summary(node, SystemTime::now()),
        _ => None,
    };
    let (code, kind, body) = match summary {
        Some(summary) => (200, "application/json", summary.to_string()),
        None => (404, "text/plain", "404 page not found\n".to_owned()),
    };
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = hyper::StatusCode::from_u16(code).unwrap_or_default();
    response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
    response
}
