//! The way to the API server: address, credentials, connections.

use std::path::PathBuf;
use std::sync::RwLock;
use std::time::{Duration, Instant};

use futures::AsyncBufRead;
use http::Request;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::ConfigExt;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceBuilder};

use super::super::FeedError;
use super::failure::Failure;
use crate::error::chain;

/// Longest wait for a TCP connection. A server that is away refuses at once; a machine that is away does not.
const CONNECT: Duration = Duration::from_secs(2);

/// Longest wait for the first bytes of an answer.
const ANSWER: Duration = Duration::from_secs(15);

/// A connection without a word for this long is probed, and given up after a few more seconds: a server whose
/// machine died says nothing at all.
const SILENCE: Duration = Duration::from_secs(15);

/// Credentials are read again at most this often.
const REOPEN: Duration = Duration::from_secs(1);

/// Where the server is and who we are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Access {
    /// None, and no `master`: the service account of this pod.
    pub kubeconfig: Option<PathBuf>,
    /// URL that is used instead of the kubeconfig's; alone, without credentials.
    pub master: Option<String>,
}

/// A client that can be made again when its credentials are refused: files may have changed.
pub struct Door {
    access: Access,
    inner: RwLock<Inner>,
}

struct Inner {
    client: Client,
    server: String,
    opened: Instant,
}

impl Door {
    pub async fn open(access: Access) -> Result<Self, FeedError> {
        let inner = RwLock::new(connect(&access).await?);
        Ok(Self { access, inner })
    }

    /// For messages.
    pub fn server(&self) -> String {
        self.read(|inner| inner.server.clone())
    }

    /// Reads credentials again. Where that fails, the old ones stay.
    pub async fn reopen(&self) {
        if self.read(|inner| inner.opened.elapsed() < REOPEN) {
            return;
        }
        match connect(&self.access).await {
            Ok(inner) => *self.inner.write().unwrap_or_else(std::sync::PoisonError::into_inner) = inner,
            Err(error) => tracing::debug!(%error, "credentials could not be read again"),
        }
    }

    /// The body of a successful answer, as it comes.
    pub async fn get(&self, url: &str) -> Result<impl AsyncBufRead + Unpin + Send + use<>, Failure> {
        let request = Request::get(url)
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::ACCEPT_ENCODING, "identity")
            .body(Vec::new())
            .map_err(|error| Failure::Garbled(format!("{url} is no URL: {error}")))?;
        let client = self.read(|inner| inner.client.clone());
        let answer = tokio::time::timeout(ANSWER, client.request_stream(request));
        Ok(answer.await.map_err(|_| Failure::Away(format!("no answer within {ANSWER:?}")))??)
    }

    /// Makes an object.
    pub async fn post(&self, url: &str, body: String) -> Result<(), Failure> {
        let request = Request::post(url)
            .header(http::header::ACCEPT, "application/json")
            .header(http::header::CONTENT_TYPE, "application/json")
            .body(body.into_bytes())
            .map_err(|error| Failure::Garbled(format!("{url} is no URL: {error}")))?;
        let client = self.read(|inner| inner.client.clone());
        let answer = tokio::time::timeout(ANSWER, client.request_text(request));
        answer.await.map_err(|_| Failure::Away(format!("no answer within {ANSWER:?}")))??;
        Ok(())
    }

    fn read<T>(&self, look: impl FnOnce(&Inner) -> T) -> T {
        look(&self.inner.read().unwrap_or_else(std::sync::PoisonError::into_inner))
    }
}

async fn connect(access: &Access) -> Result<Inner, FeedError> {
    let mut config = match (&access.kubeconfig, &access.master) {
        (Some(path), _) => {
            let failed = |problem| FeedError::Kubeconfig { path: path.clone(), problem };
            let file = Kubeconfig::read_from(path).map_err(|error| failed(chain(&error)))?;
            let options = KubeConfigOptions::default();
            Config::from_custom_kubeconfig(file, &options).await.map_err(|error| failed(chain(&error)))?
        }
        (None, Some(master)) => Config::new(address(master)?),
        (None, None) => {
            Config::incluster().map_err(|error| FeedError::NoAccess { problem: chain(&error) })?
        }
    };
    if let Some(master) = &access.master {
        config.cluster_url = address(master)?;
    }
    let failed = |error: kube::Error| FeedError::Client { problem: chain(&error) };
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(CONNECT));
    tcp.set_keepalive(Some(SILENCE));
    tcp.set_keepalive_interval(Some(SILENCE / 3));
    tcp.set_keepalive_retries(Some(3));
    tcp.set_tcp_user_timeout(Some(SILENCE * 2));
    let tls = config.rustls_https_connector_with_connector(tcp).map_err(failed)?;
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer().map_err(failed)?)
        .option_layer(config.auth_layer().map_err(failed)?)
        .map_err(BoxError::from)
        .service(hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build(tls));
    let client = Client::new(service, config.default_namespace.clone());
    Ok(Inner { client, server: config.cluster_url.to_string(), opened: Instant::now() })
}

fn address(text: &str) -> Result<http::Uri, FeedError> {
    // client-go takes HOST:PORT without a scheme for plain HTTP.
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let failed = |problem: String| FeedError::Master { address: text.to_owned(), problem };
    let found: http::Uri = whole.parse().map_err(|error: http::uri::InvalidUri| failed(error.to_string()))?;
    if found.host().is_none() { Err(failed("it has no host".to_owned())) } else { Ok(found) }
}
