//! How long to wait before the next attempt.
//!
//! kube-proxy's client waits up to a minute after an outage; services are down for that long. Here the wait never
//! exceeds [`Pace::most`], with a jitter, so that many nodes do not come back in one moment.

use std::hash::{BuildHasher, RandomState};
use std::time::Duration;

/// Longest wait that a server's Retry-After can ask for.
const WISH: Duration = Duration::from_secs(5);

/// Attempts that failed in a row.
#[derive(Clone, Debug)]
pub struct Pace {
    least: Duration,
    most: Duration,
    failures: u32,
    random: RandomState,
    draws: u64,
}

impl Default for Pace {
    fn default() -> Self {
        Self::new(Duration::from_millis(50), Duration::from_millis(1_600))
    }
}

impl Pace {
    /// The first wait is `least` at most; each is twice the one before, up to `most`.
    pub fn new(least: Duration, most: Duration) -> Self {
        Self { least, most, failures: 0, random: RandomState::new(), draws: 0 }
    }

    /// Longest wait, the server's own wish apart.
    pub fn most(&self) -> Duration {
        self.most
    }

    /// Something worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait; `wish` is the server's.
    pub fn wait(&mut self, wish: Option<Duration>) -> Duration {
        // Not telemetry's Backoff, which this tier cannot know: half of a wait is chance, and the server has a wish.
        let whole = self.least.saturating_mul(1 << self.failures.min(16)).min(self.most);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        let part = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        let jittered = half + Duration::from_nanos(self.draw() % part);
        jittered.max(wish.unwrap_or_default().min(WISH))
    }

    /// No secret: only for spreading.
    pub(crate) fn draw(&mut self) -> u64 {
        self.draws += 1;
        self.random.hash_one(self.draws)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_bound_and_starts_again() {
        let mut pace = Pace::default();
        let mut total = Duration::ZERO;
        for _ in 0..30 {
            let wait = pace.wait(None);
            assert!(wait <= pace.most(), "{wait:?}");
            total += wait;
        }
        assert!(total > pace.most() * 10, "{total:?}");
        pace.reset();
        assert!(pace.wait(None) <= pace.least);
        assert_eq!(pace.wait(Some(Duration::from_secs(60))), WISH);
    }
}
