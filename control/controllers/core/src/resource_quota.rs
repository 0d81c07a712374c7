//! What is used of a namespace's quotas.
//!
//! Admission charges what it lets in; this gives back what goes, and counts all again from time to time. What an object uses is
//! said once, in `control_core::admission::quota`. Facts: kube-controller-manager 1.36, `pkg/controller/resourcequota`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::names::ObjectName;
use apiclient_core::quantity::Quantity;
use control_core::admission::pod::{add, resources};
use control_core::admission::quota::scopes;
use control_core::admission::quota::usage::Sort;
use control_core::edit;
use serde_json::{Value, json};

use crate::kinds::{
    AUTOSCALERS, CLAIMS, CONFIG_MAPS, CRON_JOBS, DAEMON_SETS, DEPLOYMENTS, DISRUPTION_BUDGETS,
    ENDPOINT_SLICES, ENDPOINTS, JOBS, LEASES, PODS, REPLICA_SETS, REPLICATION_CONTROLLERS, RESOURCE_QUOTAS,
    REVISIONS, SECRETS, SERVICE_ACCOUNTS, SERVICES, STATEFUL_SETS,
};
use crate::{Act, Change, Context, Controller, Decision, Kind, World, object, pods};

/// How often everything is counted again (`--resource-quota-sync-period`).
const PERIOD: Duration = Duration::from_secs(300);

/// What is counted; a quota of another kind keeps what admission has charged.
const COUNTED: [Kind; 20] = [
    RESOURCE_QUOTAS,
    PODS,
    SERVICES,
    CLAIMS,
    CONFIG_MAPS,
    SECRETS,
    SERVICE_ACCOUNTS,
    REPLICATION_CONTROLLERS,
    ENDPOINTS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    DAEMON_SETS,
    REVISIONS,
    JOBS,
    CRON_JOBS,
    AUTOSCALERS,
    DISRUPTION_BUDGETS,
    ENDPOINT_SLICES,
    LEASES,
];

/// Keys are quotas.
#[derive(Debug)]
pub struct ResourceQuotas;

impl Controller for ResourceQuotas {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn follows(&self) -> &[Kind] {
        &COUNTED
    }

    fn concerns(&self, world: &World, change: &Change, keys: &mut Vec<ObjectName>) {
        let changed = change.object();
        if change.kind == RESOURCE_QUOTAS {
            let same = change.old.as_ref().zip(change.new.as_ref()).is_some_and(|(old, new)| {
                old["spec"] == new["spec"] && old["status"]["hard"] == new["status"]["hard"]
            });
            keys.extend((!same).then(|| object::key(changed)));
            if change.new.is_some() {
                return;
            }
        }
        if gives_back(change) {
            let quotas = world.within(RESOURCE_QUOTAS, object::namespace(changed));
            keys.extend(quotas.map(|quota| object::key(quota)));
        }
    }

    fn decide(&self, world: &World, key: &ObjectName, context: &Context) -> Decision {
        let quota = world.get(RESOURCE_QUOTAS, key).filter(|quota| !object::is_deleting(quota));
        let Some(quota) = quota else { return Decision::nothing() };
        let used = used(world, quota, context.now);
        let status = json!({"hard": quota["spec"]["hard"], "used": used});
        let decision = Decision::nothing().again_in(PERIOD);
        if same(&status["hard"], &quota["status"]["hard"]) && same(&status["used"], &quota["status"]["used"])
        {
            return decision;
        }
        let mut quota = Value::clone(quota);
        edit::set(&mut quota, "status", status);
        decision.then(Act::status(RESOURCE_QUOTAS, quota))
    }
}

/// Something is used less than before. What is used more admission has charged already, and may be ahead of the news.
fn gives_back(change: &Change) -> bool {
    let (Some(old), Some(new)) = (&change.old, &change.new) else { return change.new.is_none() };
    match change.kind {
        PODS => pods::has_ended(new) && !pods::has_ended(old),
        SERVICES => {
            old["spec"]["type"] != new["spec"]["type"] || old["spec"]["ports"] != new["spec"]["ports"]
        }
        CLAIMS => {
            old["spec"]["resources"] != new["spec"]["resources"]
                || old["status"]["allocatedResources"] != new["status"]["allocatedResources"]
        }
        _ => false,
    }
}

fn used(world: &World, quota: &Value, now: SystemTime) -> BTreeMap<String, String> {
    let hard = resources(&quota["spec"]["hard"]);
    let mut used = resources(&quota["status"]["used"]);
    for kind in COUNTED {
        let sort = Sort::of(kind.group, kind.plural);
        let names: Vec<&String> = hard.keys().filter(|name| sort.counts(name)).collect();
        if names.is_empty() {
            continue;
        }
        let mut sum: BTreeMap<String, Quantity> =
            names.into_iter().map(|name| (name.clone(), Quantity::default())).collect();
        let all = world.within(kind, object::namespace(quota));
        for own in all.filter(|own: &&Arc<Value>| scopes::matches(sort, quota, own)) {
            let mut more = sort.usage(own, now);
            more.retain(|name, _| hard.contains_key(name));
            add(&mut sum, &more);
        }
        used.extend(sum);
    }
    used.retain(|name, _| hard.contains_key(name));
    used.into_iter().map(|(name, amount)| (name, amount.to_string())).collect()
}

/// Equal amounts, whatever the notation.
fn same(a: &Value, b: &Value) -> bool {
    let (a, b) = (resources(a), resources(b));
    a.len() == b.len() && a.iter().all(|(name, amount)| b.get(name).is_some_and(|other| amount == other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trial::Trial;

    fn pod(name: &str, cpu: &str, phase: &str) -> Value {
        json!({
            "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "d", "name": name},
            "spec": {"nodeName": "n", "containers": [{"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
            "status": {"phase": phase},
        })
    }

    fn cluster(hard: &Value) -> Trial {
        let mut trial = Trial::new(|| vec![Box::new(ResourceQuotas)], 1);
        trial.create(PODS, pod("a", "200m", "Running"));
        trial.create(PODS, pod("b", "0.1", "Running"));
        trial.create(PODS, pod("ended", "1", "Succeeded"));
        trial.create(SECRETS, json!({"metadata": {"namespace": "d", "name": "s"}}));
        trial.create(SECRETS, json!({"metadata": {"namespace": "other", "name": "s"}}));
        trial.create(
            RESOURCE_QUOTAS,
            json!({"metadata": {"namespace": "d", "name": "q"}, "spec": {"hard": hard}}),
        );
        trial.pass(Duration::from_secs(1));
        trial
    }

    fn status(trial: &Trial) -> Value {
        trial.get(RESOURCE_QUOTAS, "d", "q").expect("it is there")["status"].clone()
    }

    #[test]
    fn a_quota_says_what_is_used_and_gives_back_what_goes() {
        let hard =
            json!({"pods": "5", "requests.cpu": "2", "count/secrets": "9", "count/widgets.example.com": "3"});
        let mut trial = cluster(&hard);
        let used = json!({"pods": "2", "requests.cpu": "300m", "count/secrets": "1"});
        assert_eq!(status(&trial), json!({"hard": hard, "used": used}));
        trial.delete(PODS, "d", "a");
        trial.change(PODS, "d", "b", |pod| pod["status"]["phase"] = "Failed".into());
        trial.delete(SECRETS, "d", "s");
        trial.pass(Duration::from_secs(1));
        assert_eq!(status(&trial)["used"], json!({"pods": "0", "requests.cpu": "0", "count/secrets": "0"}));
        trial.change(RESOURCE_QUOTAS, "d", "q", |quota| quota["spec"]["hard"] = json!({"pods": "1"}));
        trial.pass(Duration::from_secs(1));
        assert_eq!(status(&trial), json!({"hard": {"pods": "1"}, "used": {"pods": "0"}}));
    }

    #[test]
    fn what_admission_charged_is_not_taken_back_by_late_news() {
        let mut trial = cluster(&json!({"pods": "5"}));
        trial.change(RESOURCE_QUOTAS, "d", "q", |quota| quota["status"]["used"] = json!({"pods": "3"}));
        trial.pass(Duration::from_secs(100));
        assert_eq!(status(&trial)["used"], json!({"pods": "3"}), "the third pod may be on its way");
        trial.pass(Duration::from_secs(400));
        assert_eq!(status(&trial)["used"], json!({"pods": "2"}), "it was refused later");
    }
}
