//! Heads of requests that no station is to see: what they ask for can be read in two ways, or not be done at all.
//!
//! Facts: Go's `net/http` refuses them so, before any handler runs.

use http::header::{CONNECTION, EXPECT, HOST, HeaderValue};
use http::{Request, Version};

use crate::reply::{Response, text};

/// The answer to such a request; `None` for all others. The connection ends with it.
pub fn refused<B>(request: &Request<B>) -> Option<Response> {
    // HTTP/2 says its host otherwise, and has no expectations.
    if !matches!(request.version(), Version::HTTP_11 | Version::HTTP_10) {
        return None;
    }
    let headers = request.headers();
    let mut response = match (headers.get_all(HOST).iter().count(), request.version()) {
        (1, _) | (0, Version::HTTP_10) => {
            let expected = headers.get(EXPECT)?;
            if expected.as_bytes().eq_ignore_ascii_case(b"100-continue") {
                return None;
            }
            text(417, "Expectation Failed")
        }
        (0, _) => text(400, "400 Bad Request: missing required Host header"),
        _ => text(400, "400 Bad Request: too many Host headers"),
    };
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_without_one_host_or_with_a_strange_expectation_is_refused() {
        let code = |version: Version, headers: &[(&str, &str)]| {
            let builder = Request::builder().version(version);
            let builder =
                headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value));
            refused(&builder.body(()).expect("a request")).map(|response| response.status().as_u16())
        };
        let host = ("host", "a");
        assert_eq!(code(Version::HTTP_11, &[host]), None);
        assert_eq!(code(Version::HTTP_11, &[]), Some(400));
        assert_eq!(code(Version::HTTP_11, &[host, ("host", "b")]), Some(400));
        assert_eq!(code(Version::HTTP_10, &[]), None);
        assert_eq!(code(Version::HTTP_2, &[]), None);
        assert_eq!(code(Version::HTTP_11, &[host, ("expect", "100-Continue")]), None);
        assert_eq!(code(Version::HTTP_11, &[host, ("expect", "200-ok")]), Some(417));
    }
}
