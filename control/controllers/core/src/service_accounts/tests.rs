use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Accounts, RootCa, TokenSecrets, token_secrets};
use crate::kinds::{CONFIG_MAPS, NAMESPACES, SECRETS, SERVICE_ACCOUNTS};
use crate::settings::TokenSigner;
use crate::trial::Trial;
use crate::{Controller, object};

struct Plain;

impl TokenSigner for Plain {
    fn sign(&self, claims: &Value) -> Option<String> {
        Some(claims.to_string())
    }
}

fn make() -> Vec<Box<dyn Controller>> {
    vec![
        Box::new(Accounts),
        Box::new(RootCa::new(Arc::from("PEM"))),
        Box::new(TokenSecrets::new(Arc::new(Plain), Some(Arc::from("PEM")))),
    ]
}

fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}, "status": {"phase": "Active"}})
}

fn token_secret(name: &str, account: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "type": "kubernetes.io/service-account-token",
        "metadata": {"namespace": "a", "name": name, "annotations": {token_secrets::NAME: account}},
    })
}

#[test]
fn a_namespace_has_an_account_and_the_root_certificate() {
    let mut trial = Trial::new(make, 1);
    trial.create(NAMESPACES, namespace("a"));
    trial.settle(Duration::ZERO);
    assert!(trial.get(SERVICE_ACCOUNTS, "a", "default").is_some());
    let published = trial.get(CONFIG_MAPS, "a", "kube-root-ca.crt").expect("it is there");
    assert_eq!(published["data"], json!({"ca.crt": "PEM"}));
    trial.change(CONFIG_MAPS, "a", "kube-root-ca.crt", |map| {
        map["data"] = json!({"ca.crt": "other", "more": "x"})
    });
    trial.delete(SERVICE_ACCOUNTS, "a", "default");
    trial.settle(Duration::ZERO);
    assert!(trial.get(SERVICE_ACCOUNTS, "a", "default").is_some(), "it comes back");
    let published = trial.get(CONFIG_MAPS, "a", "kube-root-ca.crt").expect("it is there");
    assert_eq!(published["data"], json!({"ca.crt": "PEM"}));
    trial.change(CONFIG_MAPS, "a", "kube-root-ca.crt", |map| {
        map["metadata"]["annotations"] = json!({"kubernetes.io/description": "mine"});
    });
    trial.settle(Duration::ZERO);
    let published = trial.get(CONFIG_MAPS, "a", "kube-root-ca.crt").expect("it is there");
    assert_eq!(object::annotation(&published, "kubernetes.io/description"), Some("mine"));
}

#[test]
fn nothing_is_made_in_a_namespace_that_is_going() {
    let mut trial = Trial::new(make, 1);
    let mut going = namespace("a");
    going["status"]["phase"] = "Terminating".into();
    trial.create(NAMESPACES, going);
    trial.settle(Duration::ZERO);
    assert!(trial.all(SERVICE_ACCOUNTS).is_empty() && trial.all(CONFIG_MAPS).is_empty());
}

#[test]
fn a_secret_gets_a_token_and_goes_with_its_account() {
    let mut trial = Trial::new(make, 1);
    trial.create(NAMESPACES, namespace("a"));
    trial.settle(Duration::ZERO);
    trial.create(SECRETS, token_secret("t", "default"));
    trial.create(SECRETS, token_secret("stranger", "nobody"));
    trial.settle(Duration::ZERO);
    assert!(trial.get(SECRETS, "a", "stranger").is_none(), "its account was never there");
    let account = trial.get(SERVICE_ACCOUNTS, "a", "default").expect("it is there");
    let secret = trial.get(SECRETS, "a", "t").expect("it is there");
    let data = |field: &str| {
        let encoded = secret["data"][field].as_str().expect("it is there");
        String::from_utf8(STANDARD.decode(encoded).expect("base64")).expect("text")
    };
    assert_eq!((data("ca.crt"), data("namespace")), ("PEM".to_owned(), "a".to_owned()));
    let claims: Value = serde_json::from_str(&data("token")).expect("claims");
    assert_eq!(
        claims,
        json!({
            "iss": "kubernetes/serviceaccount", "sub": "system:serviceaccount:a:default",
            "kubernetes.io/serviceaccount/namespace": "a", "kubernetes.io/serviceaccount/secret.name": "t",
            "kubernetes.io/serviceaccount/service-account.name": "default",
            "kubernetes.io/serviceaccount/service-account.uid": object::uid(&account),
        })
    );
    assert_eq!(object::annotation(&secret, token_secrets::UID), Some(object::uid(&account)));
    // The account comes back under another uid, so that the token is no good any more.
    trial.delete(SERVICE_ACCOUNTS, "a", "default");
    trial.settle(Duration::ZERO);
    assert!(trial.get(SERVICE_ACCOUNTS, "a", "default").is_some());
    assert!(trial.get(SECRETS, "a", "t").is_none());
}

#[test]
fn an_account_forgets_a_token_that_is_gone() {
    let mut trial = Trial::new(make, 1);
    trial.create(NAMESPACES, namespace("a"));
    trial.settle(Duration::ZERO);
    trial.create(SECRETS, token_secret("t", "default"));
    trial.change(SERVICE_ACCOUNTS, "a", "default", |account| {
        account["secrets"] = json!([{"name": "t"}, {"name": "other"}]);
    });
    trial.settle(Duration::ZERO);
    trial.delete(SECRETS, "a", "t");
    trial.settle(Duration::ZERO);
    let account = trial.get(SERVICE_ACCOUNTS, "a", "default").expect("it is there");
    assert_eq!(account["secrets"], json!([{"name": "other"}]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// News of Secrets may come before those of their accounts: no token is lost for it.
    #[test]
    fn a_token_is_not_lost_because_news_of_its_account_are_late(
        seed in 1..u64::MAX, crashes in 0..8_u64, lost in 0..300_u64, refusals in 0..100_u64,
    ) {
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (crashes, lost, refusals);
        trial.create(NAMESPACES, namespace("a"));
        trial.create(SERVICE_ACCOUNTS, json!({
            "apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"namespace": "a", "name": "robot"},
        }));
        trial.create(SECRETS, token_secret("t", "robot"));
        trial.settle(Duration::from_secs(1));
        (trial.crashes, trial.refusals) = (0, 0);
        trial.settle(Duration::from_secs(7200));
        let secret = trial.get(SECRETS, "a", "t").expect("it is there");
        prop_assert!(secret["data"]["token"].is_string());
        prop_assert!(trial.get(SERVICE_ACCOUNTS, "a", "default").is_some());
        prop_assert!(trial.get(CONFIG_MAPS, "a", "kube-root-ca.crt").is_some());
    }
}
