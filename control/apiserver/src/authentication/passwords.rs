//! `--basic-auth-file`, which kube-apiserver had until 1.18: lines of `password,user,uid,"group1,group2"`.
//!
//! Off unless asked for: a password goes over the wire with each request.

use std::collections::HashMap;
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_core::access::User;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use http::request::Parts;
use ring::digest::{SHA256, digest};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::static_tokens::{BadLine, records};
use super::{Authenticate, Unauthorized};

/// Users by name. Passwords are kept as hashes, which take as long to compare whatever they are.
pub struct Passwords(HashMap<String, (Vec<u8>, User)>);

impl Passwords {
    /// # Errors
    /// A line with fewer than three columns, or with an open quote.
    pub fn parse(text: &str) -> Result<Self, BadLine> {
        let mut users = HashMap::new();
        for (line, columns) in records(text)? {
            let [password, name, uid, more @ ..] = columns.as_slice() else {
                return Err(BadLine { line, problem: "want at least password, user name and user uid" });
            };
            let groups = more.first().filter(|groups| !groups.is_empty());
            let groups = groups.map_or_else(Vec::new, |all| all.split(',').map(str::to_owned).collect());
            let user = User { name: name.clone(), uid: uid.clone(), groups, ..User::default() };
            users.insert(name.clone(), (hash(password), user));
        }
        Ok(Self(users))
    }
}

fn hash(password: &str) -> Vec<u8> {
    digest(&SHA256, password.as_bytes()).as_ref().to_vec()
}

/// Name and password, where the header holds some.
fn given(headers: &HeaderMap) -> Option<(String, String)> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let (scheme, encoded) = value.split_once(' ')?;
    let text = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim()).ok())??;
    let (name, password) = std::str::from_utf8(&text).ok()?.split_once(':')?;
    Some((name.to_owned(), password.to_owned()))
}

impl Authenticate for Passwords {
    fn authenticate<'a>(
        &'a self,
        head: &'a Parts,
        _peer: &'a [CertificateDer<'static>],
    ) -> BoxFuture<'a, Result<Option<User>, Unauthorized>> {
        let found = given(&head.headers).map(|(name, password)| match self.0.get(&name) {
            Some((wanted, user)) if *wanted == hash(&password) => Ok(user.clone()),
            _ => Err(Unauthorized("invalid username/password combination".to_owned())),
        });
        std::future::ready(found.transpose()).boxed()
    }
}

impl fmt::Debug for Passwords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Passwords({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::Request;

    #[tokio::test]
    async fn a_password_is_checked_where_one_is_given() {
        let passwords = Passwords::parse("secret,alice,1,devs\n").expect("a file");
        let asked = async |value: &str| {
            let request = Request::builder().header(AUTHORIZATION, value).body(()).expect("a request");
            let (head, ()) = request.into_parts();
            passwords.authenticate(&head, &[]).await.map(|user| user.map(|user| user.name))
        };
        let basic = |text: &str| format!("Basic {}", STANDARD.encode(text));
        assert_eq!(asked(&basic("alice:secret")).await, Ok(Some("alice".to_owned())));
        assert!(asked(&basic("alice:other")).await.is_err());
        assert!(asked(&basic("bob:secret")).await.is_err());
        assert_eq!(asked("Bearer x").await, Ok(None));
        assert_eq!(asked("Basic %").await, Ok(None));
    }
}
