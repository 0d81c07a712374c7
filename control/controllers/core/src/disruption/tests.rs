use super::*;
use crate::trial::Trial;

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(DisruptionBudgets), Box::new(StaleDisruptions)]
}

fn budget(spec: &Value) -> Value {
    let mut spec = spec.clone();
    spec["selector"] = json!({"matchLabels": {"app": "web"}});
    json!({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"namespace": "d", "name": "b"}, "spec": spec})
}

fn pod(name: &str, set: Option<&Value>, ready: bool) -> Value {
    let owners: Vec<Value> =
        set.map(|set| object::controller_reference(&REPLICA_SETS, set)).into_iter().collect();
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": "d", "name": name, "labels": {"app": "web"}, "ownerReferences": owners},
        "spec": {"nodeName": "n"},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}]},
    })
}

/// Three pods, one of them not ready, of a set of four that a Deployment of five owns.
fn cluster(spec: &Value) -> Trial {
    let mut trial = Trial::new(make, 1);
    let meta = |name: &str| json!({"namespace": "d", "name": name});
    let deployment = trial.create(DEPLOYMENTS, json!({"metadata": meta("web"), "spec": {"replicas": 5}}));
    let mut set = json!({"metadata": meta("web-1"), "spec": {"replicas": 4}});
    set["metadata"]["ownerReferences"] = json!([object::controller_reference(&DEPLOYMENTS, &deployment)]);
    let set = trial.create(REPLICA_SETS, set);
    for (name, ready) in [("a", true), ("b", true), ("c", false)] {
        trial.create(PODS, pod(name, Some(&set), ready));
    }
    trial.create(DISRUPTION_BUDGETS, budget(spec));
    trial.pass(Duration::from_secs(1));
    trial
}

fn counts(trial: &Trial) -> [i64; 4] {
    let budget = trial.get(DISRUPTION_BUDGETS, "d", "b").expect("it is there");
    ["currentHealthy", "desiredHealthy", "expectedPods", "disruptionsAllowed"]
        .map(|count| object::int(&budget, &["status", count]))
}

fn allowed(trial: &Trial) -> (String, String) {
    let budget = trial.get(DISRUPTION_BUDGETS, "d", "b").expect("it is there");
    let condition = object::condition(&budget, "DisruptionAllowed").expect("it is there");
    (text(condition, &["status"]).to_owned(), text(condition, &["reason"]).to_owned())
}

#[test]
fn a_budget_says_how_many_pods_may_be_missed() {
    let cases = [
        (json!({"minAvailable": 1}), [2, 1, 3, 1]),
        (json!({"minAvailable": 2}), [2, 2, 3, 0]),
        (json!({"minAvailable": "20%"}), [2, 1, 5, 1]),
        (json!({"minAvailable": "21%"}), [2, 2, 5, 0]),
        (json!({"maxUnavailable": 4}), [2, 1, 5, 1]),
        (json!({"maxUnavailable": "100%"}), [2, 0, 5, 2]),
        (json!({"maxUnavailable": 9}), [2, 0, 5, 2]),
    ];
    for (spec, wanted) in cases {
        let trial = cluster(&spec);
        assert_eq!(counts(&trial), wanted, "{spec}");
        let enough = if wanted[3] > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
        assert_eq!(allowed(&trial), (enough.0.to_owned(), enough.1.to_owned()), "{spec}");
    }
}

#[test]
fn a_budget_follows_pods_and_their_owners() {
    let mut trial = cluster(&json!({"maxUnavailable": 3}));
    assert_eq!(counts(&trial), [2, 2, 5, 0]);
    trial.change(PODS, "d", "c", |pod| pod["status"]["conditions"][0]["status"] = "True".into());
    trial.pass(Duration::from_secs(1));
    assert_eq!(counts(&trial), [3, 2, 5, 1]);
    trial.change(DEPLOYMENTS, "d", "web", |deployment| deployment["spec"]["replicas"] = 3.into());
    trial.pass(Duration::from_secs(1));
    assert_eq!(counts(&trial), [3, 0, 3, 3]);
}

#[test]
fn where_the_number_of_pods_cannot_be_said_nothing_is_allowed() {
    let mut trial = cluster(&json!({"maxUnavailable": 1}));
    let stranger = json!({"metadata": {"namespace": "d", "name": "x", "uid": "u"}});
    trial.create(PODS, pod("stray", Some(&stranger), true));
    trial.pass(Duration::from_secs(1));
    assert_eq!(counts(&trial)[3], 0);
    assert_eq!(allowed(&trial), ("False".to_owned(), "SyncFailed".to_owned()));
    trial.delete(PODS, "d", "stray");
    trial.create(PODS, pod("alone", None, true));
    trial.pass(Duration::from_secs(1));
    assert!(
        trial
            .told
            .iter()
            .any(|told| told.starts_with("UnmanagedPods Pods selected by this PodDisruptionBudget"))
    );
    assert_eq!(counts(&trial)[2], 5, "one without an owner counts for nothing here");
}

#[test]
fn an_evicted_pod_counts_as_gone_until_it_is_late() {
    let mut trial = cluster(&json!({"minAvailable": 1}));
    let now = time::seconds(trial.now());
    trial.change(DISRUPTION_BUDGETS, "d", "b", |budget| {
        budget["status"]["disruptedPods"] = json!({"a": now, "gone": now});
        budget["status"]["disruptionsAllowed"] = 0.into();
    });
    trial.pass(Duration::from_secs(10));
    assert_eq!(counts(&trial), [1, 1, 3, 0]);
    let budget = trial.get(DISRUPTION_BUDGETS, "d", "b").expect("it is there");
    assert_eq!(budget["status"]["disruptedPods"], json!({"a": now}));
    trial.pass(Duration::from_secs(130));
    assert_eq!(counts(&trial), [2, 1, 3, 1]);
    assert!(
        trial
            .told
            .iter()
            .any(|told| told.starts_with("NotDeleted Pod was expected by PDB d/d to be deleted"))
    );
}

#[test]
fn a_pod_that_does_not_go_is_no_target_any_more() {
    let mut trial = cluster(&json!({"minAvailable": 1}));
    let target = |reason: &str, now: &str| json!({"type": "DisruptionTarget", "status": "True", "reason": reason, "lastTransitionTime": now});
    let now = time::seconds(trial.now());
    for (name, reason) in [("a", "EvictionByEvictionAPI"), ("b", "TerminationByKubelet")] {
        trial.change(PODS, "d", name, |pod| {
            pod["status"]["conditions"].as_array_mut().expect("a list").push(target(reason, &now))
        });
    }
    let status = |trial: &Trial, name: &str| {
        let pod = trial.get(PODS, "d", name).expect("it is there");
        text(object::condition(&pod, "DisruptionTarget").expect("it is there"), &["status"]).to_owned()
    };
    trial.pass(Duration::from_secs(110));
    assert_eq!(status(&trial, "a"), "True");
    trial.pass(Duration::from_secs(20));
    assert_eq!((&*status(&trial, "a"), &*status(&trial, "b")), ("False", "True"));
}
