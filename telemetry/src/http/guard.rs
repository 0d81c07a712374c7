//! HTTPS: what a client is shown, and whether it is answered.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::server::TlsStream;

use super::message::{Answer, Request};

/// An answer to whether a request is let through, that may have to be waited for.
pub type Checked<'a> = Pin<Box<dyn Future<Output = Result<(), Answer>> + Send + 'a>>;

/// Decides which requests are answered.
pub trait Check: Send + Sync {
    /// An error is what the client gets in the place of what it asked for.
    fn check<'a>(&'a self, request: &'a Request) -> Checked<'a>;
}

/// TLS, and who is let in. Clones share both.
#[derive(Clone)]
pub struct Guard {
    pub tls: Arc<ServerConfig>,
    pub check: Arc<dyn Check>,
}

/// The first byte of a TLS connection: the type of a record that shakes hands.
const HANDSHAKE: u8 = 0x16;

/// What a client that speaks plain HTTP is told, as by Go's server.
const PLAIN: &[u8] = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n";

impl Guard {
    /// The client's TLS connection, and the chain that it proved to own, its own certificate first.
    ///
    /// # Errors
    /// There is none.
    pub(super) async fn meet(
        &self,
        mut stream: TcpStream,
    ) -> io::Result<(TlsStream<TcpStream>, Arc<[CertificateDer<'static>]>)> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
            // Read first: what is left unread when a connection is closed may take the answer with it.
            let _ = stream.read(&mut [0; 4096]).await?;
            stream.write_all(PLAIN).await?;
            stream.shutdown().await?;
            return Err(io::Error::other("the client speaks plain HTTP"));
        }
        let stream = TlsAcceptor::from(Arc::clone(&self.tls)).accept(stream).await?;
        let chain = stream.get_ref().1.peer_certificates().unwrap_or_default();
        let chain = chain.iter().map(|one| one.clone().into_owned()).collect();
        Ok((stream, chain))
    }
}

impl fmt::Debug for Guard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Guard")
    }
}
