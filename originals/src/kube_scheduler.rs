//! kube-scheduler, for a server of this machine.

use std::path::Path;

use host::programs::{Daemon, ProgramError, Signal};

use crate::program;
use crate::worker::{UNLIMITED, Worker};

/// kube-scheduler without leader election, at no port, and without the limits of its client. Killed when dropped.
pub struct KubeScheduler(Worker);

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
        let flags = UNLIMITED.into_iter().map(str::to_owned).chain(flags.iter().cloned());
        Worker::start("kube-scheduler", program, kubeconfig, flags).map(Self)
    }

    pub fn daemon(&self) -> &Daemon {
        self.0.daemon()
    }

    /// Ends it.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(&self, signal: Signal) -> Result<(), ProgramError> {
        self.0.stop(signal)
    }
}
