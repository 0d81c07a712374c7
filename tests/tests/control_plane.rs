//! `weft control` as a whole control plane: what is asked for becomes true, whatever is killed meanwhile.
//!
//! Needs etcd.

use std::collections::BTreeMap;

use host::programs::Signal;
use serde_json::{Value, json};
use tests::apiserver::control::{Control, READY};
use tests::wait::until_explained;

const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn set(name: &str, replicas: usize) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": name},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"set": name}},
            "template": {
                "metadata": {"labels": {"set": name}},
                "spec": {"containers": [{"name": "c", "image": "example.org/app:1"}]},
            },
        },
    })
}

/// How many pods each set has that are not going; `None`: nobody answers.
fn pods(control: &Control) -> Option<BTreeMap<String, usize>> {
    let (code, list) = control.ask("GET", PODS, &Value::Null)?;
    let items = list["items"].as_array().filter(|_| code == 200)?;
    let mut counts = BTreeMap::new();
    for pod in items.iter().filter(|pod| pod["metadata"]["deletionTimestamp"].is_null()) {
        let set = pod["metadata"]["labels"]["set"].as_str().unwrap_or_default();
        *counts.entry(set.to_owned()).or_default() += 1;
    }
    Some(counts)
}

/// Sets grow while the control plane is killed and started again. In the end each has its pods, and at no time one more.
#[test]
fn no_pod_is_made_twice_and_none_is_missing_however_often_the_control_plane_is_killed() {
    let control = Control::new();
    control.start();
    control.wait_ready();
    let wanted: BTreeMap<String, usize> = (0..12).map(|nth| (format!("set-{nth:02}"), 10 + nth)).collect();
    let check = |counts: &BTreeMap<String, usize>| {
        for (set, count) in counts {
            assert!(*count <= wanted[set], "{set}: {count} pods, {} were asked for", wanted[set]);
        }
    };
    for (name, replicas) in &wanted {
        let (code, answer) = control.ask("POST", SETS, &set(name, *replicas)).expect("an answer");
        assert_eq!(code, 201, "{answer}");
    }
    // Each time some more pods are there, it is killed.
    let total: usize = wanted.values().sum();
    for step in 1..5 {
        let some = total * step / 5;
        let enough = || {
            let counts = pods(&control)?;
            check(&counts);
            (counts.values().sum::<usize>() >= some).then_some(())
        };
        until_explained(&format!("{some} pods"), READY, enough, || control.daemon.log_tail(20));
        control.daemon.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
        control.start();
        control.wait_ready();
    }
    let all = || pods(&control).filter(|counts| *counts == wanted).map(|_| ());
    let explain = || format!("{:?}\n{}", pods(&control), control.daemon.log_tail(20));
    until_explained("all pods", READY, all, explain);
    let counted = || {
        let (_, list) = control.ask("GET", SETS, &Value::Null)?;
        let sets = list["items"].as_array()?;
        let right = sets.iter().all(|set| {
            let name = set["metadata"]["name"].as_str().unwrap_or_default();
            set["status"]["replicas"] == wanted[name] && set["status"]["observedGeneration"] == 1
        });
        (sets.len() == wanted.len() && right).then_some(())
    };
    until_explained("all counts", READY, counted, || control.daemon.log_tail(20));
    check(&pods(&control).expect("it serves"));
}
