//! The times of an election.

use std::time::Duration;

/// How much longer than [`Timing::retry`] a candidate may wait between two looks: client-go's factor.
pub const JITTER: f64 = 1.2;

/// The times of an election. All candidates for a Lease should have the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    lease: Duration,
    renew: Duration,
    retry: Duration,
}

impl Default for Timing {
    /// The defaults of every Kubernetes component: 15 s, 10 s, 2 s.
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { lease: seconds(15), renew: seconds(10), retry: seconds(2) }
    }
}

impl Timing {
    /// # Errors
    /// Times with which a leader could not keep its Lease.
    pub fn new(lease: Duration, renew: Duration, retry: Duration) -> Result<Self, BadTiming> {
        if retry.is_zero() {
            return Err(BadTiming::NoRetry);
        }
        if renew <= retry.mul_f64(JITTER) {
            return Err(BadTiming::Renew { renew, retry });
        }
        // What the Lease says is what others wait: a part of a second would be lost on the way.
        if lease.subsec_nanos() != 0 || lease.as_secs() > i32::MAX as u64 {
            return Err(BadTiming::Seconds(lease));
        }
        if lease <= renew {
            return Err(BadTiming::Lease { lease, renew });
        }
        Ok(Self { lease, renew, retry })
    }

    /// How long the others wait after the last change that they saw.
    pub fn lease(&self) -> Duration {
        self.lease
    }

    /// How long a leader leads after its last renewal.
    pub fn renew(&self) -> Duration {
        self.renew
    }

    /// Between two attempts.
    pub fn retry(&self) -> Duration {
        self.retry
    }

    /// The lease as the Lease says it.
    pub(super) fn seconds(&self) -> u32 {
        u32::try_from(self.lease.as_secs()).unwrap_or(u32::MAX)
    }
}

/// Times that cannot be meant, with the names of the flags that give them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTiming {
    #[error("the lease duration ({}) must be longer than the renew deadline ({}): raise --leader-elect-lease-duration", said(.lease), said(.renew))]
    Lease { lease: Duration, renew: Duration },
    #[error(
        "the renew deadline ({}) must be longer than 1.2 times the retry period ({}): raise --leader-elect-renew-deadline", said(.renew), said(.retry)
    )]
    Renew { renew: Duration, retry: Duration },
    #[error("the retry period must be longer than nothing: give --leader-elect-retry-period, 2s say")]
    NoRetry,
    #[error("the lease duration ({}) must be whole seconds, at most 2147483647: a Lease holds no parts of one", said(.0))]
    Seconds(Duration),
}

fn said(time: &Duration) -> String {
    format!("{time:?}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_that_cannot_be_meant_are_refused_with_their_flag() {
        let timing = |lease: u64, renew: u64, retry: u64| {
            let ms = Duration::from_millis;
            Timing::new(ms(lease), ms(renew), ms(retry)).map_err(|error| error.to_string())
        };
        assert_eq!(timing(15_000, 10_000, 2_000), Ok(Timing::default()));
        for (bad, flag) in [
            (
                timing(10_000, 10_000, 2_000),
                "(10s) must be longer than the renew deadline (10s): raise --leader-elect-lease-duration",
            ),
            (
                timing(15_000, 2_400, 2_000),
                "(2.4s) must be longer than 1.2 times the retry period (2s): raise --leader-elect-renew-deadline",
            ),
            (timing(15_000, 10_000, 0), "--leader-elect-retry-period"),
            (timing(15_500, 10_000, 2_000), "(15.5s) must be whole seconds"),
        ] {
            assert!(bad.as_ref().is_err_and(|error| error.contains(flag)), "{bad:?}");
        }
    }
}
