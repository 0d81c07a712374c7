//! When to try again what failed.

use std::time::Duration;

use host::error::Remedy;
use telemetry::Backoff;
use tokio::time::Instant;

use crate::backends::BackendError;
use crate::error::chain;

const FIRST: Duration = Duration::from_millis(100);
const LAST: Duration = Duration::from_secs(5);
/// No wait is shorter, whatever the operator wants: the daemon must not spin.
const SHORTEST: Duration = Duration::from_millis(1);

/// When the next attempt is due, after one that failed.
#[derive(Debug)]
pub(super) struct NextTry {
    at: Option<Instant>,
    backoff: Backoff,
}

impl NextTry {
    /// The first wait is of 100 ms, each is twice the one before, and none is longer than `longest`.
    pub fn new(longest: Duration) -> Self {
        Self { at: None, backoff: Backoff::new(FIRST, longest.max(SHORTEST)) }
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
            self.at = None;
            self.backoff.reset();
            return;
        }
        self.at = Some(Instant::now() + self.backoff.step());
    }
}

/// Passes that failed.
#[derive(Debug)]
pub(super) struct Retry {
    next: NextTry,
    /// What was said last, so that a failure that stays is said once.
    said: String,
}

impl Retry {
    /// `period`: the longest time between two attempts that the operator wants.
    pub fn new(period: Duration) -> Self {
        Self { next: NextTry::new(period.min(LAST)), said: String::new() }
    }

    /// No attempt is waited for.
    pub fn is_calm(&self) -> bool {
        self.next.is_calm()
    }

    pub fn is_due(&self) -> bool {
        self.next.is_due()
    }

    pub async fn due(&self) {
        self.next.due().await
    }

    /// Takes note of how a pass went.
    pub fn after(&mut self, failure: Option<&BackendError>) {
        self.next.after(failure.is_none());
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

    /// Fails once more; the next attempt is due after `wait`.
    fn assert_waits(retry: &mut Retry, wait: Duration) {
        let before = Instant::now();
        retry.after(Some(&BackendError::Busy { mode: "nftables", tries: 8 }));
        let at = retry.next.at.expect("a next attempt");
        assert!((before + wait..=Instant::now() + wait).contains(&at), "{wait:?}");
    }

    #[tokio::test]
    async fn attempts_come_less_and_less_often_and_start_over_after_a_success() {
        let mut retry = Retry::new(Duration::from_secs(30));
        assert!(retry.is_calm());
        for wait in [100, 200, 400, 800, 1600, 3200, 5000, 5000] {
            assert_waits(&mut retry, Duration::from_millis(wait));
        }
        assert!(!retry.is_calm() && !retry.is_due());
        retry.after(None);
        assert!(retry.is_calm());
        assert_waits(&mut retry, FIRST);
        assert_waits(&mut Retry::new(Duration::ZERO), SHORTEST);
    }
}
