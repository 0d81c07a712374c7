//! How long to wait before the next try. Pure: no clock, and the random number is handed in.

use std::time::Duration;

/// Waits that grow from one try to the next, up to a longest one.
///
/// Two times as long each time and without jitter, unless told otherwise.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    first: Duration,
    cap: Duration,
    factor: u32,
    jitter: f64,
    next: Duration,
}

impl Backoff {
    /// `first`: the wait after the first failure. `cap`: the longest wait; where it is shorter than `first`, it is
    /// every wait.
    pub const fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, factor: 2, jitter: 0.0, next: first }
    }

    /// How many times as long the next wait is; 1 for waits that stay the same.
    #[must_use]
    pub const fn factor(self, factor: u32) -> Self {
        Self { factor, ..self }
    }

    /// The share of a wait, 0.0 to 1.0, that chance may take away, so that many nodes do not come back in step.
    #[must_use]
    pub const fn jitter(self, share: f64) -> Self {
        Self { jitter: share, ..self }
    }

    /// The wait before the next try. `random`: any number, from where chance comes; without jitter it is of no
    /// importance.
    pub fn wait(&mut self, random: u64) -> Duration {
        let wait = self.next.min(self.cap);
        self.next = self.next.saturating_mul(self.factor).min(self.cap);
        // 53 bits are what a f64 holds.
        let unit = (random >> 11) as f64 / (1u64 << 53) as f64;
        let taken = wait.as_secs_f64() * self.jitter.clamp(0.0, 1.0) * unit;
        wait.saturating_sub(Duration::try_from_secs_f64(taken).unwrap_or_default())
    }

    /// The wait before the next try, without chance.
    pub fn step(&mut self) -> Duration {
        self.wait(0)
    }

    /// Something worked: the next wait is the first again.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// Whether no wait was asked for since the last success.
    pub fn is_fresh(&self) -> bool {
        self.next == self.first
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn waits_grow_to_the_longest_and_start_again_after_a_success() {
        let mut backoff = Backoff::new(MS(100), MS(1_000));
        let waits: Vec<_> = (0..6).map(|_| backoff.step().as_millis()).collect();
        assert_eq!(waits, [100, 200, 400, 800, 1000, 1000]);
        assert!(!backoff.is_fresh());
        backoff.reset();
        assert!(backoff.is_fresh());
        assert_eq!(backoff.step(), MS(100));
        let mut short = Backoff::new(MS(100), MS(30)).factor(10);
        assert_eq!([short.step(), short.step()], [MS(30), MS(30)]);
        let mut even = Backoff::new(MS(100), MS(1_000)).factor(1);
        assert_eq!([even.step(), even.step()], [MS(100), MS(100)]);
    }

    #[test]
    fn chance_takes_away_its_share_and_no_more() {
        for random in (0..64).map(|bit| 1u64 << bit).chain([0, u64::MAX]) {
            let wait = Backoff::new(MS(1_000), MS(1_000)).jitter(0.2).wait(random);
            assert!((MS(800)..=MS(1_000)).contains(&wait), "{wait:?}");
        }
        assert_eq!(Backoff::new(MS(1_000), MS(1_000)).jitter(0.5).wait(1 << 63), MS(750));
    }

    #[test]
    fn a_wait_that_grows_for_ever_ends_at_the_longest_duration() {
        let mut backoff = Backoff::new(Duration::MAX, Duration::MAX);
        assert_eq!([backoff.step(), backoff.step()], [Duration::MAX; 2]);
    }
}
