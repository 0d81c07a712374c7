//! kube-proxy in a namespace.

use std::ffi::OsString;
use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::time::{Duration, Instant};

use host::netns::Namespace;
use nix::unistd::Pid;

use crate::leftovers::Scratch;
use crate::program;
use host::programs::ProgramError;
use host::programs::{self, wait_for};
use host::programs::{Daemon, Signal};
use telemetry::samples;

/// Which rules it writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Iptables,
    Nftables,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Iptables => "iptables",
            Self::Nftables => "nftables",
        })
    }
}

/// Flags without which it would touch the machine: sysctls that are not a namespace's own, and its own OOM score.
const GENTLE: [&str; 5] = [
    "--conntrack-max-per-core=0",
    "--conntrack-min=0",
    "--conntrack-tcp-timeout-established=0",
    "--conntrack-tcp-timeout-close-wait=0",
    "--oom-score-adj=0",
];

/// kube-proxy, at its usual ports (10249 at loopback, 10256). Killed when dropped; its rules stay.
pub struct KubeProxy {
    namespace: Namespace,
    daemon: Daemon,
    scratch: Scratch,
}

impl KubeProxy {
    /// Starts it; [`KubeProxy::wait_ready`] waits. `flags` come after our own and win over them:
    /// `--hostname-override=n1`, `--cluster-cidr=10.244.0.0/16`.
    ///
    /// # Errors
    /// The program is missing.
    pub fn start(
        namespace: &Namespace,
        mode: Mode,
        kubeconfig: &Path,
        flags: &[&str],
    ) -> Result<Self, ProgramError> {
        Self::start_with(namespace, mode, kubeconfig, flags, &[])
    }

    /// The same, with environment variables: a PATH that leads to other iptables tools.
    ///
    /// # Errors
    /// The program is missing.
    pub fn start_with(
        namespace: &Namespace,
        mode: Mode,
        kubeconfig: &Path,
        flags: &[&str],
        env: &[(String, String)],
    ) -> Result<Self, ProgramError> {
        let scratch = Scratch::make()?;
        let daemon = Daemon::new("kube-proxy".to_owned(), namespace.clone(), scratch.path(), "kube-proxy");
        let fixed = [format!("--proxy-mode={mode}"), format!("--kubeconfig={}", kubeconfig.display())];
        let arguments: Vec<OsString> = fixed
            .into_iter()
            .chain(GENTLE.iter().chain(flags).map(|flag| (*flag).to_owned()))
            .map(OsString::from)
            .collect();
        daemon.start(&program("kube-proxy")?, &arguments, env)?;
        Ok(Self { namespace: namespace.clone(), daemon, scratch })
    }

    /// Waits for its first sync of all families that it serves.
    ///
    /// # Errors
    /// It has ended, or does not get there within the limit.
    pub fn wait_ready(&self, limit: Duration) -> Result<(), ProgramError> {
        let ready = wait_for(Instant::now() + limit, || match self.has_synced() {
            true => Ok(Some(())),
            false if self.daemon.pid().is_none() => Err(self.daemon.died()),
            false => Ok(None),
        })?;
        ready.ok_or_else(|| ProgramError::NotReady {
            what: self.daemon.what().to_owned(),
            waited: limit,
            reason: format!("the end of its log:\n{}", self.daemon.log_tail(15)),
        })
    }

    /// Whether each family has had a pass since the start.
    pub fn has_synced(&self) -> bool {
        let Ok((200, text)) = self.get(10249, "/metrics") else { return false };
        let samples = samples::parse(&text);
        let mut passes = samples
            .iter()
            .filter(|sample| sample.name == "kubeproxy_sync_proxy_rules_duration_seconds_count")
            .peekable();
        passes.peek().is_some() && passes.all(|sample| sample.value > 0.0)
    }

    /// An HTTP GET to one of its ports, at loopback: 10249 or 10256.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn get(&self, port: u16, path: &str) -> Result<(u16, String), ProgramError> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        programs::get(&self.namespace, address, path).map_err(|error| ProgramError::Protocol {
            what: format!("kube-proxy's http://{address}{path}"),
            reason: error.to_string(),
        })
    }

    /// Ends it; its rules stay.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self, signal: Signal) -> Result<(), ProgramError> {
        self.daemon.stop(signal).map(drop)
    }

    /// Removes the rules of all modes that kube-proxy can have, in a namespace where none runs.
    ///
    /// # Errors
    /// The program is missing, or fails.
    pub fn cleanup(namespace: &Namespace) -> Result<(), ProgramError> {
        let argv = [program("kube-proxy")?.display().to_string(), "--cleanup".to_owned()];
        programs::run(&programs::inside(namespace, argv))?.ok().map(drop)
    }

    pub fn pid(&self) -> Option<Pid> {
        self.daemon.pid()
    }

    pub fn log(&self) -> String {
        self.daemon.log()
    }

    /// Its own scratch directory.
    pub fn directory(&self) -> &Path {
        self.scratch.path()
    }
}

impl Drop for KubeProxy {
    fn drop(&mut self) {
        let _ = self.daemon.stop(Signal::SIGKILL);
    }
}
