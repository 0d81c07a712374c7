//! Tokens in Secrets that nobody has used for a long time: made once for every ServiceAccount, and good for ever.
//!
//! Such a token is first marked as invalid, and deleted when nobody has missed it for as long again. Facts:
//! kube-controller-manager 1.36, `pkg/controller/serviceaccount/legacy_serviceaccount_token_cleaner.go`.

use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use apiclient_core::time;
use control_core::edit::{list, text};
use serde_json::{Value, json};

use crate::kinds::{CONFIG_MAPS, PODS, SECRETS, SERVICE_ACCOUNTS};
use crate::{Act, Change, Context, Controller, Decision, Kind, World, Write, object};

const TYPE: &str = "kubernetes.io/service-account-token";
const LAST_USED: &str = "kubernetes.io/legacy-token-last-used";
const INVALID_SINCE: &str = "kubernetes.io/legacy-token-invalid-since";
const ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";
const ACCOUNT_UID: &str = "kubernetes.io/service-account.uid";
/// Says since when API servers note which tokens are used.
const TRACKING: (&str, &str) = ("kube-system", "kube-apiserver-legacy-service-account-token-tracking");

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Keys are Secrets.
#[derive(Debug)]
pub struct LegacyTokens {
    /// How long one may be unused.
    period: Duration,
}

impl LegacyTokens {
    pub fn new(period: Duration) -> Self {
        Self { period }
    }
}

impl Controller for LegacyTokens {
    fn name(&self) -> &'static str {
        "legacy-serviceaccount-token-cleaner-controller"
    }

    fn account(&self) -> &'static str {
        "legacy-service-account-token-cleaner"
    }

    fn follows(&self) -> &[Kind] {
        &[SECRETS, SERVICE_ACCOUNTS, PODS, CONFIG_MAPS]
    }

    fn concerns(&self, _: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        if change.kind == SECRETS {
            let token = change.new.as_ref().filter(|secret| is_token(secret));
            keys.extend(token.map(|secret| object::key(secret)));
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let secret =
            world.get(SECRETS, key).filter(|secret| is_token(secret) && !object::is_deleting(secret));
        let Some(secret) = secret else { return Decision::nothing() };
        // Once a day: nothing else tells that a token is not used.
        let decision = Decision::nothing().again_in(DAY);
        let (Some(since), Some(limit)) = (tracked_since(world), context.now.checked_sub(self.period)) else {
            return decision;
        };
        let old = object::moment(secret, &["metadata", "creationTimestamp"]).is_some_and(|made| made < limit);
        if since > limit || !old || used_after(secret, &date(limit)) || !is_generated(world, secret) {
            return decision;
        }
        if world.within(PODS, object::namespace(secret)).any(|pod| mounts(pod, object::name(secret))) {
            return decision;
        }
        let invalid = object::label(secret, INVALID_SINCE).unwrap_or_default();
        if !is_date(invalid) {
            let patch = json!({"metadata": {
                "uid": object::uid(secret), "labels": {INVALID_SINCE: date(context.now)},
            }});
            return decision.then(Act::new(SECRETS, Write::Merge { name: key.clone(), part: "", patch }));
        }
        if invalid >= date(limit).as_str() {
            return decision;
        }
        // As it is known: a use since then is a later version.
        let options = json!({
            "apiVersion": "v1", "kind": "DeleteOptions",
            "preconditions": {"uid": object::uid(secret), "resourceVersion": secret["metadata"]["resourceVersion"]},
        });
        decision.then(Act::new(SECRETS, Write::Delete { name: key.clone(), options }))
    }
}

fn is_token(secret: &Value) -> bool {
    text(secret, &["type"]) == TYPE
}

/// `2026-11-29`.
fn date(at: SystemTime) -> String {
    time::seconds(at).chars().take(10).collect()
}

fn is_date(text: &str) -> bool {
    text.len() == 10 && time::parse(&format!("{text}T00:00:00Z")).is_some()
}

/// From the day after the one that is noted: on that day it was so for a part of it.
fn tracked_since(world: &World) -> Option<SystemTime> {
    let noted = world.get(CONFIG_MAPS, &ObjectName::new(TRACKING.0, TRACKING.1))?;
    let day = text(noted, &["data", "since"]);
    is_date(day).then(|| time::parse(&format!("{day}T00:00:00Z")).map(|day| day + DAY)).flatten()
}

/// It was used on this day or later, or nobody can say.
fn used_after(secret: &Value, day: &str) -> bool {
    object::label(secret, LAST_USED).is_some_and(|used| !is_date(used) || used >= day)
}

/// It was made for its account, which names it; what a person made stays.
fn is_generated(world: &World, secret: &Value) -> bool {
    let name = object::annotation(secret, ACCOUNT_NAME).unwrap_or_default();
    let uid = object::annotation(secret, ACCOUNT_UID).unwrap_or_default();
    let account = world.get(SERVICE_ACCOUNTS, &ObjectName::new(object::namespace(secret), name));
    account.is_some_and(|account| {
        (uid.is_empty() || uid == object::uid(account))
            && list(account, &["secrets"]).iter().any(|known| text(known, &["name"]) == object::name(secret))
    })
}

/// A pod reads the Secret, in whatever way.
fn mounts(pod: &Value, secret: &str) -> bool {
    let named = |value: &Value, field: &str| text(value, &[field]) == secret;
    let spec = &pod["spec"];
    let of_volume = |volume: &Value| {
        named(&volume["secret"], "secretName")
            || list(volume, &["projected", "sources"]).iter().any(|source| named(&source["secret"], "name"))
            || ["cephfs", "cinder", "flexVolume", "rbd", "scaleIO", "iscsi", "storageos"]
                .iter()
                .any(|kind| named(&volume[kind]["secretRef"], "name"))
            || named(&volume["azureFile"], "secretName")
            || named(&volume["csi"]["nodePublishSecretRef"], "name")
    };
    let of_container = |container: &Value| {
        list(container, &["env"]).iter().any(|one| named(&one["valueFrom"]["secretKeyRef"], "name"))
            || list(container, &["envFrom"]).iter().any(|one| named(&one["secretRef"], "name"))
    };
    list(spec, &["imagePullSecrets"]).iter().any(|one| named(one, "name"))
        || list(spec, &["volumes"]).iter().any(of_volume)
        || ["containers", "initContainers", "ephemeralContainers"]
            .iter()
            .any(|field| list(spec, &[field]).iter().any(of_container))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Trial;

    const YEAR: Duration = Duration::from_secs(365 * 24 * 3600);

    fn bed() -> Trial {
        let mut trial = Trial::new(|| vec![Box::new(LegacyTokens::new(YEAR))], 1);
        trial.create(
            CONFIG_MAPS,
            json!({"metadata": {"namespace": TRACKING.0, "name": TRACKING.1}, "data": {"since": date(trial.now())}}),
        );
        trial.create(
            SERVICE_ACCOUNTS,
            json!({"metadata": {"namespace": "a", "name": "one"}, "secrets": [
                {"name": "idle"}, {"name": "busy"}, {"name": "mounted"},
            ]}),
        );
        for name in ["idle", "busy", "mounted", "by-hand"] {
            trial.create(
                SECRETS,
                json!({"type": TYPE, "metadata": {
                    "namespace": "a", "name": name, "annotations": {ACCOUNT_NAME: "one"},
                }}),
            );
        }
        trial.create(
            PODS,
            json!({"metadata": {"namespace": "a", "name": "p"}, "spec": {
                "containers": [{"name": "c", "image": "never"}], "volumes": [{"secret": {"secretName": "mounted"}}],
            }}),
        );
        trial
    }

    fn names(trial: &Trial) -> Vec<String> {
        trial.all(SECRETS).iter().map(|secret| object::name(secret).to_owned()).collect()
    }

    #[test]
    fn a_token_that_nobody_uses_is_marked_and_then_goes() {
        let mut trial = bed();
        trial.pass(YEAR - 2 * DAY);
        let marked = |trial: &Trial, name: &str| {
            let secret = trial.get(SECRETS, "a", name).expect("it is there");
            object::label(&secret, INVALID_SINCE).is_some()
        };
        assert!(!marked(&trial, "idle"));
        let used = date(trial.now());
        trial.change(SECRETS, "a", "busy", |secret| secret["metadata"]["labels"] = json!({LAST_USED: used}));
        trial.pass(5 * DAY);
        assert!(marked(&trial, "idle"));
        assert!(!marked(&trial, "busy") && !marked(&trial, "mounted") && !marked(&trial, "by-hand"));
        trial.pass(YEAR - 10 * DAY);
        assert_eq!(names(&trial).len(), 4, "it is marked, and still there");
        trial.pass(20 * DAY);
        assert!(!names(&trial).contains(&"idle".to_owned()));
        assert!(
            names(&trial).contains(&"mounted".to_owned()) && names(&trial).contains(&"by-hand".to_owned())
        );
    }
}
