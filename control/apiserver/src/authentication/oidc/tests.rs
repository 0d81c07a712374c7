use std::collections::HashMap;
use std::sync::Mutex;

use rcgen::KeyPair;
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::*;
use crate::authentication::jwt;
use crate::authentication::keys::SigningKey;
use crate::fixture::Https;

/// An issuer that shows what it is told to show.
struct Own {
    https: Https,
    keys: Arc<Mutex<Value>>,
    /// What other paths answer who has the right token.
    tokens: Arc<Mutex<HashMap<String, String>>>,
}

fn key() -> SigningKey {
    let pem = KeyPair::generate().expect("a key").serialize_pem();
    SigningKey::from_pem(pem.as_bytes()).expect("a key")
}

impl Own {
    async fn up() -> Self {
        let keys = Arc::new(Mutex::new(json!({"keys": []})));
        let tokens = Arc::new(Mutex::new(HashMap::new()));
        let (shown, given) = (Arc::clone(&keys), Arc::clone(&tokens));
        let https = Https::up(move |address| {
            let url = format!("https://{address}");
            Box::new(move |asked| match asked.path.as_str() {
                "/keys" => (200, shown.lock().expect("no panic").clone()),
                "/.well-known/openid-configuration" => {
                    (200, json!({"issuer": url, "jwks_uri": format!("{url}/keys")}))
                }
                path => match given.lock().expect("no panic").get(path) {
                    Some(_) if asked.authorization != "Bearer open sesame" => (401, json!("who are you?")),
                    Some(token) => (200, json!(token)),
                    None => (404, json!("not here")),
                },
            })
        });
        Self { https: https.await, keys, tokens }
    }

    fn shows(&self, key: &SigningKey) {
        *self.keys.lock().expect("no panic") = json!({"keys": [key.public().jwk()]});
    }

    /// Its entry in a file of `--authentication-config`.
    fn entry(&self, prefix: &str) -> Value {
        json!({
            "issuer": {"url": self.https.url(), "audiences": ["weft"], "certificateAuthority": self.https.certificate},
            "claimMappings": {"username": {"claim": "sub", "prefix": prefix}},
        })
    }

    fn token(&self, key: &SigningKey, name: &str) -> String {
        token(&self.https.url(), key, name)
    }
}

fn token(issuer: &str, key: &SigningKey, name: &str) -> String {
    let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs() + 600;
    jwt::sign(&json!({"iss": issuer, "aud": "weft", "sub": name, "exp": end}), key).expect("a token")
}

fn file(entries: &[Value]) -> String {
    json!({
        "apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration", "jwt": entries,
    })
    .to_string()
}

fn oidc(entries: &[Value]) -> Arc<Oidc> {
    let configuration = read(&file(entries), &[]).expect("legal");
    let oidc = Oidc::new(configuration.issuers, vec![Algorithm::Es256], vec!["api".to_owned()]);
    Arc::new(oidc.expect("authorities"))
}

async fn name_of(oidc: &Oidc, token: &str) -> Result<Option<String>, String> {
    let found = oidc.accept(token, &["api".to_owned()]).await;
    found.map(|found| found.map(|accepted| accepted.user.name)).map_err(|why| why.0)
}

/// Asks until the token means this user.
async fn until_it_means(oidc: &Oidc, token: &str, name: &str) {
    let asking = async {
        while name_of(oidc, token).await != Ok(Some(name.to_owned())) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let outcome = tokio::time::timeout(Duration::from_secs(60), asking).await;
    assert!(outcome.is_ok(), "{:?}", name_of(oidc, token).await);
}

#[tokio::test]
async fn a_token_of_an_issuer_is_believed_with_the_keys_that_it_shows() {
    let (own, first, second) = (Own::up().await, key(), key());
    own.shows(&first);
    let oidc = oidc(&[own.entry("id:")]);
    let token = own.token(&first, "ann");
    let early = name_of(&oidc, &token).await;
    assert_eq!(
        early,
        Err("oidc: authenticator not initialized".to_owned()),
        "nobody asked it for its keys yet"
    );
    let discovering = tokio::spawn(Arc::clone(&oidc).discover());
    until_it_means(&oidc, &token, "id:ann").await;
    let wrong = name_of(&oidc, &own.token(&second, "ann")).await;
    let refused = "oidc: verify token: failed to verify signature: failed to verify id token signature";
    assert_eq!(wrong, Err(refused.to_owned()));
    own.shows(&second);
    until_it_means(&oidc, &own.token(&second, "eve"), "id:eve").await;
    assert_eq!(name_of(&oidc, &token).await, Err(refused.to_owned()), "a key that it does not show any more");
    let none = oidc.accept(&own.token(&second, "eve"), &["another".to_owned()]).await;
    assert_eq!(none.expect("another audience"), None);
    discovering.abort();
}

#[tokio::test]
async fn an_issuer_that_does_not_answer_costs_its_own_tokens_only() {
    let (own, key) = (Own::up().await, key());
    own.shows(&key);
    let silent = TcpListener::bind((std::net::Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
    let mut entry = own.entry("silent:");
    let url = format!("https://{}", silent.local_addr().expect("bound"));
    entry["issuer"]["url"] = url.clone().into();
    let oidc = oidc(&[entry, own.entry("")]);
    let discovering = tokio::spawn(Arc::clone(&oidc).discover());
    until_it_means(&oidc, &own.token(&key, "ann"), "ann").await;
    let refused = name_of(&oidc, &token(&url, &key, "ann")).await;
    assert_eq!(refused, Err("oidc: authenticator not initialized".to_owned()));
    assert_eq!(name_of(&oidc, &token("https://another.example", &key, "ann")).await, Ok(None));
    discovering.abort();
}

#[tokio::test]
async fn groups_that_stand_in_another_token_are_fetched() {
    let (own, key, other_key) = (Own::up().await, key(), key());
    own.shows(&key);
    let other = Own::up().await;
    other.shows(&other_key);
    // The endpoint is known by the authority of the first issuer, and so must be the one who signed.
    let end = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("later").as_secs() + 600;
    let signed = |by: &Own, key: &SigningKey, more: Value| {
        let mut claims = json!({"iss": by.https.url(), "aud": "weft", "sub": "ann", "exp": end});
        for (name, value) in more.as_object().expect("claims") {
            claims[name] = value.clone();
        }
        jwt::sign(&claims, key).expect("a token")
    };
    let groups = json!({"groups": ["dev"]});
    let says = [
        ("good", signed(&own, &key, groups.clone())),
        ("forged", signed(&own, &other_key, groups.clone())),
        ("late", signed(&own, &key, json!({"groups": ["dev"], "exp": 1}))),
        ("none", signed(&own, &key, json!({}))),
        ("stranger", signed(&other, &other_key, groups)),
    ];
    own.tokens.lock().expect("no panic").extend(says.map(|(name, token)| (format!("/{name}"), token)));
    let mut entry = own.entry("");
    entry["claimMappings"]["groups"] = json!({"claim": "groups", "prefix": "p:"});
    let oidc = oidc(&[entry]);
    let discovering = tokio::spawn(Arc::clone(&oidc).discover());
    until_it_means(&oidc, &own.token(&key, "ann"), "ann").await;
    let groups_of = async |endpoint: &str| {
        let place = format!("{}/{endpoint}", own.https.url());
        let sources = json!({"a": {"endpoint": place, "access_token": "open sesame"}});
        let token = signed(&own, &key, json!({"_claim_names": {"groups": "a"}, "_claim_sources": sources}));
        let found = oidc.accept(&token, &["api".to_owned()]).await;
        found.map(|found| found.expect("ours").user.groups).map_err(|why| why.0)
    };
    assert_eq!(groups_of("good").await, Ok(vec!["p:dev".to_owned()]));
    for (endpoint, words) in [
        (
            "forged",
            "could not expand distributed claims: verify distributed claim token: failed to verify signature",
        ),
        ("late", "verify distributed claim token: oidc: token is expired"),
        ("none", "did not contain claim: groups"),
        ("stranger", "verifier not initialized for issuer"),
    ] {
        let refused = groups_of(endpoint).await.expect_err(words);
        assert!(refused.contains(words), "{endpoint}: {refused}");
    }
    discovering.abort();
}

#[tokio::test]
async fn a_changed_file_of_issuers_counts_without_a_restart() {
    let (own, key) = (Own::up().await, key());
    own.shows(&key);
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("issuers.yaml");
    std::fs::write(&path, file(&[])).expect("written");
    let oidc = oidc(&[]);
    let every = Duration::from_millis(5);
    let followed = Followed::new(path.clone(), file(&[]).into_bytes());
    let following = tokio::spawn(Arc::clone(&oidc).follow(followed, Vec::new(), every));
    std::fs::write(&path, file(&[own.entry("a:")])).expect("written");
    let token = own.token(&key, "ann");
    until_it_means(&oidc, &token, "a:ann").await;
    std::fs::write(&path, "kind: Nonsense").expect("written");
    std::fs::write(&path, file(&[own.entry("b:")])).expect("written");
    until_it_means(&oidc, &token, "b:ann").await;
    following.abort();
}
