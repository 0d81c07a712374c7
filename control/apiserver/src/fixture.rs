//! A small HTTPS server of the tests: an issuer, a webhook.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What somebody asks.
#[derive(Debug)]
pub struct Asked {
    pub path: String,
    /// The header; empty where there is none.
    pub authorization: String,
    /// `null` where it is no JSON.
    pub body: Value,
}

/// What is answered: a status code, and an object, or a text as it is.
pub type Answers = dyn Fn(Asked) -> (u16, Value) + Send + Sync;

/// It answers until it is dropped.
pub struct Https {
    pub address: SocketAddr,
    /// Its own authority, PEM.
    pub certificate: String,
    task: JoinHandle<()>,
}

impl Drop for Https {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Https {
    /// `answers` gets the server's own address first.
    pub async fn up(answers: impl FnOnce(SocketAddr) -> Box<Answers>) -> Self {
        let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(made.signing_key.serialize_der()));
        let config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![made.cert.der().clone()], key)
            .expect("a certificate");
        let listener = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let answers: Arc<Answers> = answers(address).into();
        let task = tokio::spawn(serve(listener, TlsAcceptor::from(Arc::new(config)), answers));
        Self { address, certificate: made.cert.pem(), task }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// A kubeconfig that leads to a path of it.
    pub fn kubeconfig(&self, path: &str) -> String {
        json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {
                "server": format!("{}{path}", self.url()),
                "certificate-authority-data": STANDARD.encode(&self.certificate),
            }}],
            "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        })
        .to_string()
    }
}

async fn serve(listener: TcpListener, tls: TlsAcceptor, answers: Arc<Answers>) {
    let mut connections = tokio::task::JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (tls, answers) = (tls.clone(), Arc::clone(&answers));
        connections.spawn(async move {
            let Ok(stream) = tls.accept(stream).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let answers = Arc::clone(&answers);
                async move {
                    let path = request.uri().path().to_owned();
                    let authorization = request.headers().get(AUTHORIZATION);
                    let authorization = authorization.and_then(|value| value.to_str().ok());
                    let authorization = authorization.unwrap_or_default().to_owned();
                    let body = request.into_body().collect().await.map(|body| body.to_bytes());
                    let body = serde_json::from_slice(&body.unwrap_or_default()).unwrap_or_default();
                    let (code, answer) = answers(Asked { path, authorization, body });
                    let text = answer.as_str().map_or_else(|| answer.to_string(), str::to_owned);
                    let mut response = Response::new(Full::new(Bytes::from(text)));
                    *response.status_mut() = code.try_into().expect("a code");
                    Ok::<_, Infallible>(response)
                }
            });
            let _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}
