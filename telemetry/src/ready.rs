//! Whether a daemon is ready.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Whether the first complete pass is done and nothing has undone it. Not ready at first; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Ready(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    ready: bool,
    /// Why it is not, in words; empty where nobody said.
    reason: String,
}

impl Ready {
    /// True if that changed anything.
    pub fn set(&self, ready: bool) -> bool {
        let mut state = self.state();
        state.reason.clear();
        std::mem::replace(&mut state.ready, ready) != ready
    }

    /// Not ready, for a reason that whoever asks is told. True if it was ready before.
    pub fn unset(&self, reason: impl Into<String>) -> bool {
        let mut state = self.state();
        state.reason = reason.into();
        std::mem::take(&mut state.ready)
    }

    pub fn get(&self) -> bool {
        self.state().ready
    }

    /// Why it is not ready, where that was said.
    pub fn reason(&self) -> Option<String> {
        let state = self.state();
        (!state.ready && !state.reason.is_empty()).then(|| state.reason.clone())
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
