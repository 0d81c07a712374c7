use std::time::UNIX_EPOCH;

use super::*;

fn shape() -> Shape {
    Shape {
        cpu: "4".into(),
        memory: "16Gi".into(),
        pods: 110,
        zones: 3,
        labels: vec![("a".into(), "b".into())],
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_767_225_600)
}

fn merge(object: &mut Value, patch: &Value) {
    let Some(patch) = patch.as_object() else { return *object = patch.clone() };
    if !object.is_object() {
        *object = json!({});
    }
    for (field, value) in patch {
        if value.is_null() {
            object.as_object_mut().expect("an object").remove(field);
        } else {
            merge(&mut object[field.as_str()], value);
        }
    }
}

/// Writes until nothing is left to be written.
fn settle(host: &Host, node: &mut Option<Value>, now: SystemTime) -> usize {
    for writes in 0..10 {
        match (host.write(node.as_ref(), &shape(), now), node.as_mut()) {
            (None, _) => return writes,
            (Some(NodeWrite::Create(object)), None) => *node = Some(object),
            (Some(NodeWrite::Status(patch) | NodeWrite::Spec(patch)), Some(node)) => merge(node, &patch),
            (write, _) => panic!("{write:?}"),
        }
    }
    panic!("no end");
}

#[test]
fn a_node_is_made_once_and_reported_every_five_minutes() {
    let host = Host::new("node", 4, &shape());
    let mut node = None;
    assert_eq!(settle(&host, &mut node, now()), 1);
    let made = node.clone().expect("made");
    assert_eq!(made["metadata"]["name"], "node-5");
    for (key, value) in
        [("kubernetes.io/hostname", "node-5"), ("topology.kubernetes.io/zone", "zone-2"), ("a", "b")]
    {
        assert_eq!(made["metadata"]["labels"][key], value);
    }
    assert_eq!(made["status"]["allocatable"]["memory"], "16Gi");
    assert_eq!(made["status"]["addresses"][0]["address"], "198.18.0.5");
    assert_eq!(settle(&host, &mut node, now() + Duration::from_secs(299)), 0);
    assert_eq!(settle(&host, &mut node, now() + Duration::from_secs(300)), 1);
    let ready = condition(node.as_ref().expect("it is there"), "Ready").clone();
    assert_eq!(
        (ready["lastHeartbeatTime"].as_str(), ready["lastTransitionTime"].as_str()),
        (Some("2026-01-01T00:05:00Z"), Some("2026-01-01T00:00:00Z"))
    );
}

#[test]
fn a_node_that_is_there_is_taken_over_and_what_others_wrote_stays() {
    let host = Host::new("node", 0, &shape());
    let mut node = Some(json!({
        "metadata": { "name": "node-1", "labels": { "mine": "1" }, "resourceVersion": "7" },
        "spec": { "taints": [{ "key": "node.kubernetes.io/not-ready", "effect": "NoSchedule" }, { "key": "gpu", "effect": "NoSchedule" }] },
        "status": { "conditions": [{ "type": "Ready", "status": "Unknown" }, { "type": "Mine", "status": "True" }] },
    }));
    settle(&host, &mut node, now());
    let node = node.expect("it is there");
    assert_eq!(node["spec"]["taints"], json!([{ "key": "gpu", "effect": "NoSchedule" }]));
    assert_eq!(
        (&node["metadata"]["labels"]["mine"], &node["metadata"]["labels"]["kubernetes.io/os"]),
        (&json!("1"), &json!("linux"))
    );
    assert_eq!(condition(&node, "Mine")["status"], "True");
    assert_eq!(condition(&node, "Ready")["status"], "True");
}

#[test]
fn a_quantity_in_another_notation_is_no_change() {
    let host = Host::new("node", 0, &shape());
    let mut node = None;
    settle(&host, &mut node, now());
    if let Some(node) = &mut node {
        node["status"]["capacity"]["cpu"] = json!("4000m");
    }
    assert_eq!(settle(&host, &mut node, now()), 0);
}

#[test]
fn pods_get_addresses_of_the_nodes_ranges_and_each_once() {
    let mut host = Host::new("node", 1, &shape());
    assert_eq!(host.take(), ["100.64.1.2".parse::<IpAddr>().expect("an address")]);
    host.learn(&json!({ "spec": { "podCIDRs": ["10.244.7.0/29", "fd00:7::/64"] }, "status": { "addresses": [
        { "type": "Hostname", "address": "node-2" }, { "type": "InternalIP", "address": "192.0.2.7" },
    ] } }));
    assert_eq!(host.addresses, ["192.0.2.7".parse::<IpAddr>().expect("an address")]);
    let mut taken = Vec::new();
    for nth in 2..7 {
        let addresses = host.take();
        let want = [format!("10.244.7.{nth}"), format!("fd00:7::{nth}")];
        assert_eq!(addresses.iter().map(ToString::to_string).collect::<Vec<_>>(), want);
        taken.push(addresses);
    }
    assert_eq!(host.take(), Vec::<IpAddr>::new());
    host.mark(&taken[1], false);
    assert_eq!(host.take()[0], taken[1][0]);
    // What the cluster says again changes nothing.
    host.learn(&json!({ "spec": { "podCIDRs": ["10.244.7.0/29"] } }));
    assert_eq!(host.take(), Vec::<IpAddr>::new());
}

#[test]
fn a_node_is_where_its_kubelet_is() {
    let mut node = None;
    settle(&Host::new("node", 0, &shape()), &mut node, now());
    let mut host = Host::new("node", 0, &shape());
    host.answers_at("192.0.2.9:7777".parse().expect("an address"));
    host.learn(node.as_ref().expect("it is there"));
    assert_eq!(settle(&host, &mut node, now()), 1, "it was elsewhere before");
    let status = &node.as_ref().expect("it is there")["status"];
    assert_eq!(status["addresses"][0], json!({ "type": "InternalIP", "address": "192.0.2.9" }));
    assert_eq!(status["daemonEndpoints"]["kubeletEndpoint"]["Port"], 7777);
    assert_eq!(settle(&host, &mut node, now()), 0);
}
