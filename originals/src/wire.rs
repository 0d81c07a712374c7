//! HTTP/1.1 with kept connections, over TLS or plain, from inside a namespace. Blocking, one request at a time.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use host::netns::Namespace;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// How long the other side may be silent. A server that has just started takes its time over a first request.
const LIMIT: Duration = Duration::from_secs(30);

/// Whom a client believes: one authority, or as the maker of the value has it.
pub type Trust = Arc<ClientConfig>;

/// Reads the authority's certificate (PEM).
pub fn trust(authority: &Path) -> io::Result<Trust> {
    let certificate = CertificateDer::from_pem_file(authority).map_err(io::Error::other)?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(io::Error::other)?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}

trait Duplex: Read + Write + Send {}

impl<T: Read + Write + Send> Duplex for T {}

/// A connection, made when it is needed and again when the server has closed it.
pub struct Connection {
    namespace: Namespace,
    address: SocketAddr,
    trust: Option<Trust>,
    stream: Option<BufReader<Box<dyn Duplex>>>,
}

impl Connection {
    /// Connects when it is asked for something. Without `trust` it speaks plain HTTP.
    pub fn new(namespace: Namespace, address: SocketAddr, trust: Option<Trust>) -> Self {
        Self { namespace, address, trust, stream: None }
    }

    /// Sends a request, and reads the answer to its end: its status and its body. `headers` are whole lines, each with its
    /// line end.
    ///
    /// # Errors
    /// The server is not reached, is silent for half a minute, or does not speak HTTP/1.1.
    pub fn ask(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<(u16, Vec<u8>)> {
        let kept = self.stream.is_some();
        match self.attempt(method, path, headers, body) {
            // The server may have closed it while nobody asked.
            Err(_) if kept => self.attempt(method, path, headers, body),
            answer => answer,
        }
    }

    fn attempt(
        &mut self,
        method: &str,
        path: &str,
        headers: &str,
        body: &[u8],
    ) -> io::Result<(u16, Vec<u8>)> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(self.connect()?),
        };
        let (address, length) = (self.address, body.len());
        let mut request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {address}\r\nContent-Length: {length}\r\n{headers}\r\n"
        )
        .into_bytes();
        request.extend_from_slice(body);
        stream.get_mut().write_all(&request)?;
        stream.get_mut().flush()?;
        let (status, body, keep) = answer(&mut stream)?;
        self.stream = keep.then_some(stream);
        Ok((status, body))
    }

    fn connect(&self) -> io::Result<Box<dyn Duplex>> {
        let address = self.address;
        let connect = move || TcpStream::connect_timeout(&address, LIMIT);
        let stream = self.namespace.run(connect).map_err(io::Error::other)??;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        let Some(trust) = &self.trust else { return Ok(Box::new(stream)) };
        let name = ServerName::from(self.address.ip());
        let session = ClientConnection::new(trust.clone(), name).map_err(io::Error::other)?;
        Ok(Box::new(StreamOwned::new(session, stream)))
    }
}

/// Status, body, and whether another request may follow.
fn answer(stream: &mut impl BufRead) -> io::Result<(u16, Vec<u8>, bool)> {
    let bad = |text: &str| io::Error::new(io::ErrorKind::InvalidData, format!("not HTTP: {text:?}"));
    let first = line(stream)?;
    let status = first.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3)?.parse().ok());
    let status = status.ok_or_else(|| bad(&first))?;
    let (mut length, mut chunked, mut keep) = (None::<u64>, false, true);
    loop {
        let header = line(stream)?;
        let Some((name, value)) = header.split_once(':') else { break };
        let value = value.trim();
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = Some(value.parse().map_err(|_| bad(&header))?),
            "transfer-encoding" => chunked = value.eq_ignore_ascii_case("chunked"),
            "connection" => keep = !value.eq_ignore_ascii_case("close"),
            _ => {}
        }
    }
    let mut body = Vec::new();
    match (chunked, length) {
        (true, _) => loop {
            let size = line(stream)?;
            let size = u64::from_str_radix(size.split(';').next().unwrap_or_default().trim(), 16)
                .map_err(|_| bad(&size))?;
            exactly(stream, size, &mut body)?;
            line(stream)?;
            if size == 0 {
                break;
            }
        },
        (false, Some(length)) => exactly(stream, length, &mut body)?,
        (false, None) if status == 204 || status == 304 => {}
        (false, None) => {
            keep = false;
            stream.read_to_end(&mut body)?;
        }
    }
    Ok((status, body, keep))
}

fn exactly(stream: &mut impl BufRead, size: u64, body: &mut Vec<u8>) -> io::Result<()> {
    let read = stream.take(size).read_to_end(body)?;
    if read as u64 == size { Ok(()) } else { Err(io::ErrorKind::UnexpectedEof.into()) }
}

fn line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(line.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_of_each_shape_are_read_to_their_end() {
        let read = |text: &str| answer(&mut io::Cursor::new(text.to_owned())).unwrap();
        let whole = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcHTTP/1.1 ...";
        assert_eq!(read(whole), (200, b"abc".to_vec(), true));
        let chunks =
            "HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n";
        assert_eq!(read(chunks), (201, b"abc".to_vec(), true));
        let open = "HTTP/1.1 503 No\r\nConnection: close\r\n\r\nabc";
        assert_eq!(read(open), (503, b"abc".to_vec(), false));
        assert!(answer(&mut io::Cursor::new("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab")).is_err());
    }
}
