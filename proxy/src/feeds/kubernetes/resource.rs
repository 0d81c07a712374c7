//! The four kinds as the server names them, and which of their objects are asked for.

use std::fmt::Write;

use proxy_core::objects::Kind;

/// A kind, as a URL.
#[derive(Clone, Debug)]
pub struct Resource {
    pub kind: Kind,
    /// Plural name, as in rules of roles.
    pub plural: &'static str,
    path: &'static str,
    selectors: String,
    /// A server may lack it, or not let us have it; then there is none.
    pub optional: bool,
}

/// Which part of a kind's objects a request asks for.
#[derive(Clone, Copy, Debug)]
pub enum Ask<'a> {
    /// Some of a list: at most `limit` (0: no limit), from where another part ended.
    Page { limit: usize, from: &'a str },
    /// A list as the server has it in memory, which may lag behind a little. Servers give it in one piece, several
    /// times as fast as pages from their storage.
    Known,
    /// Changes since a version.
    Watch { since: &'a str, seconds: u32 },
    /// All objects, then their changes.
    Stream { seconds: u32 },
}

impl Resource {
    pub fn of(kind: Kind, node_name: &str) -> Self {
        let (path, plural, selectors) = match kind {
            Kind::Service => (
                "/api/v1/services",
                "services",
                "&labelSelector=!service.kubernetes.io/service-proxy-name&fieldSelector=spec.clusterIP!%3DNone".to_owned(),
            ),
            Kind::EndpointSlice => (
                "/apis/discovery.k8s.io/v1/endpointslices",
                "endpointslices",
                "&labelSelector=!service.kubernetes.io/headless".to_owned(),
            ),
            Kind::Node => ("/api/v1/nodes", "nodes", format!("&fieldSelector=metadata.name%3D{}", escape(node_name))),
            Kind::ServiceCidr => ("/apis/networking.k8s.io/v1/servicecidrs", "servicecidrs", String::new()),
        };
        // Servers before 1.33 have no ServiceCIDRs in v1, and older roles of proxies do not name them.
        Self { kind, plural, path, selectors, optional: kind == Kind::ServiceCidr }
    }

    /// Path and query.
    pub fn url(&self, ask: Ask<'_>) -> String {
        let (path, selectors) = (self.path, &self.selectors);
        match ask {
            Ask::Page { limit, from } => {
                let mut url = format!("{path}?limit={limit}{selectors}");
                if !from.is_empty() {
                    let _ = write!(url, "&continue={}", escape(from));
                }
                url
            }
            Ask::Known => format!("{path}?resourceVersion=0{selectors}"),
            Ask::Watch { since, seconds } => format!(
                "{path}?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}{selectors}",
                escape(since)
            ),
            Ask::Stream { seconds } => format!(
                "{path}?watch=true&allowWatchBookmarks=true&sendInitialEvents=true\
                 &resourceVersionMatch=NotOlderThan&resourceVersion=&timeoutSeconds={seconds}{selectors}"
            ),
        }
    }
}

/// Percent-encoding of everything that could mean something in a query.
fn escape(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => _ = write!(out, "%{byte:02X}"),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_are_kube_proxys() {
        let url = |kind| Resource::of(kind, "node 1").url(Ask::Watch { since: "7", seconds: 300 });
        assert_eq!(
            url(Kind::Service),
            "/api/v1/services?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=7\
             &labelSelector=!service.kubernetes.io/service-proxy-name&fieldSelector=spec.clusterIP!%3DNone"
        );
        assert!(url(Kind::EndpointSlice).ends_with("&labelSelector=!service.kubernetes.io/headless"));
        assert!(url(Kind::Node).ends_with("&fieldSelector=metadata.name%3Dnode%201"));
        assert!(url(Kind::ServiceCidr).ends_with("resourceVersion=7"));
        let page = Resource::of(Kind::Node, "n").url(Ask::Page { limit: 500, from: "a/b=" });
        assert_eq!(page, "/api/v1/nodes?limit=500&fieldSelector=metadata.name%3Dn&continue=a%2Fb%3D");
    }
}
