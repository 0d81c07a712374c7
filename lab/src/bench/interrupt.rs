//! Ctrl-C, and the polite signal to end: remembered, so that the labs can be removed first.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::progress::Progress;

/// Whether somebody wants us to stop. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Hears SIGINT and SIGTERM from now on, instead of being ended by them.
    ///
    /// # Errors
    /// The handlers cannot be installed.
    pub fn watch() -> io::Result<Self> {
        let interrupt = Self::default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let (mut int, mut term) = {
            let _inside = runtime.enter();
            (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?)
        };
        let asked = Arc::clone(&interrupt.0);
        thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! { _ = int.recv() => {} _ = term.recv() => {} }
            });
            asked.store(true, Ordering::Release);
            eprintln!("\nstopping after this measurement, then removing the labs");
            // tokio never takes its handlers away again, so a second Ctrl-C does not end us before the labs are gone.
        });
        Ok(interrupt)
    }

    /// As a signal does.
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
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
