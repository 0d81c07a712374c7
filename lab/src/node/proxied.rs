//! The service proxy of a node.

use std::fs;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Instant;

use ipnet::IpNet;
use nix::unistd::Pid;

use super::Node;
use crate::error::LabError;
use crate::proxy::{HEALTH_PORT, Place, ProxyOptions, REPORT_PORT};
use host::programs::wait_for;
use host::programs::{Daemon, ProgramError, Signal};

/// How the proxy was started last, in the node's directory.
const OPTIONS: &str = "proxy.json";

/// What the proxies of a lab have in common.
#[derive(Clone, Debug)]
pub(crate) struct Proxied {
    pub feed: PathBuf,
    pub pod_networks: Vec<IpNet>,
}

impl Node {
    /// Starts the service proxy with the lab's flags and these. It may take a moment until it is ready:
    /// [`Node::wait_proxy_ready`].
    ///
    /// # Errors
    /// The program is missing, or one runs already.
    pub fn start_proxy(&self, options: &ProxyOptions) -> Result<Pid, LabError> {
        let program = options.binary.program()?;
        let Proxied { feed, pod_networks } = &self.proxied;
        let place = Place { node: &self.plan.name, feed, pod_networks };
        let path = self.directory.join(OPTIONS);
        let text = serde_json::to_string(options).map_err(|e| LabError::io("write", &path)(e.into()))?;
        fs::write(&path, text).map_err(LabError::io("write", &path))?;
        Ok(self.proxy.start(&program, &options.argv(&place), &[])?)
    }

    /// Ends the proxy: SIGTERM for a clean end, SIGKILL for a crash. Services go on without it.
    ///
    /// # Errors
    /// It does not end within [`host::programs::STOP_LIMIT`].
    pub fn stop_proxy(&self, signal: Signal) -> Result<Option<ExitStatus>, ProgramError> {
        self.proxy.stop(signal)
    }

    /// The proxy's process: pid, log, signals, exit status.
    pub fn proxy(&self) -> &Daemon {
        &self.proxy
    }

    /// How the proxy was started last; None if it never was.
    pub fn proxy_options(&self) -> Option<ProxyOptions> {
        let text = fs::read_to_string(self.directory.join(OPTIONS)).ok()?;
        serde_json::from_str(&text).ok()
    }

    /// An HTTP GET to where the proxy answers `/readyz`, `/proxyMode` and `/metrics`: the status and the body.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn get_proxy(&self, path: &str) -> Result<(u16, String), LabError> {
        self.get_at(REPORT_PORT, path)
    }

    /// An HTTP GET of the proxy's `/healthz`: the status and the body.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn proxy_health(&self) -> Result<(u16, String), LabError> {
        self.get_at(HEALTH_PORT, "/healthz")
    }

    /// Whether the proxy's first complete pass is done.
    pub fn is_proxy_ready(&self) -> bool {
        matches!(self.get_proxy("/readyz"), Ok((200, _)))
    }

    /// Waits for [`Node::is_proxy_ready`].
    ///
    /// # Errors
    /// The proxy ended, or is not ready at the deadline: both with the end of its log.
    pub fn wait_proxy_ready(&self, deadline: Instant) -> Result<(), LabError> {
        self.wait_proxy(deadline, || Ok(()))
    }

    /// The same, for somebody who may lose patience.
    pub(crate) fn wait_proxy(
        &self,
        deadline: Instant,
        mut go_on: impl FnMut() -> Result<(), LabError>,
    ) -> Result<(), LabError> {
        let began = Instant::now();
        let ready = wait_for(deadline, || {
            go_on()?;
            match self.is_proxy_ready() {
                true => Ok(Some(())),
                false if self.proxy.pid().is_none() => Err(LabError::from(self.proxy.died())),
                false => Ok(None),
            }
        })?;
        ready.ok_or_else(|| LabError::NotReady {
            what: self.proxy.what().to_owned(),
            waited: began.elapsed(),
            reason: format!("the end of its log:\n{}", self.proxy.log_tail(15)),
        })
    }
}
