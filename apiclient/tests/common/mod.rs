//! A server that does what a test says, and certificates.
#![allow(dead_code)]

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use apiclient::{Access, Client};
use axum::body::Body;
use axum::http::{Request, StatusCode};
use axum::response::{IntoResponse, Response};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::json;
use tempfile::TempDir;
use tokio::net::TcpListener;

/// Long enough for any machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What was asked: method, path, the header `authorization`.
pub type Asked = Arc<Mutex<Vec<(String, String, String)>>>;

pub struct Server {
    pub address: SocketAddr,
    pub asked: Asked,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Server {
    /// Answers each request with what `answer` says; it gets the request and how many came before.
    pub async fn start(
        at: &str,
        answer: impl Fn(&Request<Body>, usize) -> Response + Clone + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind(at).await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let (app, asked) = app(answer);
        let task = tokio::spawn(async move {
            let _ = axum::serve(listener, app).await;
        });
        Self { address, asked, task }
    }

    pub fn count(&self) -> usize {
        self.asked.lock().expect("no panic inside").len()
    }

    pub fn tokens(&self) -> Vec<String> {
        self.asked.lock().expect("no panic inside").iter().map(|(_, _, token)| token.clone()).collect()
    }

    pub fn paths(&self) -> Vec<String> {
        self.asked.lock().expect("no panic inside").iter().map(|(_, path, _)| path.clone()).collect()
    }
}

fn app(
    answer: impl Fn(&Request<Body>, usize) -> Response + Clone + Send + Sync + 'static,
) -> (axum::Router, Asked) {
    let asked = Asked::default();
    let noted = asked.clone();
    let app = axum::Router::new().fallback(move |request: Request<Body>| {
        let token =
            request.headers().get("authorization").and_then(|value| value.to_str().ok()).unwrap_or_default();
        let line = (request.method().to_string(), request.uri().to_string(), token.to_owned());
        let before = {
            let mut noted = noted.lock().expect("no panic inside");
            noted.push(line);
            noted.len() - 1
        };
        let response = answer(&request, before);
        async move { response }
    });
    (app, asked)
}

pub fn object() -> Response {
    (StatusCode::CREATED, json!({"metadata": {"name": "a"}}).to_string()).into_response()
}

pub fn refusal(code: u16) -> Response {
    let body = json!({"kind": "Status", "status": "Failure", "code": code, "reason": "Test", "message": "as a test wants"});
    (StatusCode::from_u16(code).expect("a code"), body.to_string()).into_response()
}

/// A folder with a kubeconfig. `cluster` and `user` are fields in YAML.
pub struct Folder(pub TempDir);

impl Folder {
    pub fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// As careful programs write.
    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) {
        std::fs::write(self.path(".new"), text).expect("write");
        std::fs::rename(self.path(".new"), self.path(name)).expect("rename");
    }

    pub fn access(&self, cluster: &str, user: &str) -> Access {
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n\
             clusters: [{{name: k, cluster: {{{cluster}}}}}]\nusers: [{{name: u, user: {{{user}}}}}]\n"
        );
        self.write("config", text);
        Access { kubeconfigs: vec![self.path("config")], master: None }
    }

    pub fn client(&self, cluster: &str, user: &str) -> Client {
        Client::connect(self.access(cluster, user)).unwrap_or_else(|error| panic!("{error}"))
    }

    fn openssl(&self, arguments: &str) {
        let done = Command::new("openssl").args(arguments.split(' ')).current_dir(self.0.path()).output();
        let done = done.expect("openssl is installed");
        assert!(done.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&done.stderr));
    }

    /// `NAME-ca.crt`, and `NAME.crt` with `NAME.key` of it, for a server at 127.0.0.1 and for a client.
    pub fn certificates(&self, name: &str, key: &str) {
        let ec = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1";
        self.openssl(&format!(
            "req -x509 {ec} -nodes -days 2 -subj /CN={name}-ca -keyout {name}-ca.key -out {name}-ca.crt"
        ));
        self.openssl(&format!("req {key} -nodes -subj /O=o/CN={name} -keyout {name}.key -out {name}.csr"));
        self.write("extensions", "subjectAltName=IP:127.0.0.1,DNS:known.example");
        self.openssl(&format!(
            "x509 -req -in {name}.csr -CA {name}-ca.crt -CAkey {name}-ca.key -set_serial 7 -days 2 -extfile extensions -out {name}.crt"
        ));
    }

    /// Turns a key in PKCS#8 into its older form (PKCS#1, SEC1).
    pub fn traditional(&self, name: &str) {
        self.openssl(&format!("pkey -in {name}.key -traditional -out {name}.old"));
        std::fs::rename(self.path(&format!("{name}.old")), self.path(&format!("{name}.key")))
            .expect("rename");
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).expect("a file")
    }
}

/// Serves TLS with a certificate of the folder, and asks for one of `clients` where given.
pub async fn tls_server(folder: &Path, name: &str, clients: Option<&str>) -> Server {
    let file = |ending: &str| std::fs::read(folder.join(format!("{name}{ending}"))).expect("a file");
    let chain = CertificateDer::pem_slice_iter(&file(".crt")).collect::<Result<Vec<_>, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_slice(&file(".key")).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("versions");
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(clients) => {
            let mut roots = rustls::RootCertStore::empty();
            let pem = std::fs::read(folder.join(format!("{clients}-ca.crt"))).expect("a file");
            roots.add(CertificateDer::from_pem_slice(&pem).expect("PEM")).expect("an authority");
            let verifier =
                rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
    };
    let config = builder.with_single_cert(chain, key).expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let asked = Asked::default();
    let noted = asked.clone();
    // One request on each connection is enough.
    let task = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        while let Ok((stream, _)) = listener.accept().await {
            let (acceptor, noted) = (acceptor.clone(), noted.clone());
            tokio::spawn(async move {
                let Ok(mut stream) = acceptor.accept(stream).await else { return };
                let (mut head, mut part) = (Vec::new(), [0; 4096]);
                while !head.windows(4).any(|end| end == b"\r\n\r\n") {
                    match stream.read(&mut part).await {
                        Ok(size) if size > 0 => head.extend_from_slice(&part[..size]),
                        _ => return,
                    }
                }
                let head = String::from_utf8_lossy(&head);
                let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
                noted.lock().expect("no panic inside").push((String::new(), path, String::new()));
                let body = r#"{"metadata":{"name":"a"}}"#;
                let answer = format!(
                    "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                    body.len()
                );
                let _ = stream.write_all(answer.as_bytes()).await;
                let _ = stream.shutdown().await;
            });
        }
    });
    Server { address, asked, task }
}

/// Until something holds.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let began = Instant::now();
    while !holds().await {
        assert!(began.elapsed() < PATIENCE, "{what} never came");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
