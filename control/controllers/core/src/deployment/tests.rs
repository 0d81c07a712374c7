use std::sync::Arc;
use std::time::Duration;

use control_core::edit::text;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::Deployments;
use super::revision::{DESIRED, HASH_LABEL, MAXIMUM, REVISION, ROLLBACK};
use super::sets::Sets;
use super::{rolling, scaling};
use crate::kinds::{DEPLOYMENTS, PODS, REPLICA_SETS};
use crate::replica_set::ReplicaSets;
use crate::trial::Trial;
use crate::{Act, Controller, Write, object, pods};

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(Deployments), Box::new(ReplicaSets::sets())]
}

fn deployment(replicas: i64, image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"namespace": "d", "name": "web"},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": "web"}},
            "revisionHistoryLimit": 2, "progressDeadlineSeconds": 600,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}},
            "template": {
                "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

fn set_image(trial: &mut Trial, image: &str) {
    trial.change(DEPLOYMENTS, "d", "web", |web| {
        web["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    });
}

fn live(trial: &Trial, image: &str) -> usize {
    let all = trial.all(PODS);
    let of_image = |pod: &&Arc<Value>| pod["spec"]["containers"][0]["image"] == image;
    all.iter().filter(|pod| pods::is_active(pod)).filter(of_image).count()
}

fn web(trial: &Trial) -> Arc<Value> {
    trial.get(DEPLOYMENTS, "d", "web").expect("it is there")
}

fn reason(web: &Value, of: &str) -> String {
    let condition = object::condition(web, of).expect("it has this condition");
    format!(
        "{} {}: {}",
        text(condition, &["status"]),
        text(condition, &["reason"]),
        text(condition, &["message"])
    )
}

#[test]
fn a_deployment_rolls_from_one_template_to_the_next_and_numbers_them() {
    let mut trial = Trial::new(make, 3);
    trial.create(DEPLOYMENTS, deployment(4, "one"));
    trial.settle(Duration::ZERO);
    assert_eq!(live(&trial, "one"), 4);
    let sets = trial.all(REPLICA_SETS);
    let first = object::name(&sets[0]).to_owned();
    let hash = object::label(&sets[0], HASH_LABEL).expect("it has a hash");
    assert_eq!(first, format!("web-{hash}"));
    assert_eq!(sets[0]["spec"]["selector"]["matchLabels"][HASH_LABEL], *hash);
    assert_eq!(object::annotation(&sets[0], REVISION), Some("1"));
    assert_eq!(object::annotation(&sets[0], DESIRED), Some("4"));
    assert_eq!(object::annotation(&sets[0], MAXIMUM), Some("5"));
    assert_eq!(trial.told[0], format!("ScalingReplicaSet Scaled up replica set {first} from 0 to 4"));
    let status = web(&trial)["status"].clone();
    assert_eq!(status["updatedReplicas"], 4);
    assert_eq!(status["terminatingReplicas"], 0);
    assert_eq!(status["unavailableReplicas"], Value::Null);
    let done = format!("True NewReplicaSetAvailable: ReplicaSet \"{first}\" has successfully progressed.");
    assert_eq!(reason(&web(&trial), "Progressing"), done);
    let enough = "True MinimumReplicasAvailable: Deployment has minimum availability.";
    assert_eq!(reason(&web(&trial), "Available"), enough);
    assert_eq!(object::annotation(&web(&trial), REVISION), Some("1"));

    set_image(&mut trial, "two");
    trial.settle(Duration::ZERO);
    assert_eq!((live(&trial, "one"), live(&trial, "two")), (0, 4));
    assert_eq!(object::annotation(&web(&trial), REVISION), Some("2"));
    set_image(&mut trial, "one");
    trial.settle(Duration::ZERO);
    assert_eq!((live(&trial, "one"), live(&trial, "two")), (4, 0));
    let first = trial.get(REPLICA_SETS, "d", &first).expect("it is used again");
    assert_eq!(object::annotation(&first, REVISION), Some("3"));
    assert_eq!(object::annotation(&first, "deployment.kubernetes.io/revision-history"), Some("1"));
    assert_eq!(object::annotation(&web(&trial), REVISION), Some("3"));
    for image in ["three", "four", "five"] {
        set_image(&mut trial, image);
        trial.settle(Duration::ZERO);
    }
    assert_eq!(trial.all(REPLICA_SETS).len(), 3, "two of the past are kept");
}

#[test]
fn a_template_that_never_becomes_ready_stops_and_is_said_to_be_late() {
    let mut trial = Trial::new(make, 5);
    trial.create(DEPLOYMENTS, deployment(4, "one"));
    trial.settle(Duration::ZERO);
    set_image(&mut trial, "never");
    trial.settle(Duration::from_secs(300));
    assert_eq!((live(&trial, "one"), live(&trial, "never")), (3, 2));
    assert!(reason(&web(&trial), "Progressing").starts_with("True ReplicaSetUpdated: ReplicaSet \"web-"));
    trial.settle(Duration::from_secs(700));
    assert!(reason(&web(&trial), "Progressing").starts_with("False ProgressDeadlineExceeded: "));
    set_image(&mut trial, "one");
    trial.settle(Duration::ZERO);
    assert_eq!((live(&trial, "one"), live(&trial, "never")), (4, 0));
    assert!(reason(&web(&trial), "Progressing").starts_with("True NewReplicaSetAvailable: "));
}

#[test]
fn recreation_ends_all_old_pods_before_it_begins() {
    let mut trial = Trial::new(make, 7);
    let mut begin = deployment(3, "one");
    begin["spec"]["strategy"] = json!({"type": "Recreate"});
    trial.create(DEPLOYMENTS, begin);
    trial.settle(Duration::ZERO);
    set_image(&mut trial, "two");
    trial.settle(Duration::ZERO);
    assert_eq!((live(&trial, "one"), live(&trial, "two")), (0, 3));
    let order: Vec<&str> =
        trial.told.iter().filter_map(|told| told.strip_prefix("ScalingReplicaSet Scaled ")).collect();
    assert!(order[1].starts_with("down") && order[2].starts_with("up"), "{order:?}");
}

#[test]
fn a_paused_deployment_scales_and_does_not_roll() {
    let mut trial = Trial::new(make, 9);
    trial.create(DEPLOYMENTS, deployment(2, "one"));
    trial.settle(Duration::ZERO);
    trial.change(DEPLOYMENTS, "d", "web", |web| web["spec"]["paused"] = true.into());
    set_image(&mut trial, "two");
    trial.change(DEPLOYMENTS, "d", "web", |web| web["spec"]["replicas"] = 5.into());
    trial.settle(Duration::from_secs(3600));
    assert_eq!((live(&trial, "one"), live(&trial, "two")), (5, 0));
    assert_eq!(reason(&web(&trial), "Progressing"), "Unknown DeploymentPaused: Deployment is paused");
    trial.change(DEPLOYMENTS, "d", "web", |web| web["spec"]["paused"] = false.into());
    trial.settle(Duration::ZERO);
    assert_eq!((live(&trial, "one"), live(&trial, "two")), (0, 5));
}

#[test]
fn a_rollback_request_brings_the_old_template_back_and_is_forgotten() {
    let mut trial = Trial::new(make, 11);
    trial.create(DEPLOYMENTS, deployment(2, "one"));
    trial.settle(Duration::ZERO);
    set_image(&mut trial, "two");
    trial.settle(Duration::ZERO);
    trial.change(DEPLOYMENTS, "d", "web", |web| web["metadata"]["annotations"][ROLLBACK] = "0".into());
    trial.settle(Duration::ZERO);
    assert_eq!((live(&trial, "one"), live(&trial, "two")), (2, 0));
    assert_eq!(object::annotation(&web(&trial), ROLLBACK), None);
    assert!(
        trial.told.contains(&"DeploymentRollback Rolled back deployment \"web\" to revision 1".to_owned())
    );
    trial.change(DEPLOYMENTS, "d", "web", |web| web["metadata"]["annotations"][ROLLBACK] = "9".into());
    trial.settle(Duration::ZERO);
    let failed = "DeploymentRollbackRevisionNotFound Unable to find the revision to rollback to.";
    assert_eq!(trial.told.last().map(String::as_str), Some(failed));
    assert_eq!(object::annotation(&web(&trial), ROLLBACK), None);
}

#[test]
fn a_set_of_the_same_template_is_adopted_and_one_of_the_same_name_is_avoided() {
    let mut trial = Trial::new(make, 13);
    trial.create(DEPLOYMENTS, deployment(2, "one"));
    trial.settle(Duration::ZERO);
    let set = trial.all(REPLICA_SETS).remove(0);
    // Somebody else's, with the name that the next one would have.
    let mut other = Value::clone(&set);
    other["metadata"]["labels"] = json!({"of": "somebody"});
    other["spec"]["selector"] = json!({"matchLabels": {"of": "somebody"}});
    other["spec"]["template"]["metadata"]["labels"] = json!({"of": "somebody"});
    other["spec"]["replicas"] = 0.into();
    other["metadata"] = json!({"namespace": "d", "name": set["metadata"]["name"]});
    let mut trial = Trial::new(make, 13);
    trial.create(REPLICA_SETS, other);
    trial.create(DEPLOYMENTS, deployment(2, "one"));
    trial.settle(Duration::from_secs(60));
    assert_eq!(web(&trial)["status"]["collisionCount"], 1);
    assert_eq!(live(&trial, "one"), 2);

    let mut trial = Trial::new(make, 13);
    let mut orphan = Value::clone(&set);
    orphan["metadata"] = json!({"namespace": "d", "name": "anything", "labels": set["metadata"]["labels"]});
    trial.create(REPLICA_SETS, orphan);
    trial.create(DEPLOYMENTS, deployment(2, "one"));
    trial.settle(Duration::ZERO);
    let sets = trial.all(REPLICA_SETS);
    assert_eq!(sets.len(), 1);
    assert_eq!(object::controller_uid(&sets[0]), Some(object::uid(&web(&trial))));
    assert_eq!(object::annotation(&sets[0], REVISION), Some("1"));
}

fn a_set(name: &str, replicas: i64, available: i64, noted: (i64, i64), image: &str) -> Arc<Value> {
    Arc::new(json!({
        "metadata": {
            "name": name, "creationTimestamp": format!("2026-01-01T00:00:0{}Z", name.len()),
            "annotations": {DESIRED: noted.0.to_string(), MAXIMUM: noted.1.to_string()},
        },
        "spec": {"replicas": replicas, "template": deployment(0, image)["spec"]["template"]},
        "status": {"availableReplicas": available},
    }))
}

/// What becomes of sets, by their names.
fn sizes(acts: &[Act]) -> Vec<(String, i64)> {
    let size = |act: &Act| match &act.write {
        Write::Update { object, .. } => {
            (object::name(object).to_owned(), object::int(object, &["spec", "replicas"]))
        }
        other => panic!("no other write: {other:?}"),
    };
    acts.iter().map(size).collect()
}

#[test]
fn a_step_of_a_roll_out_keeps_surge_and_availability() {
    // Wanted, surge, unavailable; old and new sets as (replicas, available); sizes after the step.
    let cases = [
        ((10, json!(3), json!(2)), (10, 10), (0, 0), vec![("new", 3)]),
        ((10, json!(3), json!(2)), (10, 10), (3, 0), vec![("o", 8)]),
        ((10, json!(3), json!(2)), (8, 8), (5, 0), vec![]),
        ((10, json!(3), json!(2)), (8, 8), (5, 4), vec![("o", 4)]),
        ((10, json!(3), json!(2)), (8, 5), (5, 0), vec![]),
        ((10, json!(0), json!(1)), (10, 10), (0, 0), vec![("o", 9)]),
        ((10, json!(0), json!(1)), (9, 9), (0, 0), vec![("new", 1)]),
        ((2, json!("1%"), json!("1%")), (2, 2), (0, 0), vec![("new", 1)]),
        ((2, json!(0), json!("1%")), (2, 2), (0, 0), vec![("o", 1)]),
        ((4, json!(1), json!(1)), (4, 1), (1, 0), vec![("o", 3)]),
        ((4, json!(1), json!(1)), (0, 0), (6, 6), vec![("new", 4)]),
    ];
    for ((wanted, surge, unavailable), old, new, expected) in cases {
        let mut web = deployment(wanted, "new");
        web["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": surge, "maxUnavailable": unavailable});
        let web = Arc::new(web);
        let sets = vec![
            a_set("o", old.0, old.1, (wanted, wanted), "old"),
            a_set("new", new.0, new.1, (wanted, wanted), "new"),
        ];
        let acts = rolling::roll(&Sets::of(&web, sets));
        let expected: Vec<(String, i64)> =
            expected.into_iter().map(|(name, size)| (name.to_owned(), size)).collect();
        assert_eq!(sizes(&acts), expected, "{wanted} {old:?} {new:?}");
    }
}

#[test]
fn sets_scale_in_proportion_and_what_is_left_goes_to_the_largest() {
    // Wanted, the sets as (name, replicas), what they noted, sizes afterwards; surge is 0.
    let cases = [
        (12, vec![("new", 5), ("o", 5)], (10, 10), vec![("o", 6), ("new", 6)]),
        (11, vec![("new", 5), ("o", 5)], (10, 10), vec![("new", 6)]),
        (9, vec![("new", 5), ("o", 5)], (10, 10), vec![("o", 4)]),
        (0, vec![("new", 7), ("o", 3)], (10, 10), vec![("new", 0), ("o", 0)]),
        (20, vec![("new", 8), ("o", 2)], (10, 10), vec![("new", 16), ("o", 4)]),
        (15, vec![("new", 0), ("o", 10)], (10, 10), vec![("o", 15)]),
    ];
    for (wanted, all, noted, expected) in cases {
        let mut web = deployment(wanted, "new");
        web["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 0, "maxUnavailable": 1});
        let web = Arc::new(web);
        let image = |name: &str| if name == "new" { "new" } else { "old" };
        let sets: Vec<_> =
            all.iter().map(|(name, size)| a_set(name, *size, *size, noted, image(name))).collect();
        let sets = Sets::of(&web, sets);
        assert!(scaling::is_due(&sets));
        let mut scaled = sizes(&scaling::scale(&sets));
        scaled.retain(|(name, size)| !all.contains(&(name, *size)));
        let mut expected: Vec<(String, i64)> =
            expected.into_iter().map(|(name, size)| (name.to_owned(), size)).collect();
        scaled.sort();
        expected.sort();
        assert_eq!(scaled, expected, "{wanted} {all:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any order of news, lost answers, refusals, crashes, and another wish at any moment: the end is what was asked for last.
    #[test]
    fn a_deployment_ends_as_it_was_asked_to(
        seed in 1..u64::MAX,
        wishes in prop::collection::vec((0..7_i64, 0..3_usize, 0..60_u64), 1..5),
        recreate in any::<bool>(),
        crashes in 0..8_u64, lost in 0..300_u64, refusals in 0..100_u64,
    ) {
        let images = ["one", "two", "never"];
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (crashes, lost, refusals);
        let mut first = deployment(3, "one");
        if recreate {
            first["spec"]["strategy"] = json!({"type": "Recreate"});
        }
        trial.create(DEPLOYMENTS, first);
        for (replicas, image, wait) in &wishes {
            trial.change(DEPLOYMENTS, "d", "web", |web| web["spec"]["replicas"] = (*replicas).into());
            set_image(&mut trial, images[*image]);
            trial.settle(Duration::from_secs(*wait));
        }
        (trial.crashes, trial.refusals) = (0, 0);
        let replicas = wishes.last().expect("one at least").0;
        set_image(&mut trial, "two");
        trial.settle(Duration::from_secs(7200));
        prop_assert_eq!(live(&trial, "two"), usize::try_from(replicas).expect("small"));
        prop_assert_eq!(live(&trial, "one") + live(&trial, "never"), 0);
        let web = web(&trial);
        prop_assert_eq!(object::int(&web, &["status", "availableReplicas"]), replicas);
        prop_assert!(reason(&web, "Progressing").starts_with("True NewReplicaSetAvailable"), "{}", web["status"]);
        let sets = trial.all(REPLICA_SETS);
        prop_assert!(sets.len() <= 3, "of each template one");
    }
}
