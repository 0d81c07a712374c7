//! What stands behind this server: agents of nodes, and ports of pods, services and nodes that clients reach through it.
//!
//! Owns: connections to them, with this server's certificate where they are agents ([`Backends`]); one request over one
//! connection ([`exchange`]); upgrades as pipes of bytes ([`pipe`]); what of a request and its answer is handed on
//! ([`forward`], [`rewrite`]). Where requests go, `control_core::location` decides.
//! Never: understands what streams through it.

pub mod exchange;
pub mod forward;
pub mod html;
pub mod pipe;
pub mod rewrite;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use control_core::location::{Location, Preferences, Scheme};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How agents are found and spoken to.
#[derive(Clone, Debug)]
pub struct Backends {
    /// The certificate by which agents know this server, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The authority of the agents' certificates; without one they are not verified, as with the original.
    pub authority: Option<PathBuf>,
    pub preferences: Preferences,
    /// Until an agent has taken a connection. Ports of pods get [`PATIENCE`].
    pub timeout: Duration,
}

impl Default for Backends {
    fn default() -> Self {
        Self {
            identity: None,
            authority: None,
            preferences: Preferences::default(),
            timeout: Duration::from_secs(5),
        }
    }
}

/// How long a connection to a port of a pod may take.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long the TLS handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Who is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trust {
    /// An agent, whose certificate is that of a known authority.
    Agent,
    /// An agent with any certificate: a client asked for that.
    AnyAgent,
    /// A port of a pod: any certificate does, and this server shows none.
    Anybody,
}

/// Why nobody is reached. The words are those of Go's `net`, which clients of the original know.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    #[error("dial tcp {0}: i/o timeout")]
    Slow(String),
    #[error("dial tcp {address}: {}", words(error))]
    Dial { address: String, error: io::Error },
    #[error("dial tcp: lookup {0}: no such host")]
    Unknown(String),
    #[error("dial tcp: lookup tcp/{0}: unknown port")]
    Port(String),
    #[error("net/http: TLS handshake timeout")]
    SlowHandshake,
    #[error("{}", tls::words(.0))]
    Handshake(io::Error),
    #[error("{0}")]
    Files(String),
}

/// `connect: connection refused`: Go writes what the system says in lower case, and with the call that failed.
fn words(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(number) => format!("connect: {}", nix::errno::Errno::from_raw(number).desc().to_lowercase()),
        None => error.to_string(),
    }
}

/// A connection, encrypted or not.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

impl Backends {
    /// # Errors
    /// Nobody is there, or not whom it should be.
    pub async fn connect(&self, location: &Location, trust: Trust) -> Result<Box<dyn Stream>, ConnectError> {
        let patience = if trust == Trust::Anybody { PATIENCE } else { self.timeout };
        let port = location.port_number().ok_or_else(|| ConnectError::Port(location.port.clone()))?;
        let stream = dial(&location.host, port, patience).await?;
        if location.scheme == Scheme::Http {
            return Ok(Box::new(stream));
        }
        let connector = self.connector(trust).await?;
        let name = tls::name(&location.host).map_err(ConnectError::Files)?;
        match timeout(HANDSHAKE, connector.connect(name, stream)).await {
            Ok(Ok(stream)) => Ok(Box::new(stream)),
            Ok(Err(error)) => Err(ConnectError::Handshake(error)),
            Err(_) => Err(ConnectError::SlowHandshake),
        }
    }
}

async fn dial(host: &str, port: u16, patience: Duration) -> Result<TcpStream, ConnectError> {
    let mut last = None;
    let found = timeout(patience, async {
        for address in resolve(host, port).await? {
            match TcpStream::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => last = Some(ConnectError::Dial { address: address.to_string(), error }),
            }
        }
        Err(last.take().unwrap_or_else(|| ConnectError::Unknown(host.to_owned())))
    });
    let found = found.await.unwrap_or_else(|_| Err(ConnectError::Slow(at(host, port))));
    let stream = found?;
    // Keystrokes should leave at once.
    let _ = stream.set_nodelay(true);
    Ok(stream)
}

fn at(host: &str, port: u16) -> String {
    host.parse().map_or_else(
        |_| format!("{host}:{port}"),
        |address: IpAddr| SocketAddr::from((address, port)).to_string(),
    )
}

async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, ConnectError> {
    match lookup_host((host, port)).await {
        Ok(found) => Ok(found.collect()),
        Err(_) => Err(ConnectError::Unknown(host.to_owned())),
    }
}

/// The addresses of a name.
///
/// # Errors
/// There are none, in Go's words.
pub async fn addresses(host: &str) -> Result<Vec<IpAddr>, String> {
    match timeout(PATIENCE, resolve(host, 0)).await {
        Ok(Ok(found)) => Ok(found.into_iter().map(|address| address.ip()).collect()),
        Ok(Err(_)) => Err(format!("lookup {host}: no such host")),
        Err(_) => Err(format!("lookup {host}: i/o timeout")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[tokio::test]
    async fn a_refused_connection_is_told_in_gos_words() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("bound").port();
        drop(listener);
        let location =
            Location { host: "127.0.0.1".to_owned(), port: port.to_string(), ..Location::default() };
        let found = Backends::default().connect(&location, Trust::Anybody).await;
        let error = found.err().expect("nobody listens").to_string();
        assert_eq!(error, format!("dial tcp 127.0.0.1:{port}: connect: connection refused"));
        let named = Location { port: "web".to_owned(), ..location };
        let found = Backends::default().connect(&named, Trust::Anybody).await;
        assert_eq!(found.err().expect("no port").to_string(), "dial tcp: lookup tcp/web: unknown port");
    }
}
