//! How many ICMP errors we send.

use std::time::{Duration, Instant};

/// A bucket of tokens, filled at a steady rate: the kernel's own numbers for ICMP
/// (`net.ipv4.icmp_msgs_per_sec` 1000, `icmp_msgs_burst` 50).
#[derive(Debug)]
pub(super) struct Limit {
    tokens: u32,
    filled: Instant,
}

const BURST: u32 = 50;
const INTERVAL: Duration = Duration::from_millis(1);

impl Limit {
    pub fn new(now: Instant) -> Self {
        Self { tokens: BURST, filled: now }
    }

    /// Takes a token, if there is one.
    pub fn allow(&mut self, now: Instant) -> bool {
        let gained = now.saturating_duration_since(self.filled).as_millis().min(u128::from(BURST)) as u32;
        if gained > 0 {
            self.tokens = (self.tokens + gained).min(BURST);
            self.filled = if self.tokens == BURST { now } else { self.filled + INTERVAL * gained };
        }
        match self.tokens.checked_sub(1) {
            Some(left) => {
                self.tokens = left;
                true
            }
            None => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_then_the_steady_rate() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        let sent = (0..100).filter(|_| limit.allow(start)).count();
        assert_eq!(sent, BURST as usize);

        // 10,000 requests in the next second
        let sent = (0..10_000).filter(|i| limit.allow(start + Duration::from_micros(i * 100))).count();
        assert!((990..=1000).contains(&sent), "{sent}");
    }

    #[test]
    fn a_long_rest_gives_no_more_than_a_burst() {
        let start = Instant::now();
        let mut limit = Limit::new(start);
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| limit.allow(later)).count(), BURST as usize);
    }
}
