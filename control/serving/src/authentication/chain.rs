//! The order of the ways to tell who somebody is, and the groups that everybody has.

use std::sync::Arc;

use control_core::access::User;
use http::request::Parts;
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{Authenticate, Unauthorized};

/// Front proxy, certificates, tokens, passwords; then anonymous, where that is allowed and nothing wrong was said.
#[derive(Debug)]
pub struct Chain {
    ways: Vec<Arc<dyn Authenticate>>,
    anonymous: bool,
    /// The only paths for which anonymous is allowed; empty: all.
    anonymous_paths: Vec<String>,
}

impl Chain {
    /// `anonymous` is `--anonymous-auth`.
    pub fn new(ways: Vec<Arc<dyn Authenticate>>, anonymous: bool) -> Self {
        Self { ways, anonymous, anonymous_paths: Vec::new() }
    }

    /// Nobody is anonymous but at these paths, unless there are none (`anonymous.conditions` of
    /// `--authentication-config`).
    #[must_use]
    pub fn anonymous_at(self, anonymous_paths: Vec<String>) -> Self {
        Self { anonymous_paths, ..self }
    }

    fn lets_anonymous(&self, path: &str) -> bool {
        self.anonymous
            && (self.anonymous_paths.is_empty() || self.anonymous_paths.iter().any(|own| own == path))
    }

    /// # Errors
    /// Credentials that no way accepts, or none at all where some are needed.
    pub async fn authenticate(
        &self,
        head: &Parts,
        peer: &[CertificateDer<'static>],
    ) -> Result<User, Unauthorized> {
        let mut wrong: Vec<String> = Vec::new();
        for way in &self.ways {
            match way.authenticate(head, peer).await {
                Ok(Some(user)) => return Ok(with_groups(user)),
                Ok(None) => {}
                Err(Unauthorized(why)) if wrong.contains(&why) => {}
                Err(Unauthorized(why)) => wrong.push(why),
            }
        }
        match wrong.as_slice() {
            [] if self.lets_anonymous(head.uri.path()) => Ok(anonymous()),
            [] => Err(Unauthorized("no credentials provided".to_owned())),
            [one] => Err(Unauthorized(one.clone())),
            all => Err(Unauthorized(format!("[{}]", all.join(", ")))),
        }
    }
}

/// Everybody who says nothing.
pub fn anonymous() -> User {
    User {
        name: User::ANONYMOUS.to_owned(),
        groups: vec![User::UNAUTHENTICATED.to_owned()],
        ..User::default()
    }
}

/// Everybody who is somebody is in `system:authenticated`.
pub fn with_groups(mut user: User) -> User {
    let known = [User::AUTHENTICATED, User::UNAUTHENTICATED].iter().any(|group| user.is_in(group));
    if user.name != User::ANONYMOUS && !known {
        user.groups.push(User::AUTHENTICATED.to_owned());
    }
    user
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::future::BoxFuture;
    use http::Request;

    #[derive(Debug)]
    struct Says(Result<Option<&'static str>, &'static str>);

    impl Authenticate for Says {
        fn authenticate<'a>(
            &'a self,
            _head: &'a Parts,
            _peer: &'a [CertificateDer<'static>],
        ) -> BoxFuture<'a, Result<Option<User>, Unauthorized>> {
            let said = match self.0 {
                Ok(name) => Ok(name.map(|name| User { name: name.to_owned(), ..User::default() })),
                Err(why) => Err(Unauthorized(why.to_owned())),
            };
            Box::pin(std::future::ready(said))
        }
    }

    async fn asked(ways: Vec<Says>, anonymous: bool) -> Result<User, Unauthorized> {
        let ways = ways.into_iter().map(|way| Arc::new(way) as Arc<dyn Authenticate>).collect();
        let (head, ()) = Request::new(()).into_parts();
        Chain::new(ways, anonymous).authenticate(&head, &[]).await
    }

    #[tokio::test]
    async fn a_good_credential_counts_after_a_bad_one() {
        let found = asked(vec![Says(Err("expired")), Says(Ok(Some("alice")))], true).await.expect("alice");
        assert_eq!(
            (found.name.as_str(), found.groups.as_slice()),
            ("alice", &["system:authenticated".to_owned()][..])
        );
    }

    #[tokio::test]
    async fn only_who_says_nothing_is_anonymous() {
        assert_eq!(asked(vec![Says(Ok(None))], true).await, Ok(anonymous()));
        assert!(asked(vec![Says(Ok(None))], false).await.is_err());
        let at = |path: &'static str| {
            let (head, ()) = Request::get(path).body(()).expect("a request").into_parts();
            let chain = Chain::new(Vec::new(), true).anonymous_at(vec!["/livez".to_owned()]);
            async move { chain.authenticate(&head, &[]).await }
        };
        assert_eq!(at("/livez").await, Ok(anonymous()));
        assert!(at("/livez/etcd").await.is_err());
        let wrong = asked(vec![Says(Err("a")), Says(Ok(None)), Says(Err("b"))], true).await;
        assert_eq!(wrong, Err(Unauthorized("[a, b]".to_owned())));
    }
}
