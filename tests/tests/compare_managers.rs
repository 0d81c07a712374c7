//! Two `weft controller-manager` beside each other on a kube-apiserver, whose audit log says who wrote what and when: one leads,
//! and the other goes on when it dies or stands still.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin), and root.

use std::ffi::OsString;
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use apiclient_core::time;
use host::netns::Namespace;
use host::programs::{Daemon, Signal, freeze};
use serde_json::{Value, json};
use tests::apiserver::{Side, Which};
use tests::history::creations;
use tests::testbed::weft;
use tests::wait::until_explained;

/// For a lease that ends and the next leader, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-controller-manager";
const SETS: &str = "/apis/apps/v1/namespaces/default/replicasets";
const PODS: &str = "/api/v1/namespaces/default/pods";
const JSON: &str = "application/json";

/// A server that notes each write, once it is answered.
fn server(directory: &tempfile::TempDir) -> (Side, PathBuf) {
    let (policy, log) = (directory.path().join("policy.yaml"), directory.path().join("audit.log"));
    let rules = json!({
        "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
        "rules": [{"level": "Metadata", "verbs": ["create", "update", "patch", "delete", "deletecollection"]}],
    });
    fs::write(&policy, rules.to_string()).expect("a file");
    let flags = [
        format!("--audit-policy-file={}", policy.display()),
        format!("--audit-log-path={}", log.display()),
        "--audit-log-mode=blocking".to_owned(),
        "--etcd-compaction-interval=0s".to_owned(),
    ];
    let side = Side::new(Which::Original, &flags.each_ref().map(String::as_str));
    side.start();
    (side, log)
}

/// A candidate's process. It ends with this value.
struct Manager {
    daemon: Daemon,
    user: &'static str,
}

impl Manager {
    fn start(side: &Side, user: &'static str) -> Self {
        let here = Namespace::current().expect("a namespace");
        let daemon = Daemon::new(user.to_owned(), here, side.directory(), user);
        let kubeconfig = format!("--kubeconfig={}", side.kubeconfig(user).display());
        let arguments = ["controller-manager", &kubeconfig, "--secure-port=0"].map(OsString::from);
        let program = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
        daemon.start(&program, &arguments, &[]).unwrap_or_else(|error| panic!("{error}"));
        Self { daemon, user }
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = self.daemon.stop(Signal::SIGKILL);
    }
}

fn lease(side: &Side) -> Option<Value> {
    let leases = side.must("GET", LEASE.rsplit_once('/')?.0, JSON, &Value::Null);
    let named = |lease: &&Value| lease["metadata"]["name"] == "kube-controller-manager";
    leases["items"].as_array()?.iter().find(named).cloned()
}

/// The Lease, once somebody else than this one holds it.
fn led(side: &Side, before: &str, by: &Manager) -> Value {
    let other = || {
        let lease = lease(side)?;
        let holder = lease["spec"]["holderIdentity"].as_str().unwrap_or_default();
        (!holder.is_empty() && holder != before).then_some(lease)
    };
    until_explained(&format!("{} to lead", by.user), LIMIT, other, || by.daemon.log_tail(30))
}

fn holder(lease: &Value) -> &str {
    lease["spec"]["holderIdentity"].as_str().expect("a holder")
}

/// Right after a renewal: no write is on its way where nothing else is to be done.
fn renewed(side: &Side, by: &Manager) {
    let renewal = || lease(side).map(|lease| lease["spec"]["renewTime"].clone());
    let before = renewal();
    let again = || (renewal() != before).then_some(());
    until_explained("another renewal", LIMIT, again, || by.daemon.log_tail(30));
}

fn scale(side: &Side, replicas: usize) {
    let patch = json!({"spec": {"replicas": replicas}});
    side.must("PATCH", &format!("{SETS}/web"), "application/merge-patch+json", &patch);
}

/// Waits until the set has, and counts, as many pods as it wants.
fn there_are(side: &Side, replicas: usize, by: &Manager) {
    let count = || side.must("GET", PODS, JSON, &Value::Null)["items"].as_array().map_or(0, Vec::len);
    let all = || {
        let set = side.must("GET", &format!("{SETS}/web"), JSON, &Value::Null);
        (count() == replicas && set["status"]["replicas"] == replicas).then_some(())
    };
    let explain = || format!("{} are there\n{}", count(), by.daemon.log_tail(30));
    until_explained(&format!("{replicas} pods"), LIMIT, all, explain);
}

/// What a user wrote from a moment on, as the server noted it.
fn written(log: &PathBuf, user: &str, since: SystemTime) -> Vec<String> {
    let text = fs::read_to_string(log).expect("the audit log");
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
    let own = entries.filter(|entry| entry["user"]["username"] == user);
    let late = own.filter(|entry| {
        let at = entry["requestReceivedTimestamp"].as_str().and_then(time::parse).expect("a time");
        at >= since
    });
    late.map(|entry| {
        format!("{} {} {}", entry["requestReceivedTimestamp"], entry["verb"], entry["requestURI"])
    })
    .collect()
}

#[test]
fn a_manager_that_dies_or_stands_still_is_followed_within_its_lease_and_writes_no_more() {
    let directory = tempfile::tempdir().expect("a directory");
    let (side, log) = server(&directory);
    let first = Manager::start(&side, "first");
    let mut lease = led(&side, "", &first);
    let second = Manager::start(&side, "second");
    let set = json!({
        "apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {"name": "web"},
        "spec": {
            "replicas": 20, "selector": {"matchLabels": {"app": "web"}},
            "template": {
                "metadata": {"labels": {"app": "web"}},
                "spec": {"containers": [{"name": "c", "image": "example.org/app:1"}]},
            },
        },
    });
    side.must("POST", SETS, JSON, &set);
    there_are(&side, 20, &first);
    assert_eq!(written(&log, "second", SystemTime::UNIX_EPOCH), [""; 0], "who does not lead writes nothing");

    // It stands still: the other goes on, and what comes meanwhile waits in the connections of this one.
    renewed(&side, &first);
    freeze(first.daemon.pid().expect("it runs")).expect("it can be stopped");
    scale(&side, 60);
    let stopped = lease;
    lease = led(&side, holder(&stopped), &second);
    there_are(&side, 60, &second);
    scale(&side, 80);
    let goes_on = SystemTime::now();
    first.daemon.signal(Signal::SIGCONT).unwrap_or_else(|error| panic!("{error}"));
    let status = first.daemon.wait_exit(LIMIT).unwrap_or_else(|error| panic!("{error}"));
    assert!(status.is_some_and(|status| !status.success()), "{status:?}: {}", first.daemon.log_tail(10));
    there_are(&side, 80, &second);
    assert_eq!(written(&log, "first", goes_on), [""; 0], "{}", first.daemon.log_tail(30));

    // The leader dies in the middle of its work: a third one finds what it has done.
    let third = Manager::start(&side, "first");
    renewed(&side, &second);
    scale(&side, 200);
    let some = || {
        let pods = side.must("GET", PODS, JSON, &Value::Null);
        pods["items"].as_array().filter(|pods| pods.len() > 100).map(|_| ())
    };
    until_explained("some of the pods", LIMIT, some, || second.daemon.log_tail(30));
    second.daemon.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
    led(&side, holder(&lease), &third);
    there_are(&side, 200, &third);
    let made = creations(side.etcd(), "/registry/pods/default/", |_| "all".to_owned());
    assert_eq!(made["all"], 200, "none is made twice");
}
