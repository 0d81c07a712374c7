//! Several of our servers over one etcd of several members, each of which can be killed and started again.
//!
//! Owns: their processes, which end with it. Begin at [`Fleet::up`].

use std::ffi::OsString;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use control_apiserver::local::Places;
use host::netns::Namespace;
use host::programs::{Daemon, Signal};
use serde_json::Value;
use tempfile::TempDir;

use super::http::Client;
use super::load::Servers;
use super::side::{READY, Which, authorization, flags, free_port, keys};
use crate::wait::until_explained;

/// The etcd under the servers.
#[derive(Clone, Debug)]
pub struct Etcd {
    pub program: PathBuf,
    /// Besides those for its members.
    pub flags: Vec<String>,
}

impl Default for Etcd {
    /// The one on the path.
    fn default() -> Self {
        Self { program: PathBuf::from("etcd"), flags: Vec::new() }
    }
}

/// One member of etcd.
struct Member {
    client: u16,
    peer: u16,
    daemon: Daemon,
}

/// One API server.
struct Server {
    address: SocketAddr,
    flags: Vec<String>,
    daemon: Daemon,
}

/// The processes of a cluster.
pub struct Fleet {
    here: Namespace,
    places: Places,
    etcd: Etcd,
    members: Vec<Member>,
    servers: Vec<Server>,
    directory: TempDir,
}

impl Fleet {
    /// Every server knows every member. Servers listen at 127.0.0.1, 127.0.0.2 and so on, and say that
    /// they are reached at 192.0.2.1 and so on.
    ///
    /// # Panics
    /// A program is missing, or does not come up.
    pub fn up(members: usize, servers: u8, etcd: &Etcd, more: &[&str]) -> Self {
        let fleet = Self::prepare(members, servers, etcd, more);
        (0..fleet.members.len()).for_each(|nth| fleet.start_member(nth));
        (0..fleet.members.len()).for_each(|nth| fleet.wait_for_member(nth));
        (0..fleet.servers.len()).for_each(|nth| fleet.start_server(nth));
        (0..fleet.servers.len()).for_each(|nth| fleet.wait_for_server(nth));
        fleet
    }

    /// The same, and nothing is started.
    ///
    /// # Panics
    /// Keys cannot be written.
    pub fn prepare(members: usize, servers: u8, etcd: &Etcd, more: &[&str]) -> Self {
        let here = Namespace::current().unwrap_or_else(|error| panic!("{error}"));
        let directory = tempfile::tempdir().expect("a directory");
        let daemon = |name: &str| Daemon::new(name.to_owned(), here.clone(), directory.path(), name);
        let members: Vec<Member> = (0..members)
            .map(|nth| Member {
                client: free_port(),
                peer: free_port(),
                daemon: daemon(&format!("etcd-{nth}")),
            })
            .collect();
        let addresses: Vec<IpAddr> =
            (1..=servers).map(|last| Ipv4Addr::new(127, 0, 0, last).into()).collect();
        let places = keys(directory.path(), &addresses);
        let endpoints = members.iter().map(|member| format!("http://127.0.0.1:{}", member.client));
        let endpoints: Vec<String> = endpoints.collect();
        let servers = (1..=servers).zip(addresses).map(|(nth, ip)| {
            let address = SocketAddr::from((ip, free_port()));
            let mut flags = flags(&places, endpoints.clone(), address);
            flags.push(format!("--advertise-address=192.0.2.{nth}"));
            flags.extend(more.iter().map(|flag| (*flag).to_owned()));
            Server { address, flags, daemon: daemon(&format!("server-{nth}")) }
        });
        let servers = servers.collect();
        Self { here, places, etcd: etcd.clone(), members, servers, directory }
    }

    /// # Panics
    /// It cannot be started.
    pub fn start_member(&self, nth: usize) {
        let url = |port: u16| format!("http://127.0.0.1:{port}");
        let member = &self.members[nth];
        let all = self.members.iter().enumerate().map(|(nth, member)| format!("m{nth}={}", url(member.peer)));
        let arguments = [
            format!("--name=m{nth}"),
            format!("--data-dir={}", self.directory.path().join(format!("m{nth}")).display()),
            format!("--listen-client-urls={}", url(member.client)),
            format!("--advertise-client-urls={}", url(member.client)),
            format!("--listen-peer-urls={}", url(member.peer)),
            format!("--initial-advertise-peer-urls={}", url(member.peer)),
            format!("--initial-cluster={}", all.collect::<Vec<_>>().join(",")),
        ];
        let arguments: Vec<OsString> =
            arguments.into_iter().chain(self.etcd.flags.clone()).map(OsString::from).collect();
        let started = member.daemon.start(&self.etcd.program, &arguments, &[]);
        started.unwrap_or_else(|error| panic!("{error}"));
    }

    /// Puts what a backup holds in the place of a member's data; it must have ended, and be the only one.
    ///
    /// # Panics
    /// etcdctl fails.
    pub fn restore_member(&self, nth: usize, backup: &str) {
        let data = self.directory.path().join(format!("m{nth}"));
        std::fs::remove_dir_all(&data).expect("its data");
        let peer = format!("http://127.0.0.1:{}", self.members[nth].peer);
        self.etcdctl(
            nth,
            &[
                "snapshot",
                "restore",
                backup,
                &format!("--data-dir={}", data.display()),
                &format!("--name=m{nth}"),
                &format!("--initial-cluster=m{nth}={peer}"),
                &format!("--initial-advertise-peer-urls={peer}"),
            ],
        );
    }

    /// For files of a test's own.
    pub fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// Until it is one of a majority.
    ///
    /// # Panics
    /// It does not come to that.
    pub fn wait_for_member(&self, nth: usize) {
        let member = &self.members[nth];
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, member.client));
        until_explained(
            "a member of etcd to serve",
            READY,
            || {
                let answer = host::programs::get(&self.here, address, "/health");
                answer.is_ok_and(|(status, _)| status == 200).then_some(())
            },
            || member.daemon.log_tail(20),
        );
    }

    /// The member that leads.
    ///
    /// # Panics
    /// None does.
    pub fn leader(&self) -> usize {
        let leads = |member: &Member| {
            let address = SocketAddr::from((Ipv4Addr::LOCALHOST, member.client));
            let metrics = host::programs::get(&self.here, address, "/metrics");
            metrics.is_ok_and(|(_, text)| text.contains("\netcd_server_is_leader 1"))
        };
        until_explained("a leader of etcd", READY, || self.members.iter().position(leads), String::new)
    }

    /// # Panics
    /// It does not end by SIGKILL, SIGTERM or SIGINT.
    pub fn stop_member(&self, nth: usize, signal: Signal) {
        self.members[nth].daemon.stop(signal).unwrap_or_else(|error| panic!("{error}"));
    }

    /// SIGSTOP, SIGCONT.
    ///
    /// # Panics
    /// The kernel refuses.
    pub fn signal_member(&self, nth: usize, signal: Signal) {
        self.members[nth].daemon.signal(signal).unwrap_or_else(|error| panic!("{error}"));
    }

    /// # Panics
    /// It cannot be started.
    pub fn start_server(&self, nth: usize) {
        let server = &self.servers[nth];
        let (program, mut arguments) = Which::Ours.program();
        arguments.extend(server.flags.iter().cloned());
        let arguments: Vec<OsString> = arguments.into_iter().map(OsString::from).collect();
        server.daemon.start(&program, &arguments, &[]).unwrap_or_else(|error| panic!("{error}"));
    }

    /// # Panics
    /// It does not get ready.
    pub fn wait_for_server(&self, nth: usize) {
        let server = &self.servers[nth];
        let mut client = self.client(nth);
        until_explained(
            "a server to be ready",
            READY,
            || {
                assert!(server.daemon.pid().is_some(), "{}", server.daemon.died());
                let answer = client.ask("GET", "/readyz", &authorization("admin"), &[]).ok()?;
                (answer.status == 200).then_some(())
            },
            || server.daemon.log_tail(30),
        );
    }

    /// # Panics
    /// It does not end.
    pub fn stop_server(&self, nth: usize, signal: Signal) {
        self.servers[nth].daemon.stop(signal).unwrap_or_else(|error| panic!("{error}"));
    }

    /// A client of one server.
    ///
    /// # Panics
    /// The authority's certificate is not there.
    pub fn client(&self, nth: usize) -> Client {
        let server = &self.servers[nth];
        Client::new(self.here.clone(), server.address, &self.places.pki().join("ca.crt"))
            .expect("the authority's certificate")
    }

    /// Makes clients that know all servers, for a load.
    pub fn clients(&self) -> impl Fn(usize) -> Servers + Send + Sync + 'static {
        let (here, authority) = (self.here.clone(), self.places.pki().join("ca.crt"));
        let addresses: Vec<SocketAddr> = self.servers.iter().map(|server| server.address).collect();
        move |first| {
            let client = |address: &SocketAddr| {
                Client::new(here.clone(), *address, &authority).expect("the authority's certificate")
            };
            Servers::new(addresses.iter().map(client).collect(), first)
        }
    }

    /// Asks one server, with a time limit for what is not to take long. Status and body.
    ///
    /// # Panics
    /// There is no answer.
    pub fn ask(&self, nth: usize, method: &str, path: &str, body: &Value) -> (u16, Value) {
        let mut headers = authorization("admin");
        headers.push(("Content-Type".to_owned(), "application/json".to_owned()));
        let bytes = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
        let reply = self.client(nth).ask(method, path, &headers, &bytes);
        let reply = reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        (reply.status, serde_json::from_slice(&reply.body).unwrap_or_default())
    }

    /// What a server has written.
    pub fn log(&self, nth: usize) -> String {
        self.servers[nth].daemon.log_tail(40)
    }

    /// Where a member listens for clients.
    pub fn endpoint(&self, nth: usize) -> String {
        format!("http://127.0.0.1:{}", self.members[nth].client)
    }

    /// Runs etcdctl against one member.
    ///
    /// # Panics
    /// It fails.
    pub fn etcdctl(&self, nth: usize, arguments: &[&str]) -> String {
        let endpoint = format!("--endpoints={}", self.endpoint(nth));
        let argv = ["etcdctl", endpoint.as_str()].into_iter().chain(arguments.iter().copied());
        let command = host::programs::inside(&self.here, argv).env("ETCDCTL_API", "3");
        let output = host::programs::run(&command.time_limit(Duration::from_secs(60)));
        output.and_then(host::programs::Output::ok).unwrap_or_else(|error| panic!("{error}"))
    }
}

impl Drop for Fleet {
    fn drop(&mut self) {
        for (nth, server) in self.servers.iter().enumerate() {
            let _ = server.daemon.stop(Signal::SIGKILL);
            if std::thread::panicking() {
                let log = std::env::temp_dir().join(format!("weft-fleet-{nth}.log"));
                if std::fs::write(&log, server.daemon.log()).is_ok() {
                    println!("log of {}: {}", server.daemon.what(), log.display());
                }
            }
        }
        for member in &self.members {
            let _ = member.daemon.stop(Signal::SIGKILL);
        }
    }
}
