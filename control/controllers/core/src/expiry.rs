//! Objects that go when their time is over.
//!
//! Owns: CertificateSigningRequests that nobody needs any more ([`OldRequests`]), bootstrap tokens that have run out
//! ([`OldTokens`]). Facts: kube-controller-manager 1.36, `pkg/controller/certificates/cleaner`, `pkg/controller/bootstrap`.

use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use control_core::edit::{list, text};
use serde_json::Value;

use crate::kinds::{SECRETS, SIGNING_REQUESTS};
use crate::{Act, Change, Context, Controller, Decision, Kind, World, object};

/// After an end of any sort, and while there is none.
const ENDED: Duration = Duration::from_secs(3600);
const PENDING: Duration = Duration::from_secs(24 * 3600);

fn when(due: Option<SystemTime>, now: SystemTime, kind: Kind, object: &Value) -> Decision {
    match due.map(|due| due.duration_since(now)) {
        None => Decision::nothing(),
        Some(Ok(left)) if !left.is_zero() => Decision::nothing().again_in(left),
        Some(_) => Decision::nothing().then(Act::delete(kind, object)),
    }
}

/// Keys are requests.
#[derive(Debug)]
pub struct OldRequests;

impl Controller for OldRequests {
    fn name(&self) -> &'static str {
        "certificatesigningrequest-cleaner-controller"
    }

    fn account(&self) -> &'static str {
        "certificate-controller"
    }

    fn follows(&self) -> &[Kind] {
        &[SIGNING_REQUESTS]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        keys.extend(change.new.as_ref().map(|request| object::key(request)));
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(request) = world.get(SIGNING_REQUESTS, key) else { return Decision::nothing() };
        when(request_due(request), context.now, SIGNING_REQUESTS, request)
    }
}

fn request_due(request: &Value) -> Option<SystemTime> {
    let conditions = list(request, &["status", "conditions"]);
    if conditions.is_empty() {
        return object::moment(request, &["metadata", "creationTimestamp"]).map(|created| created + PENDING);
    }
    let issued = !text(request, &["status", "certificate"]).is_empty();
    let dues = conditions.iter().filter_map(|condition| {
        let wait = match text(condition, &["type"]) {
            "Approved" if issued => ENDED,
            "Approved" => PENDING,
            "Denied" | "Failed" => ENDED,
            _ => return None,
        };
        Some(object::moment(condition, &["lastUpdateTime"])? + wait)
    });
    dues.min()
}

/// Keys are Secrets.
#[derive(Debug)]
pub struct OldTokens;

impl Controller for OldTokens {
    fn name(&self) -> &'static str {
        "token-cleaner-controller"
    }

    fn account(&self) -> &'static str {
        "token-cleaner"
    }

    fn follows(&self) -> &[Kind] {
        &[SECRETS]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let token = change.new.as_ref().filter(|secret| is_token(secret));
        keys.extend(token.map(|secret| object::key(secret)));
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let Some(secret) = world.get(SECRETS, key).filter(|secret| is_token(secret)) else {
            return Decision::nothing();
        };
        let expiration = text(secret, &["data", "expiration"]);
        if expiration.is_empty() {
            return Decision::nothing();
        }
        let decoded = STANDARD.decode(expiration).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        // What cannot be read has run out: nobody may use it.
        let due = decoded.and_then(|text| time::parse(&text)).unwrap_or(SystemTime::UNIX_EPOCH);
        when(Some(due), context.now, SECRETS, secret)
    }
}

fn is_token(secret: &Value) -> bool {
    text(secret, &["type"]) == "bootstrap.kubernetes.io/token" && object::namespace(secret) == "kube-system"
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::trial::Trial;

    #[test]
    fn requests_go_when_nobody_needs_them_any_more() {
        let mut trial = Trial::new(|| vec![Box::new(OldRequests)], 1);
        let now = time::seconds(trial.now());
        let request =
            |name: &str, status: Value| json!({"metadata": {"name": name}, "spec": {}, "status": status});
        let condition = |of: &str| json!([{"type": of, "status": "True", "lastUpdateTime": now}]);
        trial.create(SIGNING_REQUESTS, request("pending", json!({})));
        trial.create(SIGNING_REQUESTS, request("approved", json!({"conditions": condition("Approved")})));
        trial.create(
            SIGNING_REQUESTS,
            request("issued", json!({"conditions": condition("Approved"), "certificate": "x"})),
        );
        trial.create(SIGNING_REQUESTS, request("denied", json!({"conditions": condition("Denied")})));
        trial.create(SIGNING_REQUESTS, request("failed", json!({"conditions": condition("Failed")})));
        let names = |trial: &Trial| -> Vec<String> {
            trial.all(SIGNING_REQUESTS).iter().map(|request| object::name(request).to_owned()).collect()
        };
        trial.pass(Duration::from_secs(3500));
        assert_eq!(names(&trial).len(), 5);
        trial.pass(Duration::from_secs(200));
        assert_eq!(names(&trial), ["approved", "pending"]);
        trial.pass(Duration::from_secs(24 * 3600));
        assert!(names(&trial).is_empty());
    }

    #[test]
    fn bootstrap_tokens_go_when_they_have_run_out() {
        let mut trial = Trial::new(|| vec![Box::new(OldTokens)], 1);
        let soon = time::seconds(trial.now() + Duration::from_secs(100));
        let token = |namespace: &str, name: &str, expiration: Option<&str>| {
            let mut token = json!({
                "type": "bootstrap.kubernetes.io/token", "metadata": {"namespace": namespace, "name": name}, "data": {},
            });
            if let Some(expiration) = expiration {
                token["data"]["expiration"] = STANDARD.encode(expiration).into();
            }
            token
        };
        trial.create(SECRETS, token("kube-system", "for-ever", None));
        trial.create(SECRETS, token("kube-system", "garbled", Some("tomorrow")));
        trial.create(SECRETS, token("kube-system", "soon", Some(&soon)));
        trial.create(SECRETS, token("other", "soon", Some(&soon)));
        trial.pass(Duration::from_secs(90));
        let names = |trial: &Trial| -> Vec<String> {
            trial.all(SECRETS).iter().map(|secret| object::key(secret).to_string()).collect()
        };
        assert_eq!(names(&trial), ["kube-system/for-ever", "kube-system/soon", "other/soon"]);
        trial.pass(Duration::from_secs(20));
        assert_eq!(names(&trial), ["kube-system/for-ever", "other/soon"]);
    }
}
