//! One request and its answer.
//!
//! Owns: in which order the parts of both go over the connection. Begin at [`run`].
//! Never: knows what gRPC makes of them.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures::FutureExt;
use h2::{Reason, RecvStream, SendStream};
use http::uri::Uri;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::BodyExt;
use tonic::body::Body;

use super::{BoxError, OneOpen, Requests, plain};
use crate::error::Unsent;

/// Sends a request; comes back with the head of the answer. Dropped before, it lets etcd know that nobody waits any more.
pub(super) async fn run(requests: Arc<Requests>, request: Request<Body>) -> Result<Response<Body>, BoxError> {
    let (mut head, body) = request.into_parts();
    let mut uri = requests.origin.clone().into_parts();
    uri.path_and_query = head.uri.into_parts().path_and_query;
    head.uri = Uri::from_parts(uri)?;
    let open = requests.open.one();
    let unsent = |error: h2::Error| Unsent(plain(error));
    let mut ready = requests.send.clone().ready().await.map_err(unsent)?;
    let (answer, to) = ready.send_request(Request::from_parts(head, ()), false).map_err(unsent)?;
    send(body, to)?;
    let answer = answer.await.map_err(plain)?;
    Ok(answer.map(|body| Body::new(Answer { body, _open: open })))
}

/// Sends what there is. Where more is to come, as on a watch, a task sends it.
fn send(mut body: Body, mut to: SendStream<Bytes>) -> Result<(), BoxError> {
    // One is held back: the last one says that it is the last.
    let mut held: Option<Bytes> = None;
    loop {
        let next = match body.frame().now_or_never() {
            Some(Some(frame)) => frame?.into_data().ok(),
            Some(None) => return to.send_data(held.unwrap_or_default(), true).map_err(plain),
            None => {
                if let Some(data) = held {
                    to.send_data(data, false).map_err(plain)?;
                }
                tokio::spawn(send_rest(body, to));
                return Ok(());
            }
        };
        if let Some(next) = next
            && let Some(data) = held.replace(next)
        {
            to.send_data(data, false).map_err(plain)?;
        }
    }
}

/// Ends with what is sent, or when etcd wants no more of it.
async fn send_rest(mut body: Body, mut to: SendStream<Bytes>) {
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = std::future::poll_fn(|context| to.poll_reset(context)) => return,
        };
        let sent = match frame {
            Some(Ok(frame)) => frame.into_data().map_or(Ok(()), |data| to.send_data(data, false)),
            Some(Err(_)) => return to.send_reset(Reason::CANCEL),
            None => return drop(to.send_data(Bytes::new(), true)),
        };
        // Who reads the answer hears why.
        if sent.is_err() {
            return;
        }
    }
}

/// The body of an answer; its exchange is under way until this goes.
struct Answer {
    body: RecvStream,
    _open: OneOpen,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(match ready!(self.body.poll_data(context)) {
            Some(Ok(data)) => {
                // Room for more: what was read is no longer the connection's.
                let released = self.body.flow_control().release_capacity(data.len());
                Some(released.map(|()| Frame::data(data)).map_err(plain))
            }
            // So ends an answer whose question was not read to its end.
            Some(Err(error)) if error.reason() == Some(Reason::NO_ERROR) => None,
            Some(Err(error)) => Some(Err(plain(error))),
            None => match ready!(self.body.poll_trailers(context)) {
                Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
                Err(error) => Some(Err(plain(error))),
            },
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }
}
