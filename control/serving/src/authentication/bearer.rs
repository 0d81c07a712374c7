//! `Authorization: Bearer TOKEN`, and the tokens of WebSocket clients in browsers, which can set no such header.
//!
//! Owns: where a token stands, and the memory of accepted ones. What a token is worth, its [`Tokens`] say.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use control_core::access::User;
use control_core::tokens::check::Accepted;
use futures::FutureExt;
use futures::future::BoxFuture;
use http::HeaderMap;
use http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use http::request::Parts;
use ring::digest::{Context, SHA256};
use tokio_rustls::rustls::pki_types::CertificateDer;

use super::{Authenticate, Unauthorized};
use crate::expiring::Expiring;

/// How long an accepted token is remembered, as by the original: so long a revoked one still works.
const KEEP: Duration = Duration::from_secs(10);

/// As many accepted tokens are remembered.
const MOST: usize = 4096;

/// One sort of tokens.
pub trait Tokens: fmt::Debug + Send + Sync {
    /// `None`: not a token of this sort. `audiences` are the wanted ones.
    fn accept<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Option<Accepted>, Unauthorized>>;
}

/// All sorts, in their order.
pub struct Bearer {
    sorts: Vec<Arc<dyn Tokens>>,
    /// `--api-audiences`.
    audiences: Vec<String>,
    accepted: Mutex<Expiring<Key, Accepted>>,
}

impl Bearer {
    pub fn new(sorts: Vec<Arc<dyn Tokens>>, audiences: Vec<String>) -> Self {
        Self { sorts, audiences, accepted: Mutex::new(Expiring::new(MOST)) }
    }

    /// A token, for a TokenReview; without audiences, for those of this server.
    ///
    /// # Errors
    /// It is not accepted.
    pub async fn review(&self, token: &str, audiences: &[String]) -> Result<Accepted, Unauthorized> {
        let audiences = if audiences.is_empty() { &self.audiences } else { audiences };
        let key = key_of(token, audiences);
        if let Some(known) = self.memory().get(&key, Instant::now()) {
            return Ok(known);
        }
        let mut wrong: Vec<String> = Vec::new();
        for sort in &self.sorts {
            match sort.accept(token, audiences).await {
                Ok(Some(accepted)) => {
                    self.memory().put(key, accepted.clone(), Instant::now(), KEEP);
                    return Ok(accepted);
                }
                Ok(None) => {}
                Err(Unauthorized(why)) => wrong.push(why),
            }
        }
        Err(Unauthorized(match wrong.as_slice() {
            [] => "invalid bearer token".to_owned(),
            all => format!("[invalid bearer token, {}]", all.join(", ")),
        }))
    }

    fn memory(&self) -> std::sync::MutexGuard<'_, Expiring<Key, Accepted>> {
        self.accepted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Authenticate for Bearer {
    fn authenticate<'a>(
        &'a self,
        head: &'a Parts,
        _peer: &'a [CertificateDer<'static>],
    ) -> BoxFuture<'a, Result<Option<User>, Unauthorized>> {
        async move {
            let token = match token_of(&head.headers) {
                Some(token) => token.to_owned(),
                None => match token_of_websocket(&head.headers)? {
                    Some(token) => token,
                    None => return Ok(None),
                },
            };
            self.review(&token, &[]).await.map(|accepted| Some(accepted.user))
        }
        .boxed()
    }
}

impl fmt::Debug for Bearer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bearer").field("sorts", &self.sorts).finish_non_exhaustive()
    }
}

/// `bearer` in any case, one space, the token. Two spaces make an empty token, which counts as none.
pub fn token_of(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(AUTHORIZATION)?.to_str().ok()?.trim();
    let mut parts = value.splitn(3, ' ');
    let is_bearer = parts.next()?.eq_ignore_ascii_case("bearer");
    parts.next().filter(|token| is_bearer && !token.is_empty())
}

pub const WEBSOCKET_PREFIX: &str = "base64url.bearer.authorization.k8s.io.";

/// A subprotocol that is a token. A client must offer a real one besides.
fn token_of_websocket(headers: &HeaderMap) -> Result<Option<String>, Unauthorized> {
    let values = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let protocols: Vec<_> = values.flat_map(|value| value.split(',')).map(str::trim).collect();
    let mut tokens = protocols.iter().filter_map(|one| one.strip_prefix(WEBSOCKET_PREFIX));
    let Some(encoded) = tokens.next() else { return Ok(None) };
    let failed = |why: &str| Err(Unauthorized(why.to_owned()));
    if tokens.next().is_some() {
        return failed("multiple base64.bearer.authorization tokens specified");
    }
    if protocols.iter().all(|one| one.starts_with(WEBSOCKET_PREFIX)) {
        return failed("missing additional subprotocol");
    }
    match URL_SAFE_NO_PAD.decode(encoded).map(String::from_utf8) {
        Ok(Ok(token)) if !token.is_empty() => Ok(Some(token)),
        _ => failed("invalid base64.bearer.authorization token encoding"),
    }
}

pub type Key = [u8; 32];

/// Tokens are not kept themselves. Each part is delimited by its length.
pub fn key_of(token: &str, audiences: &[String]) -> Key {
    let mut hash = Context::new(&SHA256);
    for part in std::iter::once(token).chain(audiences.iter().map(String::as_str)) {
        hash.update(&(part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    let mut key = Key::default();
    key.copy_from_slice(hash.finish().as_ref());
    key
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn header(name: http::HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn a_token_stands_after_one_space() {
        let cases = [
            ("Bearer abc", Some("abc")),
            ("bearer abc", Some("abc")),
            ("BEARER abc def", Some("abc")),
            ("Bearer  abc", None),
            ("Bearer", None),
            ("Basic abc", None),
            ("  Bearer abc ", Some("abc")),
        ];
        for (value, token) in cases {
            assert_eq!(token_of(&header(AUTHORIZATION, value)), token, "{value:?}");
        }
    }

    #[test]
    fn a_websocket_brings_its_token_as_a_protocol() {
        let of = |value| token_of_websocket(&header(SEC_WEBSOCKET_PROTOCOL, value));
        let good = "v4.channel.k8s.io, base64url.bearer.authorization.k8s.io.YWJj";
        assert_eq!(of(good), Ok(Some("abc".to_owned())));
        assert_eq!(of("v4.channel.k8s.io"), Ok(None));
        assert!(of("base64url.bearer.authorization.k8s.io.YWJj").is_err(), "no other protocol");
        assert!(of("x, base64url.bearer.authorization.k8s.io.=").is_err(), "no base64");
    }

    #[derive(Debug, Default)]
    struct Counts(std::sync::atomic::AtomicUsize);

    impl Tokens for Counts {
        fn accept<'a>(
            &'a self,
            _token: &'a str,
            audiences: &'a [String],
        ) -> BoxFuture<'a, Result<Option<Accepted>, Unauthorized>> {
            self.0.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let accepted = Accepted { user: User::default(), audiences: audiences.to_vec() };
            std::future::ready(Ok(Some(accepted))).boxed()
        }
    }

    #[tokio::test]
    async fn an_accepted_token_is_remembered_for_ten_seconds() {
        let counts = Arc::new(Counts::default());
        let bearer = Bearer::new(vec![Arc::clone(&counts) as _], vec!["a".to_owned()]);
        for _ in 0..2 {
            bearer.review("t", &[]).await.expect("accepted");
        }
        let asked = || counts.0.load(std::sync::atomic::Ordering::Relaxed);
        assert_eq!(asked(), 1);
        let key = key_of("t", &["a".to_owned()]);
        assert!(bearer.memory().get(&key, Instant::now()).is_some());
        assert!(bearer.memory().get(&key, Instant::now() + KEEP).is_none());
        bearer.review("t", &["b".to_owned()]).await.expect("accepted");
        assert_eq!(asked(), 2, "other audiences are another question");
    }
}
