//! Until when a connection may stay as it is.

use std::time::Duration;

use tokio::time::Instant;

/// From the first byte that may come to the whole head of the first request.
const HEAD: Duration = Duration::from_secs(5);
/// From an answer to its last byte having been taken, and to the whole head of the next request.
const IDLE: Duration = Duration::from_secs(30);
/// From a request to its answer: longer than Prometheus waits.
const ANSWER: Duration = Duration::from_secs(60);

/// What a connection is doing, and until when it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A request is to come. Of the connections that wait, the one that waits longest is closed for a new one.
    Waiting { since: Instant, until: Instant },
    /// A request is being answered.
    Busy { until: Instant },
}

impl Phase {
    pub fn accepted(now: Instant) -> Self {
        Self::Waiting { since: now, until: now + HEAD }
    }

    pub fn asked(now: Instant) -> Self {
        Self::Busy { until: now + ANSWER }
    }

    pub fn answered(now: Instant) -> Self {
        Self::Waiting { since: now, until: now + IDLE }
    }

    pub fn until(self) -> Instant {
        match self {
            Self::Waiting { until, .. } | Self::Busy { until } => until,
        }
    }

    pub fn waiting_since(self) -> Option<Instant> {
        match self {
            Self::Waiting { since, .. } => Some(since),
            Self::Busy { .. } => None,
        }
    }
}
