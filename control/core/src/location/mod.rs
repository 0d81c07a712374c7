//! Where requests go that are not for this server itself: to the agent of a pod's node, or to a port of a pod, of a
//! service's endpoint, or of a node.
//!
//! Owns: which address, port, path and query such a request gets, and the refusals where there is none. Facts: the
//! original's `pkg/registry/core/{pod,service,node}`. Begin at [`Location`].
//! Never: connects.

pub mod agent;
pub mod port;
pub mod url;

pub use agent::{Agent, LogOptions, Preferences};

/// How a backend is spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Scheme {
    #[default]
    Http,
    Https,
}

impl Scheme {
    pub fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn port(self) -> u16 {
        match self {
            Self::Http => 80,
            Self::Https => 443,
        }
    }
}

/// The address of a request to a backend.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Location {
    pub scheme: Scheme,
    /// A name, or an address without brackets.
    pub host: String,
    /// A number, or empty for the scheme's own. Clients may ask for a name, behind which nothing is reached.
    pub port: String,
    /// Not encoded; empty, or with a slash at its beginning.
    pub path: String,
    /// Encoded, without the question mark.
    pub query: String,
}

impl Location {
    /// `HOST:PORT` as it stands in a URL; without the colon where no port is said.
    pub fn authority(&self) -> String {
        let host = if self.host.contains(':') { format!("[{}]", self.host) } else { self.host.clone() };
        if self.port.is_empty() { host } else { format!("{host}:{}", self.port) }
    }

    /// The port to connect to; `None` for a name.
    pub fn port_number(&self) -> Option<u16> {
        if self.port.is_empty() { Some(self.scheme.port()) } else { self.port.parse().ok() }
    }

    /// Path and query, encoded.
    pub fn target(&self) -> String {
        let path = url::encode_path(if self.path.is_empty() { "/" } else { &self.path });
        if self.query.is_empty() { path } else { format!("{path}?{}", self.query) }
    }

    pub fn url(&self) -> String {
        let path = if self.path.is_empty() { String::new() } else { self.target() };
        format!("{}://{}{path}", self.scheme.name(), self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_is_written_as_a_url() {
        let location = Location {
            scheme: Scheme::Https,
            host: "fd00::1".to_owned(),
            port: "10250".to_owned(),
            path: "/a b/c".to_owned(),
            query: "x=1".to_owned(),
        };
        assert_eq!(location.url(), "https://[fd00::1]:10250/a%20b/c?x=1");
        assert_eq!(location.port_number(), Some(10250));
        let plain = Location { host: "10.0.0.1".to_owned(), ..Location::default() };
        assert_eq!((plain.url().as_str(), plain.target().as_str()), ("http://10.0.0.1", "/"));
        assert_eq!(plain.port_number(), Some(80));
        assert_eq!(Location { port: "web".to_owned(), ..plain }.port_number(), None);
    }
}
