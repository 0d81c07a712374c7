//! One connection: to the server or through a proxy, then TLS.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::uri::Scheme;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tower_service::Service;

use super::tls;
use crate::config::{AccessError, Identity, Settings};

/// Longest wait for a TCP connection. A server that is away refuses at once; a machine that is away does not.
const CONNECT: Duration = Duration::from_secs(2);

/// A connection without a word for this long is probed, and given up after a few more seconds: a server whose
/// machine died says nothing at all.
const SILENCE: Duration = Duration::from_secs(15);

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// How a connection gets to the server.
#[derive(Clone, Debug)]
pub enum Route {
    Direct,
    /// A proxy that connects us (`CONNECT`).
    Tunnel {
        proxy: Uri,
        auth: Option<HeaderValue>,
    },
    /// A proxy that gets whole URLs: for plain HTTP.
    Forward {
        proxy: Uri,
        auth: Option<HeaderValue>,
    },
    /// SOCKS version 5, which resolves names, with a user and a password.
    Socks {
        proxy: Uri,
        auth: Option<(String, String)>,
    },
}

/// Opens connections to one server.
#[derive(Clone)]
pub struct Connector {
    route: Route,
    dial: Dial,
    /// To the server, where its scheme is https.
    tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Connector {
    /// # Errors
    /// Certificates or keys that are of no use.
    pub fn new(settings: &Settings, identity: Option<&Identity>, route: Route) -> Result<Self, AccessError> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(CONNECT));
        tcp.set_keepalive(Some(SILENCE));
        tcp.set_keepalive_interval(Some(SILENCE / 3));
        tcp.set_keepalive_retries(Some(3));
        tcp.set_tcp_user_timeout(Some(SILENCE * 2));
        let tls = if settings.server.scheme() == Some(&Scheme::HTTPS) {
            let config = Arc::new(tls::config(&settings.tls, identity)?);
            let name = match &settings.tls.server_name {
                Some(name) => server_name(name)
                    .map_err(|problem| AccessError::credentials("tls-server-name", problem))?,
                None => server_name(settings.server.host().unwrap_or_default())
                    .map_err(|problem| AccessError::credentials("the server's address", problem))?,
            };
            Some((TlsConnector::from(config), name))
        } else {
            None
        };
        let proxy_tls = match &route {
            Route::Tunnel { proxy, .. } | Route::Forward { proxy, .. }
                if proxy.scheme_str() == Some("https") =>
            {
                Some(TlsConnector::from(Arc::new(tls::for_proxy(&settings.tls)?)))
            }
            _ => None,
        };
        Ok(Self { route, dial: Dial { tcp, tls: proxy_tls }, tls })
    }

    async fn connect(self, server: Uri) -> Result<Stream, BoxError> {
        let Self { route, mut dial, tls } = self;
        let stream = match route {
            Route::Direct => {
                dial.tls = None;
                dial.call(server).await?
            }
            Route::Forward { proxy, .. } => {
                let mut stream = dial.call(proxy.clone()).await.map_err(|error| through(&proxy, error))?;
                stream.proxied = true;
                return Ok(stream);
            }
            Route::Tunnel { proxy, auth } => {
                let mut tunnel = Tunnel::new(proxy.clone(), dial);
                if let Some(auth) = auth {
                    tunnel = tunnel.with_auth(auth);
                }
                tunnel.call(server).await.map_err(|error| through(&proxy, error))?
            }
            Route::Socks { proxy, auth } => {
                let mut socks = SocksV5::new(proxy.clone(), dial);
                if let Some((name, password)) = auth {
                    socks = socks.with_auth(name, password);
                }
                socks.call(server).await.map_err(|error| through(&proxy, error))?
            }
        };
        match tls {
            Some((tls, name)) => Ok(Stream::new(tls.connect(name, TokioIo::new(stream)).await?)),
            None => Ok(stream),
        }
    }
}

/// Names the proxy, without its password.
fn through(proxy: &Uri, error: impl Into<BoxError>) -> BoxError {
    let error = error.into();
    let (scheme, host) = (proxy.scheme_str().unwrap_or_default(), proxy.host().unwrap_or_default());
    let port = proxy.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("through the proxy {scheme}://{host}{port}: {}", crate::chain(&*error)).into()
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        Box::pin(self.clone().connect(server))
    }
}

/// Connects to a proxy or a server, with TLS where `tls` is there.
#[derive(Clone)]
struct Dial {
    tcp: HttpConnector,
    tls: Option<TlsConnector>,
}

impl Service<Uri> for Dial {
    type Response = Stream;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, BoxError>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.tcp.poll_ready(context).map_err(Into::into)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let Self { mut tcp, tls } = self.clone();
        Box::pin(async move {
            let to = with_port(to)?;
            let name = server_name(to.host().unwrap_or_default());
            let stream = tcp.call(to).await?;
            match tls {
                Some(tls) => Ok(Stream::new(tls.connect(name?, stream.into_inner()).await?)),
                None => Ok(Stream::new(stream.into_inner())),
            }
        })
    }
}

/// The TCP connector knows the ports of http and https only.
fn with_port(to: Uri) -> Result<Uri, BoxError> {
    if to.port().is_some() || !to.scheme_str().is_some_and(|scheme| scheme.starts_with("socks")) {
        return Ok(to);
    }
    Ok(format!("socks5://{}:1080", to.host().unwrap_or_default()).parse()?)
}

/// A DNS name or an address, an IPv6 one in brackets or without.
fn server_name(host: &str) -> Result<ServerName<'static>, BoxError> {
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    ServerName::try_from(host.to_owned())
        .map_err(|_| format!("{host:?} is neither a name nor an address").into())
}

trait Both: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin {}

impl<T: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin> Both for T {}

/// A connection, plain or not.
pub struct Stream {
    inner: TokioIo<Box<dyn Both>>,
    /// At the other end is a proxy, which wants whole URLs.
    proxied: bool,
}

impl Stream {
    fn new(inner: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static) -> Self {
        Self { inner: TokioIo::new(Box::new(inner)), proxied: false }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new().proxy(self.proxied)
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(context, into)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(context)
    }
}
