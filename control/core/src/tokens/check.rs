//! Whether the claims of a token hold: its time, its audience, and that what it is bound to is still there.
//!
//! The signature has been verified before. Texts are the original's; clients see them in TokenReviews.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apiclient_core::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use crate::access::User;
use crate::admission::Objects;
use crate::rbac::rule::quoted_list;

/// Clocks of several servers differ, and pods may finish with their token.
const LEEWAY: Duration = Duration::from_secs(60);
/// The issuer of tokens that stand in secrets.
pub const LEGACY_ISSUER: &str = "kubernetes/serviceaccount";

/// Why a token is not accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadToken(pub String);

fn bad<T>(why: impl Into<String>) -> Result<T, BadToken> {
    Err(BadToken(why.into()))
}

/// Whose token it is, and for which of the wanted audiences it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    pub user: User,
    pub audiences: Vec<String>,
}

/// A token made by TokenRequest. `wanted` is the audiences of this server, or those that a TokenReview names.
///
/// # Errors
/// It does not hold.
pub fn bound(
    claims: &Value,
    wanted: &[String],
    now: SystemTime,
    objects: &dyn Objects,
) -> Result<Accepted, BadToken> {
    let audiences = audiences_of(claims);
    let good: Vec<_> = wanted.iter().filter(|one| audiences.contains(one)).cloned().collect();
    if good.is_empty() {
        let (have, want) = (quoted_list(&audiences), quoted_list(wanted));
        return bad(format!("token audiences {have} is invalid for the target audiences {want}"));
    }
    in_time(claims, now)?;
    let own = &claims["kubernetes.io"];
    let namespace = text(&own["namespace"]);
    let (account, uid) = reference(&own["serviceaccount"]);
    let check = Check { objects, now };
    let Some(found) = objects.get("serviceaccounts", namespace, account) else {
        return bad(format!("serviceaccounts \"{account}\" not found"));
    };
    let have = text(&found["metadata"]["uid"]);
    if have != uid {
        return bad(format!("service account UID ({have}) does not match claim ({uid})"));
    }
    if check.is_deleted(&found) {
        return bad(format!("service account {namespace}/{account} has been deleted"));
    }
    let mut extra = BTreeMap::new();
    let mut note = |key: &str, value: &str| {
        if !value.is_empty() {
            extra.insert(format!("authentication.kubernetes.io/{key}"), vec![value.to_owned()]);
        }
    };
    if own["secret"].is_object() {
        check.is_there("secrets", "secret", namespace, &own["secret"])?;
    }
    if own["pod"].is_object() {
        check.is_there("pods", "pod", namespace, &own["pod"])?;
        note("pod-name", text(&own["pod"]["name"]));
        note("pod-uid", text(&own["pod"]["uid"]));
    }
    if own["node"].is_object() {
        // With a pod, it only says where that runs.
        if !own["pod"].is_object() {
            check.is_there("nodes", "node", "", &own["node"])?;
        }
        note("node-name", text(&own["node"]["name"]));
        note("node-uid", text(&own["node"]["uid"]));
    }
    if let Some(id) = claims["jti"].as_str().filter(|id| !id.is_empty()) {
        note("credential-id", &format!("JTI={id}"));
    }
    Ok(Accepted { user: User { extra, ..account_user(namespace, account, uid) }, audiences: good })
}

/// A token that stands in a secret of type `kubernetes.io/service-account-token`. It has no end and no audience but
/// this server's.
///
/// # Errors
/// It does not hold.
pub fn legacy(
    claims: &Value,
    token: &str,
    wanted: &[String],
    api: &[String],
    objects: &dyn Objects,
) -> Result<Accepted, BadToken> {
    let good: Vec<_> = wanted.iter().filter(|one| api.contains(one)).cloned().collect();
    if good.is_empty() {
        let (have, want) = (quoted_list(api), quoted_list(wanted));
        return bad(format!("token audiences {have} is invalid for the target audiences {want}"));
    }
    let claim = |name: &str| text(&claims[format!("kubernetes.io/serviceaccount/{name}").as_str()]);
    let (namespace, secret) = (claim("namespace"), claim("secret.name"));
    let (account, uid) = (claim("service-account.name"), claim("service-account.uid"));
    let needed = [
        (text(&claims["sub"]), "sub"),
        (namespace, "namespace"),
        (secret, "secretName"),
        (account, "serviceAccountName"),
        (uid, "serviceAccountUID"),
    ];
    for (value, name) in needed {
        if value.is_empty() {
            return bad(format!("{name} claim is missing"));
        }
    }
    let user = account_user(namespace, account, uid);
    if text(&claims["sub"]) != user.name {
        return bad("sub claim is invalid");
    }
    let gone = |object: &Value| object["metadata"]["deletionTimestamp"].is_string();
    let Some(found) = objects.get("secrets", namespace, secret).filter(|found| !gone(found)) else {
        return bad("Token has been invalidated");
    };
    let stored = STANDARD.decode(text(&found["data"]["token"])).unwrap_or_default();
    if stored != token.as_bytes() {
        return bad("Token does not match server's copy");
    }
    let Some(owner) = objects.get("serviceaccounts", namespace, account) else {
        return bad(format!("serviceaccounts \"{account}\" not found"));
    };
    if gone(&owner) {
        return bad(format!("ServiceAccount {namespace}/{account} has been deleted"));
    }
    let have = text(&owner["metadata"]["uid"]);
    if have != uid {
        return bad(format!("ServiceAccount UID ({have}) does not match claim ({uid})"));
    }
    const INVALID: &str = "kubernetes.io/legacy-token-invalid-since";
    if found["metadata"]["labels"][INVALID].is_string() {
        return bad(format!(
            "the token in secret {namespace}/{secret} for service account {namespace}/{account} has been marked invalid. Use tokens from the TokenRequest API or manually created secret-based tokens, or remove the '{INVALID}' label from the secret to temporarily allow use of this token"
        ));
    }
    Ok(Accepted { user, audiences: good })
}

/// `aud` is one string, or a list of them.
fn audiences_of(claims: &Value) -> Vec<String> {
    match &claims["aud"] {
        Value::String(one) => vec![one.clone()],
        Value::Array(all) => all.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
        _ => Vec::new(),
    }
}

fn in_time(claims: &Value, now: SystemTime) -> Result<(), BadToken> {
    let now = seconds(now);
    let leeway = LEEWAY.as_secs_f64();
    let at = |name: &str| claims[name].as_f64();
    if at("nbf").is_some_and(|start| now + leeway < start) {
        return bad("service account token is not valid yet");
    }
    if at("exp").is_some_and(|end| now - leeway > end) {
        return bad("service account token has expired");
    }
    if at("iat").is_some_and(|made| now + leeway < made) {
        return bad("service account token is issued in the future");
    }
    Ok(())
}

fn seconds(time: SystemTime) -> f64 {
    time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn reference(value: &Value) -> (&str, &str) {
    (text(&value["name"]), text(&value["uid"]))
}

/// The user that a service account is.
pub fn account_user(namespace: &str, name: &str, uid: &str) -> User {
    User {
        name: format!("system:serviceaccount:{namespace}:{name}"),
        uid: uid.to_owned(),
        groups: vec!["system:serviceaccounts".to_owned(), format!("system:serviceaccounts:{namespace}")],
        extra: BTreeMap::new(),
    }
}

struct Check<'a> {
    objects: &'a dyn Objects,
    now: SystemTime,
}

impl Check<'_> {
    /// Deleted for longer than the leeway: one that is ending may go on for that long.
    fn is_deleted(&self, object: &Value) -> bool {
        let deleted = object["metadata"]["deletionTimestamp"].as_str().and_then(time::parse);
        deleted.is_some_and(|deleted| deleted + LEEWAY < self.now)
    }

    fn is_there(&self, resource: &str, what: &str, namespace: &str, wanted: &Value) -> Result<(), BadToken> {
        let (name, uid) = reference(wanted);
        let Some(found) = self.objects.get(resource, namespace, name) else {
            return bad("service account token has been invalidated");
        };
        let have = text(&found["metadata"]["uid"]);
        if have != uid {
            let title = format!("{}{}", what[..1].to_uppercase(), &what[1..]);
            let title = if what == "secret" { title } else { what.to_owned() };
            return bad(format!(
                "{title} UID ({have}) does not match service account {what} ref claim ({uid})"
            ));
        }
        if self.is_deleted(&found) {
            return bad("service account token has been invalidated");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::tests::Stored;
    use serde_json::json;

    fn now() -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(1_000_000)
    }

    fn claims() -> Value {
        json!({
            "aud": ["api"],
            "exp": 1_000_100,
            "nbf": 999_900,
            "iat": 999_900,
            "jti": "id",
            "kubernetes.io": {
                "namespace": "a",
                "serviceaccount": {"name": "robot", "uid": "u1"},
                "pod": {"name": "p", "uid": "u2"},
                "node": {"name": "n", "uid": "u3"},
            },
        })
    }

    fn stored() -> Stored {
        Stored::default()
            .with("serviceaccounts", json!({"metadata": {"namespace": "a", "name": "robot", "uid": "u1"}}))
            .with("pods", json!({"metadata": {"namespace": "a", "name": "p", "uid": "u2"}}))
    }

    fn checked(claims: &Value, stored: &Stored) -> Result<Accepted, BadToken> {
        bound(claims, &["api".to_owned()], now(), stored)
    }

    #[test]
    fn a_token_says_whose_it_is_and_where_its_pod_runs() {
        let found = checked(&claims(), &stored()).expect("accepted");
        assert_eq!(found.user.name, "system:serviceaccount:a:robot");
        assert_eq!(found.user.groups, ["system:serviceaccounts", "system:serviceaccounts:a"]);
        assert_eq!(found.user.uid, "u1");
        let extra: Vec<_> =
            found.user.extra.iter().map(|(key, value)| format!("{key}={}", value[0])).collect();
        let wanted = ["credential-id=JTI=id", "node-name=n", "node-uid=u3", "pod-name=p", "pod-uid=u2"];
        assert_eq!(extra, wanted.map(|one| format!("authentication.kubernetes.io/{one}")));
    }

    #[test]
    fn a_token_ends_with_its_time_and_with_what_it_is_bound_to() {
        let refused = |edit: fn(&mut Value), stored: Stored| {
            let mut claims = claims();
            edit(&mut claims);
            checked(&claims, &stored).expect_err("a refusal").0
        };
        let gone = "service account token has been invalidated";
        assert_eq!(
            refused(|claims| claims["exp"] = 999_900.into(), stored()),
            "service account token has expired"
        );
        assert_eq!(
            refused(|claims| claims["nbf"] = 1_000_100.into(), stored()),
            "service account token is not valid yet"
        );
        assert_eq!(
            refused(|claims| claims["aud"] = "vault".into(), stored()),
            r#"token audiences ["vault"] is invalid for the target audiences ["api"]"#
        );
        assert_eq!(refused(|_| (), stored().without("pods", "a", "p")), gone);
        let other = json!({"metadata": {"namespace": "a", "name": "p", "uid": "u9"}});
        assert_eq!(
            refused(|_| (), stored().with("pods", other)),
            "pod UID (u9) does not match service account pod ref claim (u2)"
        );
        let ended = json!({"metadata": {"namespace": "a", "name": "p", "uid": "u2", "deletionTimestamp": "1970-01-12T13:40:00Z"}});
        assert_eq!(refused(|_| (), stored().with("pods", ended)), gone);
        assert_eq!(
            refused(|_| (), stored().without("serviceaccounts", "a", "robot")),
            r#"serviceaccounts "robot" not found"#
        );
        let again = json!({"metadata": {"namespace": "a", "name": "robot", "uid": "u8"}});
        assert_eq!(
            refused(|_| (), stored().with("serviceaccounts", again)),
            "service account UID (u8) does not match claim (u1)"
        );
    }

    #[test]
    fn a_pod_that_is_ending_keeps_its_token_for_a_minute() {
        let ending = json!({"metadata": {"namespace": "a", "name": "p", "uid": "u2", "deletionTimestamp": "1970-01-12T13:46:30Z"}});
        checked(&claims(), &stored().with("pods", ending)).expect("still good");
    }

    #[test]
    fn a_secrets_token_must_be_the_one_in_the_secret() {
        let claims = json!({
            "sub": "system:serviceaccount:a:robot",
            "kubernetes.io/serviceaccount/namespace": "a",
            "kubernetes.io/serviceaccount/secret.name": "s",
            "kubernetes.io/serviceaccount/service-account.name": "robot",
            "kubernetes.io/serviceaccount/service-account.uid": "u1",
        });
        let secret = |token: &str| json!({"metadata": {"namespace": "a", "name": "s"}, "data": {"token": STANDARD.encode(token)}});
        let api = ["api".to_owned()];
        let check = |stored: &Stored| legacy(&claims, "t", &api, &api, stored);
        check(&stored().with("secrets", secret("t"))).expect("accepted");
        let refused = |stored: Stored| check(&stored).expect_err("a refusal").0;
        assert_eq!(refused(stored().with("secrets", secret("x"))), "Token does not match server's copy");
        assert_eq!(refused(stored()), "Token has been invalidated");
    }
}
