//! kube-scheduler, for a server of this machine.

use std::ffi::OsString;
use std::path::Path;

use host::netns::Namespace;
use host::programs::{Daemon, ProgramError, Signal};

use crate::leftovers::Scratch;
use crate::program;

/// kube-scheduler without leader election, at no port, and without the limits of its client. Killed when dropped.
pub struct KubeScheduler {
    daemon: Daemon,
    _scratch: Scratch,
}

impl KubeScheduler {
    /// Starts it with the rights of a kubeconfig. `flags` come after our own and win over them.
    ///
    /// # Errors
    /// The program is missing.
    pub fn start(kubeconfig: &Path, flags: &[String]) -> Result<Self, ProgramError> {
        Self::start_program(&program("kube-scheduler")?, kubeconfig, flags)
    }

    /// The same of another program with the same flags.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_program(program: &Path, kubeconfig: &Path, flags: &[String]) -> Result<Self, ProgramError> {
        let scratch = Scratch::make()?;
        let here = Namespace::current()?;
        let daemon = Daemon::new("kube-scheduler".to_owned(), here, scratch.path(), "kube-scheduler");
        let fixed = [
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
            "--kube-api-qps=5000".to_owned(),
            "--kube-api-burst=5000".to_owned(),
        ];
        let arguments: Vec<OsString> =
            fixed.into_iter().chain(flags.iter().cloned()).map(OsString::from).collect();
        daemon.start(program, &arguments, &[])?;
        Ok(Self { daemon, _scratch: scratch })
    }

    pub fn daemon(&self) -> &Daemon {
        &self.daemon
    }

    /// Ends it.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self, signal: Signal) -> Result<(), ProgramError> {
        self.daemon.stop(signal).map(drop)
    }
}

impl Drop for KubeScheduler {
    fn drop(&mut self) {
        let _ = self.daemon.stop(Signal::SIGKILL);
    }
}
