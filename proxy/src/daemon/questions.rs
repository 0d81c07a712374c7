//! What others ask of the loop, which owns the backend and answers between two passes.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use crate::metrics::{ServiceCount, ServiceCounts};

pub(super) enum Question {
    /// What each service port has counted, for a scrape.
    Connections(SyncSender<Vec<ServiceCount>>),
    /// Whether the kernel, looked at now, holds what is wanted. Where it does not, the next pass looks at everything.
    IsWhole(oneshot::Sender<bool>),
}

/// So long a scrape waits for a pass.
const PATIENCE: Duration = Duration::from_secs(5);

/// Questions that wait for a pass to end, at most.
const WAITING: usize = 4;

pub(super) fn channel() -> (mpsc::Sender<Question>, mpsc::Receiver<Question>) {
    mpsc::channel(WAITING)
}

/// The question for the metrics. Nothing where the loop is busy for long.
pub(super) fn counts(ask: mpsc::Sender<Question>) -> ServiceCounts {
    Box::new(move || {
        let (answer, answered): (_, Receiver<Vec<ServiceCount>>) = sync_channel(1);
        match ask.try_send(Question::Connections(answer)) {
            Ok(()) => answered.recv_timeout(PATIENCE).unwrap_or_default(),
            Err(_) => Vec::new(),
        }
    })
}

/// Whether the kernel holds what is wanted; false too where the loop has ended.
pub(super) async fn is_whole(ask: &mpsc::Sender<Question>) -> bool {
    let (answer, answered) = oneshot::channel();
    ask.send(Question::IsWhole(answer)).await.is_ok() && answered.await.unwrap_or(false)
}
