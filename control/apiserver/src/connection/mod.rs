//! First station of all: connections, TLS, HTTP/1.1 and HTTP/2.
//!
//! Owns: the limits of what an unknown client may make us hold, and that the server drains before it ends. Begin at
//! [`serve`].
//! Never: looks into a request.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;

use crate::reply::{self, BoxError, From};
use crate::server::{Peer, Server};

/// How long a client may take for the TLS handshake.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long a client may take for the head of a request.
const HEAD: Duration = Duration::from_secs(30);
/// Bytes of the head of a request.
const HEAD_LIMIT: u32 = 64 << 10;
/// Requests at the same time on one connection, as the original.
const STREAMS: u32 = 250;
/// Quiet connections are asked whether they live.
const PING: Duration = Duration::from_secs(30);
/// How long requests may take to end before the server does.
const DRAIN: Duration = Duration::from_secs(60);
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
    let acceptor = TlsAcceptor::from(tls);
    let (drain, draining) = watch::channel(false);
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, from)) => {
                    let connection =
                        connection(Arc::clone(&server), acceptor.clone(), stream, from, draining.clone());
                    connections.spawn(connection);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(PAUSE).await;
                }
            },
            // Finished ones are taken away as they end.
            Some(_) = connections.join_next() => {}
            () = &mut shutdown => break,
        }
    }
    drop(listener);
    server.drain();
    drain.send_replace(true);
    let all = async { while connections.join_next().await.is_some() {} };
    if timeout(DRAIN, all).await.is_err() {
        tracing::warn!("some requests did not end in time, and are cut off");
    }
}

/// The body of an answer, with an error that has a type.
struct Outgoing(reply::Body);

#[derive(Debug, thiserror::Error)]
#[error("the answer broke off")]
struct Broken(#[source] BoxError);

impl Body for Outgoing {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        Pin::new(&mut self.0).poll_frame(context).map_err(Broken)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// One connection, to its end.
async fn connection(
    server: Arc<Server>,
    acceptor: TlsAcceptor,
    stream: TcpStream,
    from: SocketAddr,
    mut draining: watch::Receiver<bool>,
) {
    // An answer in one piece should leave at once.
    let _ = stream.set_nodelay(true);
    let stream = match timeout(HANDSHAKE, acceptor.accept(stream)).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return tracing::debug!(%error, %from, "no TLS connection came about"),
        Err(_) => return tracing::debug!(%from, "a client did not finish the TLS handshake"),
    };
    let peer = match stream.get_ref().1.peer_certificates() {
        Some(chain) => Peer::Certificates(chain.iter().map(|one| one.clone().into_owned()).collect()),
        None => Peer::Unknown,
    };
    let peer = Arc::new(peer);
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (server, peer) = (Arc::clone(&server), Arc::clone(&peer));
        async move {
            let mut request = request.map(|body| body.map_err(Into::into).boxed_unsync());
            request.extensions_mut().insert(From(from));
            let answer = server.handle(request, &peer).await;
            Ok::<_, Infallible>(answer.map(Outgoing))
        }
    });
    let builder = builder();
    let serving = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(serving);
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        () = async { drop(draining.wait_for(|drain| *drain).await) } => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, %from, "a connection broke");
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
