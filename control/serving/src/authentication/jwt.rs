//! JSON web tokens: taken apart, verified, made (RFC 7515, RFC 7518).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::keys::{Algorithm, PublicKey, SigningKey};

/// A token that was taken apart and not verified: nothing of it can be believed yet.
#[derive(Clone, Debug)]
pub struct Unverified<'a> {
    /// Header and claims as they were signed.
    signed: &'a [u8],
    signature: Vec<u8>,
    /// As the header names it; empty where it does not.
    pub algorithm: String,
    /// Empty where the token names no key.
    pub key_id: String,
    claims: Value,
}

/// Nobody's time is spent on what is longer: the original's tokens have about 1 KiB.
const MOST_BYTES: usize = 64 * 1024;

impl<'a> Unverified<'a> {
    /// `None` where it is no JWT.
    pub fn parse(token: &'a str) -> Option<Self> {
        if token.len() > MOST_BYTES {
            return None;
        }
        let (signed, signature) = token.rsplit_once('.')?;
        let (header, claims) = signed.split_once('.')?;
        let object = |part: &str| -> Option<Value> {
            let bytes = URL_SAFE_NO_PAD.decode(part).ok()?;
            serde_json::from_slice(&bytes).ok().filter(Value::is_object)
        };
        let header = object(header)?;
        // RFC 7515, 4.1.11: what says that it must be understood, and is not.
        if !header["crit"].is_null() {
            return None;
        }
        Some(Self {
            signed: signed.as_bytes(),
            signature: URL_SAFE_NO_PAD.decode(signature).ok()?,
            algorithm: header["alg"].as_str().unwrap_or_default().to_owned(),
            key_id: header["kid"].as_str().unwrap_or_default().to_owned(),
            claims: object(claims)?,
        })
    }

    /// Who says to have made it, to know whose keys to ask for.
    pub fn issuer(&self) -> &str {
        self.claims["iss"].as_str().unwrap_or_default()
    }

    /// The claims, where one of the keys made the signature. The key says the algorithm, not the token.
    pub fn verify<'k>(self, keys: impl IntoIterator<Item = &'k PublicKey>) -> Option<Value> {
        let algorithm = Algorithm::named(&self.algorithm)?;
        let good = |key: &PublicKey| key.algorithm() == algorithm && self.is_signed_by(key, algorithm);
        keys.into_iter().any(good).then_some(self.claims)
    }

    /// Whether a key made the signature, by an algorithm that the caller accepts of it.
    pub fn is_signed_by(&self, key: &PublicKey, algorithm: Algorithm) -> bool {
        key.verifies(algorithm, self.signed, &self.signature)
    }

    /// The claims, which can be believed where [`Self::is_signed_by`] said so.
    pub fn into_claims(self) -> Value {
        self.claims
    }
}

/// Signs claims. `None` where the key cannot, which no key does that was read.
pub fn sign(claims: &Value, key: &SigningKey) -> Option<String> {
    let header = json!({"alg": key.public().algorithm().name(), "kid": key.public().id()});
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&header), part(claims));
    let signature = key.sign(signed.as_bytes())?;
    Some(format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature)))
}
