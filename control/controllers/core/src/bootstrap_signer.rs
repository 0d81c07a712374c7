//! Signatures of `cluster-info`, by which a machine that has a bootstrap token knows the cluster that it joins.
//!
//! Facts: kube-controller-manager 1.36, `pkg/controller/bootstrap/bootstrapsigner.go`; a signature is a JWS with HMAC-SHA256
//! and without its content (RFC 7515, appendix F).

use std::collections::BTreeMap;
use std::time::SystemTime;

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use control_core::edit::{self, text};
use serde_json::{Value, json};

use crate::kinds::{CONFIG_MAPS, SECRETS};
use crate::{Act, Change, Context, Controller, Decision, Kind, World, object};

const NAMESPACE: &str = "kube-public";
const NAME: &str = "cluster-info";
/// What is signed.
const CONTENT: &str = "kubeconfig";
const PREFIX: &str = "jws-kubeconfig-";

const TOKEN_TYPE: &str = "bootstrap.kubernetes.io/token";
const TOKENS: &str = "kube-system";
const TOKEN_PREFIX: &str = "bootstrap-token-";

/// Its one key is the ConfigMap.
#[derive(Debug)]
pub struct BootstrapSigner;

fn own() -> ObjectName {
    ObjectName::new(NAMESPACE, NAME)
}

impl Controller for BootstrapSigner {
    fn name(&self) -> &'static str {
        "bootstrap-signer-controller"
    }

    fn account(&self) -> &'static str {
        "bootstrap-signer"
    }

    fn follows(&self) -> &[Kind] {
        &[CONFIG_MAPS, SECRETS]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        let matters = match change.kind {
            CONFIG_MAPS => object::key(changed) == own(),
            _ => is_token(changed),
        };
        keys.extend(matters.then(own));
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let info = world.get(CONFIG_MAPS, key).filter(|info| !object::is_deleting(info));
        let Some((info, content)) = info.and_then(|info| Some((info, info["data"][CONTENT].as_str()?)))
        else {
            return Decision::nothing();
        };
        let tokens: Vec<Token> = world
            .within(SECRETS, TOKENS)
            .filter(|secret| is_token(secret))
            .filter_map(|secret| Token::of(secret, context.now))
            .collect();
        let signed: BTreeMap<String, String> = tokens
            .iter()
            .map(|token| (format!("{PREFIX}{}", token.id), signature(content, &token.id, &token.secret)))
            .collect();
        let ends = tokens.iter().filter_map(|token| token.expiration).min();
        // A token that ends is no change that anybody tells of.
        let again = ends.and_then(|end| end.duration_since(context.now).ok());
        let decision = Decision { again, ..Decision::nothing() };
        let mut data = object::texts(&info["data"]);
        data.retain(|key, _| !key.starts_with(PREFIX));
        data.extend(signed);
        let data = json!(data);
        if data == info["data"] {
            return decision;
        }
        let mut info = Value::clone(info);
        edit::set(&mut info, "data", data);
        decision.then(Act::update(CONFIG_MAPS, info))
    }
}

fn is_token(secret: &Value) -> bool {
    text(secret, &["type"]) == TOKEN_TYPE && object::namespace(secret) == TOKENS
}

/// A token that may sign.
struct Token {
    id: String,
    secret: String,
    expiration: Option<SystemTime>,
}

impl Token {
    fn of(secret: &Value, now: SystemTime) -> Option<Self> {
        let data = |field: &str| {
            let bytes = STANDARD.decode(text(secret, &["data", field])).ok()?;
            String::from_utf8(bytes).ok().filter(|text| !text.is_empty())
        };
        let id = data("token-id")?;
        let named = object::name(secret).strip_prefix(TOKEN_PREFIX)?;
        let well_formed =
            id.len() == 6 && id.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if named != id || !well_formed || data("usage-bootstrap-signing").as_deref() != Some("true") {
            return None;
        }
        let expiration = match data("expiration") {
            Some(text) => Some(time::parse(&text).filter(|end| *end > now)?),
            None => None,
        };
        Some(Self { id, secret: data("token-secret")?, expiration })
    }
}

fn signature(content: &str, id: &str, secret: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": "HS256", "kid": id}).to_string());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(content));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, secret.as_bytes());
    let signature = URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
    format!("{header}..{signature}")
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::trial::Trial;

    fn token(id: &str, signs: bool, expiration: Option<SystemTime>) -> Value {
        let mut data =
            json!({"token-id": STANDARD.encode(id), "token-secret": STANDARD.encode("0123456789abcdef")});
        if signs {
            data["usage-bootstrap-signing"] = STANDARD.encode("true").into();
        }
        if let Some(end) = expiration {
            data["expiration"] = STANDARD.encode(time::seconds(end)).into();
        }
        json!({"type": TOKEN_TYPE, "metadata": {"namespace": TOKENS, "name": format!("{TOKEN_PREFIX}{id}")}, "data": data})
    }

    fn names(trial: &Trial) -> Vec<String> {
        let info = trial.get(CONFIG_MAPS, NAMESPACE, NAME).expect("it is there");
        object::texts(&info["data"]).into_keys().collect()
    }

    #[test]
    fn the_signature_is_the_originals() {
        // Of cluster-bootstrap's own tests (token/jws).
        let content = "Hello from the other side. I must have called a thousand times.";
        assert_eq!(
            signature(content, "joshua", "my voice is my passcode"),
            "eyJhbGciOiJIUzI1NiIsImtpZCI6Impvc2h1YSJ9..VShe2taLd-YTrmWuRkcL_8QTNDHYxQIEBsAYYiIj1_8",
        );
    }

    #[test]
    fn cluster_info_bears_a_signature_of_each_token_that_may_sign() {
        let mut trial = Trial::new(|| vec![Box::new(BootstrapSigner)], 1);
        let soon = trial.now() + Duration::from_secs(100);
        trial.create(SECRETS, token("abcdef", true, None));
        trial.create(SECRETS, token("soon00", true, Some(soon)));
        trial.create(SECRETS, token("nosign", false, None));
        trial.create(
            CONFIG_MAPS,
            json!({"metadata": {"namespace": NAMESPACE, "name": NAME}, "data": {
                "kubeconfig": "x", "jws-kubeconfig-gone00": "old",
            }}),
        );
        trial.pass(Duration::from_secs(1));
        assert_eq!(names(&trial), ["jws-kubeconfig-abcdef", "jws-kubeconfig-soon00", "kubeconfig"]);
        trial.pass(Duration::from_secs(200));
        assert_eq!(names(&trial), ["jws-kubeconfig-abcdef", "kubeconfig"], "one has run out");
        trial.delete(SECRETS, TOKENS, "bootstrap-token-abcdef");
        trial.settle(Duration::from_secs(1));
        assert_eq!(names(&trial), ["kubeconfig"]);
    }
}
