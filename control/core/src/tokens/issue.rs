//! TokenRequest: the claims of a new token of a service account.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use apiclient_core::time;
use apiclient_core::wire::Status;
use serde_json::{Value, json};

use crate::access::quoted;
use crate::admission::Objects;
use crate::field::{FieldError, Path};
use crate::refusal;

/// What a server puts into all its tokens.
#[derive(Clone, Debug)]
pub struct Issuer {
    /// `--service-account-issuer`, the first one.
    pub name: String,
    /// `--api-audiences`.
    pub audiences: Vec<String>,
    /// `--service-account-max-token-expiration`, in seconds.
    pub most: Option<i64>,
    /// `--service-account-extend-token-expiration`: tokens of pods hold for a year, for clients that never read them again.
    pub extend: bool,
}

/// What tokens of pods ask for: the kubelet renews them long before.
const POD_TOKEN_SECONDS: i64 = 60 * 60 + 7;
const EXTENDED_SECONDS: i64 = 365 * 24 * 60 * 60;
const LEAST_SECONDS: i64 = 10 * 60;
const MOST_SECONDS: i64 = 1 << 32;

/// What is to be signed, and what the client is told besides.
#[derive(Clone, Debug, PartialEq)]
pub struct Issued {
    pub claims: Value,
    pub warnings: Vec<String>,
}

/// Fills in the request, all but the token itself ([`answer`]). `id` is a new UUID.
///
/// # Errors
/// 404 for an account or an object to bind to that is not there, 400 for one that does not fit, 409 for another uid, 422.
pub fn claims(
    request: &mut Value,
    namespace: &str,
    name: &str,
    issuer: &Issuer,
    now: SystemTime,
    id: &str,
    objects: &dyn Objects,
) -> Result<Issued, Status> {
    let invalid = |name: &str, error| refusal::invalid_kind(GROUP, KIND, name, &[error]);
    for (field, wanted, what) in [("name", name, "name"), ("namespace", namespace, "namespace")] {
        let given = text(&request["metadata"][field]);
        if !given.is_empty() && given != wanted {
            let why = format!("must match the service account {what} if specified");
            let path = Path::new("metadata").child(field);
            return Err(invalid(name, FieldError::invalid(&path, &given.into(), &why)));
        }
    }
    let Some(account) = objects.get("serviceaccounts", namespace, name) else {
        return Err(refusal::missing("", "serviceaccounts", name));
    };
    let uid = text(&account["metadata"]["uid"]);
    let given = text(&request["metadata"]["uid"]);
    if !given.is_empty() && given != uid {
        let why = format!(
            "the UID in the token request ({given}) does not match the UID of the service account ({uid})"
        );
        return Err(refusal::conflict_on(GROUP, KIND, name, &why));
    }
    if request["spec"]["audiences"].as_array().is_none_or(Vec::is_empty) {
        request["spec"]["audiences"] = json!(issuer.audiences);
    }
    let seconds = request["spec"]["expirationSeconds"].as_i64().unwrap_or(60 * 60);
    let path = Path::new("spec").child("expirationSeconds");
    if seconds < LEAST_SECONDS {
        let why = "may not specify a duration less than 10 minutes";
        return Err(invalid("", FieldError::invalid(&path, &seconds.into(), why)));
    }
    if seconds > MOST_SECONDS {
        let why = "may not specify a duration larger than 2^32 seconds";
        return Err(invalid("", FieldError::invalid(&path, &seconds.into(), why)));
    }
    let mut own = json!({"namespace": namespace, "serviceaccount": {"name": name, "uid": uid}});
    bind(&mut own, &request["spec"]["boundObjectRef"], namespace, name, objects)?;
    let mut warnings = Vec::new();
    let seconds = match issuer.most.filter(|most| *most > 0 && seconds > *most) {
        Some(most) => {
            warnings.push(format!("requested expiration of {seconds} seconds shortened to {most} seconds"));
            most
        }
        None => seconds,
    };
    let start = now.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs().cast_signed());
    let audiences: Vec<_> = request["spec"]["audiences"].as_array().cloned().unwrap_or_default();
    let for_this_server =
        audiences.iter().all(|one| issuer.audiences.iter().any(|own| one.as_str() == Some(own)));
    let mut holds = seconds;
    if issuer.extend && own["pod"].is_object() && seconds == POD_TOKEN_SECONDS && for_this_server {
        own["warnafter"] = (start + seconds).into();
        holds = issuer
            .most
            .filter(|most| *most > 0)
            .unwrap_or(EXTENDED_SECONDS)
            .min(EXTENDED_SECONDS)
            .max(seconds);
    }
    let claims = json!({
        "aud": audiences,
        "exp": start + holds,
        "iat": start,
        "iss": issuer.name,
        "jti": id,
        "kubernetes.io": own,
        "nbf": start,
        "sub": format!("system:serviceaccount:{namespace}:{name}"),
    });
    let metadata = json!({
        "name": name,
        "namespace": namespace,
        "uid": uid,
        "creationTimestamp": time::seconds(now),
    });
    merge(&mut request["metadata"], metadata);
    request["spec"]["expirationSeconds"] = seconds.into();
    let end = now + Duration::from_secs(seconds.unsigned_abs());
    request["status"] = json!({"token": "", "expirationTimestamp": time::seconds(end)});
    Ok(Issued { claims, warnings })
}

const GROUP: &str = "authentication.k8s.io";
const KIND: &str = "TokenRequest";

/// Puts the signed token where the client finds it.
pub fn answer(request: &mut Value, token: &str) {
    request["status"]["token"] = token.into();
}

fn merge(into: &mut Value, from: Value) {
    if let (Value::Object(from), true) = (from, into.is_object() || into.is_null()) {
        for (field, value) in from {
            into[field.as_str()] = value;
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// Adds the object to whose life the token is bound.
fn bind(
    own: &mut Value,
    wanted: &Value,
    namespace: &str,
    account: &str,
    objects: &dyn Objects,
) -> Result<(), Status> {
    if !wanted.is_object() {
        return Ok(());
    }
    let (version, kind) = (text(&wanted["apiVersion"]), text(&wanted["kind"]));
    let (group, version) = version.split_once('/').unwrap_or(("", version));
    let name = text(&wanted["name"]);
    let (resource, of, field) = match (group, kind) {
        ("", "Pod") => ("pods", namespace, "pod"),
        ("", "Node") => ("nodes", "", "node"),
        ("", "Secret") => ("secrets", namespace, "secret"),
        _ => {
            let why = format!("cannot bind token to object of type {group}/{version}, Kind={kind}");
            return Err(refusal::bad_request(why));
        }
    };
    let Some(found) = objects.get(resource, of, name) else {
        return Err(refusal::missing("", resource, name));
    };
    if field == "pod" {
        if text(&found["spec"]["serviceAccountName"]) != account {
            let account = quoted(account);
            return Err(refusal::bad_request(format!(
                "cannot bind token for serviceaccount {account} to pod running with different serviceaccount name."
            )));
        }
        let node = text(&found["spec"]["nodeName"]);
        if !node.is_empty() {
            let known = objects.get("nodes", "", node);
            own["node"] = json!({"name": node});
            if let Some(node) = known {
                own["node"]["uid"] = node["metadata"]["uid"].clone();
            }
        }
    }
    let uid = text(&found["metadata"]["uid"]);
    let given = text(&wanted["uid"]);
    if !given.is_empty() && given != uid {
        let why = format!(
            "the UID in the bound object reference ({given}) does not match the UID in record. The object might have been deleted and then recreated"
        );
        return Err(refusal::conflict_on(group, kind, name, &why));
    }
    own[field] = json!({"name": name, "uid": uid});
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admission::tests::Stored;

    fn issuer() -> Issuer {
        Issuer { name: "https://i".into(), audiences: vec!["api".into()], most: None, extend: true }
    }

    fn stored() -> Stored {
        let account = json!({"metadata": {"namespace": "a", "name": "robot", "uid": "u1"}});
        let pod = json!({
            "metadata": {"namespace": "a", "name": "p", "uid": "u2"},
            "spec": {"serviceAccountName": "robot", "nodeName": "n"},
        });
        Stored::default().with("serviceaccounts", account).with("pods", pod)
    }

    fn asked(spec: Value) -> Result<(Value, Issued), Status> {
        let mut request = json!({"spec": spec});
        let now = UNIX_EPOCH + Duration::from_secs(1_000_000);
        let issued = claims(&mut request, "a", "robot", &issuer(), now, "id", &stored())?;
        Ok((request, issued))
    }

    #[test]
    fn a_token_of_a_pod_says_where_it_runs_and_holds_longer_than_it_says() {
        let bound = json!({"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": "u2"});
        let (request, issued) =
            asked(json!({"expirationSeconds": 3607, "boundObjectRef": bound})).expect("a token");
        let wanted = json!({
            "aud": ["api"], "iss": "https://i", "sub": "system:serviceaccount:a:robot", "jti": "id",
            "iat": 1_000_000, "nbf": 1_000_000, "exp": 1_000_000 + EXTENDED_SECONDS,
            "kubernetes.io": {
                "namespace": "a",
                "serviceaccount": {"name": "robot", "uid": "u1"},
                "pod": {"name": "p", "uid": "u2"},
                "node": {"name": "n"},
                "warnafter": 1_003_607,
            },
        });
        assert_eq!(issued.claims, wanted);
        assert_eq!(request["status"]["expirationTimestamp"], "1970-01-12T14:46:47Z");
        let (_, other) =
            asked(json!({"expirationSeconds": 3607, "audiences": ["vault"], "boundObjectRef": bound}))
                .expect("a token");
        assert_eq!(other.claims["exp"], 1_003_607);
    }

    #[test]
    fn a_request_that_does_not_fit_is_refused_in_the_originals_words() {
        let refused = |spec: Value| asked(spec).expect_err("a refusal").message;
        assert_eq!(
            refused(json!({"expirationSeconds": 5})),
            r#"TokenRequest.authentication.k8s.io "" is invalid: spec.expirationSeconds: Invalid value: 5: may not specify a duration less than 10 minutes"#
        );
        let bound = |kind: &str, name: &str, uid: &str| json!({"boundObjectRef": {"apiVersion": "v1", "kind": kind, "name": name, "uid": uid}});
        assert_eq!(refused(bound("Pod", "q", "")), r#"pods "q" not found"#);
        assert_eq!(
            refused(bound("Pod", "p", "u9")),
            r#"Operation cannot be fulfilled on Pod "p": the UID in the bound object reference (u9) does not match the UID in record. The object might have been deleted and then recreated"#
        );
        assert_eq!(
            refused(bound("ConfigMap", "c", "")),
            "cannot bind token to object of type /v1, Kind=ConfigMap"
        );
    }
}
