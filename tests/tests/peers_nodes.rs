//! Fake nodes at an API server, ours and the original: their pods run and end, also where the nodes crash on the way.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin).

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::time::Duration;

use host::netns::Namespace;
use host::programs::{Daemon, Signal};
use serde_json::{Value, json};
use tests::apiserver::{Side, Which};
use tests::testbed::weft;
use tests::wait::until_explained;

const LIMIT: Duration = Duration::from_secs(120);
const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";
const PODS: &str = "/api/v1/namespaces/default/pods";

/// `weft lab nodes`, running.
struct Fleet(Daemon);

impl Fleet {
    fn start(side: &Side, nodes: usize) -> Self {
        let here = Namespace::current().expect("a namespace");
        let fleet = Self(Daemon::new("the nodes".to_owned(), here, side.directory(), "nodes"));
        fleet.again(side, nodes);
        fleet
    }

    fn again(&self, side: &Side, nodes: usize) {
        let program = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
        let kubeconfig = side.kubeconfig("admin").display().to_string();
        let words =
            ["lab".to_owned(), "nodes".to_owned(), nodes.to_string(), format!("--kubeconfig={kubeconfig}")];
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        self.0.start(&program, &words, &[]).unwrap_or_else(|error| panic!("{error}"));
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        let _ = self.0.stop(Signal::SIGKILL);
    }
}

fn server(which: Which) -> Side {
    let side = Side::new(which, &[]);
    side.start();
    // No controller makes it here.
    side.must(
        "POST",
        "/api/v1/namespaces/default/serviceaccounts",
        JSON,
        &json!({ "metadata": { "name": "default" } }),
    );
    side
}

fn list(side: &Side, path: &str) -> BTreeMap<String, Value> {
    let list = side.must("GET", path, JSON, &Value::Null);
    let items = list["items"].as_array().expect("a list").iter();
    items.map(|item| (item["metadata"]["name"].as_str().expect("a name").to_owned(), item.clone())).collect()
}

/// The list, once all of it is so.
fn all(
    side: &Side,
    path: &str,
    what: &str,
    many: usize,
    so: impl Fn(&Value) -> bool,
    fleet: &Fleet,
) -> BTreeMap<String, Value> {
    let look = || {
        let found = list(side, path);
        (found.len() == many && found.values().all(&so)).then_some(found)
    };
    let explain =
        || format!("{}\n{:?}", fleet.0.log_tail(20), list(side, path).values().find(|object| !so(object)));
    until_explained(what, LIMIT, look, explain)
}

fn is_true(object: &Value, kind: &str) -> bool {
    let conditions = object["status"]["conditions"].as_array();
    conditions
        .into_iter()
        .flatten()
        .any(|condition| condition["type"] == kind && condition["status"] == "True")
}

fn is_ready(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running" && is_true(pod, "Ready")
}

/// Bound by hand: there is no scheduler.
fn create(side: &Side, name: &str, node: usize, annotations: &Value, spec: &Value) {
    let mut pod = json!({ "metadata": { "name": name, "annotations": annotations }, "spec": spec });
    pod["spec"]["nodeName"] = json!(format!("node-{node}"));
    side.must("POST", PODS, JSON, &pod);
}

fn plain() -> Value {
    json!({ "containers": [{ "name": "c", "image": "i", "resources": { "requests": { "cpu": "1000m" } } }] })
}

fn run_end_and_crash(which: Which) {
    let side = server(which);
    let fleet = Fleet::start(&side, 5);
    all(
        &side,
        "/api/v1/nodes",
        "five nodes",
        5,
        |node| is_true(node, "Ready") && node["spec"]["taints"].is_null(),
        &fleet,
    );
    let leases = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases";
    let first = all(&side, leases, "their Leases", 5, |lease| !lease["spec"]["renewTime"].is_null(), &fleet);
    for nth in 0..40 {
        create(&side, &format!("a{nth}"), nth % 5 + 1, &json!({}), &plain());
    }
    let job = json!({ "restartPolicy": "Never", "containers": [{ "name": "c", "image": "i" }] });
    create(&side, "job", 1, &json!({ "weft.dev/run-for": "1s", "weft.dev/exit-code": "7" }), &job);
    let ended = |pod: &Value| pod["status"]["phase"] == "Failed";
    let settled = |pod: &Value| if pod["metadata"]["name"] == "job" { ended(pod) } else { is_ready(pod) };
    let before = all(&side, PODS, "all to run, and one to fail", 41, settled, &fleet);
    let addresses: BTreeSet<Option<&str>> =
        before.values().filter(|pod| !ended(pod)).map(|pod| pod["status"]["podIP"].as_str()).collect();
    assert_eq!(addresses.len(), 40, "each has its own");

    fleet.0.stop(Signal::SIGKILL).expect("it ends");
    for nth in 40..60 {
        create(&side, &format!("a{nth}"), nth % 5 + 1, &json!({}), &plain());
    }
    for nth in 0..10 {
        side.must("DELETE", &format!("{PODS}/a{nth}"), JSON, &Value::Null);
    }
    fleet.again(&side, 5);
    let after = all(&side, PODS, "the others to run, and ten to go", 51, settled, &fleet);
    for (name, pod) in &before {
        if let Some(now) = after.get(name) {
            assert_eq!(now["status"], pod["status"], "{name} was left alone");
        }
    }
    let addresses: BTreeSet<Option<&str>> =
        after.values().filter(|pod| !ended(pod)).map(|pod| pod["status"]["podIP"].as_str()).collect();
    assert_eq!(addresses.len(), 50, "each has its own");
    let renewed = |lease: &Value| {
        lease["spec"]["renewTime"]
            != first[lease["metadata"]["name"].as_str().unwrap_or_default()]["spec"]["renewTime"]
    };
    all(&side, leases, "Leases to be renewed", 5, renewed, &fleet);
}

#[test]
fn fake_nodes_run_pods_end_them_and_go_on_after_a_crash() {
    run_end_and_crash(Which::Ours);
}

#[test]
fn fake_nodes_do_the_same_at_the_originals_server() {
    run_end_and_crash(Which::Original);
}

#[test]
fn a_node_that_is_lost_does_nothing_until_it_is_back() {
    let side = server(Which::Ours);
    let fleet = Fleet::start(&side, 2);
    all(&side, "/api/v1/nodes", "two nodes", 2, |node| is_true(node, "Ready"), &fleet);
    let lost = |said: Value| {
        side.must(
            "PATCH",
            "/api/v1/nodes/node-1",
            MERGE,
            &json!({ "metadata": { "annotations": { "weft.dev/lost": said } } }),
        );
    };
    lost(json!("true"));
    let lease = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/node-1";
    let renewed = || side.must("GET", lease, JSON, &Value::Null)["spec"]["renewTime"].clone();
    // It hears of it at a moment of its own; then no renewal comes for longer than one takes.
    let still = || {
        let before = renewed();
        std::thread::sleep(Duration::from_secs(12));
        (renewed() == before).then_some(before)
    };
    let last = until_explained("its Lease to stand still", LIMIT, still, || fleet.0.log());
    create(&side, "a", 1, &json!({}), &plain());
    create(&side, "b", 2, &json!({}), &plain());
    until_explained(
        "the other node's pod",
        LIMIT,
        || is_ready(&list(&side, PODS)["b"]).then_some(()),
        || fleet.0.log(),
    );
    assert_eq!(list(&side, PODS)["a"]["status"]["phase"], "Pending");
    assert_eq!(renewed(), last);
    lost(Value::Null);
    until_explained("its pod", LIMIT, || is_ready(&list(&side, PODS)["a"]).then_some(()), || fleet.0.log());
    until_explained("its Lease", LIMIT, || (renewed() != last).then_some(()), || fleet.0.log());
}
