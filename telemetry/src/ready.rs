//! Whether a daemon is ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether the first complete pass is done and nothing has undone it. Not ready at first; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<AtomicBool>);

impl Ready {
    /// True if that changed anything.
    pub fn set(&self, ready: bool) -> bool {
        self.0.swap(ready, Ordering::AcqRel) != ready
    }

    pub fn get(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}
