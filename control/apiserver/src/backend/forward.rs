//! What of a request is handed on to a backend, and what of its answer to the client: no credentials, and nothing that
//! concerns one connection only.

use std::net::IpAddr;

use http::header::{
    AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue, SEC_WEBSOCKET_PROTOCOL, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE, USER_AGENT,
};
use http::request::Parts;
use http::{HeaderMap, Method, Version};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_URI: HeaderName = HeaderName::from_static("x-forwarded-uri");

/// Headers by which a client or a proxy says who asks.
const OF_CREDENTIALS: [&str; 6] = [
    "impersonate-user",
    "impersonate-uid",
    "impersonate-group",
    "x-remote-user",
    "x-remote-uid",
    "x-remote-group",
];
const OF_EXTRAS: [&str; 2] = ["impersonate-extra-", "x-remote-extra-"];

/// Headers that browsers of this server's pages should not take from a pod.
const OF_ORIGINS: [&str; 4] = [
    "access-control-allow-credentials",
    "access-control-allow-headers",
    "access-control-allow-methods",
    "access-control-allow-origin",
];

/// Whose request is handed on.
#[derive(Clone, Copy, Debug, Default)]
pub struct Sender<'a> {
    /// `None` within this process.
    pub address: Option<IpAddr>,
    /// The host that was asked.
    pub host: &'a str,
}

/// The client asks for another protocol.
pub fn is_upgrade(headers: &HeaderMap) -> bool {
    let values = headers.get_all(CONNECTION).iter().filter_map(|value| value.to_str().ok());
    values.into_iter().any(|value| value.to_ascii_lowercase().contains("upgrade"))
}

/// The request for an upgrade, as the backend gets it.
pub fn upgrading(method: &Method, target: &str, headers: &HeaderMap, from: &Sender<'_>) -> Parts {
    let mut headers = headers.clone();
    strip_credentials(&mut headers);
    forwarded_for(&mut headers, from.address);
    headers.entry(USER_AGENT).or_insert(HeaderValue::from_static("weft"));
    head(method, target, headers, from.host)
}

/// The request as the backend gets it. `prefix` is the part of the path that leads to the backend.
pub fn plain(
    method: &Method,
    target: &str,
    headers: &HeaderMap,
    from: &Sender<'_>,
    forwarded_uri: &str,
) -> Parts {
    let mut headers = headers.clone();
    strip_credentials(&mut headers);
    let trailers = headers.get_all(TE).iter().any(|value| value.as_bytes() == b"trailers");
    strip_hops(&mut headers);
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    forwarded_for(&mut headers, from.address);
    if let Ok(value) = HeaderValue::from_str(forwarded_uri) {
        headers.insert(FORWARDED_URI, value);
    }
    head(method, target, headers, from.host)
}

fn head(method: &Method, target: &str, headers: HeaderMap, host: &str) -> Parts {
    let mut request = http::Request::new(());
    *request.method_mut() = method.clone();
    *request.version_mut() = Version::HTTP_11;
    // A target that is none cannot be: it was encoded.
    *request.uri_mut() = target.parse().unwrap_or_default();
    *request.headers_mut() = headers;
    let host = HeaderValue::from_str(host).unwrap_or(HeaderValue::from_static(""));
    request.headers_mut().insert(HOST, host);
    request.into_parts().0
}

/// The answer as the client gets it.
pub fn answer(headers: &mut HeaderMap) {
    strip_hops(headers);
    for name in OF_ORIGINS {
        headers.remove(name);
    }
}

/// Headers that concern one connection only (RFC 9110, 7.6.1).
pub fn strip_hops(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named {
        headers.remove(name);
    }
    for name in [CONNECTION, TE, TRAILER, TRANSFER_ENCODING, UPGRADE] {
        headers.remove(name);
    }
    for name in ["keep-alive", "proxy-connection", "proxy-authenticate", "proxy-authorization"] {
        headers.remove(name);
    }
}

/// Who asks is known to this server, and is nobody else's concern.
fn strip_credentials(headers: &mut HeaderMap) {
    headers.remove(AUTHORIZATION);
    for name in OF_CREDENTIALS {
        headers.remove(name);
    }
    let extras: Vec<HeaderName> = headers
        .keys()
        .filter(|name| OF_EXTRAS.iter().any(|prefix| name.as_str().starts_with(prefix)))
        .cloned()
        .collect();
    for name in extras {
        headers.remove(name);
    }
    let protocols: Vec<&str> = headers
        .get_all(SEC_WEBSOCKET_PROTOCOL)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .collect();
    let secret = crate::authentication::bearer::WEBSOCKET_PREFIX;
    if protocols.iter().any(|protocol| protocol.starts_with(secret)) {
        let others: Vec<_> = protocols.into_iter().filter(|protocol| !protocol.starts_with(secret)).collect();
        match HeaderValue::from_str(&others.join(",")) {
            Ok(others) => drop(headers.insert(SEC_WEBSOCKET_PROTOCOL, others)),
            Err(_) => drop(headers.remove(SEC_WEBSOCKET_PROTOCOL)),
        }
    }
}

fn forwarded_for(headers: &mut HeaderMap, from: Option<IpAddr>) {
    let Some(from) = from else { return };
    let before = headers.get_all(FORWARDED_FOR).iter().filter_map(|value| value.to_str().ok());
    let all: Vec<String> = before.map(str::to_owned).chain([from.to_canonical().to_string()]).collect();
    if let Ok(value) = HeaderValue::from_str(&all.join(", ")) {
        headers.insert(FORWARDED_FOR, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&str, &str)| {
            (name.parse::<HeaderName>().expect("a name"), HeaderValue::from_str(value).expect("a value"))
        };
        pairs.iter().map(pair).collect()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<_> = headers.keys().map(HeaderName::as_str).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn a_backend_gets_no_credentials() {
        let given = headers(&[
            ("authorization", "Bearer secret"),
            ("impersonate-user", "bob"),
            ("impersonate-extra-scopes", "x"),
            ("x-remote-user", "eve"),
            ("x-remote-extra-a", "b"),
            ("sec-websocket-protocol", "base64url.bearer.authorization.k8s.io.c2VjcmV0, v4.channel.k8s.io"),
            ("connection", "Upgrade"),
            ("upgrade", "websocket"),
            ("x-own", "1"),
        ]);
        let from = Sender { address: Some("10.0.0.7".parse().expect("an address")), host: "server" };
        let head = upgrading(&Method::GET, "/exec/a", &given, &from);
        let kept = [
            "connection",
            "host",
            "sec-websocket-protocol",
            "upgrade",
            "user-agent",
            "x-forwarded-for",
            "x-own",
        ];
        assert_eq!(names(&head.headers), kept);
        assert_eq!(head.headers["sec-websocket-protocol"], "v4.channel.k8s.io");
        assert_eq!(head.headers["x-forwarded-for"], "10.0.0.7");
    }

    #[test]
    fn what_concerns_one_connection_is_not_handed_on() {
        let given = headers(&[
            ("connection", "close, X-Own"),
            ("x-own", "1"),
            ("keep-alive", "1"),
            ("te", "trailers"),
            ("x-forwarded-for", "1.2.3.4"),
            ("accept", "*/*"),
        ]);
        let from = Sender { address: Some("::ffff:10.0.0.7".parse().expect("an address")), host: "server" };
        let head = plain(&Method::GET, "/", &given, &from, "/api/v1/x/");
        assert_eq!(head.headers["host"], "server");
        assert_eq!(names(&head.headers), ["accept", "host", "te", "x-forwarded-for", "x-forwarded-uri"]);
        assert_eq!(head.headers["x-forwarded-for"], "1.2.3.4, 10.0.0.7");
    }
}
