//! ResourceQuota: what a namespace may hold at most. Last of all plugins, for it charges what it admits.
//!
//! Owns: what an object uses ([`usage`]), which quotas a pod's scopes choose ([`scopes`]), and what becomes of their status
//! ([`charge`]). The shell writes each status under the version that it was read at, and asks again where another writer
//! was faster.

pub mod scopes;
pub mod usage;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::SystemTime;

use apiclient_core::wire::Status;
use serde_json::{Map, Value};

use super::pod::{Resources, resources};
use super::{AdmissionRequest, Operation};
use crate::edit::{self, text};
use usage::Sort;

pub const RESOURCE: &str = "resourcequotas";

/// Whether quotas are about this request at all: whether to read them.
pub fn concerns(request: &AdmissionRequest<'_>) -> bool {
    const IGNORED: [&str; 4] =
        ["bindings", "events", "events.events.k8s.io", "localsubjectaccessreviews.authorization.k8s.io"];
    let name = qualified(request.group, request.resource);
    let namespaced = !request.namespace.is_empty() && request.resource != "namespaces";
    namespaced
        && !IGNORED.contains(&name.as_str())
        && Sort::of(request.group, request.resource).handles(request)
}

fn qualified(group: &str, resource: &str) -> String {
    if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") }
}

/// The quotas whose status changes, with what they then hold; none where nothing is to be charged. `quotas` are those of
/// the namespace that were not charged before.
///
/// # Errors
/// 403: one is exceeded, or asks for what the object does not say.
pub fn charge(
    request: &AdmissionRequest<'_>,
    quotas: &[Arc<Value>],
    now: SystemTime,
) -> Result<Vec<Value>, Status> {
    if !concerns(request) {
        return Ok(Vec::new());
    }
    let sort = Sort::of(request.group, request.resource);
    let object = &*request.object;
    let mut interesting = Vec::new();
    for quota in quotas {
        let hard = resources(&quota["status"]["hard"]);
        let restricted: BTreeSet<String> = hard.keys().filter(|name| sort.counts(name)).cloned().collect();
        if restricted.is_empty() || !scopes::matches(sort, quota, object) {
            continue;
        }
        let name = text(quota, &["metadata", "name"]);
        if let Some(missing) = sort.unsaid(object, &restricted) {
            return Err(request.forbidden(&format!("failed quota: {name}: {missing}")));
        }
        let used = resources(&quota["status"]["used"]);
        if restricted.iter().any(|one| !used.contains_key(one)) {
            let names = restricted.iter().cloned().collect::<Vec<_>>().join(",");
            return Err(request.forbidden(&format!("status unknown for quota: {name}, resources: {names}")));
        }
        interesting.push((quota, hard, used));
    }
    let usage = sort.usage(object, now);
    let old = request.old.filter(|_| request.operation == Operation::Update);
    let mut charged = Vec::new();
    for (quota, hard, used) in interesting {
        let before = old.filter(|old| scopes::matches(sort, quota, old));
        let more = before.map_or_else(|| usage.clone(), |old| difference(&usage, &sort.usage(old, now)));
        let more: Resources =
            more.into_iter().filter(|(name, amount)| !amount.is_zero() && hard.contains_key(name)).collect();
        if more.is_empty() {
            continue;
        }
        let mut sum = used.clone();
        super::pod::add(&mut sum, &more);
        let exceeded: Vec<&String> = more.keys().filter(|name| sum[*name] > hard[*name]).collect();
        if request.subresource != "status" && !exceeded.is_empty() {
            let shown = |of: &Resources| {
                let all = exceeded.iter().filter_map(|name| Some(format!("{name}={}", of.get(*name)?)));
                all.collect::<Vec<_>>().join(",")
            };
            return Err(request.forbidden(&format!(
                "exceeded quota: {}, requested: {}, used: {}, limited: {}",
                text(quota, &["metadata", "name"]),
                shown(&more),
                shown(&used),
                shown(&hard)
            )));
        }
        let mut new = (**quota).clone();
        if let Some(status) = edit::child(&mut new, "status") {
            let used: Map<String, Value> =
                sum.into_iter().map(|(name, amount)| (name, amount.to_string().into())).collect();
            edit::set(status, "used", used);
        }
        charged.push(new);
    }
    Ok(charged)
}

/// What is used more than before; never less than nothing.
fn difference(new: &Resources, old: &Resources) -> Resources {
    let more = new.iter().map(|(name, amount)| {
        let less = old.get(name).copied().unwrap_or_default();
        (name.clone(), if *amount > less { amount.minus(less) } else { Default::default() })
    });
    more.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn quota(hard: Value, used: Value) -> Arc<Value> {
        Arc::new(
            json!({"metadata": {"name": "q"}, "spec": {"hard": hard}, "status": {"hard": hard, "used": used}}),
        )
    }

    fn tried(
        resource: &str,
        mut object: Value,
        old: Option<&Value>,
        quota: Arc<Value>,
    ) -> Result<Value, String> {
        let (user, operation) =
            (Default::default(), if old.is_some() { Operation::Update } else { Operation::Create });
        let request = AdmissionRequest {
            group: "",
            version: "v1",
            resource,
            kind: "",
            subresource: "",
            operation,
            namespace: "a",
            name: "x",
            object: &mut object,
            old,
            user: &user,
            dry_run: false,
            options: &Value::Null,
        };
        let charged =
            charge(&request, &[quota], SystemTime::UNIX_EPOCH).map_err(|refused| refused.message)?;
        Ok(charged.first().map_or(Value::Null, |quota| quota["status"]["used"].clone()))
    }

    fn pod(requests: Value) -> Value {
        json!({"spec": {"containers": [{"name": "c", "resources": {"requests": requests}}]}})
    }

    #[test]
    fn what_is_admitted_is_charged() {
        let hard = json!({"pods": "2", "requests.cpu": "1", "secrets": "5"});
        let used = json!({"pods": "1", "requests.cpu": "300m", "secrets": "5"});
        let charged = tried("pods", pod(json!({"cpu": "500m"})), None, quota(hard.clone(), used.clone()));
        assert_eq!(charged, Ok(json!({"pods": "2", "requests.cpu": "800m", "secrets": "5"})));
        assert_eq!(tried("configmaps", json!({}), None, quota(hard.clone(), used.clone())), Ok(Value::Null));
        assert_eq!(
            tried("secrets", json!({}), None, quota(hard, used)).expect_err("a refusal"),
            r#"secrets "x" is forbidden: exceeded quota: q, requested: secrets=1, used: secrets=5, limited: secrets=5"#
        );
    }

    #[test]
    fn a_refusal_names_every_amount_that_is_exceeded() {
        let hard = json!({"requests.cpu": "1", "requests.memory": "1Gi", "pods": "9"});
        let used = json!({"requests.cpu": "800m", "requests.memory": "900Mi", "pods": "0"});
        assert_eq!(
            tried(
                "pods",
                pod(json!({"cpu": "500m", "memory": "200Mi"})),
                None,
                quota(hard.clone(), used.clone())
            )
            .expect_err("a refusal"),
            r#"pods "x" is forbidden: exceeded quota: q, requested: requests.cpu=500m,requests.memory=200Mi, used: requests.cpu=800m,requests.memory=900Mi, limited: requests.cpu=1,requests.memory=1Gi"#
        );
        assert_eq!(
            tried("pods", pod(json!({"cpu": "1m"})), None, quota(hard, used)).expect_err("a refusal"),
            r#"pods "x" is forbidden: failed quota: q: must specify requests.memory for: c"#
        );
    }

    #[test]
    fn a_quota_that_was_never_counted_admits_nothing() {
        let refused = tried("secrets", json!({}), None, quota(json!({"secrets": "5"}), json!({})))
            .expect_err("a refusal");
        assert_eq!(refused, r#"secrets "x" is forbidden: status unknown for quota: q, resources: secrets"#);
    }

    #[test]
    fn an_update_is_charged_for_what_it_adds() {
        let service = |ports: usize| {
            let ports: Vec<_> = (0..ports).map(|n| json!({"port": n + 1})).collect();
            json!({"spec": {"type": "NodePort", "ports": ports}})
        };
        let hard = json!({"services.nodeports": "3", "services": "1"});
        let used = json!({"services.nodeports": "1", "services": "1"});
        let charged = tried("services", service(3), Some(&service(1)), quota(hard.clone(), used.clone()));
        assert_eq!(charged, Ok(json!({"services.nodeports": "3", "services": "1"})));
        assert_eq!(
            tried("services", service(1), Some(&service(2)), quota(hard.clone(), used.clone())),
            Ok(Value::Null)
        );
        assert!(tried("services", service(5), Some(&service(1)), quota(hard, used)).is_err());
    }
}
