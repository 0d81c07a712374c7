//! One kube-apiserver.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nix::unistd::Pid;

use crate::api::Api;
use crate::credentials::{Credentials, User};
use crate::wire::{self, Connection};
use crate::{free_port, program};
use host::programs::ProgramError;
use host::programs::wait_for;
use host::programs::{Daemon, Signal};

/// The addresses of services, per family.
pub const SERVICE_RANGE: &str = "10.96.0.0/16,fd00:96::/112";

/// An API server over the etcd of its control plane. Killed when dropped.
pub struct Server {
    namespace: Namespace,
    address: SocketAddr,
    etcd: String,
    directory: PathBuf,
    credentials: Credentials,
    daemon: Daemon,
}

impl Server {
    /// Chooses its port, and starts nothing. `name` is unique in its directory.
    pub(super) fn new(
        namespace: &Namespace,
        ip: IpAddr,
        etcd: &str,
        credentials: &Credentials,
        directory: &Path,
        name: &str,
    ) -> Result<Self, ProgramError> {
        Ok(Self {
            namespace: namespace.clone(),
            address: SocketAddr::from((ip, free_port(namespace, ip)?)),
            etcd: etcd.to_owned(),
            directory: directory.to_owned(),
            credentials: credentials.clone(),
            daemon: Daemon::new(name.to_owned(), namespace.clone(), directory, name),
        })
    }

    /// Where it listens, whether it runs or not.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Starts it; [`Server::wait_ready`] waits.
    ///
    /// # Errors
    /// It is not there, or runs already.
    pub fn start(&self) -> Result<Pid, ProgramError> {
        let file = |name: &str| self.credentials.path(name).display().to_string();
        let arguments = [
            format!("--etcd-servers={}", self.etcd),
            format!("--bind-address={}", self.address.ip()),
            format!("--advertise-address={}", self.address.ip()),
            format!("--secure-port={}", self.address.port()),
            format!("--service-cluster-ip-range={SERVICE_RANGE}"),
            format!("--tls-cert-file={}", file("server.crt")),
            format!("--tls-private-key-file={}", file("server.key")),
            format!("--cert-dir={}", self.directory.display()),
            format!("--token-auth-file={}", file("tokens.csv")),
            format!("--service-account-key-file={}", file("sa.key")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            "--service-account-issuer=https://lab".to_owned(),
            "--authorization-mode=RBAC".to_owned(),
            // As every installer has it: proxies need it.
            "--allow-privileged=true".to_owned(),
            // No controllers run here, who would make service accounts, namespaces and endpoints.
            "--disable-admission-plugins=ServiceAccount,NamespaceLifecycle".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
        ];
        self.daemon.start(&program("kube-apiserver")?, &arguments.map(OsString::from), &[])
    }

    /// Waits until it serves, with its roles in place.
    ///
    /// # Errors
    /// It has ended, or does not get there within the limit.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), ProgramError> {
        let ready = wait_for(Instant::now() + limit, || {
            let answer = self.api(User::Admin).and_then(|api| api.ask("GET", "/readyz", None));
            match answer {
                Ok(answer) if answer.is_ok() => Ok(Some(())),
                _ if self.daemon.pid().is_none() => Err(self.daemon.died()),
                _ => Ok(None),
            }
        })?;
        ready.ok_or_else(|| ProgramError::NotReady {
            what: self.daemon.what().to_owned(),
            waited: limit,
            reason: format!("the end of its log:\n{}", self.daemon.log_tail(15)),
        })
    }

    /// Ends it. A plain SIGTERM takes a second or more, for it lets open watches end.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self, signal: Signal) -> Result<(), ProgramError> {
        self.daemon.stop(signal).map(drop)
    }

    /// A client of this server; connects when it is asked for something.
    ///
    /// # Errors
    /// Our own certificate cannot be read.
    pub fn api(&self, user: User) -> Result<Api, ProgramError> {
        let authority = self.credentials.path("ca.crt");
        let trust = wire::trust(&authority).map_err(ProgramError::io("read", authority))?;
        let connection = Connection::new(self.namespace.clone(), self.address, Some(trust));
        Ok(Api::new(connection, format!("https://{}", self.address), user.token()))
    }

    pub fn pid(&self) -> Option<Pid> {
        self.daemon.pid()
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.daemon.stop(Signal::SIGKILL);
    }
}
