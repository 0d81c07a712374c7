//! With a real etcd, which must be installed.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ::etcd::{Client, Range, Span};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::*;
use crate::options::Fixture;

const PROGRAM: &str = "etcd";

fn plan(root: &Path) -> Plan {
    Plan {
        places: Places::new(root).unwrap(),
        etcd_program: PROGRAM.to_owned(),
        etcd: None,
        sans: Vec::new(),
        kubeconfig: None,
        flags: vec!["--secure-port=7443".to_owned()],
    }
}

fn machine() -> Fixture {
    Fixture { hostname: "one".to_owned(), own_address: Some([192, 168, 7, 1].into()) }
}

async fn put(client: &Client, key: &str, value: &str) -> i64 {
    client.put(key, value, None).await.unwrap().revision
}

async fn get(client: &Client, key: &str) -> Option<String> {
    let found = client.get(key).await.unwrap();
    found.map(|entry| String::from_utf8_lossy(&entry.value).into_owned())
}

fn pids(places: &Places) -> Vec<i32> {
    let mark = format!("--data-dir={}", places.etcd().display());
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid: &i32| {
        let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.split('\0').any(|word| word == mark)
    })
    .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_start_makes_all_that_a_server_needs_and_the_end_leaves_no_process() {
    let directory = tempfile::tempdir().unwrap();
    let places = Places::new(&directory.path().join("control")).unwrap();
    let prepared = plan(places.root()).prepare(&machine()).await.unwrap();
    assert_eq!(prepared.address(), "https://127.0.0.1:7443");
    let mode = fs::metadata(&prepared.kubeconfig).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let config = fs::read_to_string(&prepared.kubeconfig).unwrap();
    assert!(config.contains("server: https://127.0.0.1:7443"), "{config}");
    let client = Client::new(prepared.options.etcd.clone()).unwrap();
    put(&client, "/registry/x", "1").await;
    assert_eq!(pids(&places).len(), 1);

    let again = plan(places.root()).prepare(&machine()).await.unwrap_err().to_string();
    assert!(again.contains("is in use") && again.contains("--data-dir"), "{again}");
    prepared.stop().await;
    assert_eq!(pids(&places), [0; 0]);

    let prepared = plan(places.root()).prepare(&machine()).await.unwrap();
    let client = Client::new(prepared.options.etcd.clone()).unwrap();
    assert_eq!(get(&client, "/registry/x").await.as_deref(), Some("1"));
    prepared.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_serves_nobody_without_a_certificate() {
    let directory = tempfile::tempdir().unwrap();
    let prepared = plan(directory.path()).prepare(&machine()).await.unwrap();
    let stranger = ::etcd::Settings { identity: None, ..prepared.options.etcd.clone() };
    assert!(Client::new(stranger).unwrap().status().await.is_err());
    prepared.stop().await;
}

/// A killed process leaves its etcd behind: here by forgetting it.
#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_outlived_its_parent_is_ended_by_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let places = Places::new(directory.path()).unwrap();
    pki::ensure(&places.pki(), &Names::loopback(), SystemTime::now()).unwrap();
    let first = OwnEtcd::start(&places, PROGRAM).await.unwrap();
    let old = pids(&places);
    let client = Client::new(first.settings().clone()).unwrap();
    put(&client, "/registry/x", "kept").await;
    std::mem::forget(first);
    let prepared = plan(directory.path()).prepare(&machine()).await.unwrap();
    let new = pids(&places);
    assert!(new.iter().all(|pid| !old.contains(pid)), "{old:?} {new:?}");
    let client = Client::new(prepared.options.etcd.clone()).unwrap();
    assert_eq!(get(&client, "/registry/x").await.as_deref(), Some("kept"));
    prepared.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_etcd_that_dies_is_started_again() {
    let directory = tempfile::tempdir().unwrap();
    let prepared = plan(directory.path()).prepare(&machine()).await.unwrap();
    let places = Places::new(directory.path()).unwrap();
    let client = Client::new(prepared.options.etcd.clone()).unwrap();
    put(&client, "/registry/x", "kept").await;
    let [pid] = pids(&places)[..] else { panic!("one etcd") };
    kill(Pid::from_raw(pid), Signal::SIGKILL).unwrap();
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while pids(&places) == [pid] || client.status().await.is_err() {
        assert!(std::time::Instant::now() < deadline, "etcd did not come back");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(get(&client, "/registry/x").await.as_deref(), Some("kept"));
    prepared.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_etcd_is_named_with_its_package() {
    let directory = tempfile::tempdir().unwrap();
    let plan = Plan { etcd_program: "weft-has-no-such-program".to_owned(), ..plan(directory.path()) };
    let error = plan.prepare(&machine()).await.unwrap_err().to_string();
    assert!(error.contains("apt-get install etcd-server") && error.contains("--etcd-endpoints"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restored_backup_has_its_objects_and_revisions_that_nobody_has_seen() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("control");
    let places = Places::new(&root).unwrap();
    let file = directory.path().join("backup.db");
    let prepared = plan(&root).prepare(&machine()).await.unwrap();
    let client = Client::new(prepared.options.etcd.clone()).unwrap();
    for nth in 0..2000 {
        put(&client, &format!("/registry/many/{nth:05}"), "x").await;
    }
    put(&client, "/registry/x", "saved").await;
    // While it runs.
    backup(&places, PROGRAM, &file).await.unwrap();
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(backup(&places, PROGRAM, &file).await.is_err(), "a backup is not overwritten");
    let last = put(&client, "/registry/x", "later").await;
    assert!(matches!(restore(&places, PROGRAM, &file).await, Err(LocalError::InUse { .. })));
    prepared.stop().await;

    let report = restore(&places, PROGRAM, &file).await.unwrap();
    assert!(report.revision > last, "{report:?}");
    assert!(report.replaced.unwrap().is_dir());
    let prepared = plan(&root).prepare(&machine()).await.unwrap();
    let client = Client::new(prepared.options.etcd.clone()).unwrap();
    assert_eq!(get(&client, "/registry/x").await.as_deref(), Some("saved"));
    assert_eq!(get(&client, "/registry/many/01999").await.as_deref(), Some("x"));
    let next = put(&client, "/registry/x", "new").await;
    assert!(next > report.revision);
    assert_eq!(get(&client, "/registry/x").await.as_deref(), Some("new"));
    // Who watched before hears that it must begin again.
    let old = Range { span: Span::key("/registry/x"), revision: last, ..Range::of(Span::key("")) };
    assert!(matches!(client.range(&old).await, Err(::etcd::EtcdError::Compacted { .. })));
    prepared.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_needs_no_running_control_plane_and_another_machine_can_restore_it() {
    let directory = tempfile::tempdir().unwrap();
    let (one, other) = (directory.path().join("one"), directory.path().join("other"));
    let file = directory.path().join("backup.db");
    let prepared = plan(&one).prepare(&machine()).await.unwrap();
    put(&Client::new(prepared.options.etcd.clone()).unwrap(), "/registry/x", "saved").await;
    prepared.stop().await;
    backup(&Places::new(&one).unwrap(), PROGRAM, &file).await.unwrap();
    let places = Places::new(&other).unwrap();
    let report = restore(&places, PROGRAM, &file).await.unwrap();
    assert_eq!(report.replaced, None);
    let prepared = plan(&other).prepare(&machine()).await.unwrap();
    let client = Client::new(prepared.options.etcd.clone()).unwrap();
    assert_eq!(get(&client, "/registry/x").await.as_deref(), Some("saved"));
    prepared.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_backup_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("control");
    let places = Places::new(&root).unwrap();
    let file = directory.path().join("backup.db");
    let prepared = plan(&root).prepare(&machine()).await.unwrap();
    put(&Client::new(prepared.options.etcd.clone()).unwrap(), "/registry/x", "1").await;
    prepared.stop().await;
    backup(&places, PROGRAM, &file).await.unwrap();
    let mut bytes = fs::read(&file).unwrap();
    bytes[5000] ^= 1;
    fs::write(&file, &bytes).unwrap();
    let error = restore(&places, PROGRAM, &file).await.unwrap_err().to_string();
    assert!(error.contains("its checksum is not at its end"), "{error}");
    let prepared = plan(&root).prepare(&machine()).await.unwrap();
    let client = Client::new(prepared.options.etcd.clone()).unwrap();
    assert_eq!(get(&client, "/registry/x").await.as_deref(), Some("1"));
    prepared.stop().await;
}

/// Every place where a restore may be killed, as files tell it.
#[test]
fn a_restore_that_was_cut_off_leaves_the_former_state_or_the_restored_one() {
    let make = |names: &[&str]| {
        let directory = tempfile::tempdir().unwrap();
        for name in names {
            let path = directory.path().join(name);
            match *name {
                "restore.snapshot" | "restore.mark" => fs::write(path, "").unwrap(),
                _ => {
                    fs::create_dir(&path).unwrap();
                    fs::write(path.join("which"), name).unwrap();
                }
            }
        }
        directory
    };
    for (left, which, marked) in [
        (&["etcd", "restore.snapshot"][..], "etcd", false),
        (&["etcd", "restore.snapshot", "restore.unpacking"], "etcd", false),
        (&["etcd", "restore.snapshot", "restore.ready"], "etcd", false),
        (&["etcd", "restore.snapshot", "restore.ready", "restore.mark"], "etcd", false),
        (&["restore.snapshot", "restore.ready", "restore.mark"], "restore.ready", true),
        (&["etcd", "restore.mark"], "etcd", true),
    ] {
        let directory = make(left);
        let places = Places::new(directory.path()).unwrap();
        for _ in 0..2 {
            snapshot::mend(&places).unwrap();
            let found = fs::read_to_string(places.etcd().join("which")).unwrap();
            assert_eq!(found, which, "{left:?}");
            assert_eq!(directory.path().join("restore.mark").exists(), marked, "{left:?}");
        }
        let others: Vec<_> =
            fs::read_dir(directory.path()).unwrap().flatten().map(|e| e.file_name()).collect();
        assert_eq!(others.len(), 1 + usize::from(marked), "{others:?}");
    }
}
