//! How a request gets to a server and its answer back.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

use crate::Failure;

/// Path and query only; the transport adds the server's address and our credentials.
pub type Request = http::Request<Bytes>;

pub type Response = http::Response<Body>;

/// The body of an answer, as it comes.
pub type Body = UnsyncBoxBody<Bytes, Box<dyn std::error::Error + Send + Sync>>;

pub type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The way to a server.
pub trait Transport: Send + Sync + 'static {
    /// The answer's head, whatever its status.
    ///
    /// # Errors
    /// [`Failure::Away`] where there is none.
    fn send(&self, request: Request) -> Pending<'_, Result<Response, Failure>>;

    /// The server did not accept our credentials. Whether there are others now, so that it is worth trying again.
    fn renew(&self) -> Pending<'_, bool>;

    /// The server's address, for messages.
    fn server(&self) -> String;
}

/// A server in the same process: its request handler, called directly.
pub struct Handler<F> {
    name: String,
    handle: F,
}

impl<F, A> Handler<F>
where
    F: Fn(Request) -> A + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    /// `name` is for messages.
    pub fn new(name: impl Into<String>, handle: F) -> Self {
        Self { name: name.into(), handle }
    }
}

impl<F, A> Transport for Handler<F>
where
    F: Fn(Request) -> A + Send + Sync + 'static,
    A: Future<Output = Response> + Send + 'static,
{
    fn send(&self, request: Request) -> Pending<'_, Result<Response, Failure>> {
        let answer = (self.handle)(request);
        Box::pin(async move { Ok(answer.await) })
    }

    fn renew(&self) -> Pending<'_, bool> {
        Box::pin(std::future::ready(false))
    }

    fn server(&self) -> String {
        self.name.clone()
    }
}

/// A body that is there already.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}
