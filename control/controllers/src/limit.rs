//! How many writes are under way at once: as many as the server answers readily.
//!
//! The original writes 20 a second whatever the server could take. Here a refusal for load halves the number, and answers
//! let it grow again.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

const FIRST: usize = 32;
const MOST: usize = 128;

/// Shared by all controllers of a process.
#[derive(Debug)]
pub struct Limit {
    permits: Arc<Semaphore>,
    /// How many permits there are, in use or not.
    size: AtomicUsize,
    /// Answers since it last grew.
    answers: AtomicUsize,
}

impl Default for Limit {
    fn default() -> Self {
        let permits = Arc::new(Semaphore::new(FIRST));
        Self { permits, size: AtomicUsize::new(FIRST), answers: AtomicUsize::new(0) }
    }
}

/// Leave for one write.
#[derive(Debug)]
pub struct Leave {
    _permit: Option<OwnedSemaphorePermit>,
}

impl Limit {
    pub async fn leave(&self) -> Leave {
        // The semaphore is never closed.
        Leave { _permit: Arc::clone(&self.permits).acquire_owned().await.ok() }
    }

    /// How many writes may be under way.
    pub fn size(&self) -> usize {
        self.size.load(Ordering::Relaxed)
    }

    /// The server has answered.
    pub fn answered(&self) {
        let size = self.size();
        if size < MOST && self.answers.fetch_add(1, Ordering::Relaxed) + 1 >= size {
            self.answers.store(0, Ordering::Relaxed);
            self.size.fetch_add(1, Ordering::Relaxed);
            self.permits.add_permits(1);
        }
    }

    /// The server is too busy. Returns how long to leave it alone where it did not say.
    pub fn refused(&self) -> Duration {
        let half = self.size() / 2;
        let forgotten = self.permits.forget_permits(half);
        self.size.fetch_sub(forgotten, Ordering::Relaxed);
        Duration::from_millis(100)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn it_halves_when_the_server_is_busy_and_grows_again() {
        let limit = Limit::default();
        limit.refused();
        assert_eq!((limit.size(), limit.permits.available_permits()), (FIRST / 2, FIRST / 2));
        for _ in 0..10 {
            limit.refused();
        }
        assert_eq!(limit.size(), 1, "one always goes");
        for _ in 0..MOST * MOST {
            limit.answered();
        }
        assert_eq!((limit.size(), limit.permits.available_permits()), (MOST, MOST));
        let leave = limit.leave().await;
        assert_eq!(limit.permits.available_permits(), MOST - 1);
        drop(leave);
        assert_eq!(limit.permits.available_permits(), MOST);
    }
}
