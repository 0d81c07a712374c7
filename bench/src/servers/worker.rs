//! A program that works beside an API server, ours or an original, and what it costs.

use std::os::unix::fs::symlink;
use std::path::Path;

use lab::LabError;
use nix::unistd::Pid;
use originals::Scratch;

use super::side::Side;
use crate::interrupt::Interrupt;
use crate::measure::{cpu, memory};

/// It ends when it is dropped.
pub struct Worker {
    process: originals::Worker,
    _scratch: Scratch,
}

impl Worker {
    /// Starts a program under the original's `name`, by which ours takes the original's flags.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start(
        name: &str,
        program: &Path,
        side: &Side,
        flags: impl IntoIterator<Item = String>,
    ) -> Result<Self, LabError> {
        let scratch = Scratch::make()?;
        let link = scratch.path().join(name);
        symlink(program, &link).map_err(LabError::io("make", &link))?;
        let process = originals::Worker::start(name, &link, &side.kubeconfig()?, flags)?;
        Ok(Self { process, _scratch: scratch })
    }

    /// # Errors
    /// It has ended.
    pub fn pid(&self) -> Result<Pid, LabError> {
        self.process.daemon().pid().ok_or_else(|| self.process.daemon().died().into())
    }

    /// Seconds of CPU so far.
    pub fn cpu(&self) -> Result<f64, LabError> {
        cpu::with_children(self.pid()?)?.ok_or_else(|| self.process.daemon().died().into())
    }

    /// MiB resident now.
    pub fn memory(&self) -> Result<f64, LabError> {
        let found = memory::of(self.pid()?);
        Ok(found.ok_or_else(|| LabError::from(self.process.daemon().died()))?.resident)
    }

    /// Waits until it has nothing more to do.
    pub fn settle(&self, interrupt: &Interrupt) -> Result<(), LabError> {
        cpu::wait_until_idle(self.pid()?, || interrupt.asked())
    }

    /// What went wrong while it worked, with its last words.
    pub fn explain(&self, error: LabError) -> LabError {
        match error {
            LabError::Interrupted => error,
            other => LabError::Protocol {
                what: other.to_string(),
                reason: format!("the last words of {}:\n{}", self.process.daemon().what(), self.log_tail()),
            },
        }
    }

    fn log_tail(&self) -> String {
        self.process.daemon().log_tail(5)
    }
}
