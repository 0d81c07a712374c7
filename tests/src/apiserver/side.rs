//! One API server with its etcd: ours or the original. Both get the same flags and the same keys.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use control_apiserver::local::{self, Places};
use control_apiserver::pki::{self, Names};
use host::netns::Namespace;
use host::programs::{Daemon, Etcd, Signal};
use serde_json::Value;
use tempfile::TempDir;

use super::http::Client;
use crate::testbed::weft;
use crate::wait::until_explained;

/// Users of the token file: name, token and groups.
const USERS: [(&str, &str, &str); 5] = [
    ("admin", "token-of-the-admin", "system:masters"),
    ("first", "token-of-the-first", "system:masters"),
    ("second", "token-of-the-second", "system:masters"),
    ("alice", "token-of-alice", "people"),
    ("system:node:n1", "token-of-a-node", "system:nodes"),
];

/// Until a server serves, on a busy machine.
pub(super) const READY: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    Original,
    Ours,
}

impl Which {
    pub(super) fn program(self) -> (PathBuf, Vec<String>) {
        match self {
            Self::Original => {
                let path = originals::program("kube-apiserver").unwrap_or_else(|error| panic!("{error}"));
                (path, Vec::new())
            }
            Self::Ours => {
                let path = weft().binary.program().unwrap_or_else(|error| panic!("{error}"));
                (path, vec!["apiserver".to_owned()])
            }
        }
    }
}

/// A server and its etcd. Both end with it.
pub struct Side {
    pub which: Which,
    pub address: SocketAddr,
    namespace: Namespace,
    places: Places,
    etcd: Etcd,
    flags: Vec<String>,
    daemon: Daemon,
    directory: TempDir,
}

impl Side {
    /// Makes keys, and starts etcd; the server is started by [`Side::start`]. `more` are flags of kube-apiserver that hold
    /// before the usual ones.
    ///
    /// # Panics
    /// A program is missing, or does not come up.
    pub fn new(which: Which, more: &[&str]) -> Self {
        let here = Namespace::current().unwrap_or_else(|error| panic!("{error}"));
        Self::at(which, &here, Ipv4Addr::LOCALHOST, more)
    }

    /// The same at an address of another namespace, whose loopback device must be up.
    ///
    /// # Panics
    /// As [`Side::new`].
    pub fn at(which: Which, namespace: &Namespace, ip: Ipv4Addr, more: &[&str]) -> Self {
        let here = namespace.clone();
        let directory = tempfile::tempdir().expect("a directory");
        // What is free in one namespace may be taken in another, but not in one that was made for this test.
        let address = SocketAddr::from((ip, free_port()));
        let places = keys(directory.path(), &[ip.into()]);
        let program = originals::program("etcd").unwrap_or_else(|error| panic!("{error}"));
        let etcd = Etcd::on_loopback(here.clone(), &directory.path().join("etcd"), free_port(), free_port());
        let etcd = etcd.with_program(program);
        etcd.start().unwrap_or_else(|error| panic!("{error}"));
        etcd.wait_ready(READY).unwrap_or_else(|error| panic!("{error}"));
        let mut flags = flags(&places, vec![etcd.endpoint().to_owned()], address);
        if more.iter().any(|flag| flag.starts_with("--authorization-config=")) {
            flags.retain(|flag| !flag.starts_with("--authorization-mode="));
        }
        flags.extend(more.iter().map(|flag| (*flag).to_owned()));
        let name = format!("{which:?}").to_lowercase();
        let daemon = Daemon::new(format!("the API server ({name})"), here.clone(), directory.path(), &name);
        Self { which, namespace: here, address, places, etcd, flags, daemon, directory }
    }

    /// # Panics
    /// It does not come up: with the end of its log.
    pub fn start(&self) {
        self.start_only();
        self.wait_ready();
    }

    /// Starts it, and does not wait.
    ///
    /// # Panics
    /// It cannot be started.
    pub fn start_only(&self) {
        let (program, mut arguments) = self.which.program();
        arguments.extend(self.flags.iter().cloned());
        let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        self.daemon.start(&program, &arguments, &[]).unwrap_or_else(|error| panic!("{error}"));
    }

    fn wait_ready(&self) {
        let mut client = self.client();
        until_explained(
            &format!("{} to be ready", self.daemon.what()),
            READY,
            || {
                assert!(self.daemon.pid().is_some(), "{}", self.daemon.died());
                let answer = client.ask("GET", "/readyz", &authorization("admin"), &[]).ok()?;
                // It is ready before its bootstrapping is through.
                let namespace = "/api/v1/namespaces/default";
                let made = client.ask("GET", namespace, &authorization("admin"), &[]).ok()?;
                (answer.status == 200 && made.status == 200).then_some(())
            },
            || self.daemon.log_tail(30),
        );
    }

    /// Ends the server; its etcd goes on.
    ///
    /// # Panics
    /// It does not end.
    pub fn stop(&self, signal: Signal) {
        self.daemon.stop(signal).unwrap_or_else(|error| panic!("{error}"));
    }

    /// Ends the server, and starts the other kind over the same etcd, with the same keys, at the same address.
    ///
    /// # Panics
    /// One does not end, or the other not come up.
    pub fn replace_by(&mut self, which: Which) {
        self.daemon.signal(Signal::SIGTERM).unwrap_or_else(|error| panic!("{error}"));
        // The original first waits for its watches to end, for up to a minute.
        self.daemon.wait_exit(READY).unwrap_or_else(|error| panic!("{error}"));
        self.which = which;
        self.start();
    }

    pub fn client(&self) -> Client {
        Client::new(self.namespace.clone(), self.address, &self.places.pki().join("ca.crt"))
            .expect("the authority's certificate")
    }

    /// Makes clients, also after this was replaced.
    ///
    /// # Panics
    /// The authority's certificate is not there.
    pub fn clients(&self) -> impl Fn() -> Client + Send + Sync + 'static {
        let (namespace, address) = (self.namespace.clone(), self.address);
        let authority = self.places.pki().join("ca.crt");
        move || Client::new(namespace.clone(), address, &authority).expect("the authority's certificate")
    }

    /// The administrator's kubeconfig, or that of another user of the token file.
    ///
    /// # Panics
    /// It cannot be written.
    pub fn kubeconfig(&self, user: &str) -> PathBuf {
        let token = USERS.iter().find(|(name, ..)| *name == user).expect("a user of the token file").1;
        let path = self.directory.path().join(format!("{}.kubeconfig", user.replace(':', "-")));
        let text = serde_json::json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "clusters": [{"name": "x", "cluster": {
                "server": format!("https://{}", self.address),
                "certificate-authority": self.places.pki().join("ca.crt"),
            }}],
            "users": [{"name": "x", "user": {"token": token}}],
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}],
        });
        fs::write(&path, text.to_string()).expect("a file");
        path
    }

    /// Asks as the administrator, with a JSON body, and gives the answer's.
    ///
    /// # Panics
    /// There is no answer, or a refusal.
    pub fn must(&self, method: &str, path: &str, kind: &str, body: &Value) -> Value {
        let mut headers = authorization("admin");
        headers.push(("Content-Type".to_owned(), kind.to_owned()));
        let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = self.client().ask(method, path, &headers, &body);
        let reply = reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let text = String::from_utf8_lossy(&reply.body);
        assert!((200..300).contains(&reply.status), "{method} {path}: {}: {text}", reply.status);
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{method} {path}: {error}: {text}"))
    }

    /// A program where the server is.
    pub fn command(&self, program: impl AsRef<OsStr>) -> Command {
        self.namespace.command(program)
    }

    /// What it stores things in.
    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    pub fn pki(&self) -> PathBuf {
        self.places.pki()
    }

    /// The server's process, while it lives.
    pub fn pid(&self) -> Option<i32> {
        self.daemon.pid().map(nix::unistd::Pid::as_raw)
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

/// Makes the keys of a cluster whose servers are at these addresses, and the file of its users.
///
/// # Panics
/// They cannot be made.
pub(super) fn keys(directory: &Path, servers: &[IpAddr]) -> Places {
    let places = Places::new(directory).expect("a path");
    let service = IpAddr::from([10, 96, 0, 1]);
    let names = Names::of_api("weft-test", servers.iter().copied().chain([service]), &[]);
    pki::ensure(&places.pki(), &names, SystemTime::now()).unwrap_or_else(|error| panic!("{error}"));
    let lines = USERS
        .iter()
        .enumerate()
        .map(|(nth, (user, token, groups))| format!("{token},{user},{nth},\"{groups}\"\n"));
    fs::write(places.root().join("tokens.csv"), lines.collect::<String>()).expect("a file");
    places
}

/// The flags of a server with these keys, over these members of an etcd.
pub(super) fn flags(places: &Places, etcd: Vec<String>, address: SocketAddr) -> Vec<String> {
    let settings = ::etcd::Settings { endpoints: etcd, ..Default::default() };
    let mut flags = local::arguments(places, &settings);
    flags.push(format!("--bind-address={}", address.ip()));
    flags.push(format!("--secure-port={}", address.port()));
    flags.push(format!("--token-auth-file={}", places.root().join("tokens.csv").display()));
    flags.push(format!("--cert-dir={}", places.root().display()));
    flags
}

impl Drop for Side {
    fn drop(&mut self) {
        let _ = self.daemon.stop(Signal::SIGKILL);
        let _ = self.etcd.stop(Signal::SIGKILL);
        if std::thread::panicking() {
            let log = std::env::temp_dir().join(format!("weft-compare-{:?}.log", self.which).to_lowercase());
            if fs::write(&log, self.daemon.log()).is_ok() {
                println!("log of {}: {}", self.daemon.what(), log.display());
            }
        }
    }
}

/// Both, with the same flags.
pub struct Pair {
    pub original: Side,
    pub ours: Side,
}

impl Pair {
    /// # Panics
    /// One does not come up.
    pub fn up(more: &[&str]) -> Self {
        Self::of(Which::Ours, more)
    }

    /// As [`Pair::up`], at an address of another namespace. The servers are not started.
    ///
    /// # Panics
    /// An etcd does not come up.
    pub fn at(namespace: &Namespace, ip: Ipv4Addr, more: &[&str]) -> Self {
        Self {
            original: Side::at(Which::Original, namespace, ip, more),
            ours: Side::at(Which::Ours, namespace, ip, more),
        }
    }

    /// # Panics
    /// One does not come up.
    pub fn start(&self) {
        self.original.start_only();
        self.ours.start_only();
        self.ours.wait_ready();
        self.original.wait_ready();
    }

    /// Two originals: what differs between them, the comparison must not see.
    ///
    /// # Panics
    /// One does not come up.
    pub fn twice(more: &[&str]) -> Self {
        Self::of(Which::Original, more)
    }

    fn of(second: Which, more: &[&str]) -> Self {
        let pair = Self { original: Side::new(Which::Original, more), ours: Side::new(second, more) };
        pair.start();
        pair
    }
}

/// The header by which a user is known; none for `nobody`.
///
/// # Panics
/// There is no such user.
pub fn authorization(user: &str) -> Vec<(String, String)> {
    if user == "nobody" {
        return Vec::new();
    }
    let token = USERS.iter().find(|(name, ..)| *name == user).expect("a user of the token file").1;
    vec![("Authorization".to_owned(), format!("Bearer {token}"))]
}

pub(super) fn free_port() -> u16 {
    host::sockets::free_port(Ipv4Addr::LOCALHOST.into()).expect("a port")
}
