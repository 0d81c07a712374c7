//! A server of our own that both API servers ask: an OpenID issuer with its keys, and a webhook that knows some tokens and
//! some rights.

use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use control_apiserver::authentication::jwt;
use control_apiserver::authentication::keys::SigningKey;
use control_apiserver::pki::{self, Names};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a client may be silent.
const LIMIT: Duration = Duration::from_secs(30);

/// It serves as long as the process lives: whoever asks it has ended before.
pub struct Issuer {
    address: SocketAddr,
    key: SigningKey,
    authority: String,
    directory: TempDir,
}

impl Issuer {
    /// # Panics
    /// A port or a key is not to be had.
    pub fn up() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let names = Names::of_api("localhost", [address.ip()], &[]);
        let made = pki::ensure(directory.path(), &names, SystemTime::now());
        made.unwrap_or_else(|error| panic!("{error}"));
        let file = |name: &str| directory.path().join(name);
        let (certificate, key) = (file("apiserver.crt"), file("apiserver.key"));
        let config = config(&certificate, &key).expect("a certificate and its key");
        // The one key does for both; nobody looks.
        let key = SigningKey::from_pem(&fs::read(&key).expect("a key")).expect("a key");
        let keys = json!({"keys": [key.public().jwk()]});
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (config, keys) = (Arc::clone(&config), keys.clone());
                // A client that goes away costs its own connection only.
                std::thread::spawn(move || answer(stream, config, address, &keys));
            }
        });
        let authority = fs::read_to_string(file("ca.crt")).expect("a certificate");
        Self { address, key, authority, directory }
    }

    pub fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    /// `issuer` of an entry in a file of `--authentication-config`.
    pub fn entry(&self, audiences: &[&str]) -> Value {
        json!({
            "url": self.url(),
            "audiences": audiences,
            "audienceMatchPolicy": "MatchAny",
            "certificateAuthority": self.authority,
        })
    }

    /// Writes a file of `--authentication-config`, and gives the flag.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn flag(&self, configuration: &Value) -> String {
        self.write("authentication", configuration)
    }

    /// As [`Issuer::flag`], of `--authorization-config`. Written again, it is another chain.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn authorization_flag(&self, configuration: &Value) -> String {
        self.write("authorization", configuration)
    }

    /// The file is whole whenever somebody reads it.
    fn write(&self, what: &str, configuration: &Value) -> String {
        let path = self.directory.path().join(format!("{what}.yaml"));
        let new = path.with_extension("new");
        fs::write(&new, configuration.to_string()).expect("a file");
        fs::rename(&new, &path).expect("a file");
        format!("--{what}-config={}", path.display())
    }

    /// Writes a kubeconfig that leads to the webhook, and gives its path. The path of the address says what it is asked as.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn kubeconfig(&self, name: &str) -> String {
        let path = self.directory.path().join(name);
        let authority = self.directory.path().join("ca.crt");
        let kubeconfig = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {
                "server": format!("{}/{name}", self.url()), "certificate-authority": authority,
            }}],
            "users": [{"name": "x", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        });
        fs::write(&path, kubeconfig.to_string()).expect("a file");
        path.display().to_string()
    }

    /// A token that ends in ten minutes, with more claims.
    ///
    /// # Panics
    /// The key does not sign.
    pub fn token(&self, more: &Value) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("later").as_secs();
        let mut claims = json!({"iss": self.url(), "aud": "weft", "iat": now, "exp": now + 600});
        for (name, value) in more.as_object().into_iter().flatten() {
            claims[name] = value.clone();
        }
        jwt::sign(&claims, &self.key).expect("a token")
    }
}

fn config(certificate: &std::path::Path, key: &std::path::Path) -> io::Result<Arc<ServerConfig>> {
    let chain = CertificateDer::pem_file_iter(certificate).map_err(io::Error::other)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(io::Error::other)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?;
    let config = config.with_no_client_auth().with_single_cert(chain, key).map_err(io::Error::other)?;
    Ok(Arc::new(config))
}

/// One request, one document.
fn answer(stream: TcpStream, config: Arc<ServerConfig>, own: SocketAddr, keys: &Value) -> io::Result<()> {
    stream.set_read_timeout(Some(LIMIT))?;
    let connection = ServerConnection::new(config).map_err(io::Error::other)?;
    let mut stream = BufReader::new(StreamOwned::new(connection, stream));
    let mut first = String::new();
    stream.read_line(&mut first)?;
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line)? > 2 {
        if let Some(found) = line.to_ascii_lowercase().strip_prefix("content-length:") {
            length = found.trim().parse().map_err(io::Error::other)?;
        }
        line.clear();
    }
    let mut asked = vec![0; length];
    stream.read_exact(&mut asked)?;
    // The original says in a query how long it waits.
    let path = first.split(' ').nth(1).and_then(|path| path.split('?').next());
    let body = match path {
        Some("/keys") => keys.to_string(),
        Some("/rights" | "/tokens") => reviewed(serde_json::from_slice(&asked)?).to_string(),
        _ => json!({
            "issuer": format!("https://{own}"),
            "jwks_uri": format!("https://{own}/keys"),
            "id_token_signing_alg_values_supported": ["ES256"],
        })
        .to_string(),
    };
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
    let stream = stream.get_mut();
    write!(stream, "{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    stream.conn.send_close_notify();
    stream.flush()
}

/// What the webhook says: `friend` reads config maps and nobody's secrets, and about all else others decide; of the two
/// tokens that it knows one has ended.
fn reviewed(mut review: Value) -> Value {
    let about = &review["spec"]["resourceAttributes"];
    let status = match review["spec"]["token"].as_str() {
        Some("friends-token") => json!({
            "authenticated": true,
            "user": {"username": "friend", "uid": "7", "groups": ["friends"], "extra": {"scope": ["a", "b"]}},
        }),
        Some("late-token") => json!({"authenticated": false, "error": "the token has ended"}),
        Some(_) => json!({"authenticated": false}),
        None if review["spec"]["user"] != "friend" => json!({"allowed": false}),
        None if about["resource"] == "configmaps" && about["verb"] != "create" => {
            json!({"allowed": true, "reason": "a friend reads"})
        }
        None if about["resource"] == "secrets" => {
            json!({"allowed": false, "denied": true, "reason": "secrets are nobody's"})
        }
        None => json!({"allowed": false, "reason": "ask others"}),
    };
    review["status"] = status;
    review
}
