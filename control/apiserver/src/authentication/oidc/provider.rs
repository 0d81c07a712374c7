//! One issuer: where its keys are, and which it has.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use control_core::tokens::check::BadToken;
use control_core::tokens::oidc::{Distributed, Issuer};
use serde_json::Value;

use super::fetch::{Fetched, Fetcher};
use crate::authentication::jwt::Unverified;
use crate::authentication::keys::{Algorithm, PublicKey};

/// Keys that are good for less than this are fetched again.
const MARGIN: Duration = Duration::from_secs(30);

/// Forged tokens make nobody ask an issuer more often.
const REST: Duration = Duration::from_secs(1);

pub struct Provider {
    pub issuer: Issuer,
    fetcher: Fetcher,
    known: Mutex<Known>,
    /// Held while keys are fetched, so that several tokens wait for one answer.
    fetching: tokio::sync::Mutex<()>,
    /// Who signed claims that this issuer's tokens do not have themselves. At most [`MOST_OTHERS`].
    others: Mutex<Vec<Arc<Provider>>>,
}

/// Endpoints of an issuer choose who signs their tokens: nobody chooses more than so many.
const MOST_OTHERS: usize = 16;

#[derive(Clone, Default)]
struct Known {
    /// Where the keys are; `None`: the issuer did not say so yet.
    place: Option<String>,
    keys: Vec<PublicKey>,
    fetched: Option<Instant>,
    /// Until when the keys are good without asking.
    good_until: Option<Instant>,
}

impl Provider {
    /// # Errors
    /// Its authorities are none.
    pub fn new(issuer: Issuer) -> Result<Self, String> {
        let fetcher = Fetcher::new(&issuer.authorities)?;
        Ok(Self {
            issuer,
            fetcher,
            known: Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            others: Mutex::default(),
        })
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It has said where its keys are.
    pub fn is_ready(&self) -> bool {
        self.known().place.is_some()
    }

    /// Asks the issuer where its keys are.
    ///
    /// # Errors
    /// It does not answer, or is somebody else.
    pub async fn discover(&self) -> Result<(), String> {
        let url = self.issuer.url.trim_end_matches('/');
        let address = match self.issuer.discovery_url.as_str() {
            "" => format!("{url}/.well-known/openid-configuration"),
            given => given.to_owned(),
        };
        let document = json(&self.fetcher.get(&address).await?)?;
        let issuer = document["issuer"].as_str().unwrap_or_default();
        if issuer != self.issuer.url {
            return Err(format!(
                "oidc: issuer did not match the issuer returned by provider, expected {:?} got {issuer:?}",
                self.issuer.url
            ));
        }
        match document["jwks_uri"].as_str() {
            Some(place) if !place.is_empty() => {
                self.known().place = Some(place.to_owned());
                Ok(())
            }
            _ => Err("provider did not return JWKS URL".to_owned()),
        }
    }

    /// The claims of a token of this issuer.
    ///
    /// # Errors
    /// None of its keys made the signature, as far as it says which they are.
    pub async fn verify(&self, token: Unverified<'_>, accepted: &[Algorithm]) -> Result<Value, String> {
        let algorithm = Algorithm::named(&token.algorithm).filter(|found| accepted.contains(found));
        let Some(algorithm) = algorithm else {
            let names: Vec<String> = accepted.iter().map(|one| format!("{:?}", one.name())).collect();
            return Err(format!(
                "oidc: verify token: oidc: id token signed with unsupported algorithm, expected [{}] got {:?}",
                names.join(" "),
                token.algorithm
            ));
        };
        let known = self.known().clone();
        let Some(place) = known.place else { return Err("oidc: authenticator not initialized".to_owned()) };
        let fits = |keys: &[PublicKey]| {
            let mut named = keys.iter().filter(|key| token.key_id.is_empty() || key.id() == token.key_id);
            named.any(|key| token.is_signed_by(key, algorithm))
        };
        if fits(&known.keys) {
            return Ok(token.into_claims());
        }
        let unknown = || {
            Err("oidc: verify token: failed to verify signature: failed to verify id token signature"
                .to_owned())
        };
        if known.good_until.is_some_and(|until| Instant::now() + MARGIN < until) {
            return unknown();
        }
        let fetched = self.fetch(&place, known.fetched).await;
        let keys = fetched.map_err(|why| {
            format!(
                "oidc: verify token: failed to verify signature: fetching keys oidc: get keys failed {why}"
            )
        })?;
        if fits(&keys) { Ok(token.into_claims()) } else { unknown() }
    }

    /// The value of a claim that a token of this issuer does not have itself: it stands in another token, which the
    /// endpoint gives.
    ///
    /// # Errors
    /// The endpoint gives none, or it does not hold, or lacks the claim.
    pub async fn distributed(
        &self,
        wanted: &Distributed,
        accepted: &[Algorithm],
        now: SystemTime,
    ) -> Result<Value, String> {
        let Distributed { claim, endpoint, access_token } = wanted;
        let fetched = self.fetcher.get_with(endpoint, access_token).await;
        let fetched = fetched.map_err(|why| format!("while getting distributed claim {claim:?}: {why}"))?;
        let text = String::from_utf8_lossy(&fetched.body);
        let token = Unverified::parse(text.trim()).ok_or_else(|| {
            format!("getting untrusted issuer from endpoint {endpoint} failed for claim {claim:?}: malformed token")
        })?;
        let signer = token.issuer().to_owned();
        let other = self
            .other(&signer)
            .map_err(|why| format!("verifying untrusted issuer {signer} failed: {why}"))?;
        let invalid = |why: String| {
            let why = why.strip_prefix("oidc: verify token: ").unwrap_or(&why);
            format!("verify distributed claim token: {why}")
        };
        if !other.is_ready() {
            let uninitialized = |_| format!("verifier not initialized for issuer: {signer:?}");
            other.discover().await.map_err(uninitialized)?;
        }
        let mut claims = other.verify(token, accepted).await.map_err(invalid)?;
        other.issuer.is_good(&claims, now).map_err(|BadToken(why)| invalid(why))?;
        match claims.get_mut(claim) {
            Some(value) => Ok(value.take()),
            None => Err(format!(
                "jwt returned by distributed claim endpoint {endpoint:?} did not contain claim: {claim}"
            )),
        }
    }

    /// Who signs tokens of this name for endpoints of this issuer.
    fn other(&self, name: &str) -> Result<Arc<Self>, String> {
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = others.iter().find(|other| other.issuer.is(name)) {
            return Ok(Arc::clone(known));
        }
        if others.len() >= MOST_OTHERS {
            others.remove(0);
        }
        let new = Arc::new(Self::new(self.issuer.named(name))?);
        others.push(Arc::clone(&new));
        Ok(new)
    }

    /// The keys as they are now, where nobody fetched them since `before`.
    async fn fetch(&self, place: &str, before: Option<Instant>) -> Result<Vec<PublicKey>, String> {
        let _fetching = self.fetching.lock().await;
        let known = self.known().clone();
        if known.fetched != before || known.fetched.is_some_and(|last| last.elapsed() < REST) {
            return Ok(known.keys);
        }
        let outcome = self.fetcher.get(place).await;
        let now = Instant::now();
        self.known().fetched = Some(now);
        let fetched = outcome?;
        let document = json(&fetched)?;
        let keys = document["keys"].as_array().into_iter().flatten();
        // A key of a kind that is not supported is nobody's loss but of its tokens.
        let signs = |key: &&Value| key["use"].as_str().is_none_or(|purpose| purpose == "sig");
        let keys: Vec<PublicKey> = keys.filter(signs).filter_map(PublicKey::from_jwk).collect();
        let mut known = self.known();
        known.keys.clone_from(&keys);
        known.good_until = now.checked_add(fetched.max_age);
        Ok(keys)
    }
}

fn json(fetched: &Fetched) -> Result<Value, String> {
    serde_json::from_slice(&fetched.body).map_err(|error| format!("no JSON: {error}"))
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Provider").field(&self.issuer.url).finish()
    }
}
