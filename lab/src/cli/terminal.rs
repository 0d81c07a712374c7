//! What the person at the terminal sees while a lab comes up: one line for each piece of work.

use std::io::{IsTerminal, Write, stderr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use crate::progress::Progress;

/// Writes to the standard error. On a terminal a line changes while its work goes on.
#[derive(Debug)]
pub struct Terminal {
    cancelled: Arc<AtomicBool>,
    rewrites: bool,
    began: Instant,
    what: String,
    open: bool,
}

impl Terminal {
    /// `cancelled` says when somebody wants to stop.
    pub fn new(cancelled: Arc<AtomicBool>) -> Self {
        let rewrites = stderr().is_terminal();
        Self { cancelled, rewrites, began: Instant::now(), what: String::new(), open: false }
    }

    /// A whole line.
    pub fn say(&mut self, text: &str) {
        self.close();
        self.write(&format!("{text}\n"));
    }

    fn close(&mut self) {
        if std::mem::take(&mut self.open) {
            self.write("\n");
        }
    }

    /// A person who has left the terminal needs no line.
    fn write(&self, text: &str) {
        let mut out = stderr().lock();
        let _ = out.write_all(text.as_bytes());
        let _ = out.flush();
    }
}

impl Progress for Terminal {
    fn begin(&mut self, what: &str) {
        self.close();
        self.began = Instant::now();
        what.clone_into(&mut self.what);
        self.open = true;
        self.write(&format!("{what} ..."));
    }

    fn note(&mut self, what: &str) {
        if self.rewrites && self.open {
            self.write(&format!("\r\x1b[K{} ... {what}", self.what));
        }
    }

    fn done(&mut self, result: &str) {
        let took = self.began.elapsed().as_secs_f64();
        self.open = false;
        if self.rewrites {
            self.write(&format!("\r\x1b[K{}: {result} ({took:.1} s)\n", self.what));
        } else {
            self.write(&format!(" {result} ({took:.1} s)\n"));
        }
    }

    fn cancelled(&self) -> bool {
        self.cancelled.load(Ordering::Relaxed)
    }
}

impl Drop for Terminal {
    /// What comes next, an error perhaps, begins on a line of its own.
    fn drop(&mut self) {
        self.close();
    }
}
