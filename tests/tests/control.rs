//! `weft control` by signals: cut off in its first start, killed and started again, saved and restored under a watch.
//!
//! Needs etcd and etcdctl.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use host::netns::Namespace;
use host::programs::{Daemon, Signal};
use serde_json::{Value, json};
use tests::apiserver::authorization;
use tests::apiserver::http::Client;
use tests::testbed::weft;
use tests::wait::until_explained;

const READY: Duration = Duration::from_secs(120);

/// A control plane in a directory of its own.
struct Control {
    root: PathBuf,
    address: SocketAddr,
    daemon: Daemon,
    directory: tempfile::TempDir,
}

impl Control {
    fn new() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let here = Namespace::current().unwrap_or_else(|error| panic!("{error}"));
        let daemon = Daemon::new("weft control".to_owned(), here, directory.path(), "control");
        let tokens = "token-of-the-admin,admin,0,\"system:masters\"\n";
        fs::write(directory.path().join("tokens.csv"), tokens).expect("a file");
        Self { root: directory.path().join("control"), address, daemon, directory }
    }

    fn program() -> PathBuf {
        weft().binary.program().unwrap_or_else(|error| panic!("{error}"))
    }

    fn start(&self) {
        let arguments = [
            "control".to_owned(),
            format!("--data-dir={}", self.root.display()),
            "--bind-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.address.port()),
            "--".to_owned(),
            format!("--token-auth-file={}", self.directory.path().join("tokens.csv").display()),
        ];
        let started = self.daemon.start(&Self::program(), &arguments.map(OsString::from), &[]);
        started.unwrap_or_else(|error| panic!("{error}"));
    }

    fn act(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg("60").arg(Self::program()).arg("control").args(arguments).stdin(Stdio::null());
        command.arg(format!("--data-dir={}", self.root.display()));
        command.output().expect("weft runs")
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut headers = authorization("admin");
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = self.client()?.ask(method, path, &headers, &bytes).ok()?;
        Some((reply.status, serde_json::from_slice(&reply.body).unwrap_or_default()))
    }

    fn client(&self) -> Option<Client> {
        let here = Namespace::current().ok()?;
        Client::new(here, self.address, &self.root.join("pki/ca.crt")).ok()
    }

    fn wait_ready(&self) {
        until_explained(
            "weft control to serve",
            READY,
            || {
                assert!(self.daemon.pid().is_some(), "{}", self.daemon.died());
                let (code, _) = self.ask("GET", "/api/v1/namespaces/default", &Value::Null)?;
                (code == 200).then_some(())
            },
            || self.daemon.log_tail(30),
        );
    }

    /// Processes of an etcd on this directory.
    fn etcds(&self) -> Vec<i32> {
        let mark = format!("--data-dir={}", self.root.join("etcd").display());
        let entries = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &i32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split('\0').any(|word| word == mark)
        })
        .collect()
    }

    fn create(&self, name: &str) {
        let path = "/api/v1/namespaces/default/configmaps";
        let answer = self.ask("POST", path, &json!({"metadata": {"name": name}}));
        assert!(answer.as_ref().is_some_and(|(code, _)| *code == 201), "{answer:?}");
    }

    fn has(&self, name: &str) -> bool {
        let answer = self.ask("GET", &format!("/api/v1/namespaces/default/configmaps/{name}"), &Value::Null);
        answer.is_some_and(|(code, _)| code == 200)
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = self.daemon.stop(Signal::SIGKILL);
        for pid in self.etcds() {
            let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
        }
    }
}

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
