//! Limits and signals of the process. Ctrl-C and its like: while a lab is being made they ask for a clean end, afterwards
//! they end the command.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use tokio::signal::unix::{SignalKind, signal};

use crate::error::LabError;

/// What the signals of this process do.
#[derive(Debug)]
pub struct Signals {
    cancelled: Arc<AtomicBool>,
    /// Set once there is nothing left to clean up.
    last_words: Arc<Mutex<Option<String>>>,
}

impl Signals {
    /// Listens for SIGINT, SIGTERM and SIGHUP from now on.
    pub fn listen() -> Result<Self, LabError> {
        let signals = Self { cancelled: Arc::default(), last_words: Arc::default() };
        let failed = || LabError::io("listen for", "signals");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed())?;
        let streams = {
            let _entered = runtime.enter();
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal)
        };
        let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup)] = streams else {
            return Err(failed()(std::io::Error::last_os_error()));
        };
        let (cancelled, last_words) = (Arc::clone(&signals.cancelled), Arc::clone(&signals.last_words));
        thread::spawn(move || {
            runtime.block_on(async {
                loop {
                    tokio::select! {
                        _ = interrupt.recv() => {}
                        _ = terminate.recv() => {}
                        _ = hangup.recv() => {}
                    }
                    if let Some(words) = &*last_words.lock().unwrap_or_else(PoisonError::into_inner) {
                        telemetry::note!("\n{words}");
                        std::process::exit(130);
                    }
                    if !cancelled.swap(true, Ordering::Relaxed) {
                        telemetry::note!("\nremoving what has been made ...");
                    }
                }
            });
        });
        Ok(signals)
    }

    /// Becomes true when somebody wants to stop.
    pub fn cancelled(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.cancelled)
    }

    /// From now on a signal prints these words and ends the process.
    pub fn end_at_once(&self, words: &str) {
        *self.last_words.lock().unwrap_or_else(PoisonError::into_inner) = Some(words.to_owned());
        // One that came before is not lost.
        if self.cancelled.load(Ordering::Relaxed) {
            telemetry::note!("{words}");
            std::process::exit(130);
        }
    }
}

/// Lets this process have as many open files as it may: a check of a large lab holds some for every pod.
pub fn many_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    // More would slow down programs that close every file that they might have.
    const ENOUGH: u64 = 65536;
    if let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE)
        && soft < hard.min(ENOUGH)
    {
        // With fewer, small labs work all the same.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, hard.min(ENOUGH), hard);
    }
}
