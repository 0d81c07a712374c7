//! What is asked, and what is answered.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, StatusCode};
use tokio_rustls::rustls::pki_types::CertificateDer;

/// The head of a request. Its body, should it have one, is never read.
#[derive(Clone, Debug)]
pub struct Request {
    pub method: Method,
    pub path: String,
    /// What follows the `?`.
    pub query: Option<String>,
    pub headers: HeaderMap,
    /// The client's end of the connection.
    pub peer: SocketAddr,
    /// Our end.
    pub local: SocketAddr,
    /// The certificates that the client proved to own, its own first; none without TLS, and where it offered none. Nobody has
    /// asked yet who signed them.
    pub certificates: Arc<[CertificateDer<'static>]>,
}

impl Request {
    /// The Accept header, where it is text; several are one list (RFC 9110, section 5.3).
    pub fn accept(&self) -> Option<String> {
        let texts: Vec<_> =
            self.headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        (!texts.is_empty()).then(|| texts.join(","))
    }

    /// Whether the client runs on this host, in this network namespace: its address is a loopback address or one of
    /// this host's own.
    pub fn is_from_this_host(&self) -> bool {
        let peer = self.peer.ip().to_canonical();
        // Whoever asks an address of its own host comes from that address, unless it chose another.
        peer.is_loopback() || peer == self.local.ip().to_canonical() || is_own(peer)
    }
}

fn is_own(address: IpAddr) -> bool {
    let of = |storage: nix::sys::socket::SockaddrStorage| -> Option<IpAddr> {
        let v4 = storage.as_sockaddr_in().map(|v4| v4.ip().into());
        v4.or_else(|| storage.as_sockaddr_in6().map(|v6| v6.ip().into()))
    };
    let own = nix::ifaddrs::getifaddrs().into_iter().flatten();
    own.into_iter().filter_map(|interface| interface.address.and_then(of)).any(|own| own == address)
}

/// An answer. HEAD gets it without its body.
#[derive(Clone, Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

impl Answer {
    /// Text, as Go's net/http sends it.
    pub fn text(status: StatusCode, body: impl Into<String>) -> Self {
        Self::typed(status, "text/plain; charset=utf-8", body)
    }

    pub fn json(status: StatusCode, body: impl Into<String>) -> Self {
        Self::typed(status, "application/json", body)
    }

    /// `content_type` is the value of the header of that name.
    pub fn typed(status: StatusCode, content_type: &'static str, body: impl Into<String>) -> Self {
        let answer = Self { status, headers: HeaderMap::new(), body: body.into() };
        answer.with(CONTENT_TYPE, content_type).with(X_CONTENT_TYPE_OPTIONS, "nosniff")
    }

    /// The same with one header more. A value that HTTP cannot carry (a control character) is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.headers.insert(name, value);
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_elsewhere_is_not_of_this_host() {
        let from = |peer: &str, local: &str| Request {
            method: Method::GET,
            path: "/metrics".into(),
            query: None,
            headers: HeaderMap::new(),
            peer: SocketAddr::new(peer.parse().expect("an address"), 40_000),
            local: SocketAddr::new(local.parse().expect("an address"), 8471),
            certificates: Arc::default(),
        };
        // Addresses for documentation (RFC 5737, RFC 3849) are on no interface.
        assert!(!from("192.0.2.7", "192.0.2.1").is_from_this_host());
        assert!(!from("::ffff:192.0.2.7", "::ffff:192.0.2.1").is_from_this_host());
        assert!(!from("2001:db8::7", "2001:db8::1").is_from_this_host());
        assert!(from("192.0.2.1", "192.0.2.1").is_from_this_host());
        assert!(from("::ffff:192.0.2.1", "192.0.2.1").is_from_this_host());
        assert!(from("::1", "2001:db8::1").is_from_this_host());
        assert!(from("::ffff:127.0.0.1", "192.0.2.1").is_from_this_host());
        for own in nix::ifaddrs::getifaddrs().expect("addresses").filter_map(|interface| interface.address) {
            if let Some(own) = own.as_sockaddr_in() {
                assert!(from(&own.ip().to_string(), "192.0.2.1").is_from_this_host(), "{}", own.ip());
            }
        }
    }
}
