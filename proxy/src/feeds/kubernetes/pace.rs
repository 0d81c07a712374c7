//! How long to wait before the next attempt.
//!
//! kube-proxy's client waits up to a minute after an outage; services are down for that long. Here the wait never
//! exceeds [`MOST`], with a jitter, so that many nodes do not come back in one moment.

use std::time::Duration;

const LEAST: Duration = Duration::from_millis(50);

/// Longest wait, the server's own wish apart.
pub const MOST: Duration = Duration::from_millis(1_600);

/// Longest wait that a server's Retry-After can ask for.
const WISH: Duration = Duration::from_secs(5);

/// Attempts that failed in a row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Pace {
    failures: u32,
}

impl Pace {
    /// Something worked.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// The next wait. `random` is anything; `wish` is the server's.
    pub fn wait(&mut self, random: u64, wish: Option<Duration>) -> Duration {
        let whole = LEAST.saturating_mul(1 << self.failures.min(10)).min(MOST);
        self.failures = self.failures.saturating_add(1);
        let half = whole / 2;
        let part = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX).max(1);
        let jittered = half + Duration::from_nanos(random % part);
        jittered.max(wish.unwrap_or_default().min(WISH))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_to_a_bound_and_starts_again() {
        let mut pace = Pace::default();
        let mut total = Duration::ZERO;
        for random in 0..30u64 {
            let wait = pace.wait(random.wrapping_mul(0x9e37_79b9_7f4a_7c15), None);
            assert!(wait <= MOST, "{wait:?}");
            total += wait;
        }
        assert!(total > MOST * 10, "{total:?}");
        pace.reset();
        assert!(pace.wait(u64::MAX, None) <= LEAST);
        assert_eq!(pace.wait(0, Some(Duration::from_secs(60))), WISH);
    }
}
