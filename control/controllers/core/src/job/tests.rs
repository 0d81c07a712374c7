use std::sync::Arc;
use std::time::Duration;

use control_core::edit::text;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Jobs;
use super::facts::{FAILURES, FINALIZER, INDEX, has_finalizer};
use super::indexes::Indexes;
use super::policy::{self, Failure};
use crate::kinds::{JOBS, PODS};
use crate::trial::Trial;
use crate::{Controller, object, pods};

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(Jobs)]
}

/// A Job as the API server completes it, with some fields of its spec as given.
fn job(image: &str, spec: Value) -> Value {
    let mut job = json!({
        "apiVersion": "batch/v1", "kind": "Job", "metadata": {"namespace": "d", "name": "j"},
        "spec": {
            "parallelism": 1, "completions": 1, "backoffLimit": 6, "completionMode": "NonIndexed", "suspend": false,
            "podReplacementPolicy": "TerminatingOrFailed", "selector": {"matchLabels": {"job": "j"}},
            "template": {
                "metadata": {"labels": {"job": "j"}},
                "spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": image}]},
            },
        },
    });
    for (name, value) in spec.as_object().expect("fields") {
        job["spec"][name] = value.clone();
    }
    job
}

fn of(trial: &Trial) -> Arc<Value> {
    trial.get(JOBS, "d", "j").expect("it is there")
}

/// Conditions that hold, as `Type Reason: message`.
fn conditions(job: &Value) -> Vec<String> {
    let all = job["status"]["conditions"].as_array().cloned().unwrap_or_default();
    let holds = all.iter().filter(|condition| condition["status"] == "True");
    holds
        .map(|said| {
            format!("{} {}: {}", text(said, &["type"]), text(said, &["reason"]), text(said, &["message"]))
        })
        .collect()
}

fn active(trial: &Trial) -> Vec<Arc<Value>> {
    trial.all(PODS).into_iter().filter(|pod| pods::is_active(pod)).collect()
}

/// What kubelets report of a pod, by its index.
fn set_phase(trial: &mut Trial, index: &str, phase: &str, code: i64) {
    let pods = active(trial);
    let pod = pods.iter().find(|pod| object::annotation(pod, INDEX) == Some(index)).expect("it is active");
    let name = object::name(pod).to_owned();
    let now = apiclient_core::time::seconds(trial.now());
    trial.change(PODS, "d", &name, |pod| {
        pod["status"] = json!({
            "phase": phase,
            "containerStatuses": [{"name": "c", "state": {"terminated": {"exitCode": code, "finishedAt": now}}}],
        });
    });
}

#[test]
fn a_job_runs_as_many_at_once_as_it_may_until_enough_have_succeeded() {
    let mut trial = Trial::new(make, 1);
    trial.create(JOBS, job("succeeds", json!({"completions": 5, "parallelism": 2})));
    trial.settle(Duration::ZERO);
    let job = of(&trial);
    assert_eq!(trial.all(PODS).len(), 5);
    assert!(trial.all(PODS).iter().all(|pod| !has_finalizer(pod)));
    assert_eq!(job["status"]["succeeded"], 5);
    assert_eq!(job["status"]["uncountedTerminatedPods"], json!({}));
    assert_eq!((&job["status"]["ready"], &job["status"]["terminating"]), (&json!(0), &json!(0)));
    assert!(job["status"]["completionTime"].is_string());
    assert_eq!(
        conditions(&job),
        [
            "SuccessCriteriaMet CompletionsReached: Reached expected number of succeeded pods",
            "Complete CompletionsReached: Reached expected number of succeeded pods",
        ]
    );
    assert_eq!(trial.told.last().map(String::as_str), Some("Completed Job completed"));
    assert_eq!(
        trial.told.iter().filter(|told| told.starts_with("SuccessfulCreate Created pod: j-")).count(),
        5
    );
}

#[test]
fn without_a_number_one_success_is_enough_and_no_other_begins() {
    let mut trial = Trial::new(make, 2);
    trial.create(JOBS, job("runs", json!({"completions": null, "parallelism": 3})));
    trial.settle(Duration::ZERO);
    let names: Vec<String> = active(&trial).iter().map(|pod| object::name(pod).to_owned()).collect();
    assert_eq!(
        (names.len(), &of(&trial)["status"]["active"], &of(&trial)["status"]["ready"]),
        (3, &json!(3), &json!(3))
    );
    for (n, name) in names.iter().enumerate() {
        assert!(conditions(&of(&trial)).is_empty(), "{n}");
        trial.change(PODS, "d", name, |pod| pod["status"]["phase"] = "Succeeded".into());
        trial.settle(Duration::ZERO);
    }
    assert_eq!(of(&trial)["status"]["succeeded"], 3);
    assert_eq!(conditions(&of(&trial)).len(), 2);
}

#[test]
fn failures_are_paused_after_ever_longer_and_are_too_many_in_the_end() {
    let mut trial = Trial::new(make, 3);
    trial.create(JOBS, job("fails", json!({"backoffLimit": 3})));
    for (seconds, failures) in [(5, 1), (10, 2), (10, 2), (10, 3), (30, 3)] {
        trial.settle(Duration::from_secs(seconds));
        assert_eq!(of(&trial)["status"]["failed"], failures, "{seconds}");
    }
    trial.settle(Duration::from_secs(60));
    let failed = "BackoffLimitExceeded: Job has reached the specified backoff limit";
    assert_eq!(conditions(&of(&trial)), [format!("FailureTarget {failed}"), format!("Failed {failed}")]);
    assert_eq!(of(&trial)["status"]["failed"], 4);
    assert_eq!(
        trial.told.last().map(String::as_str),
        Some("BackoffLimitExceeded Job has reached the specified backoff limit")
    );
}

#[test]
fn a_deadline_ends_what_runs() {
    let mut trial = Trial::new(make, 4);
    trial.create(JOBS, job("runs", json!({"activeDeadlineSeconds": 60, "parallelism": 2, "completions": 2})));
    trial.settle(Duration::from_secs(50));
    assert_eq!(active(&trial).len(), 2);
    trial.settle(Duration::from_secs(20));
    let failed = "DeadlineExceeded: Job was active longer than specified deadline";
    assert_eq!(conditions(&of(&trial)), [format!("FailureTarget {failed}"), format!("Failed {failed}")]);
    assert!(trial.all(PODS).is_empty());
    let status = of(&trial)["status"].clone();
    assert_eq!((object::int(&status, &["active"]), &status["failed"]), (0, &json!(2)));
}

#[test]
fn each_index_succeeds_once() {
    let mut trial = Trial::new(make, 5);
    trial.create(JOBS, job("runs", json!({"completionMode": "Indexed", "completions": 4, "parallelism": 3})));
    trial.settle(Duration::ZERO);
    let pods = active(&trial);
    let indexes: Vec<_> = pods.iter().filter_map(|pod| object::annotation(pod, INDEX)).collect();
    assert_eq!(indexes, ["0", "1", "2"]);
    let pod = &pods[1];
    assert_eq!((pod["spec"]["hostname"].as_str(), object::label(pod, INDEX)), (Some("j-1"), Some("1")));
    assert!(object::name(pod).starts_with("j-1-"));
    assert_eq!(pod["spec"]["containers"][0]["env"][0]["name"], "JOB_COMPLETION_INDEX");
    assert_eq!(pod["metadata"]["finalizers"], json!([FINALIZER]));
    set_phase(&mut trial, "1", "Succeeded", 0);
    trial.settle(Duration::ZERO);
    set_phase(&mut trial, "0", "Failed", 1);
    trial.settle(Duration::from_secs(60));
    assert_eq!(of(&trial)["status"]["completedIndexes"], "1");
    assert_eq!(
        active(&trial).iter().filter_map(|pod| object::annotation(pod, INDEX)).collect::<Vec<_>>(),
        ["0", "2", "3"]
    );
    for index in ["0", "2", "3"] {
        set_phase(&mut trial, index, "Succeeded", 0);
        trial.settle(Duration::ZERO);
    }
    let job = of(&trial);
    assert_eq!((&job["status"]["completedIndexes"], &job["status"]["succeeded"]), (&json!("0-3"), &json!(4)));
    assert_eq!(job["status"]["failed"], 1);
    assert_eq!(conditions(&job).len(), 2);
}

#[test]
fn failures_by_index_have_limits_of_their_own() {
    let mut trial = Trial::new(make, 6);
    let spec = json!({
        "completionMode": "Indexed", "completions": 3, "parallelism": 3, "backoffLimit": 2_147_483_647,
        "backoffLimitPerIndex": 1, "maxFailedIndexes": 1,
    });
    trial.create(JOBS, job("runs", spec));
    trial.settle(Duration::ZERO);
    set_phase(&mut trial, "0", "Failed", 1);
    trial.settle(Duration::ZERO);
    assert_eq!(active(&trial).len(), 2, "the next one waits");
    trial.settle(Duration::from_secs(30));
    let again = active(&trial).into_iter().find(|pod| object::annotation(pod, INDEX) == Some("0"));
    assert_eq!(object::annotation(&again.expect("it has begun"), FAILURES), Some("1"));
    set_phase(&mut trial, "0", "Failed", 1);
    trial.settle(Duration::from_secs(600));
    assert_eq!(of(&trial)["status"]["failedIndexes"], "0");
    set_phase(&mut trial, "1", "Succeeded", 0);
    trial.settle(Duration::from_secs(600));
    assert!(conditions(&of(&trial)).is_empty());
    set_phase(&mut trial, "2", "Succeeded", 0);
    trial.settle(Duration::from_secs(600));
    let failed = "FailedIndexes: Job has failed indexes";
    assert_eq!(conditions(&of(&trial)), [format!("FailureTarget {failed}"), format!("Failed {failed}")]);
    assert!(trial.all(PODS).iter().all(|pod| !has_finalizer(pod)));
}

#[test]
fn a_suspended_job_gives_its_pods_up_and_goes_on_later() {
    let mut trial = Trial::new(make, 7);
    trial.create(JOBS, job("runs", json!({"parallelism": 2, "completions": 2})));
    trial.settle(Duration::ZERO);
    trial.change(JOBS, "d", "j", |job| job["spec"]["suspend"] = true.into());
    trial.settle(Duration::ZERO);
    let job = of(&trial);
    assert!(trial.all(PODS).is_empty());
    assert_eq!(conditions(&job), ["Suspended JobSuspended: Job suspended"]);
    assert_eq!((object::int(&job, &["status", "failed"]), &job["status"]["startTime"]), (0, &Value::Null));
    trial.change(JOBS, "d", "j", |job| job["spec"]["suspend"] = false.into());
    trial.settle(Duration::ZERO);
    assert_eq!(active(&trial).len(), 2);
    assert!(of(&trial)["status"]["startTime"].is_string());
    assert!(
        trial.told.contains(&"Suspended Job suspended".to_owned())
            && trial.told.contains(&"Resumed Job resumed".to_owned())
    );
}

#[test]
fn a_failure_means_what_the_policy_says() {
    let policy = json!({"spec": {"podFailurePolicy": {"rules": [
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
        {"action": "FailJob", "onExitCodes": {"containerName": "c", "operator": "In", "values": [42]}},
        {"action": "FailIndex", "onExitCodes": {"operator": "In", "values": [7]}},
        {"action": "Count", "onExitCodes": {"operator": "NotIn", "values": [1]}},
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [1]}},
    ]}}});
    let pod = |container: &str, code: i64, condition: &str| {
        json!({"metadata": {"namespace": "d", "name": "p"}, "status": {
            "conditions": [{"type": condition, "status": "True"}],
            "containerStatuses": [{"name": container, "state": {"terminated": {"exitCode": code}}}],
        }})
    };
    let fails = |message: &str| Failure::FailsJob(message.to_owned());
    let cases = [
        (pod("c", 42, "DisruptionTarget"), Failure::Ignored),
        (
            pod("c", 42, "Ready"),
            fails("Container c for pod d/p failed with exit code 42 matching FailJob rule at index 1"),
        ),
        (pod("o", 42, "Ready"), Failure::Counts),
        (pod("c", 7, "Ready"), Failure::FailsIndex),
        (
            pod("c", 1, "Ready"),
            fails("Container c for pod d/p failed with exit code 1 matching FailJob rule at index 4"),
        ),
        (pod("c", 0, "Ready"), Failure::Counts),
    ];
    for (pod, expected) in cases {
        assert_eq!(policy::of(&policy, &pod), expected, "{pod}");
    }
}

#[test]
fn enough_indexes_are_success_and_end_the_others() {
    let rules = json!({"rules": [{"succeededIndexes": "0,2-3", "succeededCount": 2}, {"succeededCount": 4}]});
    let job_of = json!({"spec": {"successPolicy": rules}});
    let enough =
        |indexes: &[i64]| policy::is_enough(&job_of, &Indexes::default().with(indexes.iter().copied()), 6);
    assert_eq!(enough(&[]), None);
    assert_eq!(enough(&[1, 2]), None);
    assert_eq!(enough(&[0, 3]).as_deref(), Some("Matched rules at index 0"));
    assert_eq!(enough(&[1, 2, 4, 5]).as_deref(), Some("Matched rules at index 1"));

    let mut trial = Trial::new(make, 8);
    let spec =
        json!({"completionMode": "Indexed", "completions": 6, "parallelism": 6, "successPolicy": rules});
    trial.create(JOBS, job("runs", spec));
    trial.settle(Duration::ZERO);
    for index in ["0", "3"] {
        set_phase(&mut trial, index, "Succeeded", 0);
        trial.settle(Duration::ZERO);
    }
    let met = "SuccessPolicy: Matched rules at index 0";
    assert_eq!(conditions(&of(&trial)), [format!("SuccessCriteriaMet {met}"), format!("Complete {met}")]);
    assert!(active(&trial).is_empty());
    assert_eq!(object::int(&of(&trial), &["status", "failed"]), 0);
}

#[test]
fn a_pod_is_replaced_when_it_goes_or_only_when_it_has_ended() {
    for (policy, begun) in [("TerminatingOrFailed", 2), ("Failed", 1)] {
        let mut trial = Trial::new(make, 9);
        trial.create(JOBS, job("runs", json!({"podReplacementPolicy": policy})));
        trial.settle(Duration::ZERO);
        let name = object::name(&trial.all(PODS)[0]).to_owned();
        // Somebody else holds it while it goes.
        trial.change(PODS, "d", &name, |pod| {
            pod["metadata"]["finalizers"] = json!([FINALIZER, "somebody/waits"]);
            pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        });
        trial.step_without_kubelets(Duration::from_secs(60));
        assert_eq!(trial.all(PODS).len(), begun, "{policy}");
    }
}

#[test]
fn pods_of_no_job_are_not_held() {
    let mut trial = Trial::new(make, 10);
    let held = |name: &str, owner: Value| {
        json!({
            "apiVersion": "v1", "kind": "Pod",
            "metadata": {"namespace": "d", "name": name, "finalizers": [FINALIZER], "ownerReferences": owner},
            "spec": {"containers": [{"name": "c"}]},
        })
    };
    let of = |kind: &str, version: &str| json!([{"apiVersion": version, "kind": kind, "name": "gone", "uid": "g", "controller": true}]);
    trial.create(PODS, held("nobody", json!([])));
    trial.create(PODS, held("gone", of("Job", "batch/v1")));
    trial.create(PODS, held("other", of("Other", "x/v1")));
    trial.settle(Duration::ZERO);
    let held: Vec<String> = trial
        .all(PODS)
        .iter()
        .filter(|pod| has_finalizer(pod))
        .map(|pod| object::name(pod).to_owned())
        .collect();
    assert_eq!(held, ["other"]);
}

#[test]
fn a_job_of_another_manager_is_left_alone_and_orphans_are_adopted_and_held() {
    let mut trial = Trial::new(make, 11);
    trial.create(JOBS, job("runs", json!({"managedBy": "somebody/else"})));
    trial.settle(Duration::ZERO);
    assert!(trial.all(PODS).is_empty());

    let mut trial = Trial::new(make, 11);
    trial.create(PODS, json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "d", "name": "orphan", "labels": {"job": "j"}},
        "spec": {"containers": [{"name": "c", "image": "runs"}]},
    }));
    trial.create(JOBS, job("runs", json!({})));
    trial.settle(Duration::ZERO);
    assert_eq!(trial.all(PODS).len(), 1);
    assert!(has_finalizer(&trial.all(PODS)[0]));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any order of news, lost answers, refusals, crashes: each end of a pod counts once, and the Job comes to its end.
    #[test]
    fn every_end_counts_once(
        seed in 1..u64::MAX, completions in 1..8_i64, parallelism in 1..5_i64, indexed in any::<bool>(),
        fails in any::<bool>(), crashes in 0..8_u64, lost in 0..300_u64, refusals in 0..100_u64,
    ) {
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (crashes, lost, refusals);
        let mode = if indexed { "Indexed" } else { "NonIndexed" };
        let image = if fails { "fails" } else { "succeeds" };
        let spec = json!({"completions": completions, "parallelism": parallelism, "completionMode": mode, "backoffLimit": 2});
        trial.create(JOBS, job(image, spec));
        trial.settle(Duration::from_secs(100));
        (trial.crashes, trial.refusals) = (0, 0);
        trial.settle(Duration::from_secs(7200));
        let job = of(&trial);
        let ended = |phase: &str| i64::try_from(trial.all(PODS).iter().filter(|pod| pods::phase(pod) == phase).count()).expect("small");
        let status = |name: &str| object::int(&job, &["status", name]);
        prop_assert_eq!(status("succeeded"), ended("Succeeded"), "{}", job["status"]);
        prop_assert_eq!(status("active"), 0);
        prop_assert_eq!(&job["status"]["uncountedTerminatedPods"], &json!({}));
        prop_assert!(trial.all(PODS).iter().all(|pod| !has_finalizer(pod)));
        if fails {
            prop_assert!(object::condition_is(&job, "Failed", "True"), "{}", job["status"]);
            // Those that were given up at the end have gone and count too.
            prop_assert!(status("failed") >= ended("Failed") && status("failed") > 2, "{}", job["status"]);
        } else {
            prop_assert!(object::condition_is(&job, "Complete", "True"), "{}", job["status"]);
            prop_assert_eq!((status("succeeded"), status("failed")), (completions, 0));
        }
    }
}
