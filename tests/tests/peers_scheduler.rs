//! `weft scheduler` on a real kube-apiserver: every pod gets a node, no node gets more than it has, also where the scheduler is
//! killed at any moment; and it leaves when it is told to.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use std::collections::BTreeMap;
use std::time::Instant;

use host::programs::Signal;
use serde_json::{Value, json};
use tests::scheduler::{Cluster, LIMIT, kill, node, pod, text, verdict};
use tests::wait::until_explained;

const NODES: u64 = 100;
const PODS: u64 = 1000;

/// 100 nodes with room for ten such pods each.
fn fill(cluster: &Cluster) {
    for nth in 0..NODES {
        cluster.node(&node(&format!("n{nth}"), &format!("z{}", nth % 3), 1000, 4, 110));
    }
    for nth in 0..PODS {
        cluster.pod(&pod(&format!("p{nth}"), 100, 64));
    }
}

fn pods(cluster: &Cluster) -> Vec<Value> {
    cluster.list("/api/v1/namespaces/default/pods")
}

fn bound(cluster: &Cluster) -> usize {
    pods(cluster).iter().filter(|pod| matches!(verdict(pod), Some(Ok(_)))).count()
}

/// Pods by node.
fn by_node(cluster: &Cluster) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for pod in pods(cluster) {
        let node = pod["spec"]["nodeName"].as_str().unwrap_or_default().to_owned();
        *counts.entry(node).or_default() += 1;
    }
    counts
}

#[test]
fn a_thousand_pods_fill_a_hundred_nodes_and_no_node_has_too_many() {
    let cluster = Cluster::new();
    fill(&cluster);
    let began = Instant::now();
    let scheduler = cluster.ours(&[]);
    until_explained(
        "all pods to be bound",
        LIMIT,
        || (bound(&cluster) == 1000).then_some(()),
        || format!("{} are\n{}", bound(&cluster), scheduler.daemon().log_tail(30)),
    );
    println!("{PODS} pods in {:?}", began.elapsed());
    let counts = by_node(&cluster);
    assert_eq!(counts.len(), 100);
    assert!(counts.values().all(|count| *count == 10), "{counts:?}");
    // It says so, and one more finds no place.
    cluster.pod(&pod("more", 100, 64));
    let told = cluster.verdict("more", &scheduler).expect_err("no place");
    let help = "no new claims to deallocate, preemption: 0/100 nodes are available: 100 No preemption victims found for \
                incoming pod.";
    assert_eq!(told, format!("0/100 nodes are available: 100 Insufficient cpu. {help}"));
    let event = |reason: &str| {
        let path = "/apis/events.k8s.io/v1/namespaces/default/events";
        let all = cluster.list(path);
        all.into_iter().find(|event| event["reason"] == reason && event["regarding"]["name"] == "more")
    };
    let failed = tests::wait::until("its event", || event("FailedScheduling"));
    assert_eq!((failed["note"].as_str(), &failed["type"]), (Some(told.as_str()), &json!("Warning")));
    // A place becomes free: it is taken at once.
    cluster.delete_pod("p0");
    let place = tests::wait::until("its place", || verdict(&cluster.get_pod("more"))?.ok());
    let scheduled = tests::wait::until("its event", || event("Scheduled"));
    let note = format!("Successfully assigned default/more to {place}");
    assert_eq!((scheduled["note"].as_str(), &scheduled["type"]), (Some(note.as_str()), &json!("Normal")));
    scheduler.stop(Signal::SIGTERM).unwrap_or_else(|error| panic!("{error}"));
    let status = scheduler.daemon().exit().expect("it has ended");
    assert!(status.success(), "{status}");
}

#[test]
fn a_scheduler_that_is_killed_again_and_again_binds_each_pod_once() {
    let cluster = Cluster::new();
    fill(&cluster);
    let mut most = 0;
    for nth in 1..=5 {
        let scheduler = cluster.ours(&[]);
        let enough = most + 120;
        most = until_explained(
            "some more to be bound",
            LIMIT,
            || Some(bound(&cluster)).filter(|count| *count >= enough.min(1000)),
            || format!("{} are\n{}", bound(&cluster), scheduler.daemon().log_tail(30)),
        );
        kill(&scheduler);
        println!("{nth}: killed with {most} bound");
    }
    let scheduler = cluster.ours(&[]);
    until_explained(
        "all pods to be bound",
        LIMIT,
        || (bound(&cluster) == 1000).then_some(()),
        || format!("{} are\n{}", bound(&cluster), scheduler.daemon().log_tail(30)),
    );
    let counts = by_node(&cluster);
    assert!(counts.len() == 100 && counts.values().all(|count| *count == 10), "{counts:?}");
}

#[test]
fn a_more_urgent_pod_gets_the_place_of_another() {
    let cluster = Cluster::new();
    cluster.node(&node("n1", "z1", 1000, 4, 110));
    for (name, value) in [("low", 1), ("high", 1000)] {
        let class = json!({"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": {"name": name}, "value": value});
        cluster.make("/apis/scheduling.k8s.io/v1/priorityclasses", &class);
    }
    let scheduler = cluster.ours(&[]);
    let of = |class: &str, name: &str| {
        let mut pod = pod(name, 800, 64);
        pod["spec"]["priorityClassName"] = json!(class);
        pod
    };
    cluster.pod(&of("low", "victim"));
    assert_eq!(cluster.verdict("victim", &scheduler), Ok("n1".to_owned()));
    cluster.pod(&of("high", "urgent"));
    let node = tests::wait::until("its place", || verdict(&cluster.get_pod("urgent"))?.ok());
    assert_eq!(node, "n1");
    assert!(pods(&cluster).iter().all(|pod| text(pod, "name") != "victim"));
    // Written by the side: the pod may have its place first.
    let preempted = tests::wait::until("an event", || {
        let events = cluster.list("/apis/events.k8s.io/v1/namespaces/default/events");
        events.into_iter().find(|event| event["reason"] == "Preempted")
    });
    assert_eq!(preempted["regarding"]["name"], "victim");
    assert_eq!(preempted["related"]["name"], "urgent");
}
