//! A control plane: etcd, the API server over it, and who may speak to it.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use host::netns::Namespace;
use serde_json::Value;

use crate::api::Api;
use crate::credentials::{Credentials, User};
use crate::kinds::Identity;
use crate::leftovers::Scratch;
use crate::server::Server;
use crate::store::{self, Entry, Store};
use crate::wire::Connection;
use crate::{READY_LIMIT, free_port};
use host::programs::Etcd;
use host::programs::ProgramError;
use host::programs::Signal;

/// Connections to etcd that write at the same time.
const WRITERS: usize = 16;

/// etcd and the API server of one cluster, in one namespace. Everything it runs ends with it.
pub struct ControlPlane {
    namespace: Namespace,
    ip: IpAddr,
    credentials: Credentials,
    // In this order: the server ends before what it stands on, and the directory goes last.
    server: Server,
    etcd: Etcd,
    ports: (u16, u16),
    /// How many there were: names of directories.
    etcds: u32,
    servers: u32,
    scratch: Scratch,
}

impl ControlPlane {
    /// Makes keys and kubeconfigs. `address` is one of the namespace's, where proxies in other namespaces reach the
    /// server; 127.0.0.1 serves this one only. Nothing is started.
    ///
    /// # Errors
    /// openssl is not installed, or the address is not of this namespace.
    pub fn new(namespace: &Namespace, address: IpAddr) -> Result<Self, ProgramError> {
        let scratch = Scratch::make()?;
        let credentials = Credentials::make(scratch.path(), address)?;
        let loopback = Ipv4Addr::LOCALHOST.into();
        let ports = (free_port(namespace, loopback)?, free_port(namespace, loopback)?);
        let etcd = etcd(namespace, &scratch.path().join("etcd1"), ports);
        let server =
            Server::new(namespace, address, etcd.endpoint(), &credentials, scratch.path(), "kube-apiserver")?;
        for user in [User::Proxy, User::Admin] {
            credentials.write_kubeconfig(&credentials.kubeconfig(user), server.address(), user.token())?;
        }
        let (namespace, ip) = (namespace.clone(), address);
        Ok(Self { namespace, ip, credentials, server, etcd, ports, etcds: 1, servers: 1, scratch })
    }

    /// Makes it, starts everything, and waits until the server serves.
    ///
    /// # Errors
    /// As [`ControlPlane::new`], or a daemon does not come up.
    pub fn up(namespace: &Namespace, address: IpAddr) -> Result<Self, ProgramError> {
        let control_plane = Self::new(namespace, address)?;
        control_plane.start_etcd()?;
        control_plane.start_server()?;
        control_plane.wait_server()?;
        Ok(control_plane)
    }

    /// In the namespace of this thread, at 127.0.0.1: for a test without a network.
    ///
    /// # Errors
    /// As [`ControlPlane::new`].
    pub fn here() -> Result<Self, ProgramError> {
        Self::new(&Namespace::current()?, Ipv4Addr::LOCALHOST.into())
    }

    /// Starts etcd on what it holds, and waits until it answers.
    ///
    /// # Errors
    /// It is not installed, or does not come up.
    pub fn start_etcd(&self) -> Result<(), ProgramError> {
        self.etcd.start()?;
        self.etcd.wait_ready(READY_LIMIT)
    }

    /// Ends etcd; its data stays.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop_etcd(&self, signal: Signal) -> Result<(), ProgramError> {
        self.etcd.stop(signal).map(drop)
    }

    /// Ends etcd, and starts another one at its place with nothing in it: versions begin again. The API server should
    /// be stopped, or it mixes both worlds.
    ///
    /// # Errors
    /// One does not end, or the other not start.
    pub fn new_etcd(&mut self) -> Result<(), ProgramError> {
        self.stop_etcd(Signal::SIGKILL)?;
        self.etcds += 1;
        let directory = self.scratch.path().join(format!("etcd{}", self.etcds));
        self.etcd = etcd(&self.namespace, &directory, self.ports);
        self.start_etcd()
    }

    /// Starts the API server; [`ControlPlane::wait_server`] waits.
    ///
    /// # Errors
    /// The program is missing, or it runs already.
    pub fn start_server(&self) -> Result<(), ProgramError> {
        self.server.start().map(drop)
    }

    /// Waits until the API server serves.
    ///
    /// # Errors
    /// It ends, or does not within [`READY_LIMIT`].
    pub fn wait_server(&self) -> Result<(), ProgramError> {
        self.server.wait_ready(READY_LIMIT)
    }

    /// Ends the API server. Its address stays its own.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop_server(&self, signal: Signal) -> Result<(), ProgramError> {
        self.server.stop(signal)
    }

    /// Another API server over the same etcd, ready, at another port: the world changes while the first is away.
    ///
    /// # Errors
    /// It does not come up.
    pub fn back_door(&mut self) -> Result<Server, ProgramError> {
        self.servers += 1;
        let name = format!("kube-apiserver-{}", self.servers);
        let (etcd, directory) = (self.etcd.endpoint(), self.scratch.path());
        let server = Server::new(&self.namespace, self.ip, etcd, &self.credentials, directory, &name)?;
        server.start()?;
        server.wait_ready(READY_LIMIT)?;
        Ok(server)
    }

    pub fn server(&self) -> &Server {
        &self.server
    }

    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }

    /// Where the API server listens, whether it runs or not.
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The kubeconfig of a user. The server's certificate is checked by it.
    pub fn kubeconfig(&self, user: User) -> PathBuf {
        self.credentials.kubeconfig(user)
    }

    /// Writes a kubeconfig for this server with another token. `name` is that of a file in [`ControlPlane::directory`].
    ///
    /// # Errors
    /// It cannot be written.
    pub fn kubeconfig_with(&self, name: &str, token: &str) -> Result<PathBuf, ProgramError> {
        let path = self.credentials.path(name);
        self.credentials.write_kubeconfig(&path, self.address(), token)?;
        Ok(path)
    }

    /// The certificate by which the server can be believed: PEM.
    pub fn authority(&self) -> PathBuf {
        self.credentials.path("ca.crt")
    }

    /// A directory that goes with the control plane.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }

    /// A client of the API server that may do everything.
    ///
    /// # Errors
    /// Our own certificate cannot be read.
    pub fn admin(&self) -> Result<Api, ProgramError> {
        self.server.api(User::Admin)
    }

    /// Writes objects into etcd, past the API server, which sees them by its own watch when it runs: some thousand a
    /// second. They are stored as they are, so a Service needs `clusterIP` and `clusterIPs`.
    ///
    /// # Errors
    /// etcd does not run, or an object is of no known kind.
    pub fn load<'a>(&self, objects: impl IntoIterator<Item = &'a Value>) -> Result<(), ProgramError> {
        let objects: Vec<&Value> = objects.into_iter().collect();
        self.write(&objects, store::entries)
    }

    /// Takes objects out of etcd, past the API server.
    ///
    /// # Errors
    /// As [`ControlPlane::load`].
    pub fn unload<'a>(&self, objects: impl IntoIterator<Item = &'a Value>) -> Result<(), ProgramError> {
        let objects: Vec<&Value> = objects.into_iter().collect();
        self.write(&objects, |object| Ok(vec![(Identity::of(object)?.key(), None)]))
    }

    /// Over several connections, so that etcd puts many writes on disk at a time.
    fn write(
        &self,
        objects: &[&Value],
        entries: impl Fn(&Value) -> Result<Vec<Entry>, ProgramError> + Sync,
    ) -> Result<(), ProgramError> {
        let part = |objects: &[&Value]| {
            let mut store = self.store();
            objects.iter().try_for_each(|object| store.write(entries(object)?))
        };
        let parts = objects.chunks(objects.len().div_ceil(WRITERS).max(1));
        std::thread::scope(|scope| {
            let threads: Vec<_> = parts.map(|objects| scope.spawn(|| part(objects))).collect();
            let panicked = || ProgramError::Unusable("a writer panicked".to_owned());
            threads.into_iter().try_for_each(|thread| thread.join().map_err(|_| panicked())?)
        })
    }

    /// Makes etcd forget all old revisions, so that a watch that was away too long cannot go on. The API server keeps
    /// some in memory: restart it for that.
    ///
    /// # Errors
    /// etcd does not run.
    pub fn compact(&self) -> Result<(), ProgramError> {
        self.store().compact()
    }

    fn store(&self) -> Store {
        Store::new(Connection::new(self.namespace.clone(), self.etcd.address(), None))
    }
}

/// The etcd that Kubernetes is made for, where `scripts/peers` built it: over Debian's 3.4 the original waits for
/// versions that never come, and answers 504.
fn etcd(namespace: &Namespace, directory: &Path, (client, peer): (u16, u16)) -> Etcd {
    let etcd = Etcd::on_loopback(namespace.clone(), directory, client, peer);
    match crate::program("etcd") {
        Ok(program) => etcd.with_program(program),
        Err(_) => etcd,
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        let _ = self.server.stop(Signal::SIGKILL);
        let _ = self.etcd.stop(Signal::SIGKILL);
        if std::thread::panicking() {
            let name = self.directory().file_name().unwrap_or_default().to_string_lossy();
            let log = std::env::temp_dir().join(format!("{name}.log"));
            if fs::write(&log, self.server.log()).is_ok() {
                println!("the API server's log: {}", log.display());
            }
        }
    }
}
