use std::sync::Arc;
use std::time::{Duration, SystemTime};

use apiclient_core::time;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::nodes::{Fit, Needs};
use super::placement::Placement;
use super::template::{HASH_LABEL, tolerations};
use super::{DaemonSets, update};
use crate::kinds::{DAEMON_SETS, NODES, PODS, REVISIONS};
use crate::trial::Trial;
use crate::{Controller, object, pods};

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(DaemonSets)]
}

fn daemon_set(image: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "DaemonSet", "metadata": {"namespace": "d", "name": "agent"},
        "spec": {
            "selector": {"matchLabels": {"app": "agent"}}, "revisionHistoryLimit": 2,
            "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 1}},
            "template": {
                "metadata": {"labels": {"app": "agent"}}, "spec": {"containers": [{"name": "c", "image": image}]},
            },
        },
    })
}

fn node(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"name": name}}, "spec": {}})
}

fn set_image(trial: &mut Trial, image: &str) {
    trial.change(DAEMON_SETS, "d", "agent", |set| {
        set["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
    });
}

/// Nodes of the active pods of an image.
fn nodes_of(trial: &Trial, image: &str) -> Vec<String> {
    let all = trial.all(PODS);
    let of_image = |pod: &&Arc<Value>| pods::is_active(pod) && pod["spec"]["containers"][0]["image"] == image;
    let mut nodes: Vec<String> = all.iter().filter(of_image).map(|pod| pods::node(pod).to_owned()).collect();
    nodes.sort();
    nodes
}

fn agent(trial: &Trial) -> Arc<Value> {
    trial.get(DAEMON_SETS, "d", "agent").expect("it is there")
}

#[test]
fn a_node_suits_by_its_name_labels_and_taints() {
    let suits = Fit { begins: true, stays: true };
    let never = Fit { begins: false, stays: false };
    let stays = Fit { begins: false, stays: true };
    let affinity = |term: Value| {
        json!({"affinity": {"nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": [term]},
        }}})
    };
    let expression = |operator: &str, values: Value| {
        affinity(json!({"matchExpressions": [{"key": "cpus", "operator": operator, "values": values}]}))
    };
    let taint = |key: &str, effect: &str| json!([{"key": key, "value": "v", "effect": effect}]);
    let cases = [
        (json!({}), json!([]), suits),
        (json!({"nodeName": "other"}), json!([]), never),
        (json!({"nodeSelector": {"cpus": "8"}}), json!([]), suits),
        (json!({"nodeSelector": {"cpus": "9"}}), json!([]), never),
        (expression("In", json!(["7", "8"])), json!([]), suits),
        (expression("NotIn", json!(["8"])), json!([]), never),
        (expression("Exists", json!(null)), json!([]), suits),
        (expression("DoesNotExist", json!(null)), json!([]), never),
        (expression("Gt", json!(["7"])), json!([]), suits),
        (expression("Lt", json!(["7"])), json!([]), never),
        (affinity(json!({})), json!([]), never),
        (
            affinity(json!({"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["n"]}]})),
            json!([]),
            suits,
        ),
        (
            affinity(
                json!({"matchFields": [{"key": "metadata.name", "operator": "NotIn", "values": ["n"]}]}),
            ),
            json!([]),
            never,
        ),
        (json!({}), taint("k", "NoSchedule"), stays),
        (json!({}), taint("k", "PreferNoSchedule"), suits),
        (json!({}), taint("k", "NoExecute"), never),
        (json!({"tolerations": [{"operator": "Exists"}]}), taint("k", "NoExecute"), suits),
        (
            json!({"tolerations": [{"key": "k", "operator": "Equal", "value": "v"}]}),
            taint("k", "NoExecute"),
            suits,
        ),
        (json!({"tolerations": [{"key": "k", "value": "w"}]}), taint("k", "NoExecute"), never),
        (
            json!({"tolerations": [{"key": "k", "value": "v", "effect": "NoSchedule"}]}),
            taint("k", "NoExecute"),
            never,
        ),
        (json!({}), taint("node.kubernetes.io/unreachable", "NoExecute"), suits),
        (json!({}), taint("node.kubernetes.io/unschedulable", "NoSchedule"), suits),
        (json!({}), taint("node.kubernetes.io/network-unavailable", "NoSchedule"), stays),
        (json!({"hostNetwork": true}), taint("node.kubernetes.io/network-unavailable", "NoSchedule"), suits),
    ];
    for (spec, taints, expected) in cases {
        let mut node = node("n");
        node["metadata"]["labels"]["cpus"] = "8".into();
        node["spec"]["taints"] = taints.clone();
        let set = json!({"spec": {"template": {"spec": spec}}});
        assert_eq!(Needs::of(&set).fit(&node), expected, "{spec} {taints}");
    }
}

#[test]
fn tolerations_are_added_once() {
    let own = json!({"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 5});
    let all = tolerations(&json!({"tolerations": [own, {"key": "mine"}]}));
    assert_eq!(all.len(), 7);
    assert_eq!(all[0]["tolerationSeconds"], Value::Null, "it stays as long as the node is not ready");
    assert_eq!(all[1]["key"], "mine");
}

#[test]
fn every_node_gets_a_pod_and_a_new_one_too() {
    let mut trial = Trial::new(make, 1);
    trial.create(NODES, node("a"));
    trial.create(NODES, node("b"));
    trial.create(DAEMON_SETS, daemon_set("one"));
    trial.settle(Duration::ZERO);
    assert_eq!(nodes_of(&trial, "one"), ["a", "b"]);
    trial.create(NODES, node("c"));
    trial.settle(Duration::ZERO);
    assert_eq!(nodes_of(&trial, "one"), ["a", "b", "c"]);
    let revision = trial.all(REVISIONS).remove(0);
    assert_eq!(revision["data"]["spec"]["template"]["$patch"], "replace");
    assert_eq!(revision["revision"], 1);
    let pod = trial.all(PODS).remove(0);
    assert_eq!(object::label(&pod, HASH_LABEL), object::label(&revision, HASH_LABEL));
    assert_eq!(
        agent(&trial)["status"],
        json!({
            "desiredNumberScheduled": 3, "currentNumberScheduled": 3, "numberMisscheduled": 0, "numberReady": 3,
            "updatedNumberScheduled": 3, "numberAvailable": 3, "numberUnavailable": 0, "observedGeneration": 1,
        })
    );
    trial
        .change(NODES, "", "a", |node| node["spec"]["taints"] = json!([{"key": "k", "effect": "NoExecute"}]));
    trial.change(NODES, "", "b", |node| {
        node["spec"]["taints"] = json!([{"key": "k", "effect": "NoSchedule"}])
    });
    trial.settle(Duration::ZERO);
    assert_eq!(nodes_of(&trial, "one"), ["b", "c"]);
    assert_eq!(agent(&trial)["status"]["numberMisscheduled"], 1);
}

#[test]
fn an_update_goes_node_by_node_and_the_past_is_kept_as_long_as_asked() {
    for surge in [0, 1] {
        let mut trial = Trial::new(make, 2);
        for name in ["a", "b", "c"] {
            trial.create(NODES, node(name));
        }
        let mut first = daemon_set("one");
        first["spec"]["updateStrategy"]["rollingUpdate"] =
            json!({"maxSurge": surge, "maxUnavailable": 1 - surge});
        trial.create(DAEMON_SETS, first);
        trial.settle(Duration::ZERO);
        for image in ["two", "three", "four", "five"] {
            set_image(&mut trial, image);
            trial.settle(Duration::ZERO);
            assert_eq!(nodes_of(&trial, image), ["a", "b", "c"]);
        }
        assert_eq!(trial.all(PODS).len(), 3);
        let mut numbers: Vec<i64> =
            trial.all(REVISIONS).iter().map(|revision| object::int(revision, &["revision"])).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, [3, 4, 5]);
        set_image(&mut trial, "three");
        trial.settle(Duration::ZERO);
        let back =
            trial.all(REVISIONS).into_iter().max_by_key(|revision| object::int(revision, &["revision"]));
        let back = back.expect("there are some");
        assert_eq!(back["revision"], 6);
        assert_eq!(back["data"]["spec"]["template"]["spec"]["containers"][0]["image"], "three");
        // A template that never becomes ready takes one node and no more.
        set_image(&mut trial, "never");
        trial.settle(Duration::from_secs(600));
        assert_eq!(nodes_of(&trial, "never").len(), 1);
        assert_eq!(nodes_of(&trial, "three").len(), if surge == 1 { 3 } else { 2 });
    }
}

#[test]
fn without_updates_a_pod_is_new_once_the_old_one_is_deleted() {
    let mut trial = Trial::new(make, 3);
    trial.create(NODES, node("a"));
    let mut first = daemon_set("one");
    first["spec"]["updateStrategy"] = json!({"type": "OnDelete"});
    trial.create(DAEMON_SETS, first);
    trial.settle(Duration::ZERO);
    set_image(&mut trial, "two");
    trial.settle(Duration::ZERO);
    assert_eq!((nodes_of(&trial, "one").len(), nodes_of(&trial, "two").len()), (1, 0));
    let pod = object::name(&trial.all(PODS)[0]).to_owned();
    trial.delete(PODS, "d", &pod);
    trial.settle(Duration::ZERO);
    assert_eq!((nodes_of(&trial, "one").len(), nodes_of(&trial, "two").len()), (0, 1));
}

#[test]
fn a_pod_that_fails_is_replaced_ever_more_slowly() {
    let mut trial = Trial::new(make, 4);
    trial.create(NODES, node("a"));
    trial.create(DAEMON_SETS, daemon_set("fails"));
    let mut told = Vec::new();
    for _ in 0..4 {
        trial.settle(Duration::from_secs(3600));
        told.push(
            trial
                .told
                .iter()
                .filter(|told| told.starts_with("FailedDaemonPod Found failed daemon pod d/agent-"))
                .count(),
        );
    }
    assert!(told[0] > 20 && told[3] - told[2] < 8, "{told:?}");
}

#[test]
fn a_step_of_an_update_keeps_its_limits() {
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1000);
    let pod = |node: usize, new: bool, ready: bool| {
        let status = if ready { "True" } else { "False" };
        Arc::new(json!({
            "metadata": {
                "name": format!("p{node}{new}"), "labels": {HASH_LABEL: if new { "new" } else { "old" }},
                "creationTimestamp": time::seconds(now),
            },
            "spec": {"nodeName": format!("n{node}")},
            "status": {"phase": "Running", "conditions": [
                {"type": "Ready", "status": status, "lastTransitionTime": time::seconds(now)},
            ]},
        }))
    };
    // Surge, unavailable; pods as (node, new, ready); nodes that begin, pods that end.
    let cases = [
        ((0, 1), vec![(0, false, true), (1, false, true)], 0, vec!["p0false"]),
        ((0, 2), vec![(0, false, true), (1, false, true)], 0, vec!["p0false", "p1false"]),
        ((0, 1), vec![(0, true, false), (1, false, true)], 0, vec![]),
        ((0, 1), vec![(0, true, true), (1, false, true)], 0, vec!["p1false"]),
        ((0, 1), vec![(0, false, false), (1, false, true)], 0, vec!["p0false"]),
        ((1, 0), vec![(0, false, true), (1, false, true)], 1, vec![]),
        ((1, 0), vec![(0, false, true), (0, true, false), (1, false, true)], 0, vec![]),
        ((1, 0), vec![(0, false, true), (0, true, true), (1, false, true)], 1, vec!["p0false"]),
        ((1, 0), vec![(0, false, false), (1, false, true)], 2, vec![]),
        ((0, 0), vec![(0, false, true), (1, false, true)], 0, vec!["p0false"]),
    ];
    let revision = json!({"metadata": {"labels": {HASH_LABEL: "new"}}});
    let nodes: Vec<Arc<Value>> = ["n0", "n1"].iter().map(|name| Arc::new(node(name))).collect();
    for ((surge, unavailable), all, begin, end) in cases {
        let mut set = daemon_set("one");
        set["spec"]["updateStrategy"]["rollingUpdate"] =
            json!({"maxSurge": surge, "maxUnavailable": unavailable});
        let set = Arc::new(set);
        let pods: Vec<Arc<Value>> = all.iter().map(|(node, new, ready)| pod(*node, *new, *ready)).collect();
        let placement = Placement::of(&set, &revision, nodes.iter(), &pods, now);
        let step = update::step(&placement);
        let ended: Vec<&str> = step.end.iter().map(|pod| object::name(pod)).collect();
        assert_eq!((step.begin.len(), ended), (begin, end), "{surge} {unavailable} {all:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Any order of news, lost answers, refusals, crashes, updates and nodes at any moment: in the end each node has one pod.
    #[test]
    fn each_node_ends_with_one_pod_of_the_present_template(
        seed in 1..u64::MAX,
        wishes in prop::collection::vec((0..3_usize, 0..4_usize, 0..60_u64), 1..5),
        surge in 0..2_i64,
        crashes in 0..8_u64, lost in 0..300_u64, refusals in 0..100_u64,
    ) {
        let images = ["one", "two", "never"];
        let mut trial = Trial::new(make, seed);
        (trial.crashes, trial.lost, trial.refusals) = (crashes, lost, refusals);
        let mut first = daemon_set("one");
        first["spec"]["updateStrategy"]["rollingUpdate"] = json!({"maxSurge": surge, "maxUnavailable": 1 - surge});
        trial.create(DAEMON_SETS, first);
        let mut nodes = std::collections::BTreeSet::new();
        for (image, place, wait) in &wishes {
            let name = format!("n{place}");
            if nodes.insert(name.clone()) {
                trial.create(NODES, node(&name));
            }
            set_image(&mut trial, images[*image]);
            trial.settle(Duration::from_secs(*wait));
        }
        (trial.crashes, trial.refusals) = (0, 0);
        set_image(&mut trial, "two");
        trial.settle(Duration::from_secs(7200));
        let nodes: Vec<String> = nodes.into_iter().collect();
        prop_assert_eq!(nodes_of(&trial, "two"), nodes.clone());
        prop_assert_eq!(trial.all(PODS).len(), nodes.len());
        let status = &agent(&trial)["status"];
        prop_assert_eq!(object::int(status, &["numberAvailable"]), i64::try_from(nodes.len()).expect("small"));
        prop_assert!(trial.all(REVISIONS).len() <= 3, "of each template one");
    }
}
