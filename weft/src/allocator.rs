//! The allocator of the process: which one, and when it gives memory back.
//!
//! Facts: mimalloc 3 looks for memory that it could give back once in ten thousand slow allocations of a thread. A server
//! that has answered large lists, and has little to do afterwards, would keep what they took.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// Less CPU for a write, and less memory after a load, in the API server: docs/decisions/0014-allocator.md
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// How often a thread gives back what it does not use, at most.
const EVERY: Duration = Duration::from_secs(5);

thread_local! {
    static LAST: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Called by a thread that has nothing to do.
pub fn give_back() {
    let now = Instant::now();
    match LAST.get() {
        Some(last) if now.duration_since(last) < EVERY => {}
        // It has only begun.
        None => LAST.set(Some(now)),
        Some(_) => {
            LAST.set(Some(now));
            sys::collect();
        }
    }
}

/// The one call of mimalloc's that Rust's allocators have no name for.
#[expect(unsafe_code, reason = "a function of C without arguments that could be wrong")]
mod sys {
    pub fn collect() {
        // SAFETY: it may be called at any time, and touches the calling thread's own free memory.
        unsafe { libmimalloc_sys::mi_collect(true) }
    }
}
