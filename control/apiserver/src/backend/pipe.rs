//! Upgrades: what client and backend say to each other is handed on byte for byte, whatever protocol it is.

use http::StatusCode;
use http::request::Parts;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncWriteExt, copy, split};
use tokio::time::timeout;

use super::exchange::{self, ExchangeError};
use super::{Backends, Trust};
use crate::reply::{Response, Upgrading, whole};
use control_core::location::Location;

/// How long a side may take to hear that the other one has gone.
const FAREWELL: std::time::Duration = std::time::Duration::from_secs(10);

/// Why an upgrade does not come about.
#[derive(Debug, thiserror::Error)]
pub enum PipeError {
    #[error("error dialing backend: {0}")]
    Exchange(#[source] ExchangeError),
    #[error(transparent)]
    Answer(ExchangeError),
    #[error("invalid upgrade response: status code {0}")]
    Status(u16),
}

/// Sends the request for an upgrade, and gives the backend's answer. Where it agrees, the pipe lasts until one side ends
/// it; then the other one is ended too.
///
/// # Errors
/// The backend is not reached, or says neither yes nor no.
pub async fn upgrade(
    backends: &Backends,
    location: &Location,
    trust: Trust,
    head: Parts,
    client: OnUpgrade,
) -> Result<Response, PipeError> {
    let answer =
        exchange::send(backends, location, trust, head, whole("")).await.map_err(|error| match error {
            ExchangeError::Connect(_) => PipeError::Exchange(error),
            ExchangeError::Broken(_) => PipeError::Answer(error),
        })?;
    let status = answer.status();
    if status != StatusCode::SWITCHING_PROTOCOLS {
        return match status.as_u16() {
            code if code < 400 => Err(PipeError::Status(code)),
            _ => Ok(refused(answer)),
        };
    }
    let (mut response, backend) = agreed(answer);
    response.extensions_mut().insert(Upgrading);
    tokio::spawn(async move {
        match (client.await, backend.await) {
            (Ok(client), Ok(backend)) => join(client, backend).await,
            (Err(error), _) | (_, Err(error)) => tracing::debug!(%error, "an upgrade did not come about"),
        }
    });
    Ok(response)
}

/// The backend's refusal, word for word.
fn refused(answer: http::Response<Incoming>) -> Response {
    let mut response = answer.map(|body| body.map_err(Into::into).boxed_unsync());
    response.extensions_mut().insert(Upgrading);
    super::forward::strip_hops(response.headers_mut());
    response
}

fn agreed(mut answer: http::Response<Incoming>) -> (Response, OnUpgrade) {
    let backend = hyper::upgrade::on(&mut answer);
    let mut response = Response::new(whole(""));
    *response.status_mut() = answer.status();
    *response.headers_mut() = std::mem::take(answer.headers_mut());
    (response, backend)
}

async fn join(client: Upgraded, backend: Upgraded) {
    let (mut from_client, mut to_client) = split(TokioIo::new(client));
    let (mut from_backend, mut to_backend) = split(TokioIo::new(backend));
    let ended = tokio::select! {
        ended = copy(&mut from_client, &mut to_backend) => ended,
        ended = copy(&mut from_backend, &mut to_client) => ended,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a stream through this server broke");
    }
    let farewell = async {
        let _ = tokio::join!(to_client.shutdown(), to_backend.shutdown());
    };
    // Who does not take it in time is cut off.
    let _ = timeout(FAREWELL, farewell).await;
}
