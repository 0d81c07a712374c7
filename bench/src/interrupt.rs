//! Ctrl-C, and the polite signals to end: remembered, so that the labs can be removed first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use lab::LabError;
use lab::progress::Progress;
use lab::signals::Signals;

/// Whether somebody wants us to stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Hears signals from now on, instead of being ended by them.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn watch() -> Result<Self, LabError> {
        Ok(Self(Signals::listen()?.cancelled()))
    }

    /// As a signal does.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// How a command ends that has shown what it measured.
    ///
    /// # Errors
    /// It was to measure more: a script must not take that for all of it.
    pub fn outcome(&self) -> Result<(), LabError> {
        if self.asked() { Err(LabError::Interrupted) } else { Ok(()) }
    }
}

/// A lab that is made for a benchmark says nothing, but stops when asked to.
impl Progress for Interrupt {
    fn begin(&mut self, _: &str) {}
    fn note(&mut self, _: &str) {}
    fn done(&mut self, _: &str) {}
    fn cancelled(&self) -> bool {
        self.asked()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_that_was_cut_off_ends_with_the_status_of_that() {
        let interrupt = Interrupt::default();
        assert!(interrupt.outcome().is_ok());
        interrupt.clone().ask();
        assert_eq!(interrupt.outcome().map_err(|error| error.exit_status()), Err(130));
    }
}
