//! How many writes may be under way: as many as the server answers quickly.
//!
//! Instead of a fixed number a second: more while answers come as quickly as the quickest ones did, fewer when they slow
//! down, half when the server asks for patience. Pure.

use std::time::Duration;

const LEAST: f64 = 4.0;
const MOST: f64 = 128.0;

/// An answer that takes this much longer than the quickest ones means a queue.
const SLOWER: f64 = 4.0;

/// Answers quicker than this never mean a queue.
const QUICK: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub struct Limit {
    allowed: f64,
    quickest: Option<Duration>,
}

impl Default for Limit {
    fn default() -> Self {
        Self { allowed: 32.0, quickest: None }
    }
}

impl Limit {
    /// Writes that may be under way at a time.
    pub fn allowed(&self) -> usize {
        self.allowed as usize
    }

    /// One was answered.
    pub fn answered(&mut self, within: Duration) {
        // What was quick once may never be again, as after a move to another server: it is forgotten slowly.
        let quickest = self.quickest.map_or(within, |quickest| within.min(quickest.mul_f64(1.000_01)));
        self.quickest = Some(quickest);
        let slow = within > QUICK && within.as_secs_f64() > quickest.as_secs_f64() * SLOWER;
        let step = if slow { -0.5 } else { 1.0 } / self.allowed;
        self.allowed = (self.allowed + step).clamp(LEAST, MOST);
    }

    /// The server asks for patience, or is away.
    pub fn refused(&mut self) {
        self.allowed = (self.allowed / 2.0).max(LEAST);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_while_answers_are_quick_and_shrinks_when_they_are_not() {
        let mut limit = Limit::default();
        (0..20_000).for_each(|_| limit.answered(Duration::from_millis(5)));
        assert_eq!(limit.allowed(), 128);
        (0..50_000).for_each(|_| limit.answered(Duration::from_millis(60)));
        assert!(limit.allowed() < 128, "{}", limit.allowed());
        let before = limit.allowed;
        limit.refused();
        assert!(limit.allowed <= (before / 2.0).max(LEAST), "{}", limit.allowed);
        (0..20).for_each(|_| limit.refused());
        assert_eq!(limit.allowed(), 4);
    }
}
