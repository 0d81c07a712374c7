//! Who sends a request.
//!
//! Owns: the trait of what can tell ([`Authenticate`]), the ways to tell that need no object of the API (certificates,
//! tokens that a service knows, headers of a proxy), their order ([`chain::Chain`]), and the keys that sign and verify
//! tokens ([`keys`], [`jwt`]).
//! Never: decides what somebody may do.

pub mod bearer;
pub mod certificates;
pub mod chain;
mod der;
pub mod front_proxy;
pub mod jwt;
pub mod keys;
pub mod token_webhook;

use std::fmt;

use control_core::access::User;
use futures::future::BoxFuture;
use http::request::Parts;
use tokio_rustls::rustls::pki_types::CertificateDer;

/// The request carries credentials that are not right. Why goes into the log and into TokenReviews; the client of the
/// request itself only sees 401.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unauthorized(pub String);

/// One way to tell who sends a request.
pub trait Authenticate: fmt::Debug + Send + Sync {
    /// `peer` is the chain that the client proved to own in the TLS handshake, its own certificate first; empty where it
    /// offered none. It is verified here and not in the handshake: which authority it must come from depends on its use.
    /// `None`: the request says nothing that this way knows.
    fn authenticate<'a>(
        &'a self,
        head: &'a Parts,
        peer: &'a [CertificateDer<'static>],
    ) -> BoxFuture<'a, Result<Option<User>, Unauthorized>>;
}
