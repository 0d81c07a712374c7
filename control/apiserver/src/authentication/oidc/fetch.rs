//! Documents of issuers, over HTTPS: an address in, its text out.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CACHE_CONTROL, HOST, LOCATION, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// The longest time of one document, redirections included.
const LIMIT: Duration = Duration::from_secs(30);

/// Nobody's keys need more, in bytes.
const MOST: usize = 1 << 20;

const REDIRECTIONS: usize = 10;

/// What came.
#[derive(Debug)]
pub struct Fetched {
    pub body: Bytes,
    /// How long it is good (`Cache-Control: max-age`).
    pub max_age: Duration,
}

/// Fetches from servers whose certificates come from some authorities.
pub struct Fetcher(TlsConnector);

impl Fetcher {
    /// `authorities` is PEM; empty: those of the system.
    ///
    /// # Errors
    /// There is no certificate in it.
    pub fn new(authorities: &str) -> Result<Self, String> {
        let mut roots = RootCertStore::empty();
        if authorities.is_empty() {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        } else {
            let found = CertificateDer::pem_slice_iter(authorities.as_bytes()).filter_map(Result::ok);
            if roots.add_parsable_certificates(found).0 == 0 {
                return Err("data does not contain any valid RSA or ECDSA certificates".to_owned());
            }
        }
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?;
        let config = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self(TlsConnector::from(Arc::new(config))))
    }

    /// # Errors
    /// Nobody answers, or not with a document; in a sentence for logs and for whoever asks about a token.
    pub async fn get(&self, address: &str) -> Result<Fetched, String> {
        self.get_with(address, "").await
    }

    /// With a token, which only the first address gets to know; an empty one is none.
    ///
    /// # Errors
    /// As [`Fetcher::get`].
    pub async fn get_with(&self, address: &str, token: &str) -> Result<Fetched, String> {
        let following = async {
            let (mut address, mut token) = (address.to_owned(), token);
            for _ in 0..=REDIRECTIONS {
                match self.once(&address, token).await? {
                    Answer::Document(fetched) => return Ok(fetched),
                    Answer::Elsewhere(next) => (address, token) = (next, ""),
                }
            }
            Err(format!("stopped after {REDIRECTIONS} redirects"))
        };
        let outcome = tokio::time::timeout(LIMIT, following).await;
        let outcome = outcome.unwrap_or_else(|_| Err("no answer within 30 seconds".to_owned()));
        outcome.map_err(|why| format!("Get {address:?}: {why}"))
    }

    async fn once(&self, address: &str, token: &str) -> Result<Answer, String> {
        let uri: Uri = address.parse().map_err(|error| format!("no address: {error}"))?;
        let host = uri.host().filter(|_| uri.scheme_str() == Some("https"));
        let Some(host) = host else { return Err("only https is asked".to_owned()) };
        let bare = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let name = ServerName::try_from(bare.clone()).map_err(|error| error.to_string())?;
        let shown = |error: std::io::Error| error.to_string();
        let stream =
            TcpStream::connect((bare.as_str(), uri.port_u16().unwrap_or(443))).await.map_err(shown)?;
        let stream = self.0.connect(name, stream).await.map_err(shown)?;
        let failed = |error: hyper::Error| error.to_string();
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().map_or(host, |authority| authority.as_str());
        let mut request = Request::get(path).header(HOST, authority).header(USER_AGENT, "kube-apiserver");
        if !token.is_empty() {
            request = request.header(AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|error| error.to_string())?;
        let asking = async {
            let response = sender.send_request(request).await.map_err(failed)?;
            let (head, body) = response.into_parts();
            let header = |name| head.headers.get(name).and_then(|value| value.to_str().ok());
            if head.status.is_redirection()
                && let Some(next) = header(LOCATION)
            {
                let own = format!("https://{authority}{next}");
                return Ok(Answer::Elsewhere(if next.starts_with('/') { own } else { next.to_owned() }));
            }
            let max_age = max_age(header(CACHE_CONTROL).unwrap_or_default());
            let body = Limited::new(body, MOST).collect().await.map_err(|error| error.to_string())?;
            let body = body.to_bytes();
            if head.status != 200 {
                let text = String::from_utf8_lossy(&body[..body.len().min(500)]).into_owned();
                return Err(format!("{}: {text}", head.status));
            }
            Ok(Answer::Document(Fetched { body, max_age }))
        };
        // The connection is driven along, and ends with the answer.
        tokio::select! {
            answer = asking => answer,
            Err(error) = connection => Err(error.to_string()),
        }
    }
}

enum Answer {
    Document(Fetched),
    Elsewhere(String),
}

fn max_age(header: &str) -> Duration {
    let mut directives = header.split(',').map(str::trim);
    let seconds = directives.find_map(|one| one.strip_prefix("max-age=")?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0))
}
