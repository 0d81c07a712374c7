//! Secrets of type `kubernetes.io/service-account-token`: each holds a token of its account, for as long as there is one.

use std::sync::Arc;

use apiclient_core::names::ObjectName;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_core::edit::{self, list, text};
use serde_json::{Value, json};

use crate::kinds::{SECRETS, SERVICE_ACCOUNTS};
use crate::settings::TokenSigner;
use crate::{Act, Change, Context, Controller, Decision, Kind, World, object};

const TYPE: &str = "kubernetes.io/service-account-token";
pub(super) const NAME: &str = "kubernetes.io/service-account.name";
pub(super) const UID: &str = "kubernetes.io/service-account.uid";

/// Fills Secrets with tokens, and removes those of accounts that are gone. Its keys are Secrets.
pub struct TokenSecrets {
    signer: Arc<dyn TokenSigner>,
    /// PEM.
    root_ca: Option<Arc<str>>,
}

impl TokenSecrets {
    pub fn new(signer: Arc<dyn TokenSigner>, root_ca: Option<Arc<str>>) -> Self {
        Self { signer, root_ca }
    }

    /// The Secret with all that it should hold; `None` where it has that.
    fn filled(&self, secret: &Value, account: &Value) -> Option<Value> {
        let mut filled = secret.clone();
        let data = edit::child(&mut filled, "data")?;
        if let Some(root_ca) = self.root_ca.as_ref().filter(|root_ca| !root_ca.is_empty()) {
            edit::set(data, "ca.crt", STANDARD.encode(root_ca.as_bytes()));
        }
        if text(data, &["namespace"]).is_empty() {
            edit::set(data, "namespace", STANDARD.encode(object::namespace(secret)));
        }
        if text(data, &["token"]).is_empty() {
            let token = self.signer.sign(&claims(secret, account))?;
            edit::set(data, "token", STANDARD.encode(token));
        }
        if filled["data"] == secret["data"] {
            return None;
        }
        let annotations = edit::child(&mut filled["metadata"], "annotations")?;
        edit::set(annotations, NAME, object::name(account));
        edit::set(annotations, UID, object::uid(account));
        Some(filled)
    }
}

/// Without an end: such a token is good for as long as its Secret exists.
fn claims(secret: &Value, account: &Value) -> Value {
    let (namespace, name) = (object::namespace(account), object::name(account));
    json!({
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": namespace,
        "kubernetes.io/serviceaccount/secret.name": object::name(secret),
        "kubernetes.io/serviceaccount/service-account.name": name,
        "kubernetes.io/serviceaccount/service-account.uid": object::uid(account),
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
    })
}

fn is_token(secret: &Value) -> bool {
    text(secret, &["type"]) == TYPE
}

impl Controller for TokenSecrets {
    fn name(&self) -> &'static str {
        "serviceaccount-token-controller"
    }

    fn account(&self) -> &'static str {
        crate::controller::MANAGER
    }

    fn follows(&self) -> &[Kind] {
        &[SECRETS, SERVICE_ACCOUNTS]
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        if change.kind == SECRETS {
            keys.extend(is_token(changed).then(|| object::key(changed)));
            return;
        }
        let of_account = |secret: &&Arc<Value>| {
            is_token(secret) && object::annotation(secret, NAME) == Some(object::name(changed))
        };
        let secrets = world.within(SECRETS, object::namespace(changed)).filter(of_account);
        keys.extend(secrets.map(|secret| object::key(secret)));
    }

    fn decide(&self, world: &World, key: &ObjectName, _: &Context) -> Decision {
        let Some(secret) = world.get(SECRETS, key) else { return forget(world, key) };
        let name = object::annotation(secret, NAME).unwrap_or_default();
        if !is_token(secret) || name.is_empty() || object::is_deleting(secret) {
            return Decision::nothing();
        }
        let uid = object::annotation(secret, UID).unwrap_or_default();
        let account = ObjectName::new(&*key.namespace, name);
        let known = world.get(SERVICE_ACCOUNTS, &account);
        let Some(known) = known.filter(|known| uid.is_empty() || uid == object::uid(known)) else {
            let act = Act::delete(SECRETS, secret).while_absent(SERVICE_ACCOUNTS, account, uid);
            return Decision::nothing().then(act);
        };
        let filled = self.filled(secret, known);
        Decision::nothing().all(filled.map(|secret| Act::update(SECRETS, secret)).into_iter().collect())
    }
}

/// Takes a Secret that is gone out of the lists of accounts.
fn forget(world: &World, key: &ObjectName) -> Decision {
    let names = |account: &Value| {
        list(account, &["secrets"]).iter().any(|secret| text(secret, &["name"]) == &*key.name)
    };
    let mut acts = Vec::new();
    for account in world.within(SERVICE_ACCOUNTS, &key.namespace) {
        if !names(account) || object::is_deleting(account) {
            continue;
        }
        let mut account = Value::clone(account);
        if let Some(secrets) = account["secrets"].as_array_mut() {
            secrets.retain(|secret| text(secret, &["name"]) != &*key.name);
        }
        acts.push(Act::update(SERVICE_ACCOUNTS, account));
    }
    Decision::nothing().all(acts)
}
