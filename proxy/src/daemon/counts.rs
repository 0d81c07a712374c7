//! Counters of services for a scrape: asked of the loop, which owns the backend.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::metrics::{ServiceCount, ServiceCounts};

/// Where the answer goes.
pub(super) type Questions = SyncSender<Vec<ServiceCount>>;

/// The loop answers between two passes.
const PATIENCE: Duration = Duration::from_secs(5);

/// The question for the metrics, and the end of it that the loop answers.
pub(super) fn channel() -> (ServiceCounts, mpsc::Receiver<Questions>) {
    let (ask, asked) = mpsc::channel::<Questions>(1);
    let counts = move || {
        let (answer, answered): (_, Receiver<Vec<ServiceCount>>) = sync_channel(1);
        match ask.try_send(answer) {
            Ok(()) => answered.recv_timeout(PATIENCE).unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    };
    (Box::new(counts), asked)
}
