//! HTTP/1.1 over TLS with kept connections, blocking: what a client sees, headers included.

use std::collections::BTreeMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use host::netns::Namespace;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long a server may be silent: the original waits up to ten seconds before some refusals.
const LIMIT: Duration = Duration::from_secs(30);

/// A server's answer.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    pub status: u16,
    /// Names in lower case; values of a name that stands several times are joined by a line feed.
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

pub type Stream = BufReader<StreamOwned<ClientConnection, TcpStream>>;

/// A client of one server.
pub struct Client {
    namespace: Namespace,
    address: SocketAddr,
    tls: Arc<ClientConfig>,
    stream: Option<Stream>,
}

impl Client {
    /// # Errors
    /// The certificate of the authority cannot be read.
    pub fn new(namespace: Namespace, address: SocketAddr, authority: &Path) -> io::Result<Self> {
        let certificate = CertificateDer::from_pem_file(authority).map_err(io::Error::other)?;
        let mut roots = RootCertStore::empty();
        roots.add(certificate).map_err(io::Error::other)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self { namespace, address, tls: Arc::new(tls), stream: None })
    }

    /// Of a server whose certificate is its own; `identity` is the client's certificate and its key.
    ///
    /// # Errors
    /// The client's certificate cannot be read, or its key.
    pub fn of_anybody(
        namespace: Namespace,
        address: SocketAddr,
        identity: Option<(&Path, &Path)>,
    ) -> io::Result<Self> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let tls = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            .with_custom_certificate_verifier(apiclient::tls::any_certificate(provider));
        let tls = match identity {
            None => tls.with_no_client_auth(),
            Some((certificate, key)) => {
                let chain = CertificateDer::pem_file_iter(certificate).map_err(io::Error::other)?;
                let chain = chain.collect::<Result<_, _>>().map_err(io::Error::other)?;
                let key = PrivateKeyDer::from_pem_file(key).map_err(io::Error::other)?;
                tls.with_client_auth_cert(chain, key).map_err(io::Error::other)?
            }
        };
        Ok(Self { namespace, address, tls: Arc::new(tls), stream: None })
    }

    /// Sends a request, and reads the answer to its end.
    ///
    /// # Errors
    /// The server is not reached, is silent for too long, or does not speak HTTP.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let kept = self.stream.is_some();
        match self.attempt(method, path, headers, body) {
            // The server may have closed it while nobody asked.
            Err(error) if kept && error.kind() != io::ErrorKind::WouldBlock => {
                self.attempt(method, path, headers, body)
            }
            reply => reply,
        }
    }

    /// As [`Client::ask`], but never sends it twice: who gets an error does not know whether it was done.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn attempt(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        send(&mut stream, self.address, method, path, headers, body)?;
        let (mut reply, length) = head(&mut stream)?;
        match length {
            // Whatever the head says of it.
            _ if method == "HEAD" => {}
            Length::None => {}
            Length::Known(size) => exactly(&mut stream, size, &mut reply.body)?,
            Length::Chunked => while chunk(&mut stream, &mut reply.body)? {},
            Length::ToTheEnd => drop(stream.read_to_end(&mut reply.body)?),
        }
        let keep = !reply.header("connection").eq_ignore_ascii_case("close") && length != Length::ToTheEnd;
        self.stream = keep.then_some(stream);
        Ok(reply)
    }

    /// Sends a request on a connection of its own whose answer may never end, and reads until `enough` says so, the
    /// server ends it, or nothing more comes for `quiet`.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn follow(
        &self,
        path: &str,
        headers: &[(String, String)],
        quiet: Duration,
        enough: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Reply> {
        let mut stream = self.connect()?;
        send(&mut stream, self.address, "GET", path, headers, &[])?;
        let (mut reply, length) = head(&mut stream)?;
        if let Length::Known(size) = length {
            exactly(&mut stream, size, &mut reply.body)?;
            return Ok(reply);
        }
        stream.get_ref().sock.set_read_timeout(Some(quiet))?;
        let deadline = Instant::now() + LIMIT;
        while !enough(&reply.body) && Instant::now() < deadline {
            match chunk(&mut stream, &mut reply.body) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    break;
                }
                Err(error) => return Err(error),
            }
        }
        Ok(reply)
    }

    /// Opens a watch on a connection of its own, to be read line by line.
    ///
    /// # Errors
    /// As [`Client::ask`]; [`io::ErrorKind::Other`] with the answer where that is none of 200.
    pub fn watch(&self, path: &str, headers: &[(String, String)]) -> io::Result<Lines> {
        let mut stream = self.connect()?;
        send(&mut stream, self.address, "GET", path, headers, &[])?;
        let (mut reply, length) = head(&mut stream)?;
        if reply.status == 200 && length == Length::Chunked {
            return Ok(Lines { stream, rest: Vec::new() });
        }
        if let Length::Known(size) = length {
            exactly(&mut stream, size, &mut reply.body)?;
        }
        let text = String::from_utf8_lossy(&reply.body);
        Err(io::Error::other(format!("{path}: {}: {text}", reply.status)))
    }

    /// Sends bytes as they are on a connection of its own, and reads until the server ends it or is quiet for `quiet`.
    ///
    /// # Errors
    /// The server is not reached. One that ends the connection in the midst is not an error: what came is given.
    pub fn send_raw(&self, bytes: &[u8], quiet: Duration) -> io::Result<Vec<u8>> {
        let mut stream = self.connect()?;
        stream.get_ref().sock.set_read_timeout(Some(quiet))?;
        let mut answer = Vec::new();
        if stream.get_mut().write_all(bytes).and_then(|()| stream.get_mut().flush()).is_ok() {
            let _ = stream.read_to_end(&mut answer);
        }
        Ok(answer)
    }

    /// Asks for another protocol on a connection of its own, and where the server agrees, sends `first`. What comes back is
    /// the body of the reply: until `enough` says so, the server ends it, or nothing more comes for `quiet`.
    ///
    /// # Errors
    /// As [`Client::ask`].
    pub fn upgrade(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        first: &[u8],
        quiet: Duration,
        enough: impl Fn(&[u8]) -> bool,
    ) -> io::Result<Reply> {
        let mut stream = self.connect()?;
        send(&mut stream, self.address, method, path, headers, &[])?;
        let (mut reply, length) = head(&mut stream)?;
        if reply.status != 101 {
            match length {
                Length::None => {}
                Length::Known(size) => exactly(&mut stream, size, &mut reply.body)?,
                Length::Chunked => while chunk(&mut stream, &mut reply.body)? {},
                Length::ToTheEnd => drop(stream.read_to_end(&mut reply.body)?),
            }
            return Ok(reply);
        }
        stream.get_mut().write_all(first)?;
        stream.get_mut().flush()?;
        stream.get_ref().sock.set_read_timeout(Some(quiet))?;
        while !enough(&reply.body) {
            match stream.fill_buf() {
                Ok([]) => break,
                Ok(more) => {
                    reply.body.extend_from_slice(more);
                    let read = more.len();
                    stream.consume(read);
                }
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {
                    break;
                }
                // Go closes without a farewell.
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => break,
                Err(error) => return Err(error),
            }
        }
        Ok(reply)
    }

    /// A connection without TLS on which nothing is sent.
    ///
    /// # Errors
    /// The server is not reached.
    pub fn connect_plain(&self) -> io::Result<TcpStream> {
        let address = self.address;
        let connect = move || TcpStream::connect_timeout(&address, LIMIT);
        let stream = self.namespace.run(connect).map_err(io::Error::other)??;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    /// Where the server is, and whom the client believes.
    pub(super) fn target(&self) -> (SocketAddr, ClientConfig) {
        (self.address, ClientConfig::clone(&self.tls))
    }

    /// A TLS connection on which nothing is asked.
    ///
    /// # Errors
    /// The server is not reached.
    pub fn connect(&self) -> io::Result<Stream> {
        let stream = self.connect_plain()?;
        let name = ServerName::from(self.address.ip());
        let session = ClientConnection::new(Arc::clone(&self.tls), name).map_err(io::Error::other)?;
        Ok(BufReader::new(StreamOwned::new(session, stream)))
    }
}

/// An answer that comes line by line and may never end.
pub struct Lines {
    stream: Stream,
    rest: Vec<u8>,
}

impl Lines {
    /// The next whole line; `None` at the end.
    ///
    /// # Errors
    /// The connection breaks, or is silent for too long.
    pub fn line(&mut self) -> io::Result<Option<Vec<u8>>> {
        loop {
            if let Some(end) = self.rest.iter().position(|byte| *byte == b'\n') {
                return Ok(Some(self.rest.drain(..=end).collect()));
            }
            if !chunk(&mut self.stream, &mut self.rest)? {
                return Ok(None);
            }
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    None,
    Known(u64),
    Chunked,
    ToTheEnd,
}

fn send(
    stream: &mut Stream,
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(String, String)],
    body: &[u8],
) -> io::Result<()> {
    let mut request = format!("{method} {path} HTTP/1.1\r\nHost: {address}\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    if !body.is_empty() || matches!(method, "POST" | "PUT" | "PATCH") {
        request.push_str(&format!("Content-Length: {}\r\n", body.len()));
    }
    request.push_str("\r\n");
    let mut bytes = request.into_bytes();
    bytes.extend_from_slice(body);
    stream.get_mut().write_all(&bytes)?;
    stream.get_mut().flush()
}

fn head(stream: &mut Stream) -> io::Result<(Reply, Length)> {
    let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {text:?}"));
    let first = line(stream)?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let mut reply = Reply { status: status.ok_or_else(|| bad(&first))?, ..Reply::default() };
    loop {
        let header = line(stream)?;
        let Some((name, value)) = header.split_once(':') else { break };
        let values = reply.headers.entry(name.to_ascii_lowercase()).or_default();
        if !values.is_empty() {
            values.push('\n');
        }
        values.push_str(value.trim());
    }
    let length = match reply.header("content-length") {
        _ if reply.header("transfer-encoding").eq_ignore_ascii_case("chunked") => Length::Chunked,
        "" if matches!(reply.status, 204 | 304) => Length::None,
        "" => Length::ToTheEnd,
        size => Length::Known(size.parse().map_err(|_| bad(size))?),
    };
    Ok((reply, length))
}

/// One chunk onto the body; false at the last one.
fn chunk(stream: &mut Stream, body: &mut Vec<u8>) -> io::Result<bool> {
    let size = line(stream)?;
    let digits = size.split(';').next().unwrap_or_default().trim();
    let size = u64::from_str_radix(digits, 16)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, format!("not a chunk: {size:?}")))?;
    exactly(stream, size, body)?;
    line(stream)?;
    Ok(size > 0)
}

fn exactly(stream: &mut Stream, size: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = stream.take(size).read_to_end(body)?;
    if read as u64 == size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn line(stream: &mut Stream) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}
