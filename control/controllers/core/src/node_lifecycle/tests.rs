use super::*;
use crate::trial::Trial;
use control_core::edit::list;

fn make() -> Vec<Box<dyn Controller>> {
    vec![Box::new(NodeLifecycle::default())]
}

fn node(name: &str, zone: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {"name": name, "labels": {"topology.kubernetes.io/zone": zone, "kubernetes.io/os": "linux"}},
        "spec": {"taints": [{"key": "mine", "effect": "NoSchedule"}]},
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"},
            {"type": "MemoryPressure", "status": "True", "lastHeartbeatTime": "2026-01-01T00:00:00Z"},
        ]},
    })
}

fn lease(name: &str) -> Value {
    json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"namespace": LEASE_NAMESPACE, "name": name}, "spec": {"renewTime": "0"},
    })
}

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"namespace": "d", "name": name}, "spec": {"nodeName": node},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    })
}

/// Nodes of one zone, of which those renew their leases that are not named.
fn cluster(count: usize) -> Trial {
    let mut trial = Trial::new(make, 1);
    for nth in 0..count {
        trial.create(NODES, node(&format!("n{nth}"), "z"));
        trial.create(LEASES, lease(&format!("n{nth}")));
    }
    trial.create(PODS, pod("p", "n0"));
    trial.pass(Duration::from_secs(1));
    trial
}

fn pass(trial: &mut Trial, count: usize, seconds: u64, silent: &[usize]) {
    for _ in 0..seconds / 10 {
        for nth in (0..count).filter(|nth| !silent.contains(nth)) {
            let now = apiclient_core::time::micros(trial.now());
            trial.change(LEASES, LEASE_NAMESPACE, &format!("n{nth}"), |lease| {
                lease["spec"]["renewTime"] = now.clone().into();
            });
        }
        trial.pass(Duration::from_secs(10));
    }
}

fn taints(trial: &Trial, name: &str) -> Vec<String> {
    let node = trial.get(NODES, "", name).expect("it is there");
    let mut taints: Vec<String> = list(&node, &["spec", "taints"])
        .iter()
        .map(|taint| {
            format!(
                "{}:{}",
                text(taint, &["key"]).trim_start_matches("node.kubernetes.io/"),
                text(taint, &["effect"])
            )
        })
        .collect();
    taints.sort();
    taints
}

fn ready(trial: &Trial, name: &str) -> String {
    let node = trial.get(NODES, "", name).expect("it is there");
    text(object::condition(&node, "Ready").expect("it is there"), &["status"]).to_owned()
}

#[test]
fn a_silent_node_is_lost_and_comes_back() {
    let mut trial = cluster(2);
    assert!(
        trial.told.contains(&"RegisteredNode Node n0 event: Registered Node n0 in Controller".to_owned())
    );
    pass(&mut trial, 2, 100, &[]);
    assert_eq!(
        (ready(&trial, "n0"), taints(&trial, "n0")),
        ("True".to_owned(), vec!["memory-pressure:NoSchedule".to_owned(), "mine:NoSchedule".to_owned()])
    );
    assert_eq!(
        object::label(&trial.get(NODES, "", "n0").expect("it is there"), "beta.kubernetes.io/os"),
        Some("linux")
    );
    pass(&mut trial, 2, 40, &[0]);
    assert_eq!(ready(&trial, "n0"), "True", "a lease may be late");
    pass(&mut trial, 2, 30, &[0]);
    assert_eq!(ready(&trial, "n0"), "Unknown");
    assert_eq!(
        taints(&trial, "n0"),
        ["mine:NoSchedule", "unreachable:NoExecute", "unreachable:NoSchedule"],
        "the pressure is unknown, too"
    );
    let node = trial.get(NODES, "", "n0").expect("it is there");
    let condition = object::condition(&node, "Ready").expect("it is there");
    assert_eq!(text(condition, &["reason"]), "NodeStatusUnknown");
    assert_eq!(text(condition, &["message"]), "Kubelet stopped posting node status.");
    assert_eq!(
        text(object::condition(&node, "PIDPressure").expect("it is there"), &["reason"]),
        "NodeStatusNeverUpdated"
    );
    assert!(trial.told.contains(&"NodeNotReady Node n0 status is now: NodeNotReady".to_owned()));
    let pod = trial.get(PODS, "d", "p").expect("it is there");
    assert!(!pods::is_ready(&pod) && trial.told.contains(&"NodeNotReady Node is not ready".to_owned()));
    assert_eq!(ready(&trial, "n1"), "True");
    // Its kubelet reports that it is there, first not ready, then ready.
    for (status, wanted) in [("False", "not-ready"), ("True", "")] {
        let now = apiclient_core::time::seconds(trial.now());
        trial.change(NODES, "", "n0", |node| {
            node["status"]["conditions"][0]["status"] = status.into();
            node["status"]["conditions"][0]["lastHeartbeatTime"] = now.into();
        });
        pass(&mut trial, 2, 10, &[]);
        let ours: Vec<String> =
            taints(&trial, "n0").into_iter().filter(|taint| taint.contains("NoExecute")).collect();
        assert_eq!(ours, if wanted.is_empty() { vec![] } else { vec![format!("{wanted}:NoExecute")] });
    }
    assert_eq!(taints(&trial, "n0"), ["mine:NoSchedule"]);
    trial.delete(NODES, "", "n0");
    trial.pass(Duration::from_secs(1));
    assert!(trial.told.contains(&"RemovingNode Node n0 event: Removing Node n0 from Controller".to_owned()));
}

#[test]
fn where_all_are_silent_no_pod_leaves() {
    let mut trial = cluster(3);
    pass(&mut trial, 3, 200, &[0, 1, 2]);
    for name in ["n0", "n1", "n2"] {
        assert_eq!(ready(&trial, name), "Unknown");
        assert_eq!(taints(&trial, name), ["mine:NoSchedule", "unreachable:NoSchedule"]);
    }
    // One is back: the others are down for real.
    let now = apiclient_core::time::seconds(trial.now());
    trial.change(NODES, "", "n2", |node| {
        node["status"]["conditions"][0]["status"] = "True".into();
        node["status"]["conditions"][0]["lastHeartbeatTime"] = now.into();
    });
    pass(&mut trial, 3, 100, &[0, 1]);
    assert_eq!(taints(&trial, "n0"), ["mine:NoSchedule", "unreachable:NoExecute", "unreachable:NoSchedule"]);
}

#[test]
fn nodes_lose_their_pods_one_after_the_other() {
    let mut trial = cluster(9);
    let lost = |trial: &Trial| {
        (0..9)
            .filter(|nth| taints(trial, &format!("n{nth}")).iter().any(|taint| taint.contains("NoExecute")))
            .count()
    };
    pass(&mut trial, 9, 60, &[0, 1, 2, 3]);
    assert!(lost(&trial) >= 1 && lost(&trial) < 4, "{}", lost(&trial));
    pass(&mut trial, 9, 60, &[0, 1, 2, 3]);
    assert_eq!(lost(&trial), 4);
    // More than 55 % of a small zone: no more.
    pass(&mut trial, 9, 300, &[0, 1, 2, 3, 4, 5, 6]);
    assert!(lost(&trial) < 7, "{}", lost(&trial));
}

#[test]
fn a_node_that_never_reported_has_its_time_from_its_creation_on() {
    let mut trial = cluster(1);
    let mut silent = node("late", "z");
    silent["status"] = json!({});
    trial.create(NODES, silent);
    pass(&mut trial, 1, 50, &[]);
    let node = trial.get(NODES, "", "late").expect("it is there");
    assert!(object::condition(&node, "Ready").is_none());
    pass(&mut trial, 1, 30, &[]);
    let node = trial.get(NODES, "", "late").expect("it is there");
    assert_eq!(
        text(object::condition(&node, "Ready").expect("it is there"), &["reason"]),
        "NodeStatusNeverUpdated"
    );
}
