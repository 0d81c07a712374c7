//! Leader election beside the original: our candidate and kube-scheduler stand for one Lease on a kube-apiserver.
//!
//! Needs the originals in WEFT_PEERS (or peers/bin), and root.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use apiclient_core::time;
use host::netns::Namespace;
use host::programs::{Daemon, Signal, freeze};
use serde_json::{Value, json};
use tests::apiserver::{Side, Which};
use tests::wait::until_explained;

/// For a lease that ends and the next leader, on a busy machine.
const LIMIT: Duration = Duration::from_secs(120);

const LEASE: &str = "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler";

/// All candidates' times.
const LASTS: Duration = Duration::from_secs(15);

fn server() -> Side {
    let side = Side::new(Which::Original, &[]);
    side.start();
    side
}

/// A candidate's process. It ends with this value.
struct Candidate(Daemon);

impl Candidate {
    fn start(name: &str, side: &Side, program: &Path, arguments: &[String]) -> Self {
        let here = Namespace::current().expect("a namespace");
        let daemon = Daemon::new(name.to_owned(), here, side.directory(), name);
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        daemon.start(program, &arguments, &[]).unwrap_or_else(|error| panic!("{error}"));
        Self(daemon)
    }

    fn ours(name: &str, side: &Side) -> Self {
        let kubeconfig = side.kubeconfig("admin").display().to_string();
        Self::start(name, side, Path::new(env!("CARGO_BIN_EXE_candidate")), &[kubeconfig, name.to_owned()])
    }

    fn original(name: &str, side: &Side) -> Self {
        let program: PathBuf = originals::program("kube-scheduler").unwrap_or_else(|error| panic!("{error}"));
        let flags = [
            format!("--kubeconfig={}", side.kubeconfig("admin").display()),
            "--secure-port=0".to_owned(),
            "--leader-elect=true".to_owned(),
        ];
        Self::start(name, side, &program, &flags)
    }

    fn freeze(&self) {
        freeze(self.0.pid().expect("it runs")).expect("it can be stopped");
    }

    fn signal(&self, signal: Signal) {
        self.0.signal(signal).unwrap_or_else(|error| panic!("{error}"));
    }

    fn end(&self) -> Option<i32> {
        let status = self.0.wait_exit(LIMIT).unwrap_or_else(|error| panic!("{error}"));
        status.and_then(|status| status.code())
    }
}

impl Drop for Candidate {
    fn drop(&mut self) {
        let _ = self.0.stop(Signal::SIGKILL);
    }
}

fn get(side: &Side, path: &str) -> Value {
    side.must("GET", path, "application/json", &Value::Null)
}

/// The Lease, once its holder is as it should be.
fn held(side: &Side, what: &str, so: impl Fn(&str) -> bool, explain: &Candidate) -> Value {
    let look = || {
        let leases = get(side, "/apis/coordination.k8s.io/v1/namespaces/kube-system/leases");
        let leases = leases["items"].as_array()?.iter();
        let lease = leases.into_iter().find(|lease| lease["metadata"]["name"] == "kube-scheduler")?;
        so(lease["spec"]["holderIdentity"].as_str().unwrap_or_default()).then(|| lease.clone())
    };
    until_explained(what, LIMIT, look, || explain.0.log_tail(30))
}

/// How long after the last word of the one before a leader began.
fn gap(before: &Value, now: &Value) -> Duration {
    let stamp = |lease: &Value, field: &str| {
        lease["spec"][field].as_str().and_then(time::parse).unwrap_or_else(|| panic!("{field}: {lease}"))
    };
    stamp(now, "acquireTime").duration_since(stamp(before, "renewTime")).unwrap_or_default()
}

fn transitions(lease: &Value) -> u64 {
    lease["spec"]["leaseTransitions"].as_u64().expect("a number")
}

/// How the object stands that a candidate of ours writes into while it leads; nothing before its first write.
fn version(side: &Side, name: &str) -> Option<String> {
    let maps = get(side, "/api/v1/namespaces/kube-system/configmaps");
    let map = maps["items"].as_array()?.iter().find(|map| map["metadata"]["name"] == name)?;
    Some(map["metadata"]["resourceVersion"].as_str().expect("a version").to_owned())
}

/// Right after it wrote: it sleeps, and no write of it is on its way.
fn after_a_write(side: &Side, candidate: &Candidate, name: &str) {
    let before = version(side, name);
    let look = || (version(side, name) != before).then_some(());
    until_explained("another write of the leader", LIMIT, look, || candidate.0.log_tail(30));
}

#[test]
fn the_original_and_ours_take_the_lease_from_one_another() {
    let side = server();
    let original = Candidate::original("scheduler", &side);
    held(&side, "the original to lead", |holder| !holder.is_empty(), &original);
    let ours = Candidate::ours("ours", &side);

    // It dies without a word: its lease is waited for.
    original.0.stop(Signal::SIGKILL).expect("it ends");
    let last = get(&side, LEASE);
    assert_ne!(last["spec"]["holderIdentity"], "ours", "the original's lease has not ended");
    let now = held(&side, "ours to lead", |holder| holder == "ours", &ours);
    assert!(gap(&last, &now) >= LASTS - Duration::from_secs(1), "{last} {now}");
    assert_eq!(transitions(&now), transitions(&last) + 1);
    // The record is as the original's.
    let fields =
        |lease: &Value| lease["spec"].as_object().map(|spec| spec.keys().cloned().collect::<Vec<_>>());
    assert_eq!(fields(&now), fields(&last));
    assert_eq!(now["spec"]["leaseDurationSeconds"], last["spec"]["leaseDurationSeconds"]);

    // Ours leaves as it should: the original need not wait for the end of the lease.
    let original = Candidate::original("scheduler-2", &side);
    after_a_write(&side, &ours, "ours");
    ours.signal(Signal::SIGTERM);
    assert_eq!(ours.end(), Some(0), "{}", ours.0.log());
    let given_up = get(&side, LEASE);
    let next =
        held(&side, "the original to lead", |holder| holder != "ours" && !holder.is_empty(), &original);
    assert_eq!(transitions(&next), transitions(&now) + 1);
    let released = given_up["spec"]["holderIdentity"].as_str().unwrap_or_default();
    // The original may have taken it by then.
    assert!(released != "ours", "{given_up}");

    // Both said so, in the same words.
    let events = get(&side, "/api/v1/namespaces/kube-system/events");
    let events = events["items"].as_array().expect("a list").iter();
    let said: Vec<(&Value, &Value)> = events
        .filter(|event| event["reason"] == "LeaderElection" && event["involvedObject"]["kind"] == "Lease")
        .map(|event| (&event["message"], &event["source"]["component"]))
        .collect();
    assert!(said.contains(&(&json!("ours became leader"), &json!("candidate"))), "{said:?}");
    let theirs = |message: &Value, component: &Value| {
        component == "default-scheduler"
            && message.as_str().is_some_and(|text| text.ends_with(" became leader"))
    };
    assert!(said.iter().any(|(message, component)| theirs(message, component)), "{said:?}");
}

#[test]
fn a_leader_of_ours_that_was_stopped_for_longer_than_its_lease_writes_nothing_afterwards() {
    let side = server();
    let ours = Candidate::ours("ours", &side);
    held(&side, "ours to lead", |holder| holder == "ours", &ours);
    let original = Candidate::original("scheduler", &side);
    after_a_write(&side, &ours, "ours");
    ours.freeze();
    let last = get(&side, LEASE);
    let next = held(&side, "the original to lead", |holder| holder != "ours", &original);
    assert!(gap(&last, &next) >= LASTS - Duration::from_secs(1), "{last} {next}");
    let before = version(&side, "ours");
    ours.signal(Signal::SIGCONT);
    assert_eq!(ours.end(), Some(3), "{}", ours.0.log());
    assert_eq!(version(&side, "ours"), before, "it wrote after its lease had ended: {}", ours.0.log());
    assert_eq!(get(&side, LEASE)["spec"]["holderIdentity"], next["spec"]["holderIdentity"]);
}

#[test]
fn ours_leads_where_the_original_was_stopped_and_keeps_the_lease_when_that_goes_on() {
    let side = server();
    let original = Candidate::original("scheduler", &side);
    held(&side, "the original to lead", |holder| !holder.is_empty(), &original);
    let ours = Candidate::ours("ours", &side);
    original.freeze();
    let now = held(&side, "ours to lead", |holder| holder == "ours", &ours);
    original.signal(Signal::SIGCONT);
    // It notices, and ends. What it gives up then may be ours already: it looks at what it knew, and writes over what
    // is there.
    assert_ne!(original.end(), None);
    let later = held(&side, "ours to lead still", |holder| holder == "ours", &ours);
    assert!(transitions(&later) <= transitions(&now) + 1, "{later}");
    after_a_write(&side, &ours, "ours");
}
