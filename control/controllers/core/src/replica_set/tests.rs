use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::ReplicaSets;
use crate::kinds::{PODS, REPLICA_SETS};
use crate::trial::Trial;
use crate::{Controller, object, pods};

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(ReplicaSets::sets())]
}

fn set(name: &str, replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"namespace": "d", "name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "c"}]}},
        },
    })
}

fn pod(name: &str, app: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "d", "name": name, "labels": {"app": app}},
        "spec": {"containers": [{"name": "c"}]},
    })
}

#[test]
fn pods_are_made_lost_and_counted() {
    let mut trial = Trial::new(make, 1);
    trial.create(REPLICA_SETS, set("web", 3));
    trial.settle(Duration::ZERO);
    assert_eq!(trial.all(PODS).len(), 3);
    let status = trial.get(REPLICA_SETS, "d", "web").expect("it is there")["status"].clone();
    assert_eq!(
        status,
        json!({"replicas": 3, "fullyLabeledReplicas": 3, "readyReplicas": 3, "availableReplicas": 3,
            "terminatingReplicas": 0, "observedGeneration": 1})
    );
    trial.change(REPLICA_SETS, "d", "web", |set| set["spec"]["replicas"] = 1.into());
    trial.settle(Duration::ZERO);
    assert_eq!(trial.all(PODS).len(), 1);
    assert_eq!(
        trial.told.iter().filter(|told| told.starts_with("SuccessfulCreate Created pod: web-")).count(),
        3
    );
    assert_eq!(
        trial.told.iter().filter(|told| told.starts_with("SuccessfulDelete Deleted pod: web-")).count(),
        2
    );
}

#[test]
fn what_nobody_manages_is_adopted_and_what_does_not_match_is_released() {
    let mut trial = Trial::new(make, 1);
    trial.create(PODS, pod("orphan", "web"));
    trial.create(PODS, pod("stranger", "other"));
    trial.create(REPLICA_SETS, set("web", 2));
    trial.settle(Duration::ZERO);
    assert_eq!(trial.all(PODS).len(), 3);
    let uid = object::uid(&trial.get(REPLICA_SETS, "d", "web").expect("it is there")).to_owned();
    let orphan = trial.get(PODS, "d", "orphan").expect("it is there");
    assert_eq!(object::controller_uid(&orphan), Some(&*uid));
    trial.change(PODS, "d", "orphan", |pod| pod["metadata"]["labels"]["app"] = "else".into());
    trial.settle(Duration::ZERO);
    let released = trial.get(PODS, "d", "orphan").expect("it is there");
    assert_eq!(object::controller_uid(&released), None);
    assert_eq!(trial.all(PODS).len(), 4, "another takes its place");
}

#[test]
fn a_pod_that_somebody_deletes_is_replaced() {
    let mut trial = Trial::new(make, 1);
    trial.create(REPLICA_SETS, set("web", 2));
    trial.settle(Duration::ZERO);
    let gone = object::name(&trial.all(PODS)[0]).to_owned();
    trial.delete(PODS, "d", &gone);
    trial.settle(Duration::ZERO);
    assert_eq!(trial.all(PODS).len(), 2);
    assert!(trial.get(PODS, "d", &gone).is_none());
}

#[test]
fn a_refusal_stands_in_the_status_until_it_is_over() {
    let mut trial = Trial::new(make, 1);
    trial.refusals = 1000;
    trial.create(REPLICA_SETS, set("web", 2));
    trial.settle(Duration::ZERO);
    assert_eq!(trial.all(PODS).len(), 0);
    trial.refusals = 0;
    trial.settle(Duration::from_secs(3600));
    assert_eq!(trial.all(PODS).len(), 2);
    let set = trial.get(REPLICA_SETS, "d", "web").expect("it is there");
    assert_eq!(set["status"]["conditions"], Value::Null);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any order of news, lost answers, refusals, crashes: never a pod too many or too few in the end, and none of them is made
    /// and lost again for nothing.
    #[test]
    fn there_are_as_many_pods_as_asked_for(
        seed in 1..u64::MAX,
        wanted in prop::collection::vec(0..7_usize, 1..4),
        crashes in 0..8_u64, lost in 0..300_u64, refusals in 0..100_u64,
    ) {
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (crashes, lost, refusals);
        trial.create(REPLICA_SETS, set("a", wanted[0]));
        trial.create(REPLICA_SETS, set("b", 2));
        for number in &wanted {
            trial.change(REPLICA_SETS, "d", "a", |set| set["spec"]["replicas"] = (*number).into());
            trial.settle(Duration::from_secs(1));
        }
        trial.crashes = 0;
        trial.refusals = 0;
        trial.settle(Duration::from_secs(7200));
        let live = |app: &str| trial.all(PODS).iter().filter(|pod| pods::is_active(pod) && object::label(pod, "app") == Some(app)).count();
        let last = *wanted.last().expect("one at least");
        prop_assert_eq!((live("a"), live("b")), (last, 2));
        let status = trial.get(REPLICA_SETS, "d", "a").expect("it is there")["status"].clone();
        prop_assert_eq!(object::int(&status, &["availableReplicas"]), i64::try_from(last).expect("small"));
        if crashes == 0 && refusals == 0 && wanted.is_sorted() {
            let made = trial.told.iter().filter(|told| told.starts_with("SuccessfulDelete")).count();
            prop_assert_eq!(made, 0, "nothing is lost that was asked for");
        }
    }
}

/// From the first to be lost to the last.
#[test]
fn pods_are_lost_in_the_originals_order() {
    let ready = |since: &str| json!([{"type": "Ready", "status": "True", "lastTransitionTime": since}]);
    let old = "2026-01-01T00:00:00Z";
    let running = |name: &str, more: Value| {
        let mut pod = json!({
            "metadata": {"name": name, "uid": name, "creationTimestamp": old},
            "spec": {"nodeName": "n1"},
            "status": {"phase": "Running", "conditions": ready(old)},
        });
        for (path, value) in more.as_object().expect("fields") {
            *pod.pointer_mut(path).unwrap_or_else(|| panic!("{path}")) = value.clone();
        }
        pod
    };
    let pods = [
        (running("unassigned", json!({"/spec": {}, "/status": {"phase": "Pending"}})), 0),
        (running("pending", json!({"/status": {"phase": "Pending"}})), 0),
        (running("not-ready", json!({"/status": {"phase": "Running"}})), 0),
        (
            running(
                "cheap",
                json!({"/metadata": {"name": "cheap", "annotations": {"controller.kubernetes.io/pod-deletion-cost": "-5"}}}),
            ),
            0,
        ),
        (running("crowded", json!({})), 3),
        (running("ready-of-late", json!({"/status/conditions": ready("2026-01-31T23:00:00Z")})), 1),
        (
            running(
                "restarts",
                json!({"/status": {"phase": "Running", "conditions": ready(old), "containerStatuses": [{"restartCount": 4}]}}),
            ),
            1,
        ),
        (running("young", json!({"/metadata/creationTimestamp": "2026-01-31T22:00:00Z"})), 1),
        (running("old", json!({})), 1),
        (
            running(
                "dear",
                json!({"/metadata": {"name": "dear", "annotations": {"controller.kubernetes.io/pod-deletion-cost": "7"}}}),
            ),
            9,
        ),
    ];
    let now = apiclient_core::time::parse("2026-02-01T00:00:00Z").expect("a time");
    for (at, a) in pods.iter().enumerate() {
        for b in &pods[at + 1..] {
            let found = pods::better_to_lose((&a.0, a.1), (&b.0, b.1), now);
            assert!(found.is_lt(), "{} before {}", a.0["metadata"]["name"], b.0["metadata"]["name"]);
        }
    }
}
