//! Headers by which an authenticating proxy says who its client is (`--requestheader-*`).
//!
//! Believed only of a proxy with a certificate of its own authority and, where names are given, with one of them.

use std::sync::Arc;

use control_core::access::User;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::HeaderMap;
use http::request::Parts;
use tokio_rustls::rustls::pki_types::{CertificateDer, UnixTime};

use super::certificates::{Authorities, common_name};
use super::{Authenticate, Unauthorized};

#[derive(Debug)]
pub struct FrontProxy {
    pub authorities: Arc<Authorities>,
    pub headers: Headers,
}

/// Which headers say what. Names of headers are in any case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Headers {
    /// `--requestheader-allowed-names`; none: every name.
    pub allowed_names: Vec<String>,
    pub users: Vec<String>,
    pub uids: Vec<String>,
    pub groups: Vec<String>,
    pub extra_prefixes: Vec<String>,
}

impl Headers {
    fn user(&self, headers: &HeaderMap) -> Option<User> {
        let first = |names: &[String]| -> String {
            let mut values = names.iter().filter_map(|name| headers.get(name.as_str())?.to_str().ok());
            values.find(|value| !value.is_empty()).unwrap_or_default().to_owned()
        };
        let name = Some(first(&self.users)).filter(|name| !name.is_empty())?;
        let all = self.groups.iter().flat_map(|name| headers.get_all(name.as_str()));
        let groups = all.filter_map(|value| value.to_str().ok()).filter(|value| !value.is_empty());
        let mut user = User {
            name,
            uid: first(&self.uids),
            groups: groups.map(str::to_owned).collect(),
            ..User::default()
        };
        for prefix in &self.extra_prefixes {
            let prefix = prefix.to_ascii_lowercase();
            for (header, value) in headers {
                let Some(key) = header.as_str().strip_prefix(&prefix) else { continue };
                let Ok(value) = value.to_str() else { continue };
                user.extra.entry(unescaped(key)).or_default().push(value.to_owned());
            }
        }
        Some(user)
    }
}

/// A key with `%XX`; as it is where it cannot be decoded.
pub fn unescaped(key: &str) -> String {
    apiclient_core::percent::decode(key, false).unwrap_or_else(|| key.to_owned())
}

impl Authenticate for FrontProxy {
    fn authenticate<'a>(
        &'a self,
        head: &'a Parts,
        peer: &'a [CertificateDer<'static>],
    ) -> BoxFuture<'a, Result<Option<User>, Unauthorized>> {
        let found = match peer {
            [] => Ok(None),
            [own, ..] => self.authorities.verify(peer, UnixTime::now()).and_then(|()| {
                let (name, allowed) = (common_name(own), &self.headers.allowed_names);
                if allowed.is_empty() || allowed.contains(&name) {
                    return Ok(self.headers.user(&head.headers));
                }
                Err(Unauthorized(format!("x509: subject with cn={name} is not in the allowed list")))
            }),
        };
        std::future::ready(found).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[test]
    fn a_proxys_headers_say_who_its_client_is() {
        let list = |name: &str| vec![name.to_owned()];
        let headers = Headers {
            users: list("X-Remote-User"),
            groups: list("X-Remote-Group"),
            uids: list("X-Remote-Uid"),
            extra_prefixes: list("X-Remote-Extra-"),
            ..Headers::default()
        };
        let request = Request::builder()
            .header("x-remote-user", "alice")
            .header("X-Remote-Group", "devs")
            .header("X-Remote-Group", "ops")
            .header("X-Remote-Uid", "u")
            .header("X-Remote-Extra-Acme.com%2fProject", "weft")
            .body(())
            .expect("a request");
        let found = headers.user(request.headers()).expect("a user");
        assert_eq!((found.name.as_str(), found.uid.as_str()), ("alice", "u"));
        assert_eq!(found.groups, ["devs", "ops"]);
        assert_eq!(found.extra["acme.com/project"], ["weft"]);
        assert_eq!(headers.user(&HeaderMap::new()), None);
    }
}
