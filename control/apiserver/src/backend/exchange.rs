//! One request over one connection to a backend.

use std::error::Error;
use std::io;
use std::time::Duration;

use control_core::location::Location;
use http::request::Parts;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::time::timeout;

use super::{Backends, ConnectError, Trust, tls};
use crate::reply::Body;

/// How long a broken connection may take to end.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ExchangeError {
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The backend took the request, and gave no answer that is one.
    #[error("{}", words(.0))]
    Broken(#[source] hyper::Error),
}

fn words(error: &hyper::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(inner) = inner.downcast_ref::<io::Error>() {
            return tls::words(inner);
        }
        cause = inner.source();
    }
    if error.is_incomplete_message() || error.is_canceled() || error.is_closed() {
        return "EOF".to_owned();
    }
    format!("net/http: HTTP/1.x transport connection broken: {error}")
}

/// Sends a request, and gives the answer's head with its body still to come. The connection lasts as long as the body, or
/// what it is upgraded to; it ends when that is dropped.
///
/// # Errors
/// The backend is not reached, or does not answer in HTTP/1.1.
pub async fn send(
    backends: &Backends,
    location: &Location,
    trust: Trust,
    head: Parts,
    body: Body,
) -> Result<http::Response<Incoming>, ExchangeError> {
    let stream = backends.connect(location, trust).await?;
    let mut builder = http1::Builder::new();
    // Names as Go writes them: some programs in pods know no others.
    builder.title_case_headers(true);
    let (mut sender, connection) =
        builder.handshake(TokioIo::new(stream)).await.map_err(ExchangeError::Broken)?;
    let connection = connection.with_upgrades();
    let running = tokio::spawn(async move {
        let ended = connection.await;
        if let Err(error) = &ended {
            tracing::debug!(%error, "a connection to a backend broke");
        }
        ended
    });
    let broken = match sender.send_request(http::Request::from_parts(head, body)).await {
        Ok(answer) => return Ok(answer),
        Err(broken) => broken,
    };
    drop(sender);
    // What broke the connection says more than that the request had none.
    match timeout(LAST_WORDS, running).await {
        Ok(Ok(Err(cause))) => Err(ExchangeError::Broken(cause)),
        _ => Err(ExchangeError::Broken(broken)),
    }
}
