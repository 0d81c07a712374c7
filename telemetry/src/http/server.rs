//! A listener, and the connections that it took.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::connections::{Connections, Place};
use super::deadline::Phase;
use super::guard::Guard;
use super::listen::{BindError, listen};
use super::message::{Answer, Request};
use super::routes::Routes;
use crate::backoff::Backoff;

/// How long [`Server::stop`] waits for requests that are under way.
const PATIENCE: Duration = Duration::from_secs(1);

/// Between two attempts at a port that is taken. Who has it is most often a process that is just ending; the
/// longest wait is kube-proxy's.
const RETRY: Backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));

/// Between two attempts at a connection that could not be accepted: no descriptor is free, or no memory.
const ACCEPT: Backoff = Backoff::new(Duration::from_millis(10), Duration::from_secs(1));

/// A head of a request, with all its headers, is at most this long; a longer one is answered with 431.
const HEAD_BYTES: usize = 16 * 1024;
const HEADERS: usize = 64;

/// What to do where a port is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenTaken {
    /// Give up at the first attempt.
    Fail,
    /// Say so once, and try again until it is free.
    Retry,
}

/// A server that runs, or will as soon as its port is free. Dropping it ends it at once, [`Server::stop`] lets
/// requests finish.
#[derive(Debug)]
pub struct Server {
    address: watch::Receiver<Option<SocketAddr>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Server {
    /// Serves `routes` on a socket that listens already. Needs a tokio runtime.
    pub fn on(listener: TcpListener, routes: Routes, connections: Connections) -> Self {
        let (stop, stopping) = watch::channel(false);
        let (_, address) = watch::channel(listener.local_addr().ok());
        let task = tokio::spawn(accept(listener, routes, connections, None, stopping));
        Self { address, stop, task }
    }

    /// Where it listens, once it does; the port is the real one where 0 was asked for.
    pub fn address(&self) -> Option<SocketAddr> {
        *self.address.borrow()
    }

    /// Waits until it listens. `None` where it ended before.
    pub async fn listening(&mut self) -> Option<SocketAddr> {
        self.address.wait_for(Option::is_some).await.ok().and_then(|address| *address)
    }

    /// Accepts nothing more, finishes what is under way (at most a second), and frees the port.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(PATIENCE, &mut self.task).await.is_err() {
            tracing::debug!("requests still under way were cut off");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Serves `routes` on `address` until the returned value is stopped or dropped. `what` names it in the log. Port 0
/// takes any free one. Needs a tokio runtime.
///
/// # Errors
/// With [`WhenTaken::Fail`], an address that cannot be listened on at the first attempt.
pub async fn serve(
    what: &'static str,
    address: SocketAddr,
    routes: Routes,
    when_taken: WhenTaken,
) -> Result<Server, BindError> {
    start(what, address, routes, when_taken, None).await
}

/// The same over HTTPS, for those whom `guard` lets in.
///
/// # Errors
/// As [`serve`].
pub async fn serve_guarded(
    what: &'static str,
    address: SocketAddr,
    routes: Routes,
    when_taken: WhenTaken,
    guard: Guard,
) -> Result<Server, BindError> {
    start(what, address, routes, when_taken, Some(guard)).await
}

async fn start(
    what: &'static str,
    address: SocketAddr,
    routes: Routes,
    when_taken: WhenTaken,
    guard: Option<Guard>,
) -> Result<Server, BindError> {
    let first = match listen(address).map_err(|source| BindError { what, address, source }) {
        Err(error) if when_taken == WhenTaken::Fail => return Err(error),
        Err(error) => {
            tracing::warn!(%error, cause = %error.source, "trying again until the port is free");
            None
        }
        Ok(listener) => Some(listener),
    };
    let bound = first.as_ref().and_then(|listener| listener.local_addr().ok());
    let (tell, known) = watch::channel(bound);
    let (stop, mut stopping) = watch::channel(false);
    let task = tokio::spawn(async move {
        let listener = match first {
            Some(listener) => listener,
            None => tokio::select! {
                listener = until_free(what, address) => listener,
                _ = stopping.wait_for(|stop| *stop) => return,
            },
        };
        let bound = listener.local_addr().unwrap_or(address);
        tracing::info!(address = %bound, "serving {what}");
        tell.send_replace(Some(bound));
        accept(listener, routes, Connections::default(), guard, stopping).await;
    });
    Ok(Server { address: known, stop, task })
}

async fn until_free(what: &'static str, address: SocketAddr) -> TcpListener {
    let mut retry = RETRY;
    loop {
        sleep(retry.step()).await;
        match listen(address) {
            Ok(listener) => return listener,
            Err(error) => tracing::debug!(%error, %address, "{what}: the port is still taken"),
        }
    }
}

async fn accept(
    listener: TcpListener,
    routes: Routes,
    connections: Connections,
    guard: Option<Guard>,
    mut stopping: watch::Receiver<bool>,
) {
    let mut tasks = JoinSet::new();
    let mut retry = ACCEPT;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            Some(_) = tasks.join_next() => continue,
            _ = stopping.wait_for(|stop| *stop) => break,
        };
        match accepted {
            Ok((stream, peer)) => {
                if !retry.is_fresh() {
                    tracing::info!("connections are accepted again");
                    retry.reset();
                }
                // Where all are being answered, one more would not be answered sooner.
                if let Some(place) = connections.admit(Instant::now()) {
                    tasks.spawn(meet(stream, peer, routes.clone(), place, guard.clone(), stopping.clone()));
                }
            }
            // The client gave up before we came to it.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if retry.is_fresh() {
                    let address = listener.local_addr().ok();
                    tracing::warn!(%error, ?address, "cannot accept connections; trying again");
                }
                sleep(retry.step()).await;
            }
        }
    }
    drop(listener);
    while tasks.join_next().await.is_some() {}
}

/// One connection, from its beginning to its end.
async fn meet(
    stream: TcpStream,
    peer: SocketAddr,
    routes: Routes,
    mut place: Place,
    guard: Option<Guard>,
    mut stopping: watch::Receiver<bool>,
) {
    let Ok(local) = stream.local_addr() else { return };
    let Some(guard) = guard else {
        let ends = Ends { peer, local, certificates: Arc::default() };
        return converse(stream, ends, routes, place, None, stopping).await;
    };
    let met = tokio::select! {
        met = guard.meet(stream) => met,
        () = place.ends() => return,
        _ = stopping.wait_for(|stop| *stop) => return,
    };
    match met {
        Ok((stream, certificates)) => {
            converse(stream, Ends { peer, local, certificates }, routes, place, Some(guard), stopping).await;
        }
        Err(error) => tracing::debug!(%error, %peer, "no TLS connection came about"),
    }
}

/// Both ends of a connection.
struct Ends {
    peer: SocketAddr,
    local: SocketAddr,
    certificates: Arc<[CertificateDer<'static>]>,
}

/// From the first request of a connection to its last.
async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    ends: Ends,
    routes: Routes,
    mut place: Place,
    guard: Option<Guard>,
    mut stopping: watch::Receiver<bool>,
) {
    let Ends { peer, local, certificates } = ends;
    let phase = place.setter();
    let service = service_fn(|request: hyper::Request<Incoming>| {
        let (routes, phase, guard, certificates) =
            (&routes, phase.clone(), guard.as_ref(), Arc::clone(&certificates));
        async move {
            phase(Phase::asked(Instant::now()));
            let (head, _body) = request.into_parts();
            let request = Request {
                method: head.method,
                path: head.uri.path().to_owned(),
                query: head.uri.query().map(str::to_owned),
                headers: head.headers,
                peer,
                local,
                certificates,
            };
            let checked = match guard {
                Some(guard) => guard.check.check(&request).await,
                None => Ok(()),
            };
            let answer = match checked {
                Ok(()) => routes.answer(request).await,
                Err(refusal) => refusal,
            };
            phase(Phase::answered(Instant::now()));
            Ok::<_, Infallible>(response(answer))
        }
    });
    let mut http = hyper::server::conn::http1::Builder::new();
    // Its own time-out begins again with each byte; the place has one for all.
    http.header_read_timeout(None).max_headers(HEADERS).max_buf_size(HEAD_BYTES);
    // printf ... | nc closes its half before it reads; Go answers it too.
    http.half_close(true);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut ends = pin!(place.ends());
    let mut told = false;
    loop {
        tokio::select! {
            outcome = &mut connection => {
                if let Err(error) = outcome {
                    tracing::trace!(%error, %peer, "a connection broke");
                }
                return;
            }
            () = &mut ends => return,
            _ = stopping.wait_for(|stop| *stop), if !told => {
                told = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

fn response(answer: Answer) -> hyper::Response<Full<Bytes>> {
    let mut response = hyper::Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    response
}
