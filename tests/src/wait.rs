//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// How long a test waits for what has to happen soon, on a busy machine.
pub const SOON: Duration = Duration::from_secs(60);

/// Asks until there is an answer.
///
/// # Panics
/// There is none within `limit`: with `what`, and what `explain` has to say then.
pub fn until_explained<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Option<T>,
    explain: impl FnOnce() -> String,
) -> T {
    let end = Instant::now() + limit;
    loop {
        // The last look comes after the deadline, so that a busy machine does not decide.
        let over = Instant::now() >= end;
        if let Some(found) = look() {
            return found;
        }
        assert!(!over, "waited {limit:?} for {what}\n{}", explain());
        std::thread::sleep(Duration::from_millis(3));
    }
}

/// Asks until there is an answer, at most [`SOON`].
///
/// # Panics
/// There is none.
pub fn until<T>(what: &str, look: impl FnMut() -> Option<T>) -> T {
    until_explained(what, SOON, look, String::new)
}

/// Waits until it is so, at most [`SOON`].
///
/// # Panics
/// It does not come to be.
pub fn until_true(what: &str, mut look: impl FnMut() -> bool) {
    until(what, || look().then_some(()));
}
