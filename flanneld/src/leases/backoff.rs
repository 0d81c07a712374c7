//! How long to wait before the next try.

use std::time::Duration;

/// Waits that double from 100 ms, with a fifth of jitter so that nodes do not come back in step.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    next: Duration,
}

/// The longest wait where etcd does not answer at all: a connection attempt is cheap, and it should be found
/// within a second of its return.
const ABSENT: Duration = Duration::from_millis(500);
/// The longest wait where it answers with an error.
const FAILING: Duration = Duration::from_secs(5);
const FIRST: Duration = Duration::from_millis(100);

impl Backoff {
    pub(crate) const fn new() -> Self {
        Self { next: FIRST }
    }

    /// The wait before the next try. `absent`: nothing answered.
    pub(crate) fn wait(&mut self, absent: bool) -> Duration {
        let wait = self.next.min(if absent { ABSENT } else { FAILING });
        self.next = (self.next * 2).min(FAILING);
        jitter(wait)
    }
}

/// Between 80 and 100 per cent of a duration.
fn jitter(wait: Duration) -> Duration {
    wait.mul_f64(rand::random_range(0.8..=1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_its_limit() {
        let mut backoff = Backoff::new();
        let waits: Vec<_> = (0..8).map(|_| backoff.wait(false)).collect();
        assert!(waits[0] <= FIRST && waits[0] >= FIRST.mul_f64(0.79), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= FAILING), "{waits:?}");
        assert!(waits[7] >= FAILING.mul_f64(0.79), "{waits:?}");
        assert!(backoff.wait(true) <= ABSENT);
    }
}
