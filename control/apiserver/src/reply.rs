//! Requests and responses as all stations see them, whichever way they came.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full};

/// Bodies up to this are sent as they are, and larger ones packed for clients that can unpack them. In bytes.
pub const LEAST: usize = 128 * 1024;

pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// A body as it comes, of a request or of a response.
pub type Body = UnsyncBoxBody<Bytes, BoxError>;

pub type Request = http::Request<Body>;

pub type Response = http::Response<Body>;

/// Goes with a request: the other end of its connection.
#[derive(Clone, Copy, Debug)]
pub struct From(pub SocketAddr);

/// A body that is there already.
pub fn whole(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).map_err(|never: Infallible| match never {}).boxed_unsync()
}

/// A response whose body is there already. `code` is one of HTTP's.
pub fn reply(code: u16, content_type: &'static str, bytes: impl Into<Bytes>) -> Response {
    let bytes = bytes.into();
    let length = HeaderValue::from(bytes.len());
    let mut response = Response::new(whole(bytes.clone()));
    if bytes.len() > LEAST {
        response.extensions_mut().insert(Large(bytes));
    }
    *response.status_mut() = http::StatusCode::from_u16(code).unwrap_or_default();
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(CONTENT_LENGTH, length);
    response
}

/// Goes with a response whose body is there already, and large enough to be packed.
#[derive(Clone, Debug)]
pub struct Large(pub Bytes);

/// Goes with an answer that is a backend's as it stands: nothing of this server's own is added to it.
#[derive(Clone, Copy, Debug)]
pub struct Upgrading;

/// Goes with an answer to a request that was given up in self-defence: it took too long, or was one too many.
#[derive(Clone, Copy, Debug)]
pub struct GivenUp;

pub fn given_up(mut response: Response) -> Response {
    response.extensions_mut().insert(GivenUp);
    response
}

/// A line of text, as Go's `http.Error` writes it.
pub fn text(code: u16, message: &str) -> Response {
    let mut response = reply(code, "text/plain; charset=utf-8", format!("{message}\n"));
    response.headers_mut().insert("x-content-type-options", HeaderValue::from_static("nosniff"));
    response
}

/// The server has more to do than it takes on; the client is to come again in a second.
pub fn too_many_requests() -> Response {
    let mut response = text(429, "Too many requests, please try again later.");
    response.headers_mut().insert(http::header::RETRY_AFTER, HeaderValue::from_static("1"));
    given_up(response)
}

/// There is nothing under this path, and never was.
pub fn no_such_path() -> Response {
    text(404, "404 page not found")
}
