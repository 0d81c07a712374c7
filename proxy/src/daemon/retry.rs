//! When to try again what failed.

use std::time::Duration;

use host::error::Remedy;
use tokio::time::Instant;

use crate::backends::BackendError;
use crate::error::chain;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);

/// Longer and longer waits between attempts that fail.
#[derive(Debug)]
pub(super) struct Backoff {
    at: Option<Instant>,
    wait: Duration,
    longest: Duration,
}

impl Backoff {
    /// The first wait is of 100 ms, each is twice the one before, and none is longer than `longest`.
    pub fn new(longest: Duration) -> Self {
        Self { at: None, wait: Duration::ZERO, longest }
    }

    /// No attempt is waited for.
    pub fn is_calm(&self) -> bool {
        self.at.is_none()
    }

    pub fn is_due(&self) -> bool {
        self.at.is_some_and(|at| at <= Instant::now())
    }

    /// Returns when the next attempt is due; never where none is waited for. Cancel safe.
    pub async fn due(&self) {
        match self.at {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// Takes note of how an attempt went.
    pub fn after(&mut self, success: bool) {
        if success {
            *self = Self::new(self.longest);
            return;
        }
        self.wait = (self.wait * 2).max(FIRST).min(self.longest.max(Duration::from_millis(1)));
        self.at = Some(Instant::now() + self.wait);
    }
}

/// Passes that failed.
#[derive(Debug)]
pub(super) struct Retry {
    backoff: Backoff,
    /// What was said last, so that a failure that stays is said once.
    said: String,
}

impl Retry {
    /// `period`: the longest time between two attempts that the operator wants.
    pub fn new(period: Duration) -> Self {
        Self { backoff: Backoff::new(period.min(LAST)), said: String::new() }
    }

    /// No attempt is waited for.
    pub fn is_calm(&self) -> bool {
        self.backoff.is_calm()
    }

    pub fn is_due(&self) -> bool {
        self.backoff.is_due()
    }

    pub async fn due(&self) {
        self.backoff.due().await
    }

    /// Takes note of how a pass went.
    pub fn after(&mut self, failure: Option<&BackendError>) {
        self.backoff.after(failure.is_none());
        let Some(error) = failure else {
            if !std::mem::take(&mut self.said).is_empty() {
                tracing::info!("the kernel follows the services again");
            }
            return;
        };
        let text = chain(error);
        if text != self.said {
            let hopeless = error.remedy() == Remedy::GiveUp;
            tracing::warn!(error = text, hopeless, "the services could not be written; trying again");
            self.said = text;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn attempts_come_less_and_less_often_and_start_over_after_a_success() {
        let error = BackendError::Busy { mode: "nftables", tries: 8 };
        let mut retry = Retry::new(Duration::from_secs(30));
        assert!(retry.is_calm());
        for wait in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            retry.after(Some(&error));
            assert_eq!(retry.backoff.wait, Duration::from_millis(wait));
        }
        assert!(!retry.is_calm() && !retry.is_due());
        retry.after(None);
        assert!(retry.is_calm());
        retry.after(Some(&error));
        assert_eq!(retry.backoff.wait, FIRST);
    }
}
