//! References in answers of backends that lead back to the backend: the client must come through this server again.

/// Where a proxied answer came from.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The part of the request's path that leads to the backend, without a slash at its end.
    pub prefix: &'a str,
    /// `HOST:PORT` of the backend.
    pub authority: &'a str,
    /// The host that the client named.
    pub host: &'a str,
}

/// A `Location` as the client may follow it: absolute paths of the backend begin with the prefix, and without a host, so
/// that they are this server's. Others' hosts and relative paths stay what they are.
pub fn reference(given: &str, source: &Source<'_>) -> String {
    let (before, rest) = match given.find(['?', '#']) {
        Some(at) => given.split_at(at),
        None => (given, ""),
    };
    let after_scheme = before.split_once("://").filter(|(scheme, _)| is_scheme(scheme)).map(|(_, rest)| rest);
    let with_host = after_scheme.or_else(|| before.strip_prefix("//"));
    let (host, path) = match with_host {
        Some(rest) => match rest.find('/') {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        },
        None => ("", before),
    };
    let foreign = !host.is_empty() && host != source.authority && host != source.host;
    if foreign || !path.starts_with('/') {
        return given.to_owned();
    }
    // One that leads through this server already keeps the host that the client named.
    let head = if host == source.host && !host.is_empty() {
        before.strip_suffix(path).unwrap_or_default()
    } else {
        ""
    };
    if path.starts_with(source.prefix) {
        return format!("{head}{path}{rest}");
    }
    let joined = control_core::location::url::clean(&format!("{}/{path}", source.prefix));
    format!("{head}{joined}{rest}")
}

fn is_scheme(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_to_the_backend_lead_through_this_server() {
        let source = Source { prefix: "/api/v1/x/proxy", authority: "10.0.0.1:80", host: "server:6443" };
        for (given, want) in [
            ("/a/?b#c", "/api/v1/x/proxy/a/?b#c"),
            ("http://10.0.0.1:80/a", "/api/v1/x/proxy/a"),
            ("https://server:6443/a", "https://server:6443/api/v1/x/proxy/a"),
            ("/api/v1/x/proxy/a", "/api/v1/x/proxy/a"),
            ("http://elsewhere/a", "http://elsewhere/a"),
            ("//elsewhere/a", "//elsewhere/a"),
            ("a/b", "a/b"),
            ("", ""),
        ] {
            assert_eq!(reference(given, &source), want, "{given}");
        }
    }
}
