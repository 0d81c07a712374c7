//! A program that works beside an API server and serves nobody: kube-scheduler, kube-controller-manager, or one of ours that
//! takes their flags.

use std::ffi::OsString;
use std::path::Path;

use host::netns::Namespace;
use host::programs::{Daemon, ProgramError, Signal};

use crate::leftovers::Scratch;

/// Flags that take the limits off the originals' clients.
pub const UNLIMITED: [&str; 2] = ["--kube-api-qps=100000", "--kube-api-burst=100000"];

/// Without leader election, at no port. Killed when dropped.
pub struct Worker {
    daemon: Daemon,
    _scratch: Scratch,
}

impl Worker {
    /// Starts it with the rights of a kubeconfig. `flags` come after our own and win over them.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        name: &str,
        program: &Path,
        kubeconfig: &Path,
        flags: impl IntoIterator<Item = impl Into<OsString>>,
    ) -> Result<Self, ProgramError> {
        let scratch = Scratch::make()?;
        let daemon = Daemon::new(name.to_owned(), Namespace::current()?, scratch.path(), name);
        let fixed = [
            format!("--kubeconfig={}", kubeconfig.display()),
            "--leader-elect=false".to_owned(),
            "--secure-port=0".to_owned(),
        ];
        let arguments = fixed.into_iter().map(OsString::from).chain(flags.into_iter().map(Into::into));
        daemon.start(program, &arguments.collect::<Vec<_>>(), &[])?;
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

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.daemon.stop(Signal::SIGKILL);
    }
}
