//! How to reach a cluster.

use std::fmt;
use std::path::PathBuf;

use crate::error::EtcdError;

/// How to reach etcd, and as whom. The files are read again for each connection, so renewed certificates are used.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// `http://HOST:PORT`, `https://HOST:PORT`, or `HOST:PORT`, which is https if any TLS file is given. At least one.
    pub endpoints: Vec<String>,
    /// PEM file with the authorities to trust. None: those of the system.
    pub ca: Option<PathBuf>,
    /// PEM files of our own certificate and key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// The name that etcd's certificate must have. None: the endpoint's host.
    pub server_name: Option<String>,
    /// User and password. Where etcd asks for none they do no harm.
    pub user: Option<(String, Secret)>,
}

/// A text that is never printed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(hidden)")
    }
}

/// One endpoint, with its scheme.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    pub(crate) url: String,
    pub(crate) tls: bool,
}

impl Settings {
    pub(crate) fn parsed_endpoints(&self) -> Result<Vec<Endpoint>, EtcdError> {
        let tls_files = self.ca.is_some() || self.identity.is_some();
        if self.endpoints.is_empty() {
            return Err(EtcdError::Endpoint {
                endpoint: String::new(),
                reason: "want at least one endpoint",
            });
        }
        self.endpoints.iter().map(|text| endpoint(text, tls_files)).collect()
    }
}

fn endpoint(text: &str, tls_files: bool) -> Result<Endpoint, EtcdError> {
    let refuse = |reason| Err(EtcdError::Endpoint { endpoint: text.to_owned(), reason });
    let (tls, rest) = match text.split_once("://") {
        Some(("http", rest)) => (false, rest),
        Some(("https", rest)) => (true, rest),
        Some(("unix" | "unixs", _)) => {
            return refuse("unix sockets are not supported; use http:// or https://");
        }
        Some(_) => return refuse("want http://HOST:PORT or https://HOST:PORT"),
        None => (tls_files, text),
    };
    let host = rest.trim_end_matches('/');
    if host.contains('@') {
        return Err(EtcdError::Endpoint {
            endpoint: "(hidden)".into(),
            reason: "a user does not belong into the address; give user and password by their own settings",
        });
    }
    if host.is_empty() || host.contains(['/', '?', '#', ' ']) {
        return refuse("want http://HOST:PORT or https://HOST:PORT");
    }
    Ok(Endpoint { url: format!("{}://{host}", if tls { "https" } else { "http" }), tls })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scheme_says_whether_tls_is_spoken() {
        for (text, files, url) in [
            ("http://10.0.0.1:2379", true, "http://10.0.0.1:2379"),
            ("https://etcd:2379/", false, "https://etcd:2379"),
            ("etcd:2379", false, "http://etcd:2379"),
            ("etcd:2379", true, "https://etcd:2379"),
            ("http://[fd00::1]:2379", false, "http://[fd00::1]:2379"),
        ] {
            let have = endpoint(text, files).unwrap();
            assert_eq!(have.url, url);
            assert_eq!(have.tls, url.starts_with("https"));
        }
    }

    #[test]
    fn odd_endpoints_are_refused() {
        for text in ["unix:///run/etcd", "ftp://x", "http://", "http://a/b", "", "http://a b:1"] {
            assert!(endpoint(text, false).is_err(), "{text}");
        }
        assert!(Settings::default().parsed_endpoints().is_err());
        let error = endpoint("http://root:hush@etcd:2379", false).unwrap_err().to_string();
        assert!(!error.contains("hush"), "{error}");
        assert_eq!(format!("{:?}", Secret::new("hush")), "(hidden)");
    }
}
