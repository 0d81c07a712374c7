//! Evictions: whether a pod may be disrupted, as its PodDisruptionBudget says.
//!
//! Facts: `pkg/registry/core/pod/storage/eviction.go` of the original. Begin at [`ignores_budgets`], then [`judge`].

use apiclient_core::wire::{Cause, Details, Status};
use serde_json::{Value, json};

use crate::edit::{at, child, existing, generation, list, remove, set, text};
use crate::selectors::Selector;
use crate::{access, conditions, refusal};

/// So many evicted pods may be on their way before the controller of budgets has seen one of them.
const MOST_DISRUPTED: usize = 2000;

/// A pod whose end disrupts nothing: it does not run yet, or no more, or is going already.
pub fn ignores_budgets(pod: &Value) -> bool {
    is_over(pod) || text(pod, &["status", "phase"]) == "Pending"
}

/// A pod that does not run yet may run by the time it is deleted: only this version of it may be.
pub fn is_over(pod: &Value) -> bool {
    matches!(text(pod, &["status", "phase"]), "Succeeded" | "Failed")
        || !text(pod, &["metadata", "deletionTimestamp"]).is_empty()
}

/// The budgets of a pod, among all of its namespace. One whose selector is invalid has no pods.
pub fn budgets_of<'a>(pod: &Value, budgets: &'a [Value]) -> Vec<&'a Value> {
    let labels = at(pod, &["metadata", "labels"]);
    let selects = |budget: &&Value| {
        Selector::of(at(budget, &["spec", "selector"])).is_some_and(|selector| selector.matches(labels))
    };
    budgets.iter().filter(selects).collect()
}

/// What a budget says to the eviction of a pod that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// The pod counts for nothing, so its end costs nothing; but only while it is not ready.
    Free,
    /// It must be taken from what the budget allows: [`spend`].
    Costs,
}

pub fn judge(pod: &Value, budget: &Value) -> Judgement {
    let ready = conditions::is_true(at(pod, &["status"]), "Ready");
    let count = |field| at(budget, &["status", field]).as_i64().unwrap_or(0);
    let always = text(budget, &["spec", "unhealthyPodEvictionPolicy"]) == "AlwaysAllow";
    let wanted = count("desiredHealthy");
    if !ready && (always || count("currentHealthy") >= wanted && wanted > 0) {
        return Judgement::Free;
    }
    Judgement::Costs
}

/// More than one budget for one pod.
pub fn several_budgets() -> Status {
    refusal::unknown(
        "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support.",
    )
}

/// The budget is not known well enough: come again.
pub fn too_soon(budget: &str) -> Status {
    too_many(10, format!("The disruption budget {budget} is still being processed by the server."))
}

fn too_many(retry_after_seconds: u64, message: String) -> Status {
    let cause = Cause { reason: "DisruptionBudget".to_owned(), message, ..Cause::default() };
    Status {
        status: "Failure".to_owned(),
        message: "Cannot evict pod as it would violate the pod's disruption budget.".to_owned(),
        reason: "TooManyRequests".to_owned(),
        details: Some(Details { causes: vec![cause], retry_after_seconds, ..Details::default() }),
        code: 429,
        ..Status::default()
    }
}

/// The budget after the eviction of a pod. `now` is an RFC 3339 time.
///
/// # Errors
/// 429: it allows none now; 403: it makes no sense.
pub fn spend(budget: &Value, pod: &str, now: &str) -> Result<Value, Status> {
    let name = text(budget, &["metadata", "name"]);
    let status = at(budget, &["status"]);
    let count = |field| at(status, &[field]).as_i64().unwrap_or(0);
    if count("observedGeneration") < generation(budget) {
        return Err(too_soon(name));
    }
    let forbid = |why| Err(access::forbidden_because("policy", "poddisruptionbudget", name, why));
    if count("disruptionsAllowed") < 0 {
        return forbid("pdb disruptions allowed is negative");
    }
    let disrupted = at(status, &["disruptedPods"]).as_object().map_or(0, serde_json::Map::len);
    if disrupted > MOST_DISRUPTED {
        return forbid("DisruptedPods map too big - too many evictions not confirmed by PDB controller");
    }
    if count("disruptionsAllowed") == 0 {
        return Err(too_many(0, why_none(name, status)));
    }
    let left = count("disruptionsAllowed") - 1;
    let mut spent = budget.clone();
    if let Some(status) = existing(&mut spent, "status") {
        if left > 0 {
            set(status, "disruptionsAllowed", left);
        } else {
            remove(status, "disruptionsAllowed");
            no_more(status, now);
        }
        if let Some(pods) = child(status, "disruptedPods") {
            set(pods, pod, now);
        }
    }
    Ok(spent)
}

const CONDITION: &str = "DisruptionAllowed";

fn no_more(status: &mut Value, now: &str) {
    let observed = at(status, &["observedGeneration"]).clone();
    conditions::set(status, CONDITION, "False", "InsufficientPods", "", now);
    let conditions = status["conditions"].as_array_mut().into_iter().flatten();
    for condition in conditions.filter(|condition| text(condition, &["type"]) == CONDITION) {
        remove(condition, "message");
        match observed.is_null() {
            true => remove(condition, "observedGeneration"),
            false => set(condition, "observedGeneration", observed.clone()),
        }
    }
}

fn why_none(name: &str, status: &Value) -> String {
    let count = |field| at(status, &[field]).as_i64().unwrap_or(0);
    let mut conditions = list(status, &["conditions"]).iter();
    let condition = conditions.find(|condition| text(condition, &["type"]) == CONDITION);
    let none = json!({});
    let condition = condition.unwrap_or(&none);
    let (reason, message) = (text(condition, &["reason"]), text(condition, &["message"]));
    let says = text(condition, &["status"]) == "False" && !message.is_empty();
    let (wanted, have) = (count("desiredHealthy"), count("currentHealthy"));
    let does_not = format!("The disruption budget {name} does not allow evicting pods currently");
    match says {
        true if reason == "SyncFailed" => format!("{does_not} because it failed sync: {message}"),
        _ if have <= wanted => {
            format!("The disruption budget {name} needs {wanted} healthy pods and has {have} currently")
        }
        true => format!("{does_not} ({reason}): {message}"),
        false => does_not,
    }
}

/// The pod says why it goes.
pub fn mark(pod: &mut Value, now: &str) {
    const REASON: (&str, &str) = ("EvictionByEvictionAPI", "Eviction API: evicting");
    if let Some(status) = child(pod, "status") {
        conditions::set(status, "DisruptionTarget", "True", REASON.0, REASON.1, now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-01-01T00:00:00Z";

    fn budget(status: &Value) -> Value {
        let spec = json!({"selector": {"matchLabels": {"a": "b"}}});
        json!({"metadata": {"name": "pdb", "generation": 2}, "spec": spec, "status": status})
    }

    fn refused(status: &Value) -> (u16, String) {
        let refused = spend(&budget(status), "p", NOW).expect_err("none is allowed");
        let details = refused.details.expect("details");
        (refused.code, details.causes.first().map_or(refused.message, |cause| cause.message.clone()))
    }

    #[test]
    fn an_eviction_is_taken_from_what_the_budget_allows() {
        let two = budget(&json!({"observedGeneration": 2, "disruptionsAllowed": 2}));
        let one = spend(&two, "p", NOW).expect("allowed");
        assert_eq!(one["status"]["disruptionsAllowed"], 1);
        assert_eq!(one["status"]["disruptedPods"], json!({"p": NOW}));
        assert_eq!(one["status"]["conditions"], Value::Null);
        let none = spend(&one, "q", NOW).expect("allowed");
        assert_eq!(none["status"]["disruptionsAllowed"], Value::Null);
        assert_eq!(
            none["status"]["conditions"],
            json!([{"type": "DisruptionAllowed", "status": "False", "reason": "InsufficientPods",
                "lastTransitionTime": NOW, "observedGeneration": 2}])
        );
        assert!(spend(&none, "r", NOW).is_err());
    }

    #[test]
    fn a_budget_says_why_it_allows_none() {
        let observed = |mut status: Value| {
            status["observedGeneration"] = 2.into();
            status
        };
        assert_eq!(
            refused(&json!({})),
            (429, "The disruption budget pdb is still being processed by the server.".to_owned())
        );
        assert_eq!(
            refused(&observed(json!({"desiredHealthy": 3, "currentHealthy": 2}))).1,
            "The disruption budget pdb needs 3 healthy pods and has 2 currently"
        );
        let failed = json!([{"type": "DisruptionAllowed", "status": "False", "reason": "SyncFailed", "message": "no"}]);
        assert_eq!(
            refused(&observed(json!({"conditions": failed}))).1,
            "The disruption budget pdb does not allow evicting pods currently because it failed sync: no"
        );
        assert_eq!(
            refused(&observed(json!({"currentHealthy": 1}))).1,
            "The disruption budget pdb does not allow evicting pods currently"
        );
        let negative = refused(&observed(json!({"disruptionsAllowed": -1})));
        assert_eq!(negative.0, 403);
    }

    #[test]
    fn a_pod_that_counts_for_nothing_is_evicted_for_nothing() {
        let pod = |ready: &str| {
            json!({"metadata": {"labels": {"a": "b"}},
            "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": ready}]}})
        };
        let healthy = budget(&json!({"desiredHealthy": 1, "currentHealthy": 1}));
        assert_eq!(judge(&pod("False"), &healthy), Judgement::Free);
        assert_eq!(judge(&pod("True"), &healthy), Judgement::Costs);
        let mut poor = budget(&json!({"desiredHealthy": 1}));
        assert_eq!(judge(&pod("False"), &poor), Judgement::Costs);
        poor["spec"]["unhealthyPodEvictionPolicy"] = "AlwaysAllow".into();
        assert_eq!(judge(&pod("False"), &poor), Judgement::Free);
        let other = json!({"spec": {"selector": {"matchLabels": {"a": "c"}}}});
        let all = [healthy, other, json!({"spec": {}}), json!({"spec": {"selector": {}}})];
        assert_eq!(budgets_of(&pod("True"), &all).len(), 2);
        assert!(ignores_budgets(&json!({"status": {"phase": "Pending"}})));
        assert!(!is_over(&json!({"status": {"phase": "Pending"}})));
        assert!(is_over(&json!({"metadata": {"deletionTimestamp": NOW}})));
    }
}
