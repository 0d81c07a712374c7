use std::sync::Arc;
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::StatefulSets;
use crate::kinds::{CLAIMS, PODS, REVISIONS, STATEFUL_SETS};
use crate::trial::Trial;
use crate::{Controller, object, pods};

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(StatefulSets)]
}

fn stateful_set(replicas: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"namespace": "d", "name": "db"},
        "spec": {
            "replicas": replicas, "serviceName": "db", "selector": {"matchLabels": {"app": "db"}},
            "podManagementPolicy": "OrderedReady", "revisionHistoryLimit": 2,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}},
            "template": {
                "metadata": {"labels": {"app": "db"}}, "spec": {"containers": [{"name": "c", "image": image}]},
            },
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": {"accessModes": ["ReadWriteOnce"]}}],
            "persistentVolumeClaimRetentionPolicy": {"whenScaled": "Retain", "whenDeleted": "Retain"},
        },
    })
}

fn set_image(trial: &mut Trial, image: &str) {
    trial.change(STATEFUL_SETS, "d", "db", |set| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    });
}

/// Names of the active pods of an image, in their order.
fn named(trial: &Trial, image: &str) -> Vec<String> {
    let of_image = |pod: &&Arc<Value>| pods::is_active(pod) && pod["spec"]["containers"][0]["image"] == image;
    trial.all(PODS).iter().filter(of_image).map(|pod| object::name(pod).to_owned()).collect()
}

fn db(trial: &Trial) -> Arc<Value> {
    trial.get(STATEFUL_SETS, "d", "db").expect("it is there")
}

/// What was told of pods, without the words that are always the same.
fn story(trial: &Trial) -> Vec<String> {
    let told = trial.told.iter().filter_map(|told| {
        let (verb, rest) = told.split_once(' ')?.1.split_once(" Pod ")?;
        (!verb.contains("Claim"))
            .then(|| format!("{verb} {}", rest.split_once(' ').map_or(rest, |(name, _)| name)))
    });
    told.collect()
}

#[test]
fn pods_begin_and_end_one_after_the_other() {
    let mut trial = Trial::new(make, 1);
    trial.create(STATEFUL_SETS, stateful_set(3, "one"));
    trial.settle(Duration::ZERO);
    assert_eq!(named(&trial, "one"), ["db-0", "db-1", "db-2"]);
    assert_eq!(
        trial.told[..2],
        [
            "SuccessfulCreate Create Claim data-db-0 Pod db-0 in StatefulSet db success",
            "SuccessfulCreate Create Pod db-0 in StatefulSet db successful",
        ]
    );
    let pod = trial.get(PODS, "d", "db-1").expect("it is there");
    let revision = trial.all(REVISIONS).remove(0);
    assert_eq!(
        pod["metadata"]["labels"],
        json!({
            "app": "db", "statefulset.kubernetes.io/pod-name": "db-1", "apps.kubernetes.io/pod-index": "1",
            "controller-revision-hash": object::name(&revision),
        })
    );
    assert_eq!((&pod["spec"]["hostname"], &pod["spec"]["subdomain"]), (&json!("db-1"), &json!("db")));
    assert_eq!(
        pod["spec"]["volumes"],
        json!([{"name": "data", "persistentVolumeClaim": {"claimName": "data-db-1"}}])
    );
    let claim = trial.get(CLAIMS, "d", "data-db-1").expect("it is there");
    assert_eq!(claim["metadata"]["labels"], json!({"app": "db"}));
    assert_eq!(
        db(&trial)["status"],
        json!({
            "observedGeneration": 1, "replicas": 3, "readyReplicas": 3, "availableReplicas": 3, "currentReplicas": 3,
            "updatedReplicas": 3, "currentRevision": object::name(&revision), "updateRevision": object::name(&revision),
            "collisionCount": 0,
        })
    );
    trial.change(STATEFUL_SETS, "d", "db", |set| set["spec"]["replicas"] = 1.into());
    trial.settle(Duration::ZERO);
    assert_eq!(named(&trial, "one"), ["db-0"]);
    assert_eq!(story(&trial), ["Create db-0", "Create db-1", "Create db-2", "Delete db-2", "Delete db-1"]);
    assert_eq!(trial.all(CLAIMS).len(), 3, "claims stay");
}

#[test]
fn a_pod_that_never_becomes_ready_holds_up_the_next_unless_all_may_begin_at_once() {
    for (policy, begun) in [("OrderedReady", 1), ("Parallel", 3)] {
        let mut trial = Trial::new(make, 2);
        let mut set = stateful_set(3, "never");
        set["spec"]["podManagementPolicy"] = policy.into();
        trial.create(STATEFUL_SETS, set);
        trial.settle(Duration::from_secs(3600));
        assert_eq!(named(&trial, "never").len(), begun);
        trial.change(STATEFUL_SETS, "d", "db", |set| set["spec"]["replicas"] = 0.into());
        trial.settle(Duration::ZERO);
        assert!(trial.all(PODS).is_empty(), "a broken one ends");
    }
}

#[test]
fn an_update_goes_from_the_highest_number_to_the_partition() {
    let mut trial = Trial::new(make, 3);
    trial.create(STATEFUL_SETS, stateful_set(3, "one"));
    trial.settle(Duration::ZERO);
    trial.change(STATEFUL_SETS, "d", "db", |set| {
        set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 1.into()
    });
    set_image(&mut trial, "two");
    trial.settle(Duration::ZERO);
    assert_eq!(
        (named(&trial, "one"), named(&trial, "two")),
        (vec!["db-0".to_owned()], vec!["db-1".to_owned(), "db-2".to_owned()])
    );
    assert_eq!(story(&trial)[3..], ["Delete db-2", "Create db-2", "Delete db-1", "Create db-1"]);
    let status = db(&trial)["status"].clone();
    assert_eq!((&status["currentReplicas"], &status["updatedReplicas"]), (&json!(1), &json!(2)));
    assert_ne!(status["currentRevision"], status["updateRevision"]);
    // One below the partition comes back as it was.
    trial.delete(PODS, "d", "db-0");
    trial.settle(Duration::ZERO);
    assert_eq!(named(&trial, "one"), ["db-0"]);
    trial.change(STATEFUL_SETS, "d", "db", |set| {
        set["spec"]["updateStrategy"]["rollingUpdate"]["partition"] = 0.into()
    });
    trial.settle(Duration::ZERO);
    assert_eq!(named(&trial, "two").len(), 3);
    let status = db(&trial)["status"].clone();
    assert_eq!(status["currentRevision"], status["updateRevision"]);
    for image in ["three", "four", "five"] {
        set_image(&mut trial, image);
        trial.settle(Duration::ZERO);
    }
    assert_eq!(trial.all(REVISIONS).len(), 3, "two of the past are kept");
}

#[test]
fn several_may_be_updated_at_once_where_the_set_says_so() {
    let mut trial = Trial::new(make, 4);
    let mut set = stateful_set(4, "one");
    set["spec"]["podManagementPolicy"] = "Parallel".into();
    set["spec"]["updateStrategy"]["rollingUpdate"]["maxUnavailable"] = 2.into();
    trial.create(STATEFUL_SETS, set);
    trial.settle(Duration::ZERO);
    set_image(&mut trial, "never");
    trial.settle(Duration::from_secs(60));
    assert_eq!(
        (named(&trial, "one"), named(&trial, "never").len()),
        (vec!["db-0".to_owned(), "db-1".to_owned()], 2)
    );
}

#[test]
fn without_updates_a_pod_is_new_once_the_old_one_is_deleted() {
    let mut trial = Trial::new(make, 5);
    let mut set = stateful_set(1, "one");
    set["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    trial.create(STATEFUL_SETS, set);
    trial.settle(Duration::ZERO);
    set_image(&mut trial, "two");
    trial.settle(Duration::ZERO);
    assert_eq!(named(&trial, "one").len(), 1);
    trial.delete(PODS, "d", "db-0");
    trial.settle(Duration::ZERO);
    assert_eq!(named(&trial, "two").len(), 1);
}

#[test]
fn numbers_begin_where_the_set_says() {
    let mut trial = Trial::new(make, 6);
    let mut set = stateful_set(2, "one");
    set["spec"]["ordinals"] = json!({"start": 5});
    trial.create(STATEFUL_SETS, set);
    trial.settle(Duration::ZERO);
    assert_eq!(named(&trial, "one"), ["db-5", "db-6"]);
    trial.change(STATEFUL_SETS, "d", "db", |set| set["spec"]["ordinals"]["start"] = 6.into());
    trial.settle(Duration::ZERO);
    assert_eq!(named(&trial, "one"), ["db-6", "db-7"]);
}

#[test]
fn a_pod_that_failed_is_made_again_and_ready_counts_only_after_its_seconds() {
    let mut trial = Trial::new(make, 7);
    let mut set = stateful_set(2, "one");
    set["spec"]["minReadySeconds"] = 30.into();
    trial.create(STATEFUL_SETS, set);
    trial.settle(Duration::from_secs(5));
    assert_eq!(named(&trial, "one"), ["db-0"]);
    assert_eq!(db(&trial)["status"]["readyReplicas"], 1);
    assert_eq!(object::int(&db(&trial), &["status", "availableReplicas"]), 0);
    trial.settle(Duration::from_secs(40));
    assert_eq!(named(&trial, "one"), ["db-0", "db-1"]);
    let uid = object::uid(&trial.get(PODS, "d", "db-0").expect("it is there")).to_owned();
    trial.change(PODS, "d", "db-0", |pod| pod["status"]["phase"] = "Failed".into());
    trial.settle(Duration::from_secs(100));
    assert_ne!(object::uid(&trial.get(PODS, "d", "db-0").expect("it is there")), uid);
}

#[test]
fn claims_share_the_end_of_whom_the_policy_says() {
    let owners = |trial: &Trial, claim: &str| {
        let claim = trial.get(CLAIMS, "d", claim).expect("it is there");
        let owners = claim["metadata"]["ownerReferences"].as_array().cloned().unwrap_or_default();
        owners.iter().map(|owner| owner["kind"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    // Scaled, deleted; owners of a claim in use, and of one whose pod is about to be scaled away.
    let cases = [
        ("Retain", "Retain", vec![], vec![]),
        ("Retain", "Delete", vec!["StatefulSet"], vec!["StatefulSet"]),
        ("Delete", "Retain", vec![], vec!["Pod"]),
        ("Delete", "Delete", vec!["StatefulSet"], vec!["Pod"]),
    ];
    for (scaled, deleted, used, surplus) in cases {
        let mut trial = Trial::new(make, 8);
        let mut set = stateful_set(2, "one");
        set["spec"]["persistentVolumeClaimRetentionPolicy"] =
            json!({"whenScaled": scaled, "whenDeleted": deleted});
        trial.create(STATEFUL_SETS, set);
        trial.settle(Duration::ZERO);
        assert_eq!(owners(&trial, "data-db-1"), used, "{scaled} {deleted}");
        trial.change(STATEFUL_SETS, "d", "db", |set| set["spec"]["replicas"] = 1.into());
        trial.settle(Duration::ZERO);
        assert_eq!(owners(&trial, "data-db-1"), surplus, "{scaled} {deleted}");
        assert_eq!(owners(&trial, "data-db-0"), used, "{scaled} {deleted}");
        // A claim that goes with the former pod is waited for.
        trial.change(STATEFUL_SETS, "d", "db", |set| set["spec"]["replicas"] = 2.into());
        trial.settle(Duration::ZERO);
        let begun = trial.get(PODS, "d", "db-1").is_some();
        assert_eq!(begun, scaled == "Retain", "{scaled} {deleted}");
        if scaled == "Delete" {
            trial.delete(CLAIMS, "d", "data-db-1");
            trial.settle(Duration::ZERO);
            assert!(trial.get(PODS, "d", "db-1").is_some());
        }
    }
}

#[test]
fn the_claim_of_somebody_else_is_left_alone_and_one_that_is_going_is_waited_for() {
    let mut trial = Trial::new(make, 9);
    let claim = |name: &str, metadata: Value| {
        let mut claim = json!({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata});
        claim["metadata"]["namespace"] = "d".into();
        claim["metadata"]["name"] = name.into();
        claim
    };
    let other = json!({"apiVersion": "x/v1", "kind": "Other", "name": "o", "uid": "o", "controller": true});
    trial.create(CLAIMS, claim("data-db-0", json!({"ownerReferences": [other]})));
    trial.create(CLAIMS, claim("data-db-1", json!({"finalizers": ["somebody/waits"]})));
    trial.delete(CLAIMS, "d", "data-db-1");
    let mut set = stateful_set(2, "one");
    set["spec"]["persistentVolumeClaimRetentionPolicy"] =
        json!({"whenScaled": "Delete", "whenDeleted": "Delete"});
    trial.create(STATEFUL_SETS, set);
    trial.settle(Duration::ZERO);
    let owners = &trial.get(CLAIMS, "d", "data-db-0").expect("it is there")["metadata"]["ownerReferences"];
    assert_eq!(owners[0]["kind"], "Other");
    assert_eq!(owners[1], Value::Null);
    assert_eq!(named(&trial, "one"), ["db-0"]);
    let failed =
        "FailedCreate Create Pod db-1 in StatefulSet db failed error: pvc data-db-1 is being deleted";
    assert!(trial.told.iter().any(|told| told == failed), "{:?}", trial.told);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any order of news, lost answers, refusals, crashes, updates and sizes at any moment: in the end each number has one pod.
    #[test]
    fn each_number_ends_with_one_pod_of_the_present_template(
        seed in 1..u64::MAX,
        wishes in prop::collection::vec((0..3_usize, 0..5_i64, 0..60_u64), 1..5),
        parallel in any::<bool>(),
        crashes in 0..8_u64, lost in 0..300_u64, refusals in 0..100_u64,
    ) {
        let images = ["one", "two", "three"];
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (crashes, lost, refusals);
        let mut first = stateful_set(2, "one");
        if parallel {
            first["spec"]["podManagementPolicy"] = "Parallel".into();
        }
        trial.create(STATEFUL_SETS, first);
        for (image, replicas, wait) in &wishes {
            trial.change(STATEFUL_SETS, "d", "db", |set| set["spec"]["replicas"] = (*replicas).into());
            set_image(&mut trial, images[*image]);
            trial.settle(Duration::from_secs(*wait));
        }
        (trial.crashes, trial.refusals) = (0, 0);
        set_image(&mut trial, "two");
        trial.settle(Duration::from_secs(7200));
        let replicas = wishes.last().expect("one at least").1;
        let names: Vec<String> = (0..replicas).map(|number| format!("db-{number}")).collect();
        prop_assert_eq!(named(&trial, "two"), names.clone());
        prop_assert_eq!(trial.all(PODS).len(), names.len());
        let status = &db(&trial)["status"];
        prop_assert_eq!(object::int(status, &["availableReplicas"]), replicas);
        prop_assert_eq!(&status["currentRevision"], &status["updateRevision"]);
        prop_assert!(trial.all(REVISIONS).len() <= 3, "of each template one");
    }
}
