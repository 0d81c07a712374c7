//! `weft control` as a process: in a directory of its own, or on a small disk of its own.

use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use host::netns::Namespace;
use host::programs::{Daemon, Signal};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::authorization;
use super::http::Client;
use crate::testbed::weft;
use crate::wait::until_explained;

/// Until it serves, on a busy machine.
pub const READY: Duration = Duration::from_secs(120);

/// A control plane in a directory of its own. It ends with this value, and so does its etcd.
pub struct Control {
    /// Its `--data-dir`, as it sees that.
    pub root: PathBuf,
    /// The same as this process sees it.
    pub seen: PathBuf,
    place: Namespace,
    address: SocketAddr,
    pub daemon: Daemon,
    /// What starts the program: it stands before it and its arguments.
    before: Vec<OsString>,
    /// More of its flags.
    pub flags: Vec<String>,
    pub directory: TempDir,
}

impl Control {
    /// # Panics
    /// There is no port, or no room for a file.
    #[expect(clippy::new_without_default, reason = "it writes files")]
    pub fn new() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let address = listener.local_addr().expect("bound");
        let here = Namespace::current().unwrap_or_else(|error| panic!("{error}"));
        Self::at(here, address)
    }

    /// In a network namespace, at one of its addresses.
    ///
    /// # Panics
    /// There is no room for a file.
    pub fn at(place: Namespace, address: SocketAddr) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let daemon = Daemon::new("weft control".to_owned(), place.clone(), directory.path(), "control");
        let tokens =
            "token-of-the-admin,admin,0,\"system:masters\"\ntoken-of-the-proxy,system:kube-proxy,1\n";
        fs::write(directory.path().join("tokens.csv"), tokens).expect("a file");
        let root = directory.path().join("control");
        let (before, flags) = (Vec::new(), Vec::new());
        Self { seen: root.clone(), root, place, address, daemon, before, flags, directory }
    }

    /// On a disk of its own, which it alone sees.
    pub fn on(disk: &Disk) -> Self {
        let enter = ["nsenter".to_owned(), format!("--mount=/proc/{}/ns/mnt", disk.0.id()), "--".to_owned()];
        let before = enter.map(OsString::from).to_vec();
        let root = disk.1.path().join("control");
        let mut control = Self::new();
        (control.seen, control.root, control.before) = (disk.seen().join("control"), root, before);
        control
    }

    fn program() -> PathBuf {
        weft().binary.program().unwrap_or_else(|error| panic!("{error}"))
    }

    /// # Panics
    /// It cannot be started.
    pub fn start(&self) {
        self.start_by(&[]);
    }

    /// The same, by another program: it stands before this one and its arguments.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_by(&self, more: &[&str]) {
        let mut arguments = vec![
            "control".to_owned(),
            format!("--data-dir={}", self.root.display()),
            format!("--bind-address={}", self.address.ip()),
            format!("--secure-port={}", self.address.port()),
        ];
        arguments.extend(self.flags.iter().cloned());
        arguments.push("--".to_owned());
        arguments.push(format!("--token-auth-file={}", self.directory.path().join("tokens.csv").display()));
        let mut all = self.before.clone();
        all.extend(more.iter().map(OsString::from));
        all.push(Self::program().into());
        all.extend(arguments.into_iter().map(OsString::from));
        let started = self.daemon.start(Path::new(&all[0]), &all[1..], &[]);
        started.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Runs one of its other commands.
    ///
    /// # Panics
    /// It cannot be run.
    pub fn act(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg("60").arg(Self::program()).arg("control").args(arguments).stdin(Stdio::null());
        command.arg(format!("--data-dir={}", self.root.display()));
        command.output().expect("weft runs")
    }

    /// Asks as the administrator; status and body. `None`: there was no answer.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Option<(u16, Value)> {
        let mut headers = authorization("admin");
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = self.client()?.attempt(method, path, &headers, &bytes).ok()?;
        Some((reply.status, serde_json::from_slice(&reply.body).unwrap_or_default()))
    }

    /// The network namespace that it serves in.
    pub fn place(&self) -> &Namespace {
        &self.place
    }

    /// `None`: there are no keys yet.
    pub fn client(&self) -> Option<Client> {
        Client::new(self.place.clone(), self.address, &self.seen.join("pki/ca.crt")).ok()
    }

    /// # Panics
    /// It does not serve in time, or ends.
    pub fn wait_ready(&self) {
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
    ///
    /// # Panics
    /// There is no /proc.
    pub fn etcds(&self) -> Vec<i32> {
        let mark = format!("--data-dir={}", self.root.join("etcd").display());
        let entries = fs::read_dir("/proc").expect("/proc").flatten();
        let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
        pids.filter(|pid: &i32| {
            let line = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.split('\0').any(|word| word == mark)
        })
        .collect()
    }

    /// A ConfigMap.
    ///
    /// # Panics
    /// It is refused.
    pub fn create(&self, name: &str) {
        let path = "/api/v1/namespaces/default/configmaps";
        let answer = self.ask("POST", path, &json!({"metadata": {"name": name}}));
        assert!(answer.as_ref().is_some_and(|(code, _)| *code == 201), "{answer:?}");
    }

    /// There is such a ConfigMap.
    pub fn has(&self, name: &str) -> bool {
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

/// A file system of a given size in memory, mounted where nobody else sees it. Needs root.
pub struct Disk(Child, TempDir);

impl Disk {
    /// `size` as `mount` takes it: `4m`.
    ///
    /// # Panics
    /// It cannot be mounted.
    pub fn new(size: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let script = r#"mount -t tmpfs -o "size=$1" none "$2" && echo mounted && exec sleep 3600"#;
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", script, "sh", size]).arg(directory.path());
        let mut holder = command.stdout(Stdio::piped()).spawn().expect("unshare runs");
        let mut line = String::new();
        BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        assert_eq!(line.trim(), "mounted");
        Self(holder, directory)
    }

    /// Where this process sees what is on it.
    pub fn seen(&self) -> PathBuf {
        let below = self.1.path().strip_prefix("/").expect("an absolute path");
        Path::new(&format!("/proc/{}/root", self.0.id())).join(below)
    }

    /// Mounts it with other options: `size=300m`, `ro`.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn remount(&self, options: &str) {
        let mut command = Command::new("nsenter");
        command.arg(format!("--mount=/proc/{}/ns/mnt", self.0.id())).args(["--", "mount", "-o"]);
        let status = command.arg(format!("remount,{options}")).arg(self.1.path()).status();
        assert!(status.is_ok_and(|status| status.success()), "{options}");
    }

    /// Writes until there is no room; [`Disk::make_room`] takes it away again.
    ///
    /// # Panics
    /// There is room for a gigabyte.
    pub fn fill(&self) {
        let copied = fs::File::create(self.seen().join("fill")).and_then(|mut file| {
            std::io::copy(&mut std::io::Read::take(std::io::repeat(7), 1 << 30), &mut file)
        });
        assert!(copied.is_err(), "{copied:?}");
    }

    /// # Panics
    /// It was not filled.
    pub fn make_room(&self) {
        fs::remove_file(self.seen().join("fill")).expect("what filled it");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
