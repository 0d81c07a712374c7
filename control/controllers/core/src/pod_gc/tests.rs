use super::*;
use crate::trial::Trial;

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(PodGc::new(3))]
}

fn pod(name: &str, node: &str, phase: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "d", "name": name},
        "spec": {"nodeName": node}, "status": {"phase": phase},
    })
}

fn names(trial: &Trial) -> Vec<String> {
    trial.all(PODS).iter().map(|pod| object::name(pod).to_owned()).collect()
}

fn node(ready: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node", "metadata": {"name": "n"},
        "status": {"conditions": [{"type": "Ready", "status": ready}]},
    })
}

#[test]
fn pods_of_a_node_that_is_gone_go_after_a_while() {
    let mut trial = Trial::new(make, 1);
    trial.create(NODES, node("True"));
    trial.create(PODS, pod("a", "n", "Running"));
    trial.create(PODS, pod("b", "nowhere", "Running"));
    trial.pass(Duration::from_secs(30));
    assert_eq!(names(&trial), ["a", "b"]);
    trial.pass(Duration::from_secs(15));
    assert_eq!(names(&trial), ["a"]);
    trial.delete(NODES, "", "n");
    trial.pass(Duration::from_secs(20));
    trial.create(NODES, node("True"));
    trial.pass(Duration::from_secs(100));
    assert_eq!(names(&trial), ["a"], "the node came back in time");
}

#[test]
fn what_goes_without_a_node_goes_at_once() {
    let mut trial = Trial::new(make, 1);
    trial.create(NODES, node("False"));
    let held = |name: &str, node: &str| {
        let mut pod = pod(name, node, "Running");
        pod["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z".into();
        // A kubelet would have to answer for it; there is none.
        pod["metadata"]["finalizers"] = json!(["a/b"]);
        pod["spec"]["containers"] = json!([{"name": "c", "image": "stays"}]);
        pod
    };
    trial.create(PODS, held("never-placed", ""));
    trial.create(PODS, held("placed", "n"));
    trial.pass(Duration::from_secs(1));
    let phase =
        |trial: &Trial, name: &str| pods::phase(&trial.get(PODS, "d", name).expect("it is there")).to_owned();
    assert_eq!((&*phase(&trial, "never-placed"), &*phase(&trial, "placed")), ("Failed", "Running"));
    trial.change(NODES, "", "n", |node| {
        node["spec"] = json!({"taints": [{"key": OUT_OF_SERVICE, "effect": "NoExecute"}]})
    });
    trial.pass(Duration::from_secs(1));
    assert_eq!(phase(&trial, "placed"), "Failed");
}

#[test]
fn the_oldest_of_too_many_ended_pods_go_and_evicted_ones_first() {
    let mut trial = Trial::new(make, 1);
    trial.create(NODES, node("True"));
    for name in ["a", "b", "c", "d"] {
        trial.create(PODS, pod(name, "n", "Succeeded"));
    }
    let mut evicted = pod("e", "n", "Failed");
    evicted["status"]["reason"] = "Evicted".into();
    trial.create(PODS, evicted);
    trial.pass(Duration::from_secs(60));
    assert_eq!(names(&trial), ["b", "c", "d"]);
}
