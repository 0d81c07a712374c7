//! One HTTP/2 connection over TLS with many requests at a time, as clients of Go have it.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use super::http::{Client, Reply};

/// An open connection. Clones share it.
#[derive(Clone)]
pub struct Session {
    sender: SendRequest<Full<Bytes>>,
    authority: String,
}

impl Session {
    /// Connects as the client does. Needs a tokio runtime.
    ///
    /// # Errors
    /// The server is not reached, or does not speak HTTP/2.
    pub async fn open(client: &Client) -> io::Result<Self> {
        Self::open_with(client, 1 << 20).await
    }

    /// The same; the server may send only so many bytes of an answer that nobody reads.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub async fn open_with(client: &Client, window: u32) -> io::Result<Self> {
        let (address, mut tls) = client.target();
        tls.alpn_protocols = vec![b"h2".to_vec()];
        let stream = client.connect_plain()?;
        stream.set_nonblocking(true)?;
        let stream = TcpStream::from_std(stream)?;
        let stream =
            TlsConnector::from(Arc::new(tls)).connect(ServerName::from(address.ip()), stream).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(io::Error::other("the server does not speak HTTP/2"));
        }
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size(1 << 30);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.map_err(io::Error::other)?;
        tokio::spawn(connection);
        Ok(Self { sender, authority: address.to_string() })
    }

    /// Sends a request, and reads the answer to its end.
    ///
    /// # Errors
    /// The connection breaks, or the server gives the request up.
    pub async fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<Reply> {
        let answer = self.begin(method, path, headers, body).await?;
        let mut reply = Reply { status: answer.status().as_u16(), ..Reply::default() };
        for (name, value) in answer.headers() {
            let values = reply.headers.entry(name.as_str().to_owned()).or_default();
            if !values.is_empty() {
                values.push('\n');
            }
            values.push_str(&String::from_utf8_lossy(value.as_bytes()));
        }
        let body = answer.into_body().collect().await.map_err(io::Error::other)?;
        reply.body = body.to_bytes().to_vec();
        Ok(reply)
    }

    /// Sends a request, and reads the head of the answer alone.
    ///
    /// # Errors
    /// As [`Session::ask`].
    pub async fn begin(
        &self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<hyper::Response<Incoming>> {
        let mut request = Request::builder().method(method).uri(format!("https://{}{path}", self.authority));
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(Bytes::copy_from_slice(body))).map_err(io::Error::other)?;
        let mut sender = self.sender.clone();
        sender.ready().await.map_err(io::Error::other)?;
        sender.send_request(request).await.map_err(io::Error::other)
    }
}
