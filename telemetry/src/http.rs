//! `/healthz`, `/readyz` and `/metrics`.
//!
//! Owns: the listener and the three paths. Begin at [`serve`].
//! Never: decides whether a daemon is ready, or what its metrics are: [`Health`] carries both.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use crate::metrics;

/// How long [`Server::stop`] waits for requests that are under way.
const PATIENCE: Duration = Duration::from_secs(1);

/// The bodies of the answers. Probes of the originals' users may compare them, so they are the daemon's to choose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Texts {
    /// `/healthz`, always 200.
    pub alive: &'static str,
    /// `/readyz`, 200.
    pub ready: &'static str,
    /// `/readyz`, 503.
    pub not_ready: &'static str,
}

/// What the server answers from. Clones share the readiness.
#[derive(Clone)]
pub struct Health {
    texts: Texts,
    ready: Ready,
    metrics: Arc<dyn Fn() -> Result<String, fmt::Error> + Send + Sync>,
}

impl Health {
    /// Not ready yet. `metrics` is called once for every scrape, on a thread that may block, and gives the text.
    pub fn new(
        texts: Texts,
        metrics: impl Fn() -> Result<String, fmt::Error> + Send + Sync + 'static,
    ) -> Self {
        Self { texts, ready: Ready::default(), metrics: Arc::new(metrics) }
    }

    /// The switch behind `/readyz`.
    pub fn readiness(&self) -> Ready {
        self.ready.clone()
    }
}

/// Whether the daemon is ready: the first complete pass is done and nothing has undone it.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    pub fn set(&self, ready: bool) {
        self.0.store(ready, Ordering::Release);
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// Why the server did not start.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address} for health and metrics; {}", remedy(.source.kind()))]
pub struct BindError {
    pub address: SocketAddr,
    #[source]
    pub source: io::Error,
}

fn remedy(kind: io::ErrorKind) -> &'static str {
    match kind {
        io::ErrorKind::AddrInUse => {
            "another process has this port (ss -ltnp names it): end it or choose another port"
        }
        io::ErrorKind::AddrNotAvailable => {
            "no interface here has this address: choose one that ip address shows, or 0.0.0.0"
        }
        io::ErrorKind::PermissionDenied => {
            "ports below 1024 need root or CAP_NET_BIND_SERVICE: choose a higher port"
        }
        _ => "choose another address or port",
    }
}

/// A running server. Dropping it stops it at once, [`Server::stop`] lets requests finish.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    /// Where it listens; the port is the real one where 0 was asked for.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Accepts nothing more, finishes what is under way (at most a second), and frees the port.
    pub async fn stop(mut self) {
        if let Some(stop) = self.stop.take() {
            // The task may have ended already; then there is nobody to tell.
            let _ = stop.send(());
        }
        if tokio::time::timeout(PATIENCE, &mut self.task).await.is_err() {
            tracing::debug!(address = %self.address, "requests still under way were cut off");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `health` on `address` until the returned value is stopped or dropped.
///
/// Port 0 takes any free one. Needs a tokio runtime.
pub async fn serve(address: SocketAddr, health: Health) -> Result<Server, BindError> {
    let bind = async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        io::Result::Ok((listener, address))
    };
    let (listener, address) = bind.await.map_err(|source| BindError { address, source })?;
    let (stop, stopped) = oneshot::channel::<()>();
    let app = Router::new()
        .route("/healthz", any(alive))
        .route("/readyz", any(ready))
        .route("/metrics", get(scrape))
        .with_state(health);
    let task = tokio::spawn(async move {
        let until = async {
            // An error means that the server was dropped, which stops it as well.
            let _ = stopped.await;
        };
        axum::serve(listener, app).with_graceful_shutdown(until).await
    });
    tracing::info!(%address, "serving /healthz, /readyz and /metrics");
    Ok(Server { address, stop: Some(stop), task })
}

async fn alive(State(health): State<Health>) -> &'static str {
    health.texts.alive
}

async fn ready(State(health): State<Health>) -> (StatusCode, &'static str) {
    if health.ready.get() {
        (StatusCode::OK, health.texts.ready)
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, health.texts.not_ready)
    }
}

async fn scrape(State(health): State<Health>) -> Response {
    let text = tokio::task::spawn_blocking(move || (health.metrics)()).await;
    match text {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Ok(Err(_)) | Err(_) => {
            tracing::warn!("the metrics could not be written as text");
            (StatusCode::INTERNAL_SERVER_ERROR, "the metrics could not be read; the log says more")
                .into_response()
        }
    }
}
