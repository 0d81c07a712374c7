//! `weft control` without what it needs: room on its disk, a disk that can be written, descriptors. It says what is wrong, leaves
//! nothing half made, and goes on as soon as there is enough.
//!
//! Needs root, etcd, bash, unshare, nsenter and prlimit.

use host::programs::Signal;
use serde_json::{Value, json};
use tests::apiserver::control::{Control, Disk, READY};
use tests::wait::{until, until_explained};

/// Starts it, and gives what it says when it ends.
fn fails(control: &Control, by: &[&str]) -> String {
    let before = control.daemon.log().len();
    control.start_by(by);
    let status = control.daemon.wait_exit(READY).unwrap_or_else(|error| panic!("{error}"));
    assert!(status.is_some_and(|status| !status.success()), "it succeeds");
    assert_eq!(control.etcds(), [0; 0], "nothing stays behind");
    let log = control.daemon.log();
    let said = &log[before..];
    assert!(!said.contains("panicked"), "{said}");
    let (_, last) = said
        .rsplit_once(" ERROR ")
        .or_else(|| said.rsplit_once("weft control: "))
        .unwrap_or_else(|| panic!("no error: {log}"));
    last.to_owned()
}

#[test]
fn a_disk_that_is_too_small_read_only_or_full_is_named_and_used_as_soon_as_it_can_be() {
    let disk = Disk::new("4m");
    let control = Control::on(&disk);
    disk.remount("ro");
    let said = fails(&control, &[]);
    assert!(said.contains(&control.root.display().to_string()) && said.contains("Read-only"), "{said}");
    disk.remount("rw");
    disk.fill();
    let said = fails(&control, &[]);
    assert!(said.contains(&control.root.display().to_string()) && said.contains("No space left"), "{said}");
    disk.make_room();
    // There is room for keys, but not for etcd's first files.
    let said = fails(&control, &[]);
    assert!(said.contains("no space left on device") && !said.contains("main.go"), "{said}");
    disk.remount("size=300m");
    control.start();
    control.wait_ready();

    // A disk that fills up while it runs.
    disk.fill();
    let large = "x".repeat(500_000);
    let create = |name: &str| {
        let body = json!({"metadata": {"name": name}, "data": {"a": large}});
        control.ask("POST", "/api/v1/namespaces/default/configmaps", &body)
    };
    let (mut made, mut refused) = (Vec::new(), None);
    while refused.is_none() {
        let name = format!("large-{}", made.len());
        match create(&name) {
            Some((201, _)) => made.push(name),
            // Whether this one was written, nobody knows.
            other => refused = Some(other),
        }
        assert!(made.len() < 400, "there is room without an end");
    }
    if let Some(Some((code, status))) = &refused {
        assert!(*code >= 500 && status["kind"] == "Status", "{code}: {status}");
    }
    let (code, _) = until("old reads", || {
        control.ask("GET", "/api/v1/namespaces/default/configmaps?resourceVersion=0&limit=1", &Value::Null)
    });
    assert_eq!(code, 200, "what is known is served");
    disk.make_room();
    until_explained(
        "writes to go on",
        READY,
        || {
            assert!(control.daemon.pid().is_some(), "{}", control.daemon.died());
            create("after").filter(|(code, _)| *code == 201 || *code == 409).map(drop)
        },
        || control.daemon.log_tail(30),
    );
    for name in &made {
        assert!(control.has(name), "{name} was acknowledged");
    }
    control.daemon.stop(Signal::SIGTERM).unwrap_or_else(|error| panic!("{error}"));
    control.start();
    control.wait_ready();
    assert!(control.has("after") && made.iter().all(|name| control.has(name)));
}

#[test]
fn too_few_descriptors_are_named_and_leave_nothing_half_made() {
    let control = Control::new();
    let few = [4, 6, 7, 8, 10, 12].map(|most| (most, "Too many open files"));
    for (most, wanted) in few.into_iter().chain([(40, "file descriptor limit")]) {
        // What runs the tests may hand on some of its own: they are closed first.
        let close = r#"for fd in /proc/self/fd/*; do fd=${fd##*/}; ((fd < 3)) || eval "exec $fd>&-"; done"#;
        let script = format!(r#"{close}; exec prlimit --nofile={most}:{most} "$@""#);
        let said = fails(&control, &["bash", "-c", &script, "bash"]);
        assert!(said.contains(wanted), "{most}: {said}");
    }
    control.start();
    control.wait_ready();
    control.create("a");
    assert!(control.has("a"));
}
