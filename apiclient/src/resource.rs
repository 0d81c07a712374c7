//! A kind as a server names it in paths, and what is asked about it.

use std::borrow::Cow;
use std::fmt::Write;

use apiclient_core::selector::{FieldSelector, LabelSelector};

/// A kind as a path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Resource {
    /// Empty for the core group.
    pub group: Cow<'static, str>,
    pub version: Cow<'static, str>,
    /// Plural name, as in rules of roles.
    pub plural: Cow<'static, str>,
    pub namespaced: bool,
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
    /// All objects, then their changes (KEP-3157).
    Stream { seconds: u32 },
}

impl Resource {
    pub const fn new(
        group: &'static str,
        version: &'static str,
        plural: &'static str,
        namespaced: bool,
    ) -> Self {
        Self {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            plural: Cow::Borrowed(plural),
            namespaced,
        }
    }

    /// The path of all objects, of those of a namespace where one is given.
    pub fn path(&self, namespace: &str) -> String {
        let mut path = match self.group.as_ref() {
            "" => format!("/api/{}", self.version),
            group => format!("/apis/{group}/{}", self.version),
        };
        if self.namespaced && !namespace.is_empty() {
            let _ = write!(path, "/namespaces/{}", escape(namespace));
        }
        let _ = write!(path, "/{}", self.plural);
        path
    }

    /// The path of one object, or of a part of it (`status`, `scale`, `binding`) where `subresource` is not empty.
    pub fn object_path(&self, namespace: &str, name: &str, subresource: &str) -> String {
        let mut path = format!("{}/{}", self.path(namespace), escape(name));
        if !subresource.is_empty() {
            let _ = write!(path, "/{}", escape(subresource));
        }
        path
    }

    /// Path and query of a list or a watch.
    pub fn list_path(
        &self,
        namespace: &str,
        ask: Ask<'_>,
        labels: &LabelSelector,
        fields: &FieldSelector,
    ) -> String {
        let mut url = self.path(namespace);
        _ = match ask {
            Ask::Page { limit, from: "" } => write!(url, "?limit={limit}"),
            Ask::Page { limit, from } => write!(url, "?limit={limit}&continue={}", escape(from)),
            Ask::Known => write!(url, "?resourceVersion=0"),
            Ask::Watch { since, seconds } => write!(
                url,
                "?watch=true&allowWatchBookmarks=true&timeoutSeconds={seconds}&resourceVersion={}",
                escape(since)
            ),
            Ask::Stream { seconds } => write!(
                url,
                "?watch=true&allowWatchBookmarks=true&sendInitialEvents=true\
                 &resourceVersionMatch=NotOlderThan&resourceVersion=&timeoutSeconds={seconds}"
            ),
        };
        if !labels.requirements().is_empty() {
            let _ = write!(url, "&labelSelector={}", escape(&labels.to_string()));
        }
        if !fields.requirements().is_empty() {
            let _ = write!(url, "&fieldSelector={}", escape(&fields.to_string()));
        }
        url
    }
}

/// Percent-encoding of everything that could mean something in a path or a query.
pub fn escape(text: &str) -> String {
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
    fn paths_are_the_apis() {
        let (pods, deployments) =
            (Resource::new("", "v1", "pods", true), Resource::new("apps", "v1", "deployments", true));
        let nodes = Resource::new("", "v1", "nodes", false);
        assert_eq!(pods.path(""), "/api/v1/pods");
        assert_eq!(pods.object_path("n", "a", "status"), "/api/v1/namespaces/n/pods/a/status");
        assert_eq!(deployments.object_path("n", "a", ""), "/apis/apps/v1/namespaces/n/deployments/a");
        assert_eq!(nodes.object_path("ignored", "a/..%", ""), "/api/v1/nodes/a%2F..%25");
    }

    #[test]
    fn what_is_asked_stands_in_the_query() {
        let slices = Resource::new("discovery.k8s.io", "v1", "endpointslices", true);
        let labels: LabelSelector = "!a/b,c in (d,e)".parse().expect("a selector");
        let fields = FieldSelector::default().equal("metadata.name", "node 1");
        let path = |ask| slices.list_path("", ask, &labels, &fields);
        let tail = "&labelSelector=%21a%2Fb%2Cc%20in%20%28d%2Ce%29&fieldSelector=metadata.name%3Dnode%201";
        let head = "/apis/discovery.k8s.io/v1/endpointslices";
        let wants = [
            (Ask::Page { limit: 500, from: "a/b=" }, "?limit=500&continue=a%2Fb%3D"),
            (Ask::Page { limit: 0, from: "" }, "?limit=0"),
            (Ask::Known, "?resourceVersion=0"),
            (
                Ask::Watch { since: "7", seconds: 300 },
                "?watch=true&allowWatchBookmarks=true&timeoutSeconds=300&resourceVersion=7",
            ),
        ];
        for (ask, query) in wants {
            // The order of requirements is the selector's own.
            assert_eq!(
                path(ask).replace("%21a%2Fb%2Cc%20in%20%28d%2Ce%29", "L"),
                format!("{head}{query}{tail}").replace("%21a%2Fb%2Cc%20in%20%28d%2Ce%29", "L")
            );
        }
    }
}
