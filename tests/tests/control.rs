//! `weft control` by signals: cut off in its first start, killed and started again, saved and restored under a watch.
//!
//! Needs etcd and etcdctl.

use std::path::Path;

use host::programs::Signal;
use serde_json::{Value, json};
use tests::apiserver::authorization;
use tests::apiserver::control::{Control, READY};
use tests::wait::until_explained;

#[test]
fn a_first_start_that_is_interrupted_or_killed_anywhere_is_made_good_by_the_next() {
    // Files in the order in which they come to be.
    for (file, signal) in [
        ("lock", Signal::SIGINT),
        ("pki/ca.crt", Signal::SIGKILL),
        ("pki/etcd/server.crt", Signal::SIGINT),
        ("etcd/member", Signal::SIGKILL),
        ("etcd.endpoint", Signal::SIGINT),
        ("admin.kubeconfig", Signal::SIGKILL),
    ] {
        let control = Control::new();
        control.start();
        let there = || control.root.join(file).exists().then_some(());
        until_explained(file, READY, there, || control.daemon.log_tail(20));
        // A second Ctrl-C of somebody in a hurry does no harm.
        for _ in 0..2 {
            control.daemon.signal(signal).unwrap_or_else(|error| panic!("{error}"));
        }
        let status = control.daemon.wait_exit(READY).unwrap_or_else(|error| panic!("{error}"));
        if signal == Signal::SIGINT {
            let status = status.expect("this process started it");
            assert!(status.success(), "after {file}: {status}: {}", control.daemon.log_tail(20));
            assert_eq!(control.etcds(), [0; 0], "nothing stays behind after {file}");
        }
        control.start();
        control.wait_ready();
        assert_eq!(control.etcds().len(), 1, "after {file}");
    }
}

#[test]
fn a_control_plane_that_was_killed_has_all_that_was_acknowledged_when_it_starts_again() {
    let control = Control::new();
    control.start();
    control.wait_ready();
    control.create("a");
    control.daemon.stop(Signal::SIGKILL).unwrap_or_else(|error| panic!("{error}"));
    // etcd outlives it, and is ended by the next start.
    let left = control.etcds();
    control.start();
    control.wait_ready();
    assert!(control.has("a"));
    let now = control.etcds();
    assert!(now.len() == 1 && now.iter().all(|pid| !left.contains(pid)), "{left:?} {now:?}");
    control.daemon.stop(Signal::SIGINT).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(control.etcds(), [0; 0]);
}

fn file(directory: &Path, name: &str) -> String {
    directory.join(name).display().to_string()
}

#[test]
fn a_watcher_notices_that_the_state_was_restored_from_a_backup() {
    let control = Control::new();
    control.start();
    control.wait_ready();
    control.create("saved");
    let backup = file(control.directory.path(), "backup.db");
    let saved = control.act(&["backup", &backup]);
    assert!(saved.status.success(), "{saved:?}");
    control.create("later");
    let list = control.ask("GET", "/api/v1/namespaces/default/configmaps", &Value::Null).expect("a list").1;
    let version = list["metadata"]["resourceVersion"].as_str().expect("a version").to_owned();
    let refused = control.act(&["restore", &backup]);
    assert!(!refused.status.success(), "it runs still: {refused:?}");
    control.daemon.stop(Signal::SIGTERM).unwrap_or_else(|error| panic!("{error}"));
    let restored = control.act(&["restore", &backup]);
    assert!(restored.status.success(), "{restored:?}");
    control.start();
    control.wait_ready();
    assert!(control.has("saved") && !control.has("later"));
    // Who watched before must list again: what he has seen did not happen.
    let path = format!("/api/v1/namespaces/default/configmaps?watch=1&resourceVersion={version}");
    let mut watch = control.client().expect("keys").watch(&path, &authorization("admin")).expect("a watch");
    let line = watch.line().expect("a line").expect("an event");
    let event: Value = serde_json::from_slice(&line).expect("JSON");
    assert_eq!((&event["type"], &event["object"]["code"]), (&json!("ERROR"), &json!(410)), "{event}");
    let list = control.ask("GET", "/api/v1/namespaces/default/configmaps", &Value::Null).expect("a list").1;
    let now: i64 =
        list["metadata"]["resourceVersion"].as_str().expect("a version").parse().expect("a number");
    assert!(now > version.parse().expect("a number"), "versions never go back: {now} after {version}");
}
