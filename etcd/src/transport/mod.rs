//! The connection to one endpoint: HTTP/2, and gRPC in it.
//!
//! Owns: the socket, TLS, the one task that reads and writes, and the pings of a connection in use. Begin at
//! [`connect`]; what a request and its answer do is in [`exchange`].
//! Never: makes a second attempt; who asks makes another connection ([`crate::connection`]).
//!
//! The client library's own channel spreads requests over endpoints and makes their connections again. For that each
//! request passes three tasks and starts two, and on a quiet machine most of its time is their waking, on several
//! threads. Here it wakes the task of the connection, which wakes who asked.

mod exchange;

use std::error::Error as StdError;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use bytes::Bytes;
use etcd_client::Channel;
use h2::client::{Builder, Connection, SendRequest};
use h2::{Ping, PingPong};
use http::Uri;
use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tower::ServiceExt;
use tower::util::{BoxCloneSyncService, service_fn};

use crate::error::ConnectError;
use crate::tls::Tls;

/// What etcd may send before it is read: of one answer, and of all.
const STREAM_WINDOW: u32 = 2 << 20;
const CONNECTION_WINDOW: u32 = 5 << 20;
/// Pings of a connection in use, and the time for their answer. etcd ends connections that ping more often than every
/// 5 s (`--grpc-keepalive-min-time`), and those that ping while nothing is asked.
const KEEPALIVE: Pings = (Duration::from_secs(6), Duration::from_secs(3));

/// How often, and the time for the answer.
type Pings = (Duration, Duration);
type BoxError = Box<dyn StdError + Send + Sync>;

/// One connection, for all who ask over it.
struct Requests {
    send: SendRequest<Bytes>,
    /// `http://HOST:PORT`.
    origin: Uri,
    open: Open,
}

/// How many exchanges are under way.
#[derive(Clone, Default)]
struct Open(Arc<AtomicUsize>);

/// One of them.
struct OneOpen(Open);

impl Open {
    fn one(&self) -> OneOpen {
        self.0.fetch_add(1, Relaxed);
        OneOpen(self.clone())
    }

    fn is_none(&self) -> bool {
        self.0.load(Relaxed) == 0
    }
}

impl Drop for OneOpen {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Relaxed);
    }
}

/// Connects; the library's clients ask over what comes back. The connection ends with the last of them.
pub(crate) async fn connect(origin: &str, tls: Option<Tls>) -> Result<Channel, ConnectError> {
    let unusable = |error: &dyn std::fmt::Display| ConnectError::Unusable(error.to_string());
    let origin: Uri = origin.parse().map_err(|error: http::uri::InvalidUri| unusable(&error))?;
    let mut tcp = HttpConnector::new();
    tcp.set_nodelay(true);
    // Of TLS, too: it only connects.
    tcp.enforce_http(false);
    let socket = tcp.oneshot(origin.clone()).await.map_err(|error| ConnectError::Tcp(error.into()))?;
    let socket = socket.into_inner();
    let requests = match tls {
        None => begin(socket, origin, KEEPALIVE).await?,
        Some(tls) => {
            let host = tls.server_name.as_deref().or(origin.host()).unwrap_or_default();
            let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
            let name = ServerName::try_from(host).map_err(|error| unusable(&error))?;
            let stream =
                TlsConnector::from(tls.config().map_err(ConnectError::Unusable)?).connect(name, socket).await;
            begin(stream.map_err(ConnectError::Tls)?, origin, KEEPALIVE).await?
        }
    };
    let requests = Arc::new(requests);
    let service = service_fn(move |request| exchange::run(Arc::clone(&requests), request));
    Ok(Channel::Custom(BoxCloneSyncService::new(service)))
}

/// Speaks HTTP/2 over a stream, from a task of its own.
async fn begin<T>(stream: T, origin: Uri, pings: Pings) -> Result<Requests, ConnectError>
where
    T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let mut builder = Builder::new();
    builder.enable_push(false);
    builder.initial_window_size(STREAM_WINDOW).initial_connection_window_size(CONNECTION_WINDOW);
    let begun = builder.handshake(stream).await;
    let (send, connection) = begun.map_err(|error| ConnectError::Http(plain(error)))?;
    let open = Open::default();
    tokio::spawn(drive(connection, open.clone(), pings));
    Ok(Requests { send, origin, open })
}

/// Reads and writes until nobody is left who could ask, or the connection fails; who waits for an answer hears of that.
async fn drive<T>(mut connection: Connection<T, Bytes>, open: Open, pings: Pings)
where
    T: AsyncRead + AsyncWrite + Unpin,
{
    let pinging = connection.ping_pong();
    tokio::select! {
        biased;
        ended = connection => if let Err(error) = ended {
            tracing::debug!(%error, "a connection to etcd ended");
        },
        () = silence(pinging, &open, pings) => tracing::debug!("a connection to etcd is given up: no answer to a ping"),
    }
}

/// Comes back when a ping is not answered.
async fn silence(pinging: Option<PingPong>, open: &Open, (every, patience): Pings) {
    let Some(mut pinging) = pinging else { return std::future::pending().await };
    loop {
        sleep(every).await;
        if !open.is_none() && !matches!(timeout(patience, pinging.ping(Ping::opaque())).await, Ok(Ok(_))) {
            return;
        }
    }
}

/// The system's own error, where it is that.
fn plain(error: h2::Error) -> BoxError {
    match error.is_io() {
        true => error.into_io().map_or_else(|| "the connection broke".into(), Into::into),
        false => error.into(),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;
    use tokio::io::DuplexStream;
    use tonic::body::Body;

    use super::*;
    use crate::error::Unsent;

    const LIMIT: Duration = Duration::from_secs(30);

    async fn over(stream: DuplexStream) -> Arc<Requests> {
        let pings = (Duration::from_millis(5), Duration::from_millis(5));
        Arc::new(begin(stream, Uri::from_static("http://etcd:2379"), pings).await.unwrap())
    }

    async fn ask(requests: &Arc<Requests>) -> BoxError {
        let request = Request::post("/etcdserverpb.KV/Range").body(Body::empty()).unwrap();
        exchange::run(Arc::clone(requests), request).await.unwrap_err()
    }

    #[tokio::test]
    async fn a_connection_on_which_no_ping_is_answered_is_given_up() {
        let (ours, _theirs) = tokio::io::duplex(1 << 16);
        let requests = over(ours).await;
        let failed = timeout(LIMIT, ask(&requests)).await.expect("an end");
        assert!(!failed.is::<Unsent>(), "it had gone out: {failed}");
    }

    #[tokio::test]
    async fn what_is_asked_over_a_connection_that_has_ended_was_not_sent() {
        let (ours, theirs) = tokio::io::duplex(1 << 16);
        let requests = over(ours).await;
        drop(theirs);
        // The first one may come before the end is seen.
        let unsent = async { while !ask(&requests).await.is::<Unsent>() {} };
        timeout(LIMIT, unsent).await.expect("the end is seen");
    }
}
