//! One API server and its etcd: started, started again, and ended with what they wrote.

use std::ffi::OsString;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use host::netns::Namespace;
use host::programs::{self, Daemon, Etcd, ProgramError, Signal};
use lab::LabError;
use nix::unistd::Pid;
use originals::{Scratch, Trust};
use serde_json::json;

use super::client::{Client, TOKEN, trust};
use super::{Kind, Programs};
use crate::interrupt::Interrupt;
use crate::measure::{cpu, failed, memory};

/// How long a program may take until it serves.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How often a starting server is asked.
const POLL: Duration = Duration::from_millis(2);
/// The last of the default roles that both servers make.
const LAST_ROLE: &str = "/apis/rbac.authorization.k8s.io/v1/clusterroles/view";

/// An etcd, and where its server is or will be. Both end when it is dropped.
pub struct Side {
    address: SocketAddr,
    daemon: Daemon,
    program: PathBuf,
    arguments: Vec<OsString>,
    // In this order: the directory goes last.
    etcd: Etcd,
    scratch: Scratch,
}

impl Side {
    /// Starts an empty etcd that writes to a directory of its own below `parent`, and makes what both servers are given:
    /// the key of service accounts' tokens and the administrator's token.
    pub fn make(kind: Kind, programs: &Programs, parent: &Path) -> Result<Self, LabError> {
        let here = Namespace::current()?;
        let scratch = Scratch::make_in(parent)?;
        let file = |name: &str| scratch.path().join(name).display().to_string();
        let (client, peer) = (free_port()?, free_port()?);
        let etcd = Etcd::on_loopback(here.clone(), &scratch.path().join("etcd"), client, peer);
        let etcd = etcd.with_program(programs.etcd.clone());
        etcd.start()?;
        let tokens = scratch.path().join("tokens.csv");
        fs::write(&tokens, format!("{TOKEN},bench,1,system:masters\n"))
            .map_err(LabError::io("write", &tokens))?;
        let curve =
            ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", &file("sa.key")];
        programs::run(&programs::inside(&here, curve))?.ok()?;
        let (what, program, own) = match (kind, &programs.kube_apiserver) {
            (Kind::Ours, _) => ("weft apiserver", programs.weft.clone(), Some("apiserver".to_owned())),
            (Kind::Original, Some(program)) => ("kube-apiserver", program.clone(), None),
            (Kind::Original, None) => return Err(failed("kube-apiserver", "it is not built")),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let flags = [
            format!("--etcd-servers={}", etcd.endpoint()),
            format!("--bind-address={}", address.ip()),
            format!("--advertise-address={}", address.ip()),
            format!("--secure-port={}", address.port()),
            // Serving key and certificate are made here at the first start.
            format!("--cert-dir={}", scratch.path().display()),
            format!("--token-auth-file={}", tokens.display()),
            format!("--service-account-key-file={}", file("sa.key")),
            format!("--service-account-signing-key-file={}", file("sa.key")),
            "--service-account-issuer=https://bench".to_owned(),
            "--service-cluster-ip-range=10.96.0.0/16".to_owned(),
            "--authorization-mode=Node,RBAC".to_owned(),
            "--allow-privileged=true".to_owned(),
            // No controllers run here, who would make service accounts and take the taint off a node that is ready; and
            // nobody reaches a loopback address.
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
        ];
        let arguments = own.into_iter().chain(flags).map(OsString::from).collect();
        let daemon = Daemon::new(what.to_owned(), here, scratch.path(), "apiserver");
        let side = Self { address, daemon, program, arguments, etcd, scratch };
        side.etcd.wait_ready(READY_LIMIT)?;
        Ok(side)
    }

    /// Starts the server. Gives the time until it is ready: `/readyz` says so, and the last of what it makes at its first
    /// start is served.
    pub fn start(&self, interrupt: &Interrupt) -> Result<Duration, LabError> {
        let started = Instant::now();
        self.daemon.start(&self.program, &self.arguments, &[])?;
        let mut client = None;
        loop {
            let next = Instant::now() + POLL;
            if self.is_ready(&mut client) {
                return Ok(started.elapsed());
            }
            self.must_run()?;
            if interrupt.asked() {
                return Err(LabError::Interrupted);
            }
            if started.elapsed() > READY_LIMIT {
                return Err(LabError::NotReady {
                    what: self.daemon.what().to_owned(),
                    waited: READY_LIMIT,
                    reason: format!("the end of its log:\n{}", self.daemon.log_tail(10)),
                });
            }
            thread::sleep(next.saturating_duration_since(Instant::now()));
        }
    }

    /// `client` is kept from one look to the next.
    fn is_ready(&self, client: &mut Option<Client>) -> bool {
        if client.is_none() {
            *client = self.client().ok();
        }
        let Some(client) = client else { return false };
        let default = "/api/v1/namespaces/default";
        ["/readyz", default, LAST_ROLE]
            .iter()
            .all(|path| client.ask("GET", path, &[]).is_ok_and(|(status, _)| status == 200))
    }

    /// Ends the server; its etcd goes on.
    pub fn stop(&self) -> Result<(), LabError> {
        // What waits for clients to leave is not measured.
        Ok(self.daemon.stop(Signal::SIGKILL).map(drop)?)
    }

    /// # Errors
    /// The server has ended, with the end of its log.
    pub fn must_run(&self) -> Result<(), LabError> {
        if self.daemon.pid().is_some() { Ok(()) } else { Err(self.daemon.died().into()) }
    }

    /// MiB resident once it is idle.
    pub fn memory(&self, interrupt: &Interrupt) -> Result<f64, LabError> {
        let pid = self.pid()?;
        let gone = || LabError::from(self.daemon.died());
        cpu::wait_until_idle(pid, || interrupt.asked()).map_err(|_| gone())?;
        Ok(memory::of(pid).ok_or_else(gone)?.resident)
    }

    /// Seconds of CPU that the server has used so far.
    pub fn cpu(&self) -> Result<f64, LabError> {
        cpu::with_children(self.pid()?)?.ok_or_else(|| self.daemon.died().into())
    }

    /// # Errors
    /// The server has ended.
    pub fn pid(&self) -> Result<Pid, LabError> {
        self.daemon.pid().ok_or_else(|| self.daemon.died().into())
    }

    /// Whom the server's clients believe.
    pub fn trust(&self) -> Result<Trust, LabError> {
        let file = self.certificate();
        trust(&file).map_err(LabError::io("read", file))
    }

    /// A kubeconfig of the administrator.
    pub fn kubeconfig(&self) -> Result<PathBuf, LabError> {
        let file = self.scratch.path().join("admin.kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "bench",
            // The server has signed for itself, and nobody else is here.
            "clusters": [{"name": "bench", "cluster": {
                "server": format!("https://{}", self.address), "insecure-skip-tls-verify": true,
            }}],
            "users": [{"name": "bench", "user": {"token": TOKEN}}],
            "contexts": [{"name": "bench", "context": {"cluster": "bench", "user": "bench"}}],
        });
        fs::write(&file, config.to_string()).map_err(LabError::io("write", &file))?;
        Ok(file)
    }

    /// Where the server has made its certificate, which signs for itself.
    pub fn certificate(&self) -> PathBuf {
        self.scratch.path().join("apiserver.crt")
    }

    /// The key that signs service accounts' tokens.
    pub fn account_key(&self) -> PathBuf {
        self.scratch.path().join("sa.key")
    }

    /// A client of the server.
    pub fn client(&self) -> Result<Client, LabError> {
        Client::new(self.address, &self.trust()?)
    }

    /// # Errors
    /// Its etcd has ended.
    pub fn etcd_pid(&self) -> Result<Pid, LabError> {
        self.etcd.pid().ok_or_else(|| failed("etcd", "it is gone"))
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn etcd(&self) -> &Etcd {
        &self.etcd
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        for ended in [self.daemon.stop(Signal::SIGKILL), self.etcd.stop(Signal::SIGKILL)] {
            if let Err(error) = ended {
                telemetry::note!("{error}");
            }
        }
    }
}

fn free_port() -> Result<u16, LabError> {
    let found = host::sockets::free_port(Ipv4Addr::LOCALHOST.into());
    Ok(found.map_err(ProgramError::io("find", "a free port"))?)
}
