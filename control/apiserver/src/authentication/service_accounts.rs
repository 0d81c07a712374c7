//! Tokens of service accounts: their signatures, and what is asked for at `/openid/v1/jwks`.
//!
//! What the claims must say is `control_core::tokens`'.

use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::wire::Status;
use control_core::admission::Objects;
use control_core::refusal;
use control_core::tokens::bootstrap;
use control_core::tokens::check::{self, Accepted, BadToken};
use control_core::tokens::issue::{self, Issuer};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};

use super::Unauthorized;
use super::bearer::Tokens;
use super::jwt::{self, Unverified};
use super::keys::{PublicKey, SigningKey};

/// The keys of a cluster's tokens, and who makes them.
#[derive(Debug)]
pub struct ServiceAccounts {
    /// `--service-account-key-file`, all of them; the signing key's own where none is given.
    pub keys: Vec<PublicKey>,
    /// `None`: this server verifies tokens and makes none.
    pub signing: Option<SigningKey>,
    /// Makes new tokens; its name is the first of `issuers`.
    pub issuer: Issuer,
    /// `--service-account-issuer`, all of them: tokens of earlier ones are still accepted.
    pub issuers: Vec<String>,
}

impl ServiceAccounts {
    /// The claims of a token of ours; `None` where it is somebody else's.
    fn verified(&self, token: &str) -> Result<Option<Value>, Unauthorized> {
        let Some(parsed) = Unverified::parse(token) else { return Ok(None) };
        let issuer = parsed.issuer();
        if issuer != check::LEGACY_ISSUER && !self.issuers.iter().any(|own| own == issuer) {
            return Ok(None);
        }
        // A token of before keys had names may be of any.
        let named = self.keys.iter().any(|key| key.id() == parsed.key_id);
        let id = parsed.key_id.clone();
        let keys = self.keys.iter().filter(move |key| !named || key.id() == id);
        match parsed.verify(keys) {
            Some(claims) => Ok(Some(claims)),
            None => Err(Unauthorized("go-jose/go-jose: error in cryptographic primitive".to_owned())),
        }
    }

    /// # Errors
    /// It is ours, and not good (any more).
    pub fn accept(
        &self,
        token: &str,
        audiences: &[String],
        now: SystemTime,
        objects: &dyn Objects,
    ) -> Result<Option<Accepted>, Unauthorized> {
        let Some(claims) = self.verified(token)? else { return Ok(None) };
        let found = if claims["iss"] == check::LEGACY_ISSUER {
            check::legacy(&claims, token, audiences, &self.issuer.audiences, objects)
        } else {
            check::bound(&claims, audiences, now, objects)
        };
        found.map(Some).map_err(|BadToken(why)| Unauthorized(why))
    }

    /// Answers a TokenRequest (`serviceaccounts/NAME/token`) in its object; gives lines of warning. `id` is a new UUID.
    ///
    /// # Errors
    /// The refusal, in the original's words.
    pub fn issue(
        &self,
        request: &mut Value,
        namespace: &str,
        name: &str,
        now: SystemTime,
        id: &str,
        objects: &dyn Objects,
    ) -> Result<Vec<String>, Status> {
        let issued = issue::claims(request, namespace, name, &self.issuer, now, id, objects)?;
        let token = self.signing.as_ref().and_then(|key| jwt::sign(&issued.claims, key));
        let token =
            token.ok_or_else(|| refusal::internal("failed to generate token: there is no signing key"))?;
        issue::answer(request, &token);
        Ok(issued.warnings)
    }

    /// A token with these claims; `None` where this server makes none.
    pub fn sign(&self, claims: &Value) -> Option<String> {
        jwt::sign(claims, self.signing.as_ref()?)
    }

    /// The body of `/openid/v1/jwks` (`application/jwk-set+json`).
    pub fn jwks(&self) -> Value {
        json!({"keys": self.keys.iter().map(PublicKey::jwk).collect::<Vec<_>>()})
    }

    /// The body of `/.well-known/openid-configuration`. `jwks_uri` is `--service-account-jwks-uri`, or this server's.
    pub fn openid_configuration(&self, jwks_uri: &str) -> Value {
        let mut algorithms: Vec<_> = self.keys.iter().map(|key| key.algorithm().name()).collect();
        algorithms.sort_unstable();
        algorithms.dedup();
        json!({
            "issuer": self.issuer.name,
            "jwks_uri": jwks_uri,
            "response_types_supported": ["id_token"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": algorithms,
        })
    }
}

/// Tokens of service accounts, checked against what is stored now.
pub struct ServiceAccountTokens {
    pub accounts: Arc<ServiceAccounts>,
    pub objects: Arc<dyn Objects>,
}

impl Tokens for ServiceAccountTokens {
    fn accept<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Option<Accepted>, Unauthorized>> {
        let found = self.accounts.accept(token, audiences, SystemTime::now(), &*self.objects);
        std::future::ready(found).boxed()
    }
}

impl fmt::Debug for ServiceAccountTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.accounts.fmt(f)
    }
}

/// `--enable-bootstrap-token-auth`.
pub struct BootstrapTokens {
    pub objects: Arc<dyn Objects>,
    /// `--api-audiences`.
    pub audiences: Vec<String>,
}

impl Tokens for BootstrapTokens {
    fn accept<'a>(
        &'a self,
        token: &'a str,
        audiences: &'a [String],
    ) -> BoxFuture<'a, Result<Option<Accepted>, Unauthorized>> {
        let good: Vec<_> = audiences.iter().filter(|one| self.audiences.contains(one)).cloned().collect();
        let user = bootstrap::user(token, SystemTime::now(), &*self.objects).filter(|_| !good.is_empty());
        std::future::ready(Ok(user.map(|user| Accepted { user, audiences: good }))).boxed()
    }
}

impl fmt::Debug for BootstrapTokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BootstrapTokens")
    }
}
