//! First station of all: connections, TLS, HTTP/1.1 and HTTP/2.
//!
//! Owns: the limits of what an unknown client may make us hold, and that the server drains before it ends. Begin at
//! [`serve`]; which connection goes where there are too many is decided in [`crowd`], and how answers leave in
//! [`outgoing`].
//! Never: looks into a request.

pub mod crowd;
mod head;
mod limits;
mod outgoing;

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use http::Method;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use nix::errno::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{self, AbortHandle, JoinSet};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use self::crowd::{Activity, Crowd, Entry};
use self::outgoing::{Outgoing, Unread, Waiting};
use crate::authentication::certificates;
use crate::reply::From;
use crate::server::{Peer, Server};

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a request, and an HTTP/1.1 connection be quiet.
const HEAD: Duration = Duration::from_secs(32);
/// How long a connection may be without requests.
const IDLE: Duration = Duration::from_secs(90);
/// How often connections are looked at for that.
const LOOK: Duration = Duration::from_secs(30);
/// How long the first request of a connection may take to come while the server drains.
const FIRST: Duration = Duration::from_secs(2);
/// Bytes of the head of a request.
const HEAD_LIMIT: u32 = 64 << 10;
/// Requests at the same time on one connection, as the original.
const STREAMS: u32 = 250;
/// Quiet connections are asked whether they live.
const PING: Duration = Duration::from_secs(30);
/// How long requests may take to end before the server does.
const DRAIN: Duration = Duration::from_secs(60);
const EMFILE: i32 = Errno::EMFILE as i32;
const ENFILE: i32 = Errno::ENFILE as i32;
/// Waits after a connection that could not be accepted: usually for want of file descriptors.
const PAUSE: Duration = Duration::from_millis(50);

/// Serves until `shutdown`, then lets requests end.
///
/// `tls` must offer `h2` and `http/1.1` by ALPN, and may ask for client certificates.
pub async fn serve(
    server: Arc<Server>,
    listener: TcpListener,
    tls: Arc<ServerConfig>,
    shutdown: impl Future<Output = ()>,
) {
    let (drain, draining) = watch::channel(false);
    let mut connections = Connections::new(Arc::clone(&server), TlsAcceptor::from(tls), draining);
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => connections.admit(stream, from),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    if matches!(error.raw_os_error(), Some(EMFILE | ENFILE)) {
                        connections.make_room();
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            },
            () = connections.one_ended() => {}
            () = &mut shutdown => break,
        }
    }
    // Who was connected before the end began is served, though nobody has looked at the connection yet.
    while let Some(Ok((stream, from))) = listener.accept().now_or_never() {
        connections.admit(stream, from);
    }
    drop(listener);
    server.drain();
    drain.send_replace(true);
    if timeout(DRAIN, connections.all_ended()).await.is_err() {
        tracing::warn!("some requests did not end in time, and are cut off");
    }
}

/// All connections, and the tasks that serve them.
struct Connections {
    server: Arc<Server>,
    acceptor: TlsAcceptor,
    draining: watch::Receiver<bool>,
    crowd: Crowd,
    waiting: Waiting,
    running: JoinSet<()>,
    handles: HashMap<u64, AbortHandle>,
    ids: HashMap<task::Id, u64>,
}

impl Connections {
    fn new(server: Arc<Server>, acceptor: TlsAcceptor, draining: watch::Receiver<bool>) -> Self {
        let crowd = Crowd::new(limits::most_connections());
        let (running, handles, ids) = (JoinSet::new(), HashMap::new(), HashMap::new());
        let waiting = Waiting::default();
        Self { server, acceptor, draining, crowd, waiting, running, handles, ids }
    }

    /// Serves a new one, or closes it.
    fn admit(&mut self, stream: TcpStream, from: SocketAddr) {
        let Entry::Admitted { id, activity, instead_of } = self.crowd.enter(from.ip()) else {
            tracing::warn!(%from, "too many connections, and none of them is idle: this one is closed");
            return;
        };
        if let Some(victim) = instead_of {
            tracing::info!(%from, "too many connections: an idle one is closed for this one");
            self.close(victim);
        }
        let (waiting, draining) = (self.waiting.clone(), self.draining.clone());
        let connection = Connection { from, activity, waiting, draining };
        let run = connection.run(Arc::clone(&self.server), self.acceptor.clone(), stream);
        let handle = self.running.spawn(run);
        self.ids.insert(handle.id(), id);
        self.handles.insert(id, handle);
    }

    fn make_room(&mut self) {
        if let Some(victim) = self.crowd.make_room() {
            self.close(victim);
        }
    }

    fn close(&mut self, id: u64) {
        if let Some(handle) = self.handles.remove(&id) {
            handle.abort();
        }
    }

    /// Comes back when one has ended, never where there is none.
    async fn one_ended(&mut self) {
        let Some(ended) = self.running.join_next_with_id().await else { return std::future::pending().await };
        let task = ended.map_or_else(|error| error.id(), |(task, ())| task);
        if let Some(id) = self.ids.remove(&task) {
            self.crowd.leave(id);
            self.handles.remove(&id);
        }
    }

    async fn all_ended(&mut self) {
        while self.running.join_next().await.is_some() {}
    }
}

/// One connection.
struct Connection {
    from: SocketAddr,
    activity: Arc<Activity>,
    /// Answers that clients have not taken, of all connections.
    waiting: Waiting,
    draining: watch::Receiver<bool>,
}

impl Connection {
    /// To its end.
    async fn run(self, server: Arc<Server>, acceptor: TlsAcceptor, stream: TcpStream) {
        let from = self.from;
        limits::of_socket(&stream);
        let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                server.metrics.access.handshake_failed();
                return tracing::debug!(%error, %from, "no TLS connection came about");
            }
            Err(_) => {
                server.metrics.access.handshake_failed();
                return tracing::debug!(%from, "a client did not finish the TLS handshake");
            }
        };
        let peer = match stream.get_ref().1.peer_certificates() {
            Some(chain) => {
                let end = chain.first().and_then(certificates::end);
                Peer::Certificates(chain.iter().map(|one| one.clone().into_owned()).collect(), end)
            }
            None => Peer::Unknown,
        };
        let (peer, activity) = (Arc::new(peer), Arc::clone(&self.activity));
        let unread = Unread::new(&self.waiting);
        let answers = unread.clone();
        let service = service_fn(move |request: http::Request<Incoming>| {
            let (server, peer, busy) = (Arc::clone(&server), Arc::clone(&peer), Activity::begin(&activity));
            let (unread, is_head) = (answers.clone(), request.method() == Method::HEAD);
            async move {
                let answer = match head::refused(&request) {
                    Some(refused) => refused,
                    None => {
                        let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
                        request.extensions_mut().insert(From(from));
                        server.handle(request, &peer).await
                    }
                };
                Ok::<_, Infallible>(Outgoing::answer(answer, is_head, busy, unread))
            }
        });
        let builder = builder();
        let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
        tokio::pin!(serving);
        let ended = tokio::select! {
            ended = serving.as_mut() => ended,
            () = self.is_over() => {
                serving.as_mut().graceful_shutdown();
                // A client that was told to go, and has nothing to wait for, is not waited for.
                tokio::select! {
                    ended = serving.as_mut() => ended,
                    () = self.is_idle(HANDSHAKE) => Ok(()),
                    () = unread.too_long() => Ok(()),
                }
            }
            () = unread.too_long() => {
                tracing::info!(%from, "a connection is closed: its client leaves an answer unread");
                Ok(())
            }
        };
        if let Err(error) = ended {
            tracing::debug!(error, %from, "a connection broke");
        }
    }

    /// Comes back when the connection has been idle for too long, or the server is about to end.
    async fn is_over(&self) {
        let mut draining = self.draining.clone();
        let drain = async {
            drop(draining.wait_for(|drain| *drain).await);
            // Who has just been let in may still ask.
            let _ = timeout(FIRST, self.activity.first()).await;
        };
        tokio::select! {
            () = drain => {}
            () = self.is_idle(IDLE) => {}
        }
    }

    /// Comes back when no request has been under way for `long`.
    async fn is_idle(&self, long: Duration) {
        let look = LOOK.min(long / 2);
        let (mut seen, mut since) = (self.activity.last(), Instant::now());
        loop {
            tokio::time::sleep(look).await;
            let last = self.activity.last();
            if self.activity.is_busy() || last != seen {
                (seen, since) = (last, Instant::now());
            } else if since.elapsed() >= long {
                return;
            }
        }
    }
}

fn builder() -> Builder<TokioExecutor> {
    let mut builder = Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_LIMIT as usize + (256 << 10));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_LIMIT)
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}
