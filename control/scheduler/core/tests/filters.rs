//! Which nodes a pod may go to, and what it is told where there is none.

mod support;

use control_scheduler_core::state::Kind;
use serde_json::{Value, json};
use support::{Told, at, node, on, pod, state, with};

/// The message about a pod that none of the nodes takes.
fn told(nodes: &[Value], pods: &[Value], wanted: Value) -> String {
    let mut state = state();
    state.nodes(nodes);
    state.pods(pods);
    state.tell(Kind::Pod, &wanted, at(0));
    state.fails(at(1)).message
}

fn beside(field: &str, key: &str) -> Value {
    json!({"spec": {"affinity": {field: {"requiredDuringSchedulingIgnoredDuringExecution": [
        {"topologyKey": key, "labelSelector": {"matchLabels": {"app": "a"}}}]}}}})
}

#[test]
fn each_refusal_has_the_originals_words() {
    let help = "no new claims to deallocate, preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling.";
    let victims = "no new claims to deallocate, preemption: 0/1 nodes are available: 1 No preemption victims found for incoming pod.";
    let one = || node("n1", "z1");
    for (node, pod, why, what) in [
        (
            with(one(), json!({"spec": {"unschedulable": true}})),
            pod("p", 1),
            "node(s) were unschedulable",
            help,
        ),
        (
            with(one(), json!({"spec": {"taints": [{"key": "k", "effect": "NoSchedule"}]}})),
            pod("p", 1),
            "node(s) had untolerated taint(s)",
            help,
        ),
        (
            one(),
            with(pod("p", 1), json!({"spec": {"nodeSelector": {"disk": "ssd"}}})),
            "node(s) didn't match Pod's node affinity/selector",
            help,
        ),
        (one(), pod("p", 5000), "Insufficient cpu", help),
        (
            one(),
            with(pod("p", 1), beside("podAffinity", "topology.kubernetes.io/none")),
            "node(s) didn't match pod affinity rules",
            help,
        ),
        (
            one(),
            with(
                pod("p", 1),
                json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1, "topologyKey": "rack",
                    "whenUnsatisfiable": "DoNotSchedule", "labelSelector": {}}]}}),
            ),
            "node(s) didn't match pod topology spread constraints (missing required label)",
            help,
        ),
        (
            with(one(), json!({"status": {"allocatable": {"pods": "0"}}})),
            pod("p", 1),
            "Too many pods",
            victims,
        ),
    ] {
        assert_eq!(told(&[node], &[], pod), format!("0/1 nodes are available: 1 {why}. {what}"));
    }
}

#[test]
fn reasons_are_counted_and_sorted() {
    let tainted = with(node("n3", "z1"), json!({"spec": {"taints": [{"key": "k", "effect": "NoExecute"}]}}));
    let full = with(node("n4", "z1"), json!({"status": {"allocatable": {"pods": "0", "cpu": "1"}}}));
    let nodes = [node("n1", "z1"), node("n2", "z2"), tainted, full];
    let message = told(&nodes, &[], pod("p", 4001));
    assert_eq!(
        message,
        "0/4 nodes are available: 1 Too many pods, 1 node(s) had untolerated taint(s), 3 Insufficient cpu. \
         no new claims to deallocate, preemption: 0/4 nodes are available: 4 Preemption is not helpful for scheduling."
    );
}

#[test]
fn nodes_that_a_pod_does_not_name_are_left_out() {
    let wanted = with(
        pod("p", 5000),
        json!({"spec": {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {
            "nodeSelectorTerms": [{"matchFields": [
                {"key": "metadata.name", "operator": "In", "values": ["n2"]}]}]}}}}}),
    );
    let nodes = [node("n1", "z1"), node("n2", "z2"), node("n3", "z2")];
    assert_eq!(
        told(&nodes, &[], wanted),
        "0/3 nodes are available: 1 Insufficient cpu, 2 node(s) didn't satisfy plugin(s) [NodeAffinity]. \
         no new claims to deallocate, preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
    );
}

#[test]
fn a_pod_with_resource_claims_is_refused_and_told_why() {
    let wanted =
        with(pod("p", 1), json!({"spec": {"resourceClaims": [{"name": "r", "resourceClaimName": "c"}]}}));
    let message = told(&[node("n1", "z1")], &[], wanted);
    assert!(message.starts_with("0/1 nodes are available: this scheduler allocates no resource claims"));
}

#[test]
fn without_nodes_nothing_is_available() {
    assert_eq!(told(&[], &[], pod("p", 1)), "no nodes available to schedule pods");
}

#[test]
fn ports_of_the_host_are_taken_once() {
    let port = |name: &str, ip: &str| {
        with(
            pod(name, 1),
            json!({"spec": {"containers": [{"name": "c", "ports": [{"hostPort": 80, "hostIP": ip}]}]}}),
        )
    };
    for (taken, wanted, collides) in [
        ("", "10.0.0.1", true),
        ("10.0.0.1", "10.0.0.1", true),
        ("10.0.0.2", "10.0.0.1", false),
        ("10.0.0.1", "0.0.0.0", true),
    ] {
        let mut state = state();
        state.nodes(&[node("n1", "z1")]);
        state.pods(&[on("n1", port("there", taken)), port("p", wanted)]);
        if collides {
            let message = state.fails(at(1)).message;
            assert!(message.contains("1 node(s) didn't have free ports"), "{taken} {wanted}: {message}");
        } else {
            assert_eq!(&*state.binds(at(1)).node, "n1");
        }
    }
}

#[test]
fn pods_keep_near_and_away() {
    let nodes = [node("n1", "z1"), node("n2", "z2")];
    let zone = "topology.kubernetes.io/zone";
    let mut state = state();
    state.nodes(&nodes);
    // The first of its kind may go anywhere; the next ones follow.
    state.pods(&[with(pod("a", 1), beside("podAffinity", zone))]);
    let first = state.binds(at(1)).node;
    for name in ["b", "c"] {
        state.tell(Kind::Pod, &with(pod(name, 1), beside("podAffinity", zone)), at(1));
        assert_eq!(state.binds(at(1)).node, first);
    }
    // One that shuns them goes elsewhere, and keeps the others away from there.
    state.tell(Kind::Pod, &with(pod("d", 1), beside("podAntiAffinity", zone)), at(1));
    assert_ne!(state.binds(at(1)).node, first);
    state.tell(Kind::Pod, &with(pod("e", 1), beside("podAntiAffinity", zone)), at(1));
    let message = state.fails(at(1)).message;
    assert!(message.starts_with("0/2 nodes are available: 2 node(s) didn't match pod anti-affinity rules."));
    state.tell(Kind::Pod, &pod("f", 1), at(1));
    assert_eq!(state.binds(at(1)).node, first);
    let selected = json!({"spec": {"nodeSelector": {zone: if &*first == "n1" { "z2" } else { "z1" }}}});
    state.tell(Kind::Pod, &with(pod("g", 1), selected), at(1));
    let message = state.fails(at(1)).message;
    assert!(message.contains("1 node(s) didn't satisfy existing pods anti-affinity rules"), "{message}");
}

#[test]
fn pods_spread_over_zones() {
    let spread = json!({"spec": {"topologySpreadConstraints": [{"maxSkew": 1,
        "topologyKey": "topology.kubernetes.io/zone", "whenUnsatisfiable": "DoNotSchedule",
        "labelSelector": {"matchLabels": {"app": "a"}}}]}});
    let mut state = state();
    state.nodes(&[node("n1", "z1"), node("n2", "z2"), node("n3", "z2")]);
    state.pods(&[on("n1", pod("x", 1)), with(pod("a", 1), spread.clone())]);
    assert_ne!(&*state.binds(at(1)).node, "n1");
    state.tell(Kind::Pod, &with(pod("b", 1), spread.clone()), at(1));
    let second = state.binds(at(1)).node;
    state.tell(Kind::Pod, &with(pod("c", 1), spread), at(1));
    let third = state.binds(at(1)).node;
    assert_eq!([&*second, &*third].iter().filter(|node| **node == "n1").count(), 1);
}

#[test]
fn what_is_assumed_counts_at_once() {
    let mut state = state();
    state.nodes(&[node("n1", "z1")]);
    state.pods(&[pod("a", 3000), pod("b", 3000)]);
    state.binds(at(1));
    assert!(state.fails(at(1)).message.contains("1 Insufficient cpu"));
    // What was not bound leaves its place to the other.
    state.not_bound("uid-a", at(1));
    assert_eq!(&*state.binds(at(1)).pod.name.name, "b");
}
