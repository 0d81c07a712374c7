//! Leftovers of another mode or proxy go as soon as our own rules are complete.
//!
//! Until then both serve: a connection is translated by whichever sees it first, and keeps its endpoint when the other's
//! rules go. Complete means that the kernel was looked at again and found to hold everything. Begin at
//! [`remove_leftovers`].
//! Never: takes anything away before that, keeps the loop waiting meanwhile, or takes what it cannot look at for nothing.

use std::collections::BTreeSet;
use std::time::Duration;

use telemetry::Backoff;
use tokio::sync::mpsc;

use super::questions::{self, Question};
use crate::backends::Territory;
use crate::modes::leftovers::{Look, look, remove};

/// Between two attempts.
const RETRY: Backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(60));

/// Removes everything that serves the same services in another way: rules of the other mode, of the other flavour of
/// iptables, and of kube-proxy. Tries until nothing is left and nothing is unseen; what stands in the way is said once.
pub(super) async fn remove_leftovers(in_use: Vec<Territory>, ask: mpsc::Sender<Question>) {
    let (mut backoff, mut said) = (RETRY, BTreeSet::new());
    loop {
        let trouble = attempt(&in_use, &ask).await;
        if trouble.is_empty() {
            break;
        }
        for text in &trouble {
            if said.insert(text.clone()) && !text.is_empty() {
                tracing::warn!("{text}; trying again until it is settled");
            }
        }
        tokio::time::sleep(backoff.step()).await;
    }
    if !said.is_empty() {
        tracing::info!("no other mode or proxy serves beside this one");
    }
}

/// What stands in the way of being done. An empty text: our own rules, of which the syncer says what is missing.
async fn attempt(in_use: &[Territory], ask: &mpsc::Sender<Question>) -> Vec<String> {
    let places = in_use.to_vec();
    let Look { found, unseen } = on_thread(move || look(&places)).await;
    let mut trouble: Vec<String> = unseen
        .into_iter()
        .map(|unseen| format!("rules of another mode or of kube-proxy may serve beside ours: {unseen}"))
        .collect();
    if found.is_empty() {
        return trouble;
    }
    if !questions::is_whole(ask).await {
        trouble.push(String::new());
        return trouble;
    }
    trouble.extend(on_thread(move || remove(found)).await);
    trouble
}

/// Where blocking does no harm.
async fn on_thread<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|panic| std::panic::resume_unwind(panic.into_panic()))
}
