//! Where a pod can have its volumes.

mod support;

use control_scheduler_core::state::{Kind, State};
use serde_json::{Value, json};
use support::{Told, at, node, on, pod, state, with};

fn claim(name: &str, class: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default", "uid": format!("uid-{name}")},
        "spec": {"storageClassName": class, "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1Gi"}}}, "status": {"phase": "Pending"}})
}

fn bound_to(volume: &str, claim: Value) -> Value {
    with(
        claim,
        json!({"metadata": {"annotations": {"pv.kubernetes.io/bind-completed": "yes"}},
            "spec": {"volumeName": volume}, "status": {"phase": "Bound"}}),
    )
}

/// A volume that one node can reach.
fn volume(name: &str, class: &str, node: &str, size: &str) -> Value {
    json!({"metadata": {"name": name},
        "spec": {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "storageClassName": class,
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [
                {"key": "kubernetes.io/hostname", "operator": "In", "values": [node]}]}]}}},
        "status": {"phase": "Available"}})
}

fn class(name: &str, waits: bool, provisioner: &str) -> Value {
    let mode = if waits { "WaitForFirstConsumer" } else { "Immediate" };
    json!({"metadata": {"name": name}, "provisioner": provisioner, "volumeBindingMode": mode})
}

fn using(name: &str, claim: &str) -> Value {
    let volumes = json!([{"name": "v", "persistentVolumeClaim": {"claimName": claim}}]);
    with(pod(name, 100), json!({"spec": {"volumes": volumes}}))
}

fn with_storage(objects: &[(Kind, Value)]) -> State {
    let mut state = state();
    state.nodes(&[node("n1", "z1"), node("n2", "z2")]);
    for (kind, object) in objects {
        state.tell(*kind, object, at(0));
    }
    state
}

#[test]
fn a_pod_goes_where_its_volume_is() {
    let mut state = with_storage(&[
        (Kind::Class, class("local", true, "kubernetes.io/no-provisioner")),
        (Kind::Volume, volume("pv2", "local", "n2", "2Gi")),
        (Kind::Claim, bound_to("pv2", claim("c", "local"))),
    ]);
    state.pods(&[using("p", "c")]);
    let bind = state.binds(at(1));
    assert_eq!((&*bind.node, bind.plan.bindings.len()), ("n2", 0));
}

#[test]
fn a_claim_that_waits_gets_the_smallest_volume_of_the_node_that_is_chosen_and_only_one_does() {
    let mut state = with_storage(&[
        (Kind::Class, class("local", true, "kubernetes.io/no-provisioner")),
        (Kind::Volume, volume("big", "local", "n1", "9Gi")),
        (Kind::Volume, volume("small", "local", "n1", "2Gi")),
        (Kind::Volume, volume("tiny", "local", "n2", "1Mi")),
        (Kind::Claim, claim("c", "local")),
        (Kind::Claim, claim("d", "local")),
        (Kind::Claim, claim("e", "local")),
    ]);
    state.pods(&[using("p", "c"), using("q", "d"), using("r", "e")]);
    let bind = state.binds(at(1));
    assert_eq!((&*bind.node, &*bind.plan.bindings[0].0), ("n1", "small"));
    let next = state.binds(at(1));
    assert_eq!((&*next.node, &*next.plan.bindings[0].0), ("n1", "big"));
    let message = state.fails(at(1)).message;
    assert!(message.contains("2 node(s) didn't find available persistent volumes to bind"), "{message}");
    // What came to nothing is free again.
    state.not_bound("uid-p", at(1));
    let again = state.binds(at(2));
    assert_eq!(&*again.plan.bindings[0].0, "small");
}

#[test]
fn a_volume_is_made_where_there_is_none_and_the_class_can() {
    let mut state = with_storage(&[
        (Kind::Class, class("fast", true, "example.com/driver")),
        (Kind::Claim, claim("c", "fast")),
    ]);
    state.pods(&[using("p", "c")]);
    let bind = state.binds(at(1));
    assert_eq!(bind.plan.provisions.len(), 1);
    // A driver that counts, and has space on one node only.
    let mut state = with_storage(&[
        (Kind::Class, class("fast", true, "example.com/driver")),
        (Kind::Claim, claim("c", "fast")),
        (
            Kind::Driver,
            json!({"metadata": {"name": "example.com/driver"}, "spec": {"storageCapacity": true}}),
        ),
        (
            Kind::Capacity,
            json!({"metadata": {"name": "x", "namespace": "kube-system"}, "storageClassName": "fast",
                "capacity": "5Gi", "nodeTopology": {"matchLabels": {"kubernetes.io/hostname": "n2"}}}),
        ),
    ]);
    state.pods(&[using("p", "c")]);
    assert_eq!(&*state.binds(at(1)).node, "n2");
}

#[test]
fn what_a_pod_lacks_is_told_and_calls_it_back() {
    let immediate = (Kind::Class, class("now", false, "example.com/driver"));
    for (objects, claim_name, why, help) in [
        (
            vec![],
            "c",
            "persistentvolumeclaim \"c\" not found",
            (Kind::Claim, bound_to("pv1", claim("c", "now"))),
        ),
        (
            vec![immediate, (Kind::Claim, claim("c", "now"))],
            "c",
            "pod has unbound immediate PersistentVolumeClaims",
            (Kind::Claim, bound_to("pv1", claim("c", "now"))),
        ),
    ] {
        let mut state = with_storage(&objects);
        state.tell(Kind::Volume, &volume("pv1", "now", "n1", "2Gi"), at(0));
        state.pods(&[using("p", claim_name)]);
        let message = state.fails(at(1)).message;
        // No node was asked, so that the original makes no room either.
        assert_eq!(message, format!("0/2 nodes are available: {why}. not found"));
        state.tell(help.0, &help.1, at(3));
        assert_eq!(&*state.binds(at(3)).node, "n1");
    }
}

#[test]
fn a_claim_for_one_pod_at_a_time_is_used_by_one() {
    let one = with(bound_to("pv1", claim("c", "x")), json!({"spec": {"accessModes": ["ReadWriteOncePod"]}}));
    let mut anywhere = volume("pv1", "x", "n1", "2Gi");
    anywhere["spec"].as_object_mut().expect("a spec").remove("nodeAffinity");
    let mut state = with_storage(&[(Kind::Volume, anywhere), (Kind::Claim, one)]);
    state.pods(&[on("n1", using("there", "c")), using("p", "c")]);
    let message = state.fails(at(1)).message;
    assert!(message.contains("ReadWriteOncePod access mode already in-use by another pod"), "{message}");
    state.delete(Kind::Pod, "there", at(3));
    state.binds(at(3));
}

#[test]
fn a_node_takes_as_many_volumes_of_a_driver_as_it_says_and_zones_count() {
    let csi = |name: &str, zone: &str| {
        json!({"metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone}},
            "spec": {"capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteOnce"],
                "csi": {"driver": "d", "volumeHandle": name}}, "status": {"phase": "Bound"}})
    };
    let limit = json!({"metadata": {"name": "n1"}, "spec": {"drivers": [{"name": "d", "allocatable": {"count": 1}}]}});
    let mut state = with_storage(&[
        (Kind::Volume, csi("v1", "z1")),
        (Kind::Volume, csi("v2", "z1")),
        (Kind::Claim, bound_to("v1", claim("c1", "x"))),
        (Kind::Claim, bound_to("v2", claim("c2", "x"))),
        (Kind::NodeDrivers, limit),
    ]);
    state.pods(&[on("n1", using("there", "c1")), using("p", "c2")]);
    let message = state.fails(at(1)).message;
    assert!(
        message.contains("1 node(s) exceed max volume count, 1 node(s) had no available volume zone"),
        "{message}"
    );
}
